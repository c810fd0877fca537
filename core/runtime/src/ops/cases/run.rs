//! Runs a drawn graph three ways and compares: node by node on the host, which is the definition; as a
//! plan on the CPU unit; as a plan on the GPU unit.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use coreai_asset::{Asset, ByteSource, ElementType, ReadFuture};

use super::draw::Drawn;
use crate::cpu::CpuExecutor;
use crate::error::Error;
use crate::expr::Expr;
use crate::facts::is_integer;
use crate::gpu::{GpuConstants, GpuDevice, GpuLayout, OutputWant};
use crate::graph::Val;
use crate::host::{self, Elements, decode};
use crate::ndarray::NDArray;
use crate::options::{Precision, SpecializationOptions};
use crate::plan::Plan;
use crate::program::{BuildCx, plan};
use crate::words;

/// How far a float result may be from the definition, besides the rounding of its type.
#[derive(Clone, Copy, Debug)]
enum Bound {
    /// Not at all; NaN is as good as any other NaN.
    Exact,
    /// This part of the element, or of the second number where that is larger.
    Near(f64, f64),
    /// This part of the largest magnitude among results and operands.
    Sum(f64),
    /// The same, and the type's rounding of that magnitude: the definition may round at every step.
    Steps(f64),
}

/// By parts of the name; the first that fits.
const BOUNDS: &[(&[&str], Bound)] = &[
    // Vulkan allows 2.5 units in the last place for a division, 3 + 2|x| for an exponential.
    (&["broadcast_", "shapes"], Bound::Exact),
    (&["divide_v1", "sqrt", "modulo"], Bound::Near(4e-7, 1e-30)),
    (&["exp_v1", "sinh", "cosh", "pow"], Bound::Near(2e-5, 1e-6)),
    (&["gelu", "silu", "sigmoid"], Bound::Near(4e-6, 0.25)),
    (&["acos", "asin", "atan", "cos_v1", "sin_v1", "tan", "erf", "log_v1"], Bound::Near(4e-6, 3e-2)),
    (&["softmax"], Bound::Near(2e-6, 0.1)),
    (&["matmul", "conv", "sum", "mean", "product", "scan", "pool", "interpolate"], Bound::Sum(4e-6)),
    (&["quantize", "shift_scale", "range_v1"], Bound::Sum(1e-6)),
    (&["scatter_along"], Bound::Steps(1e-6)),
];

/// What came of a unit.
pub enum Answer {
    Results(Vec<NDArray>),
    /// A typed error of the run.
    Failed(Error),
    /// The unit leaves the op to the host.
    Left(String),
}

/// Values of every node, or why the definition has none.
pub fn definition(drawn: &Drawn) -> Result<Vec<Arc<NDArray>>, host::Fault> {
    let graph = &drawn.graph;
    let mut values: HashMap<Val, Arc<NDArray>> = drawn.leaves.clone();
    for node in &graph.nodes {
        let inputs: Vec<&NDArray> = node.inputs.iter().map(|v| &*values[v]).collect();
        let results: Vec<ElementType> = node.outputs.iter().map(|v| graph.fact(*v).element).collect();
        let region = node.region.as_deref();
        let call = host::Call { name: &node.name, attrs: &node.attrs, results: &results, region };
        let arrays = host::eval(&call, &inputs)?;
        values.extend(node.outputs.iter().copied().zip(arrays.into_iter().map(Arc::new)));
    }
    Ok(graph.outputs.iter().map(|(_, v)| values[v].clone()).collect())
}

/// The file of a small asset, with the constants of a draw behind it.
struct File {
    asset: &'static [u8],
    constants: Vec<u8>,
}

fn base() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| {
        let path = "../../tests/assets/staged-wide-types/model.aimodel/main.mlirb";
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
    })
}

/// Where constants begin, beyond what the asset's reader sees.
pub fn constants_at() -> u64 {
    base().len().next_multiple_of(64) as u64
}

impl ByteSource for File {
    /// Of what the asset's reader is to see.
    fn len(&self) -> u64 {
        self.asset.len() as u64
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        let bytes = self.slice(range).unwrap().to_vec();
        Box::pin(async move { Ok(bytes.into()) })
    }

    fn slice(&self, range: Range<u64>) -> Option<&[u8]> {
        let (bytes, from) = match range.start.checked_sub(constants_at()) {
            Some(_) => (self.constants.as_slice(), constants_at()),
            None => (self.asset, 0),
        };
        bytes.get((range.start - from) as usize..(range.end - from) as usize)
    }
}

