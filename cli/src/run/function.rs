//! `coreai-run run`: any function of any asset.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use coreai::{
    AIModel, AIModelAsset, FunctionDescriptor, NDArray, OutputWant, PortDescriptor, Session,
    SpecializationOptions,
};
use coreai_tasks::tensors::{
    Pixels, Random, Reading, Statistics, TensorError, check_shape, read, write_npy, write_png,
};
use serde_json::{Value, json};

use super::device::Device;
use super::failure::Failure;
use super::figures::{self, SCHEMA_VERSION};
use super::loading;
use super::prompt::print;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  coreai-run run model.aimodel --random                             does it run, and what comes out
  coreai-run run model.aimodel --input x=x.npy --output results     results/NAME.npy per output
  coreai-run run model.aimodel --input ids=1,5,9 --input mask=m.safetensors:mask
  coreai-run run vision.aimodel --input image=cat.jpg --resize --mean 0.5 --std 0.5
  coreai-run run model.aimodel --random 7 --shape x=1,3,224,224     where extents are dynamic
  coreai-run run decoder.aimodel --function extend --random --state-shape k=1,2,64,16 --steps 3

A value is a file (.npy, .safetensors, .json, .png, .jpg) or numbers with commas. Integers are converted
where they fit, floats are rounded; both are said on stderr.";

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Run {
    /// .aimodel folder or main.mlirb
    #[arg(value_name = "ASSET")]
    asset: PathBuf,
    /// Function to run [default: main, or the only one]
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Value of an input; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = named)]
    input: Vec<(String, String)>,
    /// Value of a state before the first step; states start as zeros
    #[arg(long, value_name = "NAME=VALUE", value_parser = named)]
    state: Vec<(String, String)>,
    /// Extents of a state that has dynamic ones
    #[arg(long, value_name = "NAME=1,2,3", value_parser = named_shape)]
    state_shape: Vec<(String, Vec<usize>)>,
    /// Extents of an input: for made-up values, or instead of those in a file
    #[arg(long, value_name = "NAME=1,2,3", value_parser = named_shape)]
    shape: Vec<(String, Vec<usize>)>,
    /// Make up the inputs that are not given: floats in [-1, 1), small integers
    #[arg(long, value_name = "SEED", num_args = 0..=1, default_missing_value = "0")]
    random: Option<u64>,
    /// Times to run, with the same inputs; states go from step to step
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Folder for the results of the last step, one .npy per output and state
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Write outputs that look like pictures as .png as well: uint8, or floats from 0 to 1
    #[arg(long, requires = "output")]
    png: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Scale pictures to the input's extents
    #[arg(long, help_heading = "Pictures")]
    resize: bool,
    /// Subtracted from the values in 0 to 1 of a float input: one number or one per channel
    #[arg(
        long,
        value_name = "M",
        value_delimiter = ',',
        allow_negative_numbers = true,
        help_heading = "Pictures"
    )]
    mean: Vec<f64>,
    /// Divided by afterwards
    #[arg(long, value_name = "S", value_delimiter = ',', value_parser = divisor, help_heading = "Pictures")]
    std: Vec<f64>,
    #[command(flatten)]
    device: Device,
    /// Print every choice and fallback to stderr
    #[arg(long, help_heading = "Debugging")]
    report: bool,
}

fn named(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.into(), value.into())),
        _ => Err("expected NAME=VALUE".into()),
    }
}

fn named_shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let (name, list) = named(text)?;
    let shape = list.split(',').map(|d| d.trim().parse::<usize>()).collect::<Result<_, _>>();
    shape.map(|shape| (name, shape)).map_err(|_| "expected NAME=1,2,3".into())
}

fn divisor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value != 0.0 => Ok(value),
        _ => Err("expected a number other than 0".into()),
    }
}

impl From<TensorError> for Failure {
    fn from(error: TensorError) -> Failure {
        Failure::new(error.to_string())
    }
}

/// A tensor that came out.
struct Found {
    kind: &'static str,
    name: String,
    array: NDArray,
    statistics: Statistics,
    files: Vec<String>,
    stored: Option<&'static str>,
}

impl Run {
    /// Runs the function and prints what came out.
    pub fn run(self) -> Result<(), Failure> {
        let options = self.device.options()?;
        let asset = AIModelAsset::open(&self.asset)
            .map_err(|e| Failure::new(format!("{}: {e}", self.asset.display())))?;
        let function = self.choose(asset.functions())?;
        let mut notes = vec![];
        let inputs = self.inputs(&function, &mut notes)?;
        let states = self.states(&function, &mut notes)?;
        for note in &notes {
            eprintln!("note: {note}");
        }
        let (model, mut session) = self.open(asset, options, &function, &states)?;
        for (name, array) in &states {
            session.write_state(name, array)?;
        }
        for (name, array) in &inputs {
            session.set_array(name, array)?;
        }
        let wants: Vec<OutputWant> = (0..function.outputs.len()).map(OutputWant::all).collect();
        loading::spin("running".into(), || (0..self.steps).try_for_each(|_| session.run_blocking(&wants)))?;
        let found = self.results(&function, &session)?;
        if self.report {
            figures::print_report(&model.report());
        }
        if self.json {
            let all = json!({
                "schema_version": SCHEMA_VERSION,
                "function": function.name,
                "steps": self.steps,
                "seed": self.random,
                "adapter": model.adapter_name(),
                "outputs": of_kind(&found, "output"),
                "states": of_kind(&found, "state"),
                "notes": notes,
                "report": model.report(),
            });
            return print(&format!("{all:#}\n"));
        }
        print(&table(&found)?)
    }

