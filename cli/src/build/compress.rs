//! `coreai-build compress`: weights as int8 or int4.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use coreai_asset::{Locations, WriteOptions};
use coreai_convert::compress::{
    Compressed, CompressedWeight, CompressionReport, CompressionTotals, Outcome, compress,
};
use serde::Serialize;

use crate::bundle::{Bundle, Named, open_intact};
use crate::output::print;
use crate::progress::Bytes;
use crate::quantity::bytes;
use crate::selection::{Exceptions, Preset, warn_of_idle_patterns};
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  coreai-build compress model.aimodel -o small.aimodel --preset w8    int8, a scale for each output channel
  coreai-build compress smollm2/ -o smollm2-4bit/ --preset w4         int4 in blocks of 32; a whole bundle
  coreai-build compress model.aimodel --preset w4 --dry-run           list the weights and their names
  coreai-build compress model.aimodel -o m.aimodel --preset w4 --embedding w8 --head none
  coreai-build compress model.aimodel -o m.aimodel --exclude 'main/linear_0.*' --exclude '*.576x576'

Names of weights are FUNCTION/CLASS_NUMBER.SHAPE, such as main/linear_12.1536x576; see them with --dry-run.
Weights that are packed already, and those of fewer than 1024 values, stay as they are.";

/// Compress the weights of an asset to int8 or int4
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Compress {
    /// An .aimodel folder, a main.mlirb file, or the folder of a model bundle
    path: PathBuf,
    /// The new .aimodel folder, or that of the new bundle
    #[arg(short, long, value_name = "OUT", required_unless_present = "dry_run")]
    output: Option<PathBuf>,
    /// w8: int8 per output channel; w4: int4 in blocks of 32, convolutions as w8
    #[arg(long, value_enum, default_value = "w4")]
    preset: Preset,
    /// List what would be done; nothing is computed or written
    #[arg(long)]
    dry_run: bool,
    /// Replace OUT where it exists
    #[arg(long)]
    force: bool,
    /// Leave out debug locations, but for the ids of operations
    #[arg(long)]
    strip_locations: bool,
    /// Print JSON (with a schema_version)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    exceptions: Exceptions,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Output<'a> {
    input: &'a Path,
    output: Option<&'a Path>,
    /// Bytes of `main.mlirb`.
    file_bytes_before: Option<u64>,
    /// `None` for a dry run.
    file_bytes_after: Option<u64>,
    /// Weights that were packed in the input.
    packed_before: usize,
    totals: CompressionTotals,
    #[serde(flatten)]
    report: CompressionReport,
}

impl Compress {
    /// Compresses and prints what became of each weight.
    pub fn run(&self) -> Result<ExitCode, Box<dyn Error>> {
        let bundle = Bundle::open(&self.path)?;
        let path = bundle.as_ref().map_or_else(|| self.path.clone(), Bundle::asset);
        let asset = open_intact(&path)?;
        let before = asset.source().len();
        let packed = asset.summary().compression.iter().map(|class| class.weights).sum();
        let selection = self.exceptions.selection(self.preset)?;
        let compressed = compress(asset, &selection).map_err(|error| Named::new(&path, error))?;
        let names = compressed.report();
        let names = names.weights.iter().map(|weight| weight.name.as_str());
        warn_of_idle_patterns(&selection, names, "--dry-run lists them");
        let output = self.output.as_deref().filter(|_| !self.dry_run);
        let after = output.map(|output| self.write(&compressed, bundle.as_ref(), output)).transpose()?;
        let report = compressed.report();
        print(|out| match self.json {
            true => self.json(report, packed, [Some(before), after], out),
            false => table(&report, packed, [Some(before), after], out),
        })?;
        Ok(ExitCode::SUCCESS)
    }

    /// Writes the asset, or a bundle with it. Gives the bytes of `main.mlirb`.
    fn write(
        &self,
        compressed: &Compressed,
        bundle: Option<&Bundle>,
        output: &Path,
    ) -> Result<u64, Box<dyn Error>> {
        let locations = if self.strip_locations { Locations::Strip } else { Locations::Keep };
        let options = WriteOptions { locations, replace: self.force };
        let Some(bundle) = bundle else { return save(compressed, output, &options) };
        let bits = self.preset.compression();
        let changed = compressed.report().totals().compressed > 0;
        let changes = changed.then(|| ("compression", serde_json::Value::from(bits)));
        bundle.write(output, self.force, changes.as_slice(), |to| save(compressed, to, &options))
    }

    /// `files`: bytes of `main.mlirb` before and after.
    fn json(
        &self,
        report: CompressionReport,
        packed: usize,
        files: [Option<u64>; 2],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let output = Output {
            input: &self.path,
            output: self.output.as_deref().filter(|_| !self.dry_run),
            file_bytes_before: files[0],
            file_bytes_after: files[1],
            packed_before: packed,
            totals: report.totals(),
            report,
        };
        serde_json::to_writer_pretty(&mut *out, &output).map_err(io::Error::from)?;
        writeln!(out)
    }
}

/// Writes the asset under a bar. Gives the bytes of `main.mlirb`.
fn save(compressed: &Compressed, to: &Path, options: &WriteOptions) -> Result<u64, Box<dyn Error>> {
    let bar = Bytes::new("compressing", Some(0));
    let mut size = 0;
    let saved = compressed.asset.save(to, options, &mut |done, total| {
        size = total;
        bar.set(done, total);
    });
    drop(bar);
    saved.map_err(|error| Named::new(to, error))?;
    Ok(size)
}

/// `files`: bytes of `main.mlirb` before and after.
fn table(
    report: &CompressionReport,
    packed: usize,
    files: [Option<u64>; 2],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut table = Table::new("").right(&[2, 3, 4, 5]);
    if !report.weights.is_empty() {
        table.row(["weight", "stored as", "before", "after", "bits", "PSNR"]);
    }
    for weight in &report.weights {
        let (stored, psnr) = outcome(weight);
        let bits = format!("{:.2}", weight.bits_per_weight());
        let (was, is) = (bytes(weight.bytes_before), bytes(weight.bytes_after));
        table.row([weight.name.clone(), stored, was, is, bits, psnr]);
    }
    table.write(out)?;
    let CompressionTotals { compressed, left, bytes_before, bytes_after, bits_per_weight } = report.totals();
    let mut totals = Table::new("totals");
    let bits = if compressed > 0 { format!(", {bits_per_weight:.2} bits each") } else { String::new() };
    totals.row(["compressed", &format!("{compressed} weights{bits}")]);
    totals.row(["left", &format!("{left} weights, and {packed} that were packed already")]);
    totals.row(["weights", &format!("{} → {}", bytes(bytes_before), bytes(bytes_after))]);
    if let [Some(before), Some(after)] = files {
        totals.row(["main.mlirb", &format!("{} → {}", bytes(before), bytes(after))]);
    }
    totals.write(out)
}

/// How a weight is stored, and what was lost.
fn outcome(weight: &CompressedWeight) -> (String, String) {
    match &weight.outcome {
        Outcome::Left { reason } => (format!("{}: {reason}", weight.element), String::new()),
        Outcome::Compressed { codes, group, difference } => {
            let psnr = match difference {
                Some(difference) if difference.psnr_db.is_finite() => format!("{:.1} dB", difference.psnr_db),
                Some(difference) if difference.max_abs == 0.0 => "exact".into(),
                _ => String::new(),
            };
            (format!("{codes}, {group} to a {} scale", weight.element), psnr)
        }
    }
}
