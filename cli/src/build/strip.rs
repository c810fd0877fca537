//! `coreai-build strip`: an asset without debug locations.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use coreai_asset::{Asset, Locations, Region, WriteOptions};
use serde::Serialize;

use crate::bundle::{Bundle, Named, open_intact};
use crate::output::{json, print};
use crate::progress::Bytes;
use crate::quantity::{bytes, grouped};
use crate::table::Table;

/// Version of the fields of [`Report`].
const SCHEMA_VERSION: u32 = 1;

const EXAMPLES: &str = "\
Converters write into an asset which line of which file each operation comes from, with the paths of the machine
it was made on. Programs do not need that. The ids of operations stay: profilers and debuggers name them by these.

Examples:
  coreai-build strip model.aimodel -o stripped.aimodel
  coreai-build strip smollm2/ --in-place                 the main asset of a model bundle
  coreai-build strip model.aimodel -o m.aimodel --json | jq .locations_removed";

/// Remove debug locations: files, lines and scopes of the author's program
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Strip {
    /// An .aimodel folder, a main.mlirb file, or the folder of a model bundle
    path: PathBuf,
    /// The new .aimodel folder, or that of the new bundle
    #[arg(short, long, value_name = "OUT", required_unless_present = "in_place")]
    output: Option<PathBuf>,
    /// Replace what was read; nothing changes if anything fails
    #[arg(long, conflicts_with_all = ["output", "force"])]
    in_place: bool,
    /// Replace OUT where it exists
    #[arg(long)]
    force: bool,
    /// Print JSON (with a schema_version)
    #[arg(long)]
    json: bool,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Report<'a> {
    schema_version: u32,
    input: &'a Path,
    output: &'a Path,
    /// Operations whose location named a file or a line.
    locations_removed: u64,
    /// Bytes of `main.mlirb`.
    file_bytes_before: u64,
    file_bytes_after: u64,
}

impl Strip {
    /// Writes the asset and prints what went.
    pub fn run(&self) -> Result<ExitCode, Box<dyn Error>> {
        let bundle = Bundle::open(&self.path)?;
        let path = bundle.as_ref().map_or_else(|| self.path.clone(), Bundle::asset);
        let asset = open_intact(&path)?;
        if self.in_place && !path.is_dir() {
            return Err(Named::new(&path, "is a file; give the .aimodel folder to replace it").into());
        }
        let output = self.output.as_deref().unwrap_or(&self.path);
        let options = WriteOptions { locations: Locations::Strip, replace: self.force || self.in_place };
        let after = match &bundle {
            None => save(&asset, output, &options)?,
            Some(bundle) => bundle.write(output, options.replace, &[], |to| save(&asset, to, &options))?,
        };
        let functions = asset.functions.iter();
        let report = Report {
            schema_version: SCHEMA_VERSION,
            input: &self.path,
            output,
            locations_removed: functions.map(|function| located(&asset, &function.body)).sum(),
            file_bytes_before: asset.source().len(),
            file_bytes_after: after,
        };
        print(|out| if self.json { json(&report, out) } else { table(&report, out) })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Operations that say which file or line they come from. Recursion is as deep as the reader lets regions nest.
fn located(asset: &Asset, region: &Region) -> u64 {
    let own = |op: &coreai_asset::Op| {
        let at = asset.location(op.location);
        u64::from(at.is_some_and(|at| !at.file.is_empty() || at.line > 0))
    };
    let inner = |op: &coreai_asset::Op| op.regions.iter().map(|inner| located(asset, inner)).sum::<u64>();
    region.ops.iter().map(|op| own(op) + inner(op)).sum()
}

/// Gives the bytes of `main.mlirb`.
fn save(asset: &Asset, to: &Path, options: &WriteOptions) -> Result<u64, Box<dyn Error>> {
    let bar = Bytes::new("writing", Some(0));
    let mut size = 0;
    let saved = asset.save(to, options, &mut |done, total| {
        size = total;
        bar.set(done, total);
    });
    saved.map_err(|error| Named::new(to, error))?;
    Ok(size)
}

fn table(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new("");
    table.row(["asset", &report.output.display().to_string()]);
    let removed = grouped(report.locations_removed);
    table.row(["locations", &format!("of {removed} operations removed")]);
    let (before, after) = (bytes(report.file_bytes_before), bytes(report.file_bytes_after));
    table.row(["main.mlirb", &format!("{before} → {after}")]);
    table.write(out)
}
