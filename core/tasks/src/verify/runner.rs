//! Runs a recorded case on a unit and compares every output and state.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use coreai::gpu::GpuDevice;
use coreai::{
    AIModel, AIModelAsset, ComputeUnitKind, ElementType, Error, NDArray, OutputWant, Precision, Session,
    SpecializationOptions,
};
use serde::Serialize;

use super::case::{Case, Step, TensorRef, name_of};
use super::compare::{Bad, Comparison, compare, distance, peak, values};
use super::error::VerifyError;
use super::expected::{Difference, Expected, ExpectedResult};
use super::results;
use super::tolerance::{WIDE_FACTOR, WIDE_REACH, allowed, ulp};

/// How cases run.
#[derive(Clone)]
pub struct Settings {
    /// Unit, precision, rules.
    pub options: SpecializationOptions,
    /// The device that all cases share; `None` on the CPU unit.
    pub device: Option<Arc<GpuDevice>>,
    /// What is known beforehand.
    pub expected: Arc<Expected>,
    /// Folder of results that were computed elsewhere; they are compared instead of running anything.
    pub results: Option<Arc<Path>>,
}

/// What became of a case.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Id.
    pub case: String,
    /// Group.
    pub family: String,
    /// Result.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Lowest PSNR of an output or state in dB; infinite when all are equal to the recorded ones,
    /// absent when nothing was compared.
    pub worst_psnr: Option<f64>,
    /// Largest difference, relative to the largest recorded magnitude of its tensor.
    pub worst_error: Option<f64>,
    /// Tensors beyond the relative bound that are as close to the wide result as the recorded ones.
    pub by_wide: usize,
    /// Elements that differ as the list of expected differences says.
    pub expected_differences: usize,
    /// Time, reading included.
    pub seconds: f64,
}

/// Result of a case.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum Verdict {
    /// Everything that was recorded agrees.
    Passed,
    /// Not compared.
    Skipped {
        /// Why.
        reason: Skip,
        /// Whether the list of expected results has it. An unlisted skip is a failure of the run.
        listed: bool,
    },
    /// Something differs, or an error.
    Failed(Failure),
}

/// Why results were not compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Skip {
    /// Planned for the unit; there is nothing to run or compare.
    Loads,
    /// Ran; there is nothing to compare with.
    Runs,
    /// Ended in a typed error.
    Error {
        /// Code of the error.
        code: String,
        /// Op that the error names.
        op: Option<String>,
        /// The error.
        message: String,
    },
}

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Skip::Loads => f.write_str("loads, nothing is recorded"),
            Skip::Runs => f.write_str("runs, nothing is recorded"),
            Skip::Error { code, op: Some(op), .. } => write!(f, "{code}: {op}"),
            Skip::Error { code, op: None, .. } => f.write_str(code),
        }
    }
}

/// Why a case failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Failure {
    /// Op that the error names.
    pub op: Option<String>,
    /// Output or state that differs.
    pub output: Option<String>,
    /// Step, from 0.
    pub step: Option<usize>,
    /// Code of the error; `mismatch` for a difference, `panic` for a defect.
    pub code: String,
    /// What happened.
    pub detail: String,
    /// First element out of bounds.
    pub first: Option<Box<Bad>>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(step) = self.step {
            write!(f, "step {step}: ")?;
        }
        // Errors name their op themselves.
        let named = self.op.as_ref().or(self.output.as_ref()).filter(|name| !self.detail.contains(*name));
        if let Some(name) = named {
            write!(f, "{name}: ")?;
        }
        f.write_str(&self.detail)?;
        match &self.first {
            Some(bad) => write!(f, "; first at {bad}"),
            None => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let op = match &error {
            Error::Unsupported { op, .. } | Error::Program { op, .. } | Error::IndexOutOfRange { op, .. } => {
                Some(op.clone())
            }
            _ => None,
        };
        Failure { op, code: error.code().into(), detail: error.to_string(), ..Failure::default() }
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Failure {
        Failure { code: error.code().into(), detail: error.to_string(), ..Failure::default() }
    }
}

impl Failure {
    pub(super) fn case(detail: String) -> Failure {
        Failure { code: "case".into(), detail, ..Failure::default() }
    }

    fn at(self, step: usize) -> Failure {
        Failure { step: self.step.or(Some(step)), ..self }
    }
}

