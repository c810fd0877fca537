//! `coreai-build inspect`: what an asset is.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use coreai_asset::{Asset, HashStatus, ParamSummary, PrintOptions, Summary};

use crate::bundle::{Named, asset_path};
use crate::output::{json, print};
use crate::quantity::{bytes, grouped};
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  coreai-build inspect model.aimodel                  functions, weights, compression
  coreai-build inspect smollm2-135m-int4/             the main asset of a model bundle
  coreai-build inspect model.aimodel --ops            how often each operation occurs
  coreai-build inspect model.aimodel --text | less    the whole program
  coreai-build inspect model.aimodel --json           the same for programs
  coreai-build inspect model.aimodel --verify-hash    fails if the file was changed";

/// Show what an asset contains: functions, operations, weights, compression
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Inspect {
    /// An .aimodel folder, a main.mlirb file, or the folder of a model bundle
    path: PathBuf,
    /// List the operations with their counts
    #[arg(long)]
    ops: bool,
    /// Print the program as text
    #[arg(long, conflicts_with_all = ["json", "ops"])]
    text: bool,
    /// With --text, also print the decomposition bodies of operations
    #[arg(long, requires = "text")]
    bodies: bool,
    /// With --text, also print source locations
    #[arg(long, requires = "text")]
    locations: bool,
    /// Print JSON (with a schema_version)
    #[arg(long)]
    json: bool,
    /// Read the whole file and compare it with main.hash; fails unless they agree
    #[arg(long)]
    verify_hash: bool,
}

impl Inspect {
    /// Prints; the exit code tells whether a requested check failed.
    pub fn run(&self) -> Result<ExitCode, Box<dyn Error>> {
        let path = asset_path(&self.path)?;
        let asset = Asset::open(&path).map_err(|error| Named::new(&path, error))?;
        let mut summary = asset.summary();
        if self.verify_hash {
            summary.hash = asset.verify_hash().map_err(|error| Named::new(&path, error))?;
        }
        print(|out| {
            if self.text {
                let options = PrintOptions { bodies: self.bodies, locations: self.locations };
                out.write_all(asset.text(options).as_bytes())
            } else if self.json {
                json(&summary, out)
            } else {
                self.table(&path, &summary, out)
            }
        })?;
        if self.verify_hash && summary.hash != HashStatus::Match {
            let reason = hash_text(summary.hash);
            return Err(Box::new(Named::new(&path, format!("hash: {reason}"))));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn table(&self, path: &Path, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
        let mut head = Table::new("");
        head.row(["asset", &path.display().to_string()]);
        let metadata = &summary.metadata;
        for (key, value) in [
            ("producer", &metadata.producer),
            ("created", &metadata.creation_date),
            ("author", &metadata.author),
            ("license", &metadata.license),
            ("description", &metadata.description),
        ] {
            if let Some(value) = value {
                head.row([key, value]);
            }
        }
        for (key, value) in &metadata.creator_defined {
            head.row([key.as_str(), &value.to_string()]);
        }
        head.row(["features", &format!("version {}", summary.feature_version)]);
        head.row(["size", &format!("main.mlirb {}", bytes(summary.file_bytes))]);
        head.row(["hash", hash_text(summary.hash)]);
        let (outer, all) = (summary.op_count, summary.op_count_with_bodies);
        let (outer, all) = (grouped(outer as u64), grouped(all as u64));
        head.row(["operations", &format!("{outer}, with decomposition bodies {all}")]);
        head.write(out)?;

        for function in &summary.functions {
            writeln!(out, "\nfunction {}", function.name)?;
            let mut params = Table::new("");
            for (kind, list) in
                [("input", &function.inputs), ("state", &function.states), ("output", &function.outputs)]
            {
                for param in list {
                    params.row([kind, &param.name, &param.dtype, &shape(param)]);
                }
            }
            params.write(out)?;
        }

        let mut weights = Table::new("constants").right(&[1, 2, 3]);
        for class in &summary.weights {
            weights.row([
                class.dtype.clone(),
                grouped(class.constants as u64),
                format!("{} elements", grouped(class.elements)),
                bytes(class.bytes),
            ]);
        }
        weights.write(out)?;

        let mut compression = Table::new("compressed weights").right(&[2]);
        for entry in &summary.compression {
            let bits = format!("{} bit", entry.bits);
            compression.row([entry.scheme, &entry.dtype, &bits, &counted(entry.weights, "weight")]);
        }
        compression.write(out)?;

        let mut composites = Table::new("composites").right(&[1, 2]);
        for entry in &summary.composites {
            let (calls, definitions) = (entry.calls, entry.definitions);
            composites.row([entry.name.clone(), counted(calls, "call"), counted(definitions, "definition")]);
        }
        composites.write(out)?;

        if self.ops {
            let mut ops = Table::new("operations").right(&[0]);
            let mut sorted: Vec<_> = summary.ops.iter().collect();
            sorted.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
            for (name, count) in sorted {
                ops.row([&grouped(*count as u64), name]);
            }
            ops.write(out)?;
        }

        let mut warnings = Table::new("warnings");
        for warning in &summary.warnings {
            warnings.row([warning.as_str()]);
        }
        warnings.write(out)
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// E.g. `1×?×320`; `scalar` for rank 0.
fn shape(param: &ParamSummary) -> String {
    let extents = param.shape.iter();
    let extents = extents.map(|extent| extent.map_or("?".into(), |extent| extent.to_string()));
    match extents.collect::<Vec<String>>() {
        extents if extents.is_empty() => "scalar".into(),
        extents => extents.join("×"),
    }
}

fn hash_text(hash: HashStatus) -> &'static str {
    match hash {
        HashStatus::Absent => "there is no main.hash",
        HashStatus::Match => "matches main.hash",
        HashStatus::Mismatch => "DIFFERS from main.hash: the file was changed or is damaged",
        HashStatus::Malformed => "main.hash is not 32 bytes long",
        HashStatus::Unchecked => "present, not checked (--verify-hash)",
    }
}