/// The file that a draw's constants lie in.
pub fn asset(drawn: &Drawn) -> Arc<Asset> {
    let file = File { asset: base(), constants: drawn.constants.clone() };
    Arc::new(Asset::read_blocking(Arc::new(file), None, None).unwrap())
}

/// The plan of a graph; where it leaves the op to the host, why. Guards that refuse the symbols' values are
/// an error.
pub fn planned(drawn: &Drawn, asset: &Asset, gpu: bool, precision: Precision) -> Result<Plan, Answer> {
    let options = SpecializationOptions { precision, ..Default::default() };
    let made = plan(&BuildCx { asset, options: &options, gpu }, &drawn.graph).map_err(|failure| {
        if failure.unsupported {
            Answer::Left(failure.error.to_string())
        } else {
            Answer::Failed(*failure.error)
        }
    })?;
    let refused = made.plan.guards.iter().find(|g| {
        let x = g.expr.eval(&drawn.symbols);
        if g.equal { x != 0 } else { x < 0 }
    });
    match refused {
        Some(g) => Err(Answer::Left(format!("guard: {}", g.reason))),
        None => Ok(made.plan),
    }
}

fn inputs(drawn: &Drawn) -> Vec<Vec<u32>> {
    let words = |(_, v): &(String, Val)| {
        let array = &drawn.leaves[v];
        let mut words = vec![];
        words::from_bytes(array.element, &array.data, &mut words).unwrap();
        words
    };
    drawn.graph.inputs.iter().map(words).collect()
}

/// Results in their declared types.
fn results<'a>(drawn: &Drawn, plan: &Plan, words: impl Fn(usize) -> &'a [u32]) -> Vec<NDArray> {
    let ports = plan.outputs.iter().enumerate();
    let array = ports.map(|(i, port)| {
        let shape: Vec<usize> = port.dims.iter().map(|d| d.eval(&drawn.symbols) as usize).collect();
        let count: usize = shape.iter().product();
        let data = words::to_bytes(port.element, &words(i)[..count]).unwrap();
        NDArray::new(port.element, shape, data).unwrap()
    });
    array.collect()
}

/// The results of the CPU unit.
pub fn on_cpu(drawn: &Drawn, precision: Precision) -> Answer {
    let asset = asset(drawn);
    let plan = match planned(drawn, &asset, false, precision) {
        Ok(plan) => Arc::new(plan),
        Err(answer) => return answer,
    };
    let mut cpu = pollster::block_on(CpuExecutor::new(plan.clone(), asset, false)).unwrap();
    let inputs = inputs(drawn);
    let words: Vec<&[u32]> = inputs.iter().map(Vec::as_slice).collect();
    match cpu.run(&drawn.symbols, &words, &mut [], &AtomicBool::new(false)) {
        Ok(()) => Answer::Results(results(drawn, &plan, |i| cpu.output(i))),
        Err(e) => Answer::Failed(e),
    }
}

/// The device; `None` where there is no adapter.
pub fn device() -> Option<&'static Arc<GpuDevice>> {
    static DEVICE: OnceLock<Option<Arc<GpuDevice>>> = OnceLock::new();
    let open = || {
        let options = SpecializationOptions { allow_software_adapter: true, ..Default::default() };
        GpuDevice::open_blocking(&options).inspect_err(|e| println!("the GPU unit is skipped: {e}")).ok()
    };
    DEVICE.get_or_init(open).as_ref()
}

/// The results of the GPU unit.
pub fn on_gpu(drawn: &Drawn, device: &Arc<GpuDevice>, precision: Precision) -> Answer {
    static RUNNING: Mutex<()> = Mutex::new(());
    let asset = asset(drawn);
    let plan = match planned(drawn, &asset, true, precision) {
        Ok(plan) => Arc::new(plan),
        Err(answer) => return answer,
    };
    let _one = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let run = || {
        let mut constants = GpuConstants::new(device.clone());
        constants.load_blocking(&plan, asset.source().as_ref())?;
        let (max, min) = (&drawn.symbols, vec![0; drawn.symbols.len()]);
        let mut layout = GpuLayout::new_blocking(device, &constants, plan.clone(), &[], max, &min)?;
        let inputs = inputs(drawn);
        let words: Vec<&[u32]> = inputs.iter().map(Vec::as_slice).collect();
        let wants: Vec<OutputWant> = (0..plan.outputs.len()).map(OutputWant::all).collect();
        layout.run_blocking(&drawn.symbols, &words, &wants)?;
        Ok(results(drawn, &plan, |i| layout.output(i)))
    };
    match run() {
        Ok(results) => Answer::Results(results),
        Err(e) => Answer::Failed(e),
    }
}