/// Reads and runs a case. A panic is this case's failure.
pub fn run_folder(folder: &Path, settings: &Settings) -> Outcome {
    let start = Instant::now();
    let id = name_of(folder);
    let work = || match Case::read(folder) {
        Ok(case) => run(&case, settings),
        Err(e) => {
            let family = id.split('-').next().unwrap_or_default().to_string();
            Measured::default().outcome(&id, &family, Verdict::Failed(e.into()))
        }
    };
    let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let failure = Failure {
            code: "panic".into(),
            detail: format!("panicked: {}", text(&*payload)),
            ..Failure::default()
        };
        Measured::default().outcome(&id, id.split('-').next().unwrap_or_default(), Verdict::Failed(failure))
    });
    Outcome { seconds: start.elapsed().as_secs_f64(), ..outcome }
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| s.to_string());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

/// Runs every step of a case and compares outputs and states with the recorded ones.
pub fn run(case: &Case, settings: &Settings) -> Outcome {
    let mut measured = Measured::default();
    let verdict = if case.is_recorded() || referenced(case) {
        recorded(case, settings, &mut measured)
    } else {
        unrecorded(case, settings)
    };
    measured.outcome(&case.id, &case.family, verdict)
}

/// Whether results of PyTorch can stand in for recorded ones: a tolerance says how close they are.
fn referenced(case: &Case) -> bool {
    case.tolerance.is_some() && case.steps.iter().any(|s| !s.reference.is_empty())
}

/// Name of a unit in the list of expected results.
pub(super) fn unit_name(unit: ComputeUnitKind) -> &'static str {
    match unit {
        ComputeUnitKind::Cpu => "cpu",
        ComputeUnitKind::Gpu => "gpu",
    }
}

fn recorded(case: &Case, settings: &Settings, measured: &mut Measured) -> Verdict {
    let mut wide = Wide { case, results: None };
    let compared = settings.execute(case, &mut |at, found| {
        if let Some(expected) = at.recorded(case)? {
            measured.check(case, settings, &mut wide, &at, &found, &expected)?;
        }
        Ok(())
    });
    match compared {
        Ok(()) => Verdict::Passed,
        Err(f) => {
            let listed = settings.expected.skips(&case.id, unit_name(settings.options.compute_unit), &f.code);
            if f.code == "unsupported" || listed {
                let reason = Skip::Error { code: f.code, op: f.op, message: f.detail };
                return Verdict::Skipped { reason, listed };
            }
            Verdict::Failed(f)
        }
    }
}

/// A case with nothing to compare does what the list says.
fn unrecorded(case: &Case, settings: &Settings) -> Verdict {
    let row = settings.expected.unrecorded(&case.id).map(|u| &u.result);
    let run = !case.steps.is_empty() && row != Some(&ExpectedResult::Loads);
    let result = if run {
        settings.execute(case, &mut |_, _| Ok(()))
    } else if let Some(folder) = &settings.results {
        results::find(folder, case).map(drop)
    } else {
        specialize(&case.asset, &settings.options, settings.device.clone()).map(drop).map_err(Failure::from)
    };
    let found = match &result {
        Ok(()) if run => ExpectedResult::Runs,
        Ok(()) => ExpectedResult::Loads,
        Err(f) => ExpectedResult::Error(f.code.clone()),
    };
    let listed = row == Some(&found);
    match (result, row) {
        (Ok(()), _) if listed || row.is_none() => {
            Verdict::Skipped { reason: if run { Skip::Runs } else { Skip::Loads }, listed }
        }
        (Err(f), _) if listed || f.code == "unsupported" => {
            Verdict::Skipped { reason: Skip::Error { code: f.code, op: f.op, message: f.detail }, listed }
        }
        (Err(f), _) => Verdict::Failed(f),
        (Ok(()), _) => {
            let detail = format!("{}; the list says {}", tell(&found), row.map_or_else(String::new, tell));
            Verdict::Failed(Failure::case(detail))
        }
    }
}

fn tell(result: &ExpectedResult) -> String {
    match result {
        ExpectedResult::Runs => "runs".into(),
        ExpectedResult::Loads => "loads".into(),
        ExpectedResult::Error(code) => format!("error {code}"),
    }
}

