//! `coreai-build compress`: weights as int8 or int4.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use coreai_asset::{Asset, Locations, WriteOptions};
use coreai_convert::ConvertError;
use coreai_convert::compress::{
    Compressed, CompressedWeight, CompressionReport, CompressionTotals, Outcome, compress,
};
use coreai_convert::quantize::{Pattern, Scheme, Schemes, Selection};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::bundle::{Bundle, Named};
use crate::quantity::bytes;
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
    /// Tables of token vectors, also where they are the output head too
    #[arg(long, value_enum, value_name = "SCHEME")]
    embedding: Option<Choice>,
    /// The output head, where it is a weight of its own
    #[arg(long, value_enum, value_name = "SCHEME")]
    head: Option<Choice>,
    /// Other factors of matrix products
    #[arg(long, value_enum, value_name = "SCHEME")]
    linear: Option<Choice>,
    /// Kernels of convolutions; w4 is for those of one pixel, others become w8
    #[arg(long, value_enum, value_name = "SCHEME")]
    conv: Option<Choice>,
    /// Matrices that a router picks from
    #[arg(long, value_enum, value_name = "SCHEME")]
    expert: Option<Choice>,
    /// Only weights whose whole name matches; repeatable
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Never weights whose whole name matches; repeatable, wins over --include
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
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
}

#[derive(Clone, Copy, ValueEnum)]
enum Preset {
    W8,
    W4,
}

#[derive(Clone, Copy, ValueEnum)]
enum Choice {
    W8,
    W4,
    None,
}

impl Choice {
    fn scheme(self) -> Option<Scheme> {
        match self {
            Self::W8 => Some(Scheme::W8),
            Self::W4 => Some(Scheme::W4),
            Self::None => None,
        }
    }
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
        let asset = Asset::open(&path).map_err(|error| Named::new(&path, error))?;
        let before = asset.source().len();
        let packed = asset.summary().compression.iter().map(|class| class.weights).sum();
        let selection = self.selection()?;
        let compressed = compress(asset, &selection).map_err(|error| Named::new(&path, error))?;
        self.warn_of_idle_patterns(&compressed.report(), &selection);
        let output = self.output.as_deref().filter(|_| !self.dry_run);
        let after = output.map(|output| self.write(&compressed, bundle.as_ref(), output)).transpose()?;
        let report = compressed.report();
        let mut out = io::BufWriter::new(io::stdout().lock());
        let written = match self.json {
            true => self.json(report, packed, [Some(before), after], &mut out),
            false => table(&report, packed, [Some(before), after], &mut out),
        };
        match written.and_then(|()| out.flush()) {
            // the reader, such as `head`, has seen enough
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
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
        let bits = match self.preset {
            Preset::W8 => "8bit",
            Preset::W4 => "4bit",
        };
        let changed = compressed.report().totals().compressed > 0;
        let changes = changed.then(|| ("compression", serde_json::Value::from(bits)));
        bundle.write(output, self.force, changes.as_slice(), |to| save(compressed, to, &options))
    }

    fn selection(&self) -> Result<Selection, Box<dyn Error>> {
        let preset = match self.preset {
            Preset::W8 => Schemes::W8,
            Preset::W4 => Schemes::W4,
        };
        let choose = |choice: Option<Choice>, scheme| choice.map_or(scheme, Choice::scheme);
        let schemes = Schemes {
            embedding: choose(self.embedding, preset.embedding),
            head: choose(self.head, preset.head),
            linear: choose(self.linear, preset.linear),
            conv: choose(self.conv, preset.conv),
            expert: choose(self.expert, preset.expert),
        };
        let patterns = |texts: &[String]| -> Result<Vec<Pattern>, ConvertError> {
            texts.iter().map(|text| Pattern::new(text)).collect()
        };
        Ok(Selection { include: patterns(&self.include)?, exclude: patterns(&self.exclude)?, schemes })
    }

    /// A pattern that matches nothing is most likely a mistake.
    fn warn_of_idle_patterns(&self, report: &CompressionReport, selection: &Selection) {
        for (option, patterns) in [("--include", &selection.include), ("--exclude", &selection.exclude)] {
            for pattern in patterns {
                if !report.weights.iter().any(|weight| pattern.matches(&weight.name)) {
                    eprintln!(
                        "warning: {option} {:?} matches no weight; --dry-run lists them",
                        pattern.as_str()
                    );
                }
            }
        }
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

/// Writes the asset under a bar on stderr; indicatif draws none where stderr is no terminal. Gives the bytes of
/// `main.mlirb`.
fn save(compressed: &Compressed, to: &Path, options: &WriteOptions) -> Result<u64, Box<dyn Error>> {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {elapsed}") {
        bar.set_style(style);
    }
    let mut size = 0;
    let saved = compressed.asset.save(to, options, &mut |done, total| {
        size = total;
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
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