/// Distance between neighbours of 1 in a type: what rounding twice may cost.
fn grain(element: ElementType) -> f64 {
    match element {
        ElementType::F16 => 1.0 / 1024.0,
        ElementType::BF16 => 1.0 / 128.0,
        ElementType::F8E4M3FN => 1.0 / 8.0,
        ElementType::F8E5M2 => 1.0 / 4.0,
        _ => 0.0,
    }
}

/// Largest magnitude of an array; 0 for integers.
fn peak(array: &NDArray) -> f64 {
    match decode(array) {
        Ok(Elements::Real(v)) => v.iter().filter(|x| x.is_finite()).fold(0.0, |m, x| m.max(x.abs())),
        _ => 0.0,
    }
}

/// Why results differ from those of the definition, if they do. The bounds are those of op `name`.
pub fn difference(name: &str, drawn: &Drawn, found: &[NDArray], wanted: &[Arc<NDArray>]) -> Option<String> {
    let bound = BOUNDS.iter().find(|(parts, _)| parts.iter().any(|p| name.contains(p)));
    let bound = bound.map_or(Bound::Exact, |(_, bound)| *bound);
    let operands = drawn.leaves.values().map(|a| peak(a)).fold(0.0, f64::max);
    if found.len() != wanted.len() {
        return Some(format!("{} results instead of {}", found.len(), wanted.len()));
    }
    found.iter().zip(wanted).enumerate().find_map(|(n, (found, wanted))| {
        if (found.element, &found.shape) != (wanted.element, &wanted.shape) {
            let (a, b) = ((found.element, &found.shape), (wanted.element, &wanted.shape));
            return Some(format!("result {n} is {a:?} instead of {b:?}"));
        }
        if is_integer(wanted.element) || wanted.element == ElementType::Bool {
            let at = (0..found.data.len()).find(|i| found.data[*i] != wanted.data[*i])?;
            let at = at / (wanted.data.len() / wanted.len().max(1)).max(1);
            let (a, b) = (decode(found).unwrap(), decode(wanted).unwrap());
            let (Elements::Int(a), Elements::Int(b)) = (a, b) else { return None };
            return Some(format!("result {n} element {at}: {} instead of {}", a[at], b[at]));
        }
        let (Ok(Elements::Real(a)), Ok(Elements::Real(b))) = (decode(found), decode(wanted)) else {
            return Some("results that are no numbers".into());
        };
        let scale = peak(wanted).max(operands).max(operands * operands.min(16.0));
        let at = a.iter().zip(&b).position(|(a, b)| !near(wanted.element, bound, *a, *b, scale))?;
        Some(format!("result {n} element {at}: {} instead of {} ({:?})", a[at], b[at], wanted.element))
    })
}

fn near(element: ElementType, bound: Bound, a: f64, b: f64, scale: f64) -> bool {
    if a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan() {
        return true;
    }
    if !a.is_finite() || !b.is_finite() {
        return false;
    }
    let allowed = match bound {
        Bound::Exact => return false,
        Bound::Near(part, floor) => part * b.abs().max(floor),
        Bound::Sum(part) => part * scale,
        Bound::Steps(part) => (part + 2.0 * grain(element)) * scale,
    };
    // Subnormal numbers of the type may be flushed or lie on another grid.
    (a - b).abs()
        <= allowed
            + grain(element) * b.abs()
            + if grain(element) > 0.0 { 2e-2 * grain(element) } else { 1e-37 }
}

/// Operands and parameters of the last node, for a message.
pub fn shown(drawn: &Drawn) -> String {
    let graph = &drawn.graph;
    let mut lines = vec![];
    for node in &graph.nodes {
        let operand = |v: &Val| {
            let fact = graph.fact(*v);
            let dims = fact.dims.iter().map(Expr::to_string).collect::<Vec<_>>().join("x");
            let known =
                fact.const_ints().filter(|c| c.len() <= 8).map_or(String::new(), |c| format!("={c:?}"));
            format!("{}[{dims}]{known}", fact.element)
        };
        let list = |values: &[Val]| values.iter().map(operand).collect::<Vec<_>>().join(", ");
        let attrs: Vec<_> = node.attrs.iter().map(|(n, a)| format!(" {n} {a:?}")).collect();
        lines.push(format!(
            "    {}({}) -> {}{}",
            node.name,
            list(&node.inputs),
            list(&node.outputs),
            attrs.concat()
        ));
    }
    lines.join("\n")
}
