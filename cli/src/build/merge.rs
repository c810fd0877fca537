//! `coreai-build merge`: the functions of several assets in one.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use coreai_asset::{Asset, Merged, WriteOptions, merge};
use serde::Serialize;

use crate::bundle::{Named, asset_path, open_intact};
use crate::output::{json, print};
use crate::progress::Bytes;
use crate::quantity::bytes;
use crate::table::Table;

/// Version of the fields of [`Report`].
const SCHEMA_VERSION: u32 = 1;

const EXAMPLES: &str = "\
Weights with equal bytes are stored once. Functions must have different names in the end; those that only other
functions call get new names where theirs are taken. Of a model bundle the main asset is taken; what is written
is an asset without a tokenizer.

Examples:
  coreai-build merge encode.aimodel decode.aimodel -o model.aimodel
  coreai-build merge small.aimodel large.aimodel -o both.aimodel --rename 2:main=large
  coreai-build merge a.aimodel b.aimodel -o ab.aimodel --rename 1:main=first --rename 2:main=second";

/// Put the functions of several assets into one, with equal weights stored once
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Merge {
    /// .aimodel folders, main.mlirb files, or folders of model bundles
    #[arg(required = true, num_args = 1..)]
    inputs: Vec<PathBuf>,
    /// The new .aimodel folder
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// A new name for a function of an input, which are numbered from 1; repeatable
    #[arg(long, value_name = "INPUT:OLD=NEW", value_parser = Rename::parse)]
    rename: Vec<Rename>,
    /// Replace OUT where it exists
    #[arg(long)]
    force: bool,
    /// Print JSON (with a schema_version)
    #[arg(long)]
    json: bool,
}

/// `INPUT:OLD=NEW`
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rename {
    /// From 1.
    input: usize,
    old: String,
    new: String,
}

impl Rename {
    fn parse(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(input, names)| {
            let (old, new) = names.split_once('=')?;
            let input = input.parse().ok().filter(|input| *input > 0)?;
            Some(Self { input, old: old.into(), new: new.into() })
        });
        parsed.ok_or_else(|| "expected INPUT:OLD=NEW, such as 2:main=decode".into())
    }
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Report<'a> {
    schema_version: u32,
    output: &'a Path,
    /// The functions that a caller may run.
    functions: Vec<Entry<'a>>,
    /// Bytes of weights that are stored once instead of several times.
    shared_bytes: u64,
    /// Bytes of all `main.mlirb` that were read.
    file_bytes_before: u64,
    /// Bytes of `main.mlirb`.
    file_bytes_after: u64,
}

/// A function of the new asset.
#[derive(Serialize)]
struct Entry<'a> {
    name: String,
    input: &'a Path,
    /// Its name there.
    was: String,
}

impl Merge {
    /// Writes the asset and prints where its functions come from.
    pub fn run(&self) -> Result<ExitCode, Box<dyn Error>> {
        let count = self.inputs.len();
        if let Some(Rename { input, old, new }) = self.rename.iter().find(|rename| rename.input > count) {
            return Err(
                format!("--rename {input}:{old}={new}: there is no input {input}, only {count}").into()
            );
        }
        let open = |path: &PathBuf| -> Result<Asset, Named> {
            let path = asset_path(path)?;
            open_intact(&path)
        };
        let assets = self.inputs.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let renames = |number: usize| {
            let own = self.rename.iter().filter(move |rename| rename.input == number);
            own.map(|rename| (rename.old.clone(), rename.new.clone())).collect()
        };
        let pairs: Vec<(&Asset, Vec<(String, String)>)> =
            assets.iter().enumerate().map(|(index, asset)| (asset, renames(index + 1))).collect();
        let merged = merge(&pairs).map_err(|error| format!("{error}; {}", self.numbered()))?;
        let after =
            save(&merged, &self.output, &WriteOptions { replace: self.force, ..WriteOptions::default() })?;
        let report = Report {
            schema_version: SCHEMA_VERSION,
            output: &self.output,
            functions: self.functions(&merged),
            shared_bytes: merged.shared_bytes,
            file_bytes_before: assets.iter().map(|asset| asset.source().len()).sum(),
            file_bytes_after: after,
        };
        print(|out| if self.json { json(&report, out) } else { table(&report, out) })?;
        Ok(ExitCode::SUCCESS)
    }

    /// Which input has which number, for messages.
    fn numbered(&self) -> String {
        let inputs = self.inputs.iter().enumerate();
        let inputs = inputs.map(|(index, path)| format!("asset {} is {}", index + 1, path.display()));
        inputs.collect::<Vec<_>>().join(", ")
    }

    /// As the merged metadata tells it.
    fn functions(&self, merged: &Merged<'_>) -> Vec<Entry<'_>> {
        let about = merged.metadata.creator_defined.get("mergedAssets").and_then(|about| about.as_array());
        let rows = self.inputs.iter().zip(about.into_iter().flatten());
        let entries = rows.flat_map(|(input, about)| {
            let functions = about["functions"].as_object().into_iter().flatten();
            functions.filter_map(move |(was, name)| {
                Some(Entry { name: name.as_str()?.to_owned(), input, was: was.clone() })
            })
        });
        entries.collect()
    }
}

/// Gives the bytes of `main.mlirb`.
fn save(merged: &Merged<'_>, to: &Path, options: &WriteOptions) -> Result<u64, Named> {
    let bar = Bytes::new("writing", Some(0));
    let mut size = 0;
    let saved = merged.save(to, options, &mut |done, total| {
        size = total;
        bar.set(done, total);
    });
    saved.map_err(|error| Named::new(to, error))?;
    Ok(size)
}

fn table(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut head = Table::new("");
    head.row(["asset", &report.output.display().to_string()]);
    head.row(["shared", &format!("{} of weights are stored once", bytes(report.shared_bytes))]);
    let (before, after) = (bytes(report.file_bytes_before), bytes(report.file_bytes_after));
    head.row(["main.mlirb", &format!("{before} → {after}")]);
    head.write(out)?;
    let mut functions = Table::new("functions");
    for Entry { name, input, was } in &report.functions {
        functions.row([name.clone(), format!("{was} of {}", input.display())]);
    }
    functions.write(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renames() {
        let rename = Rename::parse("2:a.b=c").expect("is one");
        assert_eq!(rename, Rename { input: 2, old: "a.b".into(), new: "c".into() });
        for text in ["main=decode", "0:main=decode", "x:main=decode", "1:main", ""] {
            assert!(Rename::parse(text).is_err(), "{text}");
        }
    }
}