    fn choose(&self, functions: Vec<FunctionDescriptor>) -> Result<FunctionDescriptor, Failure> {
        let names: Vec<String> = functions.iter().map(|f| f.name.clone()).collect();
        let wanted = match (&self.function, names.as_slice()) {
            (Some(name), _) => name.clone(),
            (None, [only]) => only.clone(),
            (None, _) => "main".into(),
        };
        functions.into_iter().find(|f| f.name == wanted).ok_or_else(|| {
            Failure::new(format!(
                "no function named {wanted:?}; --function takes one of {}",
                names.join(", ")
            ))
        })
    }

    /// What each input gets, in the order of the function's inputs.
    fn inputs(
        &self,
        function: &FunctionDescriptor,
        notes: &mut Vec<String>,
    ) -> Result<Vec<(String, NDArray)>, Failure> {
        known("input", self.input.iter().map(|(name, _)| name), &function.inputs)?;
        known("input", self.shape.iter().map(|(name, _)| name), &function.inputs)?;
        let mut random = Random::new(self.random.unwrap_or(0));
        let mut inputs = vec![];
        for port in &function.inputs {
            let shape =
                self.shape.iter().find(|(name, _)| *name == port.name).map(|(_, shape)| shape.clone());
            let array = match self.input.iter().rfind(|(name, _)| *name == port.name) {
                Some((_, value)) => {
                    let pixels =
                        Pixels { resize: self.resize, mean: self.mean.clone(), std: self.std.clone() };
                    let fitted = read(port, value, &Reading { shape, pixels })?;
                    notes.extend(fitted.notes);
                    fitted.array
                }
                None if self.random.is_some() => {
                    let shape = shape.or_else(|| port.shape.iter().copied().collect()).ok_or_else(|| {
                        Failure::new(format!(
                            "{} has dynamic extents; --shape {}=… gives them",
                            tell(port),
                            port.name
                        ))
                    })?;
                    check_shape(port, &shape)?;
                    random.tensor(port.element, &shape)?
                }
                None => {
                    return Err(Failure::new(format!(
                        "{} is not given; --input {}=… gives it, --random makes it up",
                        tell(port),
                        port.name
                    )));
                }
            };
            inputs.push((port.name.clone(), array));
        }
        Ok(inputs)
    }

    fn states(
        &self,
        function: &FunctionDescriptor,
        notes: &mut Vec<String>,
    ) -> Result<Vec<(String, NDArray)>, Failure> {
        known("state", self.state.iter().map(|(name, _)| name), &function.states)?;
        known("state", self.state_shape.iter().map(|(name, _)| name), &function.states)?;
        let mut states = vec![];
        for port in &function.states {
            let Some((_, value)) = self.state.iter().rfind(|(name, _)| *name == port.name) else { continue };
            let shape = self.given_shape(port).map(<[usize]>::to_vec);
            let fitted = read(port, value, &Reading { shape, ..Reading::default() })?;
            notes.extend(fitted.notes);
            states.push((port.name.clone(), fitted.array));
        }
        Ok(states)
    }

    fn given_shape(&self, port: &PortDescriptor) -> Option<&[usize]> {
        self.state_shape.iter().find(|(name, _)| *name == port.name).map(|(_, shape)| shape.as_slice())
    }

    fn open(
        &self,
        asset: Arc<AIModelAsset>,
        options: SpecializationOptions,
        function: &FunctionDescriptor,
        states: &[(String, NDArray)],
    ) -> Result<(Arc<AIModel>, Session), Failure> {
        let mut shapes: Vec<(&str, &[usize])> = vec![];
        for port in &function.states {
            let value = states.iter().find(|(name, _)| *name == port.name).map(|(_, a)| a.shape.as_slice());
            match self.given_shape(port).or(value) {
                Some(shape) => {
                    check_shape(port, shape)?;
                    shapes.push((&port.name, shape));
                }
                None if port.shape.contains(&None) => {
                    return Err(Failure::new(format!(
                        "{} has dynamic extents; --state-shape {}=… gives them",
                        tell(port),
                        port.name
                    )));
                }
                None => {}
            }
        }
        let model = loading::spin(format!("loading {}", self.asset.display()), || {
            AIModel::specialize_blocking(asset, options)
        })?;
        let session = model.session_blocking(&function.name, &shapes)?;
        Ok((model, session))
    }