/// Opens an asset and specializes it, on `device` for the GPU unit.
fn specialize(
    path: &Path,
    options: &SpecializationOptions,
    device: Option<Arc<GpuDevice>>,
) -> Result<Arc<AIModel>, Error> {
    let asset = AIModelAsset::open(path)?;
    pollster::block_on(AIModel::specialize_on(asset, options.clone(), device, &mut |_| {}))
}

/// A result of a step.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub step: usize,
    pub name: &'a str,
    pub file: &'static str,
    pub tensor: &'a TensorRef,
}

impl At<'_> {
    /// What it is compared with; `None` for a state that was not stored again.
    fn recorded(&self, case: &Case) -> Result<Option<NDArray>, Failure> {
        case.tensor(self.file, self.tensor).map_err(|e| Failure::from(e).at(self.step))
    }
}

/// Gets every result that a case has something recorded for.
type Sink<'a> = dyn FnMut(At, NDArray) -> Result<(), Failure> + 'a;

impl Settings {
    /// Every result of a case, computed here or elsewhere.
    fn execute(&self, case: &Case, sink: &mut Sink) -> Result<(), Failure> {
        let Some(folder) = &self.results else {
            return execute(case, &self.options, self.device.clone(), sink);
        };
        let found = results::find(folder, case)?;
        for (number, step) in case.steps.iter().enumerate() {
            for at in wanted(case, number, step) {
                sink(at, results::get(&found, &at)?).map_err(|f| f.at(number))?;
            }
        }
        Ok(())
    }
}

/// What a step is asked for. Outputs by name where they were recorded; by position where PyTorch's
/// results stand in for them.
fn wanted<'a>(case: &'a Case, number: usize, step: &'a Step) -> Vec<At<'a>> {
    let of = |file: &'static str, list: &'a BTreeMap<String, TensorRef>| {
        list.iter().map(move |(name, tensor)| At { step: number, name, file, tensor })
    };
    let mut all: Vec<At> = of("outputs", &step.outputs).collect();
    if all.is_empty() && referenced(case) {
        all.extend(of("reference", &step.reference));
    }
    all.extend(of("states", &step.state_after));
    all
}

/// Runs every step; states go from step to step.
fn execute(
    case: &Case,
    options: &SpecializationOptions,
    device: Option<Arc<GpuDevice>>,
    sink: &mut Sink,
) -> Result<(), Failure> {
    let model = specialize(&case.asset, options, device)?;
    let shapes: Vec<(&str, &[usize])> = case.steps.first().map_or(vec![], |step| {
        step.state_before.iter().map(|(n, t)| (n.as_str(), t.shape.as_slice())).collect()
    });
    let mut session = model.session_blocking(&case.function, &shapes)?;
    for (number, step) in case.steps.iter().enumerate() {
        call(case, number, step, &mut session, sink).map_err(|f| f.at(number))?;
    }
    Ok(())
}

fn call(
    case: &Case,
    number: usize,
    step: &Step,
    session: &mut Session,
    sink: &mut Sink,
) -> Result<(), Failure> {
    for (name, tensor) in &step.state_before {
        if let Some(array) = case.tensor("states", tensor)? {
            session.write_state(name, &array)?;
        }
    }
    for (name, tensor) in &step.inputs {
        let array = case.tensor("inputs", tensor)?;
        let array = array.ok_or_else(|| Failure::case(format!("input {name:?} has no key")))?;
        session.set_array(name, &array)?;
    }
    let wanted = wanted(case, number, step);
    let mut outputs = vec![];
    for at in wanted.iter().filter(|at| at.file != "states") {
        let name = at.name;
        let index = match at.file {
            "reference" => name.parse().map_err(|_| format!("reference {name:?} is no position")),
            _ => session.output_index(name).ok_or_else(|| format!("the function has no output {name:?}")),
        };
        outputs.push((index.map_err(Failure::case)?, at));
    }
    let wants: Vec<OutputWant> = outputs.iter().map(|(index, _)| OutputWant::all(*index)).collect();
    session.run_blocking(&wants)?;
    for (index, at) in outputs {
        sink(*at, session.output_array(index)?)?;
    }
    for at in wanted.iter().filter(|at| at.file == "states") {
        sink(*at, session.read_state_blocking(at.name)?)?;
    }
    Ok(())
}

