//! A kernel family that a device runs for the first time proves itself on a small case.
//!
//! The cases are the plan's own steps: of each family the smallest one, cut out as a plan of one
//! step, with made-up operands and small extents, run on the device and on the CPU unit. Where the
//! results differ, the plain variant takes over and the report says so; where that
//! differs too, the model is refused.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use coreai_asset::{Asset, ConstantRef, ElementType};

use crate::cpu::CpuExecutor;
use crate::error::Error;
use crate::expr::Expr;
use crate::gpu::{GpuConstants, GpuDevice, GpuLayout, GpuState, OutputWant};
use crate::plan::{Plan, Port, SymbolSource};
use crate::planner::Planned;
use crate::report::ReportEntry;
use crate::step::{BufferId, Kernel, Kind, Meaning, Role, Step, Storage};
use crate::words;

/// Extents of inputs and of states in a case.
const INPUT_EXTENT: i64 = 4;
const STATE_EXTENT: i64 = 8;
/// Largest case, in elements of all operands without weights.
const MAX_ELEMENTS: i64 = 1 << 20;
/// Most bytes of weights that a case fetches from a source that is not in memory.
const MAX_FETCHED: u64 = 16 << 20;
/// Allowed difference, relative to the largest magnitude: float16 rounding of a value that sits
/// between two of them, twice.
const TOLERANCE: f32 = 2e-3;

/// Families that passed, by device and driver, in this process.
static PASSED: Mutex<Option<HashSet<String>>> = Mutex::new(None);

/// Checks the families of `planned` that are new to the device. Returns what had to be replaced.
pub(crate) async fn run(
    device: &Arc<GpuDevice>,
    constants: &GpuConstants,
    planned: &Planned,
    asset: &Arc<Asset>,
) -> Result<Vec<ReportEntry>, Error> {
    let plan = &planned.plan;
    let values: Vec<i64> = (plan.symbols.iter().enumerate())
        .map(|(i, s)| match (planned.variant.fixed.symbols.get(i).copied().flatten(), s.source) {
            (Some(fixed), _) => fixed,
            (None, SymbolSource::InputDim { .. }) => INPUT_EXTENT,
            (None, SymbolSource::StateDim { .. }) => STATE_EXTENT,
            (None, SymbolSource::InputElement { .. } | SymbolSource::Later) => 0,
        })
        .collect();
    let mut entries = vec![];
    let Some(cases) = cases(plan, &values) else {
        let message = format!("{}: its guards refuse the small extents of a self-check", plan.function);
        return Ok(vec![ReportEntry { code: "self_check_skipped", message, fallback: false }]);
    };
    for (family, case) in cases {
        let key = format!("{} {} {family}", device.info().name, device.info().driver);
        if lock(|passed| passed.contains(&key)) {
            continue;
        }
        let Some(expected) = reference(&case, &values, asset).await? else {
            let message = format!("{family}: its smallest weight is too large to fetch for a self-check");
            entries.push(ReportEntry { code: "self_check_skipped", message, fallback: false });
            continue;
        };
        let mut found = on_device(device, constants, &case, &values).await?;
        if !alike(&case, &found, &expected) && !device.caps().plain_only {
            device.prefer_plain();
            let message = format!("{family} is wrong on this device; plain variants are used");
            entries.push(ReportEntry { code: "kernel_replaced", message, fallback: true });
            found = on_device(device, constants, &case, &values).await?;
        }
        if !alike(&case, &found, &expected) {
            return Err(Error::Gpu {
                context: format!("the self-check of kernel {family}"),
                message: format!(
                    "{} computes wrong numbers; use another adapter or the CPU unit",
                    device.info().name
                ),
            });
        }
        lock(|passed| passed.insert(key));
    }
    Ok(entries)
}

fn lock<R>(f: impl FnOnce(&mut HashSet<String>) -> R) -> R {
    let mut guard = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    f(guard.get_or_insert_default())
}

/// A plan of one step, and where its result is: an output, or the state it writes into.
struct Case {
    plan: Arc<Plan>,
    /// Operands in the order of the plan's states, in storage form.
    states: Vec<Vec<u32>>,
    kind: Kind,
    /// Number of the state that is written.
    written: Option<usize>,
}

/// The smallest step of each family, as a case; `None` when the values break a guard of the plan.
fn cases(plan: &Plan, values: &[i64]) -> Option<Vec<(String, Case)>> {
    let holds = plan.guards.iter().all(|g| {
        let x = g.expr.eval(values);
        if g.equal { x == 0 } else { x >= 0 }
    });
    if !holds {
        return None;
    }
    let mut smallest: BTreeMap<String, (i64, &Step)> = BTreeMap::new();
    for step in &plan.steps {
        let size: i64 = (step.reads.iter().chain(&step.writes))
            .map(|v| plan.buffer(v))
            .filter(|b| !matches!(b.role, Role::Constant(_) | Role::Quant(_) | Role::Host(_)))
            .map(|b| b.elements.eval(values))
            .fold(0, i64::saturating_add);
        if size > MAX_ELEMENTS {
            continue;
        }
        let best = smallest.entry(family(plan, step)).or_insert((size, step));
        if size < best.0 {
            *best = (size, step);
        }
    }
    Some(smallest.into_iter().map(|(family, (_, step))| (family, cut(plan, step, values))).collect())
}

