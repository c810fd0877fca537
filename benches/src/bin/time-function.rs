//! Times a function of any asset.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use coreai::{
    AIModel, AIModelAsset, ComputeUnitKind, ElementType, NDArray, OutputWant, PortDescriptor, Precision,
    SpecializationOptions,
};

/// Version of the JSON.
const SCHEMA_VERSION: u32 = 1;

#[derive(Clone, Copy, ValueEnum)]
enum Unit {
    Cpu,
    Gpu,
}

/// Times a function of an asset; inputs are random unless given.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Folder of the asset.
    asset: PathBuf,
    /// Function; the first one by default.
    #[arg(long)]
    function: Option<String>,
    /// Where to run it.
    #[arg(long, value_enum, default_value = "cpu")]
    compute_unit: Unit,
    /// Threads of the CPU unit; the machine's processors by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Timed runs.
    #[arg(short, default_value_t = 20)]
    n: usize,
    /// Untimed runs before them.
    #[arg(long, default_value_t = 2)]
    warm_up: usize,
    /// Stops early once timed runs took this long.
    #[arg(long, default_value_t = f64::INFINITY, value_name = "SECONDS")]
    limit: f64,
    /// Shape of an input or state whose extents are dynamic.
    #[arg(long, value_name = "NAME=N,…", value_parser = shape)]
    size: Vec<(String, Vec<usize>)>,
    /// Little-endian elements of an input, row-major.
    #[arg(long, value_name = "NAME=FILE", value_parser = file)]
    input: Vec<(String, PathBuf)>,
    /// Random integers are below this.
    #[arg(long, default_value_t = 2)]
    below: u32,
    /// Writes the elements of every output to FOLDER/NAME.
    #[arg(long, value_name = "FOLDER")]
    outputs: Option<PathBuf>,
    /// Prints the names of inputs, outputs and states as JSON, and runs nothing.
    #[arg(long)]
    describe: bool,
    /// Prints JSON with every time.
    #[arg(long)]
    json: bool,
}

fn pair(text: &str) -> Result<(String, &str), String> {
    let (name, rest) = text.split_once('=').ok_or("NAME=… expected")?;
    Ok((name.into(), rest))
}

fn shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let (name, sizes) = pair(text)?;
    let sizes = sizes.split(',').map(|n| n.parse().map_err(|_| format!("{n} is no extent")));
    Ok((name, sizes.collect::<Result<_, _>>()?))
}