/// Results with float64 accumulators on the CPU unit, computed when a tensor first needs them.
struct Wide<'a> {
    case: &'a Case,
    results: Option<BTreeMap<(usize, &'static str, String), NDArray>>,
}

impl Wide<'_> {
    fn get(&mut self, at: &At) -> Option<&NDArray> {
        let results = self.results.get_or_insert_with(|| {
            let options = SpecializationOptions {
                compute_unit: ComputeUnitKind::Cpu,
                precision: Precision::Wide,
                ..SpecializationOptions::default()
            };
            let mut results = BTreeMap::new();
            // What could not be computed is missing below, and the tensor then fails.
            let _ = execute(self.case, &options, None, &mut |at, array| {
                results.insert((at.step, at.file, at.name.to_string()), array);
                Ok(())
            });
            results
        });
        results.get(&(at.step, at.file, at.name.to_string()))
    }
}

#[derive(Default)]
struct Measured {
    worst_psnr: Option<f64>,
    worst_error: Option<f64>,
    by_wide: usize,
    expected_differences: usize,
}

impl Measured {
    fn outcome(self, case: &str, family: &str, verdict: Verdict) -> Outcome {
        Outcome {
            case: case.into(),
            family: family.into(),
            verdict,
            worst_psnr: self.worst_psnr,
            worst_error: self.worst_error,
            by_wide: self.by_wide,
            expected_differences: self.expected_differences,
            seconds: 0.0,
        }
    }

    fn note(&mut self, comparison: &Comparison) {
        let psnr = self.worst_psnr.unwrap_or(f64::INFINITY).min(comparison.psnr);
        let error = self.worst_error.unwrap_or(0.0).max(comparison.max_rel);
        (self.worst_psnr, self.worst_error) = (Some(psnr), Some(error));
        self.expected_differences += comparison.excused;
    }

    fn check(
        &mut self,
        case: &Case,
        settings: &Settings,
        wide: &mut Wide,
        at: &At,
        found: &NDArray,
        expected: &NDArray,
    ) -> Result<(), Failure> {
        let failed = |detail: String, first: Option<Bad>| Failure {
            output: Some(at.name.into()),
            step: Some(at.step),
            code: "mismatch".into(),
            detail,
            first: first.map(Box::new),
            ..Failure::default()
        };
        if found.element != expected.element || found.shape != expected.shape {
            let detail = format!(
                "{} {:?}, expected {} {:?}",
                found.element, found.shape, expected.element, expected.shape
            );
            return Err(failed(detail, None));
        }
        let rounding = case.rounding();
        let recorded = values(expected);
        let magnitude = peak(&recorded).max(case.ref_max.unwrap_or(0.0));
        let bounds = allowed(expected.element, rounding, magnitude, case.tolerance);
        let rows = settings.expected.differences(&case.id, at.name, at.step);
        let excused = |index: &[usize]| excuses(&rows, index);
        let comparison = compare(found, expected, &bounds, &excused);
        self.note(&comparison);
        let at_most: usize = rows.iter().map(|d| d.at_most).sum();
        if comparison.bad <= at_most {
            self.expected_differences += comparison.bad;
            return Ok(());
        }
        if bounds.wide
            && let Some(wide) = wide.get(at).filter(|w| w.shape == expected.shape).map(values)
        {
            let ulp = ulp(coarser(expected.element, rounding), peak(&recorded));
            let (ours, theirs) = (distance(&values(found), &wide), distance(&recorded, &wide));
            if theirs <= WIDE_REACH * bounds.absolute && ours <= WIDE_FACTOR * theirs + ulp {
                self.by_wide += 1;
                return Ok(());
            }
        }
        let detail = format!(
            "{} of {} elements differ, by {:.3e} at most ({:.1} dB)",
            comparison.bad,
            expected.len(),
            comparison.max_abs,
            comparison.psnr
        );
        Err(failed(detail, comparison.first))
    }
}

/// The type whose last place counts: a float32 result of a float16 program is float16-exact.
fn coarser(element: ElementType, rounding: ElementType) -> ElementType {
    if element == ElementType::F32 { rounding } else { element }
}

fn excuses(rows: &[&Difference], index: &[usize]) -> bool {
    rows.iter().any(|d| d.elements.iter().any(|e| e == index))
}