/// Kernel, storages of its operands, and what else chooses a shader family.
fn family(plan: &Plan, step: &Step) -> String {
    let text = format!("{:?}", step.kernel);
    let name: String = text.chars().take_while(|c| c.is_alphanumeric()).collect();
    let storage = |s: &Storage| match s {
        Storage::Quant(q) => {
            let meaning = match q.meaning {
                Meaning::Plain => "",
                Meaning::Less(_) => " less",
                Meaning::Table(_) => " table",
            };
            format!("{}x{:?}{meaning}", q.code.name(), q.scale.name())
        }
        other => format!("{other:?}"),
    };
    let mut storages: Vec<String> = step.reads.iter().map(|v| storage(&plan.buffer(v).storage)).collect();
    storages.dedup();
    let detail = match &step.kernel {
        Kernel::MatMul { weights, norm, .. } => {
            let rows = step.writes[0].dims.iter().rev().nth(1).is_some_and(|m| m.is(1));
            format!("{weights} {} {}", norm.is_some(), if rows { "one row" } else { "rows" })
        }
        Kernel::Reduce { op, .. } => format!("{op:?}"),
        Kernel::Conv { groups, transposed, .. } => {
            // What chooses between tiles, columns and single results.
            let channels = step.writes[0].dims.get(1).and_then(|c| c.as_const()).unwrap_or(0);
            format!("{transposed} {}", channels / i64::from((*groups).max(1)) >= 16)
        }
        Kernel::ScatterAlong { mode, .. } => format!("{mode:?}"),
        Kernel::Resize { nearest, .. } | Kernel::Sample { nearest } => format!("{nearest}"),
        Kernel::Norm(norm) => format!("{}", norm.center),
        Kernel::Attention { causal, mask, sinks, .. } => format!("{causal} {mask} {sinks}"),
        _ => String::new(),
    };
    format!("{name} [{}] {detail}", storages.join(" "))
}

/// Cuts a step out: what it reads and writes become states and one output.
fn cut(plan: &Plan, step: &Step, values: &[i64]) -> Case {
    let mut buffers = plan.buffers.clone();
    let mut ports: Vec<Port> = vec![];
    let mut states = vec![];
    let mut numbers: BTreeMap<BufferId, usize> = BTreeMap::new();
    let target = step.writes[0].buffer;
    let in_place = matches!(plan.buffers[target.0 as usize].role, Role::State(_));
    let operands = step.reads.iter().map(|v| v.buffer).chain(in_place.then_some(target));
    for id in operands {
        let buffer = &mut buffers[id.0 as usize];
        if matches!(buffer.role, Role::Constant(_) | Role::Quant(_) | Role::Host(_))
            || numbers.contains_key(&id)
        {
            continue;
        }
        let elements = usize::try_from(buffer.elements.eval(values)).unwrap_or(0);
        numbers.insert(id, states.len());
        // The only index that every table has is 0.
        let indices = step.kernel.indexes() && step.reads.get(1).is_some_and(|v| v.buffer == id);
        let operand = match buffer.kind {
            Kind::I32 if indices => vec![0; elements],
            kind => made_up(kind, elements),
        };
        states.push(words::pack(&buffer.storage, &operand));
        buffer.role = Role::State(ports.len());
        ports.push(Port {
            name: String::new(),
            element: ElementType::F32,
            dims: vec![buffer.elements.clone()],
            buffer: Some(id),
            part: None,
        });
    }
    let kind = buffers[target.0 as usize].kind;
    let mut outputs = vec![];
    if !in_place {
        let buffer = &mut buffers[target.0 as usize];
        buffer.role = Role::Output(0);
        outputs.push(Port {
            name: String::new(),
            element: ElementType::F32,
            dims: vec![buffer.elements.clone()],
            buffer: Some(target),
            part: None,
        });
    }
    let plan = Plan {
        function: plan.function.clone(),
        buffers,
        steps: vec![step.clone()],
        symbols: plan.symbols.clone(),
        guards: vec![],
        inputs: vec![],
        outputs,
        states: ports,
    };
    Case { plan: Arc::new(plan), states, kind, written: in_place.then(|| numbers[&target]) }
}

/// Operand values: floats in −1…1, integers 0 and 1.
fn made_up(kind: Kind, elements: usize) -> Vec<u32> {
    let mut state = 0x9e37_79b9u32;
    (0..elements)
        .map(|_| {
            // xorshift32 (Marsaglia 2003)
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            match kind {
                Kind::F32 => ((state >> 8) as f32 / 8_388_608.0 - 1.0).to_bits(),
                _ => state >> 31,
            }
        })
        .collect()
}