fn file(text: &str) -> Result<(String, PathBuf), String> {
    pair(text).map(|(name, path)| (name, path.into()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    if options.n == 0 {
        return Err("-n must be at least 1".into());
    }
    if let Some(threads) = options.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    }
    let sizes: BTreeMap<&str, &[usize]> =
        options.size.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();

    let asset = AIModelAsset::open(&options.asset)?;
    let functions = asset.functions();
    let function = match &options.function {
        Some(name) => functions.iter().find(|f| f.name == *name),
        None => functions.first(),
    };
    let function = function.ok_or("the asset has no such function")?;
    if options.describe {
        let names = |ports: &[PortDescriptor]| ports.iter().map(|p| p.name.clone()).collect::<Vec<_>>();
        println!(
            "{}",
            serde_json::json!({
                "schema_version": SCHEMA_VERSION,
                "function": function.name,
                "inputs": names(&function.inputs),
                "outputs": names(&function.outputs),
                "states": names(&function.states),
            })
        );
        return Ok(());
    }
    let compute_unit = match options.compute_unit {
        Unit::Cpu => ComputeUnitKind::Cpu,
        Unit::Gpu => ComputeUnitKind::Gpu,
    };
    let model = AIModel::specialize_blocking(
        asset.clone(),
        SpecializationOptions {
            compute_unit,
            allow_software_adapter: true,
            precision: Precision::Exact,
            ..SpecializationOptions::default()
        },
    )?;
    let states =
        function.states.iter().map(|port| extents(port, &sizes)).collect::<Result<Vec<_>, String>>()?;
    let states: Vec<(&str, &[usize])> = function
        .states
        .iter()
        .zip(&states)
        .map(|(port, dims)| (port.name.as_str(), dims.as_slice()))
        .collect();
    let mut session = model.session_blocking(&function.name, &states)?;

    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for port in &function.inputs {
        let dims = extents(port, &sizes)?;
        let array = match options.input.iter().find(|(name, _)| *name == port.name) {
            Some((_, path)) => NDArray::new(port.element, dims, std::fs::read(path)?)?,
            None => random.array(port.element, &dims, options.below)?,
        };
        session.set_array(&port.name, &array)?;
    }
    let wants: Vec<OutputWant> = (0..function.outputs.len()).map(OutputWant::all).collect();

    let first = Instant::now();
    session.run_blocking(&wants)?;
    let first = first.elapsed();
    for _ in 1..options.warm_up {
        session.run_blocking(&wants)?;
    }
    let mut times = vec![];
    while times.len() < options.n
        && (times.is_empty() || times.iter().sum::<Duration>().as_secs_f64() < options.limit)
    {
        let start = Instant::now();
        session.run_blocking(&wants)?;
        times.push(start.elapsed());
    }

    if let Some(folder) = &options.outputs {
        std::fs::create_dir_all(folder)?;
        for (i, port) in function.outputs.iter().enumerate() {
            std::fs::write(folder.join(&port.name), session.output_array(i)?.data)?;
        }
    }
    let milliseconds: Vec<f64> = times.iter().map(|t| t.as_secs_f64() * 1e3).collect();
    let mut sorted = milliseconds.clone();
    sorted.sort_by(f64::total_cmp);
    let (least, median) = (sorted[0], sorted[sorted.len() / 2]);
    if options.json {
        let figures = serde_json::json!({
            "schema_version": SCHEMA_VERSION,
            "function": function.name,
            "device": model.adapter_name(),
            "first_ms": first.as_secs_f64() * 1e3,
            "median_ms": median,
            "least_ms": least,
            "times_ms": milliseconds,
            "outputs": function.outputs.iter().map(|port| &port.name).collect::<Vec<_>>(),
        });
        println!("{figures}");
    } else {
        println!(
            "{} on {}: median {median:.3} ms, least {least:.3} ms, {} runs",
            function.name,
            model.adapter_name(),
            sorted.len()
        );
    }
    Ok(())
}

/// Extents of a port, its dynamic ones taken from `--size`.
fn extents(port: &PortDescriptor, sizes: &BTreeMap<&str, &[usize]>) -> Result<Vec<usize>, String> {
    let given = sizes.get(port.name.as_str());
    let declared: Option<Vec<usize>> = port.shape.iter().copied().collect();
    match (given, declared) {
        (Some(given), _) => Ok(given.to_vec()),
        (None, Some(declared)) => Ok(declared),
        (None, None) => Err(format!("{} has dynamic extents: give them with --size", port.name)),
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Floats from −1 to 1, integers below `below`.
    fn array(&mut self, element: ElementType, dims: &[usize], below: u32) -> Result<NDArray, Box<dyn Error>> {
        let count: usize = dims.iter().product();
        let mut float = || (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0;
        let data: Vec<u8> = match element {
            ElementType::F32 => (0..count).flat_map(|_| float().to_le_bytes()).collect(),
            // Without the upper exponent bit, so below 2 in magnitude and finite.
            ElementType::F16 | ElementType::BF16 => {
                (0..count).flat_map(|_| (self.next() as u16 & 0xbfff).to_le_bytes()).collect()
            }
            other => {
                let bytes = other.bits().div_ceil(8) as usize;
                let below = u64::from(below.max(1));
                (0..count).flat_map(|_| (self.next() % below).to_le_bytes()[..bytes].to_vec()).collect()
            }
        };
        Ok(NDArray::new(element, dims.to_vec(), data)?)
    }
}