    fn results(&self, function: &FunctionDescriptor, session: &Session) -> Result<Vec<Found>, Failure> {
        if let Some(folder) = &self.output {
            let failed = |e| Failure::new(format!("{}: {e}", folder.display()));
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut found = vec![];
        for (index, port) in function.outputs.iter().enumerate() {
            found.push(self.keep("output", &port.name, session.output_array(index)?)?);
        }
        for port in &function.states {
            found.push(self.keep("state", &port.name, session.read_state_blocking(&port.name)?)?);
        }
        Ok(found)
    }

    /// Writes a result where a folder was given.
    fn keep(&self, kind: &'static str, name: &str, array: NDArray) -> Result<Found, Failure> {
        let statistics = Statistics::of(&array)?;
        let (mut files, mut stored) = (vec![], None);
        if let Some(folder) = &self.output {
            let prefix = if kind == "state" { "state." } else { "" };
            let path = folder.join(format!("{prefix}{}.npy", file_name(name)));
            stored = write_npy(&path, &array)?;
            files.push(path.display().to_string());
            let picture = folder.join(format!("{prefix}{}.png", file_name(name)));
            if self.png && write_png(&picture, &array)? {
                files.push(picture.display().to_string());
            }
        }
        Ok(Found { kind, name: name.into(), array, statistics, files, stored })
    }
}

/// Refuses names that the function does not have.
fn known<'a>(
    kind: &str,
    names: impl Iterator<Item = &'a String>,
    ports: &[PortDescriptor],
) -> Result<(), Failure> {
    for name in names {
        if !ports.iter().any(|p| p.name == *name) {
            let list: Vec<String> = ports.iter().map(tell).collect();
            let all = if list.is_empty() { "none".into() } else { list.join(", ") };
            return Err(Failure::new(format!("no {kind} named {name:?}; the function has {all}")));
        }
    }
    Ok(())
}

/// `x (float32 [1, ?])`
fn tell(port: &PortDescriptor) -> String {
    let extents: Vec<String> = port.shape.iter().map(|d| d.map_or("?".into(), |d| d.to_string())).collect();
    format!("{} ({} [{}])", port.name, port.element.name(), extents.join(", "))
}

/// A name of an asset as the name of a file: it may not leave the folder.
fn file_name(name: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let text: String = name.chars().map(safe).take(100).collect();
    if Path::new(&text).file_name().is_some() { text } else { format!("_{}", text.replace('.', "_")) }
}

fn of_kind(found: &[Found], kind: &str) -> Vec<Value> {
    let of = found.iter().filter(|f| f.kind == kind);
    of.map(|f| {
        json!({
            "name": f.name,
            "dtype": f.array.element.name(),
            "shape": f.array.shape,
            "statistics": f.statistics,
            "files": f.files,
            "stored_as": f.stored,
        })
    })
    .collect()
}

fn table(found: &[Found]) -> Result<String, Failure> {
    let mut table = Table::new("").right(&[3, 4, 5]);
    table.row(["name", "dtype", "shape", "min", "max", "mean", "first values"]);
    let number = |x: Option<f64>| x.map_or(String::new(), |x| format!("{x:.6}"));
    for f in found {
        let s = &f.statistics;
        let mut first = s.first.join(" ");
        if f.array.len() > s.first.len() {
            first += " …";
        }
        if s.nonfinite > 0 {
            first += &format!("  ({} not finite)", s.nonfinite);
        }
        let name = if f.kind == "state" { format!("{} (state)", f.name) } else { f.name.clone() };
        table.row([
            name,
            f.array.element.name().into(),
            format!("{:?}", f.array.shape),
            number(s.min),
            number(s.max),
            number(s.mean),
            first,
        ]);
    }
    let mut rows = vec![];
    table.write(&mut rows)?;
    let mut text = String::from_utf8_lossy(&rows).into_owned();
    for f in found {
        for file in &f.files {
            text += &format!("{file}\n");
        }
        if let Some(stored) = f.stored {
            text += &format!("{} is stored as {stored}: NumPy has no {}\n", f.name, f.array.element.name());
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_in_their_folder() {
        assert_eq!(file_name("logits"), "logits");
        assert_eq!(file_name("../../etc/x"), ".._.._etc_x");
        assert_eq!(file_name(".."), "___");
        assert_eq!(file_name(""), "_");
        assert_eq!(file_name("a:b c"), "a_b_c");
    }

    #[test]
    fn arguments_with_names() {
        assert_eq!(named("x=a=b"), Ok(("x".into(), "a=b".into())));
        assert_eq!(named_shape("x=1, 2"), Ok(("x".into(), vec![1, 2])));
        assert!(named("x").is_err() && named("=a").is_err() && named_shape("x=1,-2").is_err());
        assert!(divisor("0").is_err() && divisor("0.5") == Ok(0.5));
    }
}