/// What the CPU unit computes; `None` when that takes too many bytes of a far source.
async fn reference(case: &Case, values: &[i64], asset: &Arc<Asset>) -> Result<Option<Vec<u32>>, Error> {
    let mut states = case.states.clone();
    let mut plan = case.plan.clone();
    if asset.source().slice(0..0).is_none() {
        plan = Arc::new(first_rows(&plan));
        if constant_bytes(&plan) > MAX_FETCHED {
            return Ok(None);
        }
    }
    let mut cpu = CpuExecutor::new(plan, asset.clone(), false).await?;
    cpu.run(values, &[], &mut states, &AtomicBool::new(false))?;
    Ok(Some(match case.written {
        Some(state) => states.swap_remove(state),
        None => cpu.output(0).to_vec(),
    }))
}

/// The plan with tables of plain storage cut to their first row: all indices are 0.
fn first_rows(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    for step in plan.steps.iter_mut().filter(|s| s.kernel == Kernel::GatherNd) {
        let table = &mut step.reads[0];
        let row = table.strides.first().and_then(|s| s.as_const()).and_then(|s| u64::try_from(s).ok());
        let buffer = &mut plan.buffers[table.buffer.0 as usize];
        let elements = buffer.elements.as_const().and_then(|n| u64::try_from(n).ok());
        let (Role::Constant(constant), Some(row), Some(elements)) = (&mut buffer.role, row, elements) else {
            continue;
        };
        let bytes = constant.range.end - constant.range.start;
        if constant.splat || !table.offset.is(0) || row == 0 || elements <= row || bytes % elements != 0 {
            continue;
        }
        constant.range.end = constant.range.start + row * (bytes / elements);
        buffer.elements = Expr::from(row as i64);
        table.dims[0] = Expr::one();
    }
    plan
}

/// Bytes of the asset that a plan reads.
fn constant_bytes(plan: &Plan) -> u64 {
    let size = |c: &ConstantRef| c.range.end - c.range.start;
    let of = |role: &Role| match role {
        Role::Constant(constant) => size(constant),
        Role::Quant(source) => size(&source.codes) + size(&source.scale),
        _ => 0,
    };
    plan.buffers.iter().zip(plan.used()).filter(|(_, used)| *used).map(|(b, _)| of(&b.role)).sum()
}

async fn on_device(
    device: &Arc<GpuDevice>,
    constants: &GpuConstants,
    case: &Case,
    values: &[i64],
) -> Result<Vec<u32>, Error> {
    let mut states = vec![];
    for (port, data) in case.plan.states.iter().zip(&case.states) {
        let storage = case.plan.buffers[port.buffer.map_or(0, |b| b.0 as usize)].storage.clone();
        let elements = u64::try_from(port.dims[0].eval(values)).unwrap_or(0);
        let state = GpuState::new(device, storage, elements).await?;
        state.write(0, data)?;
        states.push(state);
    }
    let mut layout = GpuLayout::new(device, constants, case.plan.clone(), &states, values, values).await?;
    let wants: &[OutputWant] =
        if case.written.is_some() { &[] } else { &[OutputWant { output: 0, words: None }] };
    layout.run(values, &[], wants).await?;
    match case.written {
        Some(state) => states[state].read().await,
        None => Ok(layout.output(0).to_vec()),
    }
}

fn alike(case: &Case, found: &[u32], expected: &[u32]) -> bool {
    if case.kind != Kind::F32 {
        return found == expected;
    }
    let storage = case.written.map_or(&Storage::Word, |n| {
        &case.plan.buffers[case.plan.states[n].buffer.map_or(0, |b| b.0 as usize)].storage
    });
    let per_word = if *storage == Storage::Word { 1 } else { 2 };
    let floats =
        |w: &[u32]| words::unpack(storage, w, w.len() * per_word).into_iter().map(f32::from_bits).collect();
    let (a, b): (Vec<f32>, Vec<f32>) = (floats(found), floats(expected));
    let peak = b.iter().filter(|x| x.is_finite()).fold(0f32, |m, x| m.max(x.abs()));
    a.len() == b.len()
        && a.iter()
            .zip(&b)
            .all(|(x, y)| x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= TOLERANCE * peak.max(1e-3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(kind: Kind) -> Case {
        let plan = Plan {
            function: "main".into(),
            buffers: vec![],
            steps: vec![],
            symbols: vec![],
            guards: vec![],
            inputs: vec![],
            outputs: vec![],
            states: vec![],
        };
        Case { plan: Arc::new(plan), states: vec![], kind, written: None }
    }

    #[test]
    fn one_wrong_element_is_found() {
        let good = made_up(Kind::F32, 100);
        let mut bad = good.clone();
        bad[17] = (f32::from_bits(bad[17]) + 0.01).to_bits();
        assert!(alike(&case(Kind::F32), &good, &good));
        assert!(!alike(&case(Kind::F32), &bad, &good));
        assert!(!alike(&case(Kind::F32), &good[..99], &good));
        bad[17] = f32::NAN.to_bits();
        assert!(!alike(&case(Kind::F32), &bad, &good));
    }

    #[test]
    fn integers_must_be_equal() {
        let good = made_up(Kind::I32, 100);
        let mut bad = good.clone();
        bad[3] ^= 1;
        assert!(alike(&case(Kind::I32), &good, &good));
        assert!(!alike(&case(Kind::I32), &bad, &good));
    }
}
