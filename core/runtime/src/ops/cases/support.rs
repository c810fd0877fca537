//! Which units have an op for which element types, and by which kernels: derived by planning a call of every
//! name with every element type. The result is `ops/support.txt`, which the op table shows.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use coreai_asset::ElementType::{self, *};

use super::draw::Drawn;
use super::run::{Answer, asset, constants_at, definition, on_cpu, planned};
use super::{ANY, Call, Case, FLOATS, NUMBERS};
use crate::gpu::dispatch::Caps;
use crate::gpu::kernels::tests::bench::{AMPLE, vet};
use crate::gpu::kernels::{LowerCx, lower};
use crate::graph::Source;
use crate::host::{self, Region, RegionNode};
use crate::ops::table::{SUPPORT, Support};
use crate::ops::{OPS, find};
use crate::options::Precision;
use crate::plan::Plan;
use crate::step::Step;

/// Draws for each name and element type: extents and parameters that one of them has decide.
const DRAWS: u64 = 12;

/// Set it to write the file anew.
const WRITE: &str = "COREAI_WRITE_SUPPORT";

fn writes() -> bool {
    std::env::var_os(WRITE).is_some()
}

/// A region of one op on its two arguments.
fn region(name: &str, result: ElementType) -> Region {
    let node = RegionNode {
        name: name.into(),
        attrs: vec![],
        inputs: vec![0, 1],
        results: vec![result],
        constant: None,
    };
    Region { nodes: vec![node], result: 2 }
}

/// Every element type, in the order of the table.
fn elements() -> Vec<ElementType> {
    ElementType::all().collect()
}

fn complex(part: ElementType) -> ElementType {
    elements().into_iter().find(|e| e.complex_part() == Some(part)).unwrap_or(part)
}

/// Ops that only the host has.
fn host_cases() -> Vec<Case> {
    let mut cases = Case::each(&["primitive.non_zero_v1"], |d| {
        let (element, dims) = (d.element(ANY), d.solid(1..=3));
        Call::new(vec![d.data(element, &dims)], SI32)
    });
    cases.extend(Case::each(&["primitive.create_complex_v1"], |d| {
        let (element, dims) = (d.element(FLOATS), d.solid(0..=3));
        Call::new(vec![d.data(element, &dims), d.data(element, &dims)], complex(element))
    }));
    cases.extend(Case::each(&["primitive.real_part_v1", "primitive.imaginary_part_v1"], |d| {
        let (element, dims) = (d.element(&[ComplexF32]), d.solid(0..=3));
        Call::new(vec![d.data(element, &dims)], element.complex_part().unwrap_or(element))
    }));
    cases.extend(Case::each(&["primitive.reduce_v1"], |d| {
        let (element, dims) = (d.element(NUMBERS), d.solid(1..=3));
        let inputs = vec![d.data(element, &dims), d.ints(&[0]), d.data(element, &[])];
        let name = if element == Bool { "primitive.logical_or_v1" } else { "primitive.add_v1" };
        Call::new(inputs, element).region(region(name, element))
    }));
    cases.extend(Case::each(&["primitive.reduce_index_v1"], |d| {
        let (element, dims) = (d.element(NUMBERS), d.solid(1..=3));
        let inputs = vec![d.data(element, &dims), d.int(0), d.data(element, &[]), d.int(0)];
        Call::new(inputs, SI32).region(region("primitive.greater_v1", Bool))
    }));
    cases
}

/// The name of a kernel: the variant of [`crate::step::Kernel`].
fn kernel(step: &Step) -> String {
    let text = format!("{:?}", step.kernel);
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_string()
}

#[derive(Default)]
struct Found {
    cpu: BTreeSet<usize>,
    gpu: BTreeSet<usize>,
    host: BTreeSet<usize>,
    kernels: BTreeSet<String>,
}

/// What came of one draw.
struct Probed {
    /// Number of the element type.
    at: usize,
    /// The plan of a unit that computes the call.
    cpu: Option<Plan>,
    gpu: Option<Plan>,
    host: bool,
}

/// Draws a call and plans it. The host's evaluator, where it has the op, says whether the call is one.
fn draw(case: &Case, seed: u64, element: ElementType) -> Option<Probed> {
    let mut drawn = Drawn::new(constants_at());
    let (element, typed) = drawn.probe(case, seed, element)?;
    let at = elements().iter().position(|e| *e == element)?;
    let host = definition(&drawn).is_ok();
    let mut probed = Probed { at, cpu: None, gpu: None, host };
    if !typed || !host && host::knows(case.name) {
        return Some(probed);
    }
    let asset = asset(&drawn);
    if matches!(on_cpu(&drawn, Precision::Exact), Answer::Results(_)) {
        probed.cpu = planned(&drawn, &asset, false, Precision::Exact).ok();
    }
    let cx = LowerCx { caps: &AMPLE, max: &[], min: &[] };
    let lowers = |plan: &Plan| (0..plan.steps.len()).all(|step| lower(plan, step, &cx).is_ok());
    // What the CPU unit cannot compute, nothing could be compared with on the GPU unit.
    if probed.cpu.is_some() {
        probed.gpu = planned(&drawn, &asset, true, Precision::Exact).ok().filter(lowers);
    }
    Some(probed)
}

impl Found {
    fn add(&mut self, probed: Probed) {
        if let Some(plan) = probed.cpu {
            self.cpu.insert(probed.at);
            self.kernels.extend(plan.steps.iter().map(kernel));
        }
        if let Some(plan) = probed.gpu {
            self.gpu.insert(probed.at);
            if !writes() {
                self.sources(&plan);
            }
        }
        if probed.host {
            self.host.insert(probed.at);
        }
    }

    /// Checks the shaders of a plan for every backend, and hands them to `make tint`.
    fn sources(&self, plan: &Plan) {
        for subgroups in [true, false] {
            vet(plan, &LowerCx { caps: &Caps { subgroups, ..AMPLE }, max: &[], min: &[] });
        }
    }

    fn line(&self, name: &str) -> String {
        let names = |list: &BTreeSet<usize>| {
            list.iter().map(|at| elements()[*at].name()).collect::<Vec<_>>().join(" ")
        };
        let host = self.host.difference(&self.cpu).copied().collect();
        let kernels = self.kernels.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        format!("{name}\t{}\t{}\t{}\t{kernels}\n", names(&self.cpu), names(&self.gpu), names(&host))
    }
}

/// Everything that can be planned or evaluated of a name.
fn probe(case: &Case) -> Found {
    let mut found = Found::default();
    for element in elements() {
        for seed in 0..DRAWS {
            // Drawing elements of a type that the case is not made for may panic: then there is no such call.
            if let Ok(Some(probed)) = catch_unwind(AssertUnwindSafe(|| draw(case, seed, element))) {
                found.add(probed);
            }
        }
    }
    found
}

/// States: a read whose result is an output, or a write of an input.
fn states(name: &str) -> Found {
    let mut found = Found::default();
    for (at, element) in elements().into_iter().enumerate() {
        let mut drawn = Drawn::new(constants_at());
        let typed = drawn.state(find(name), name, element).is_ok();
        let kept = drawn.graph.sources.iter().any(|s| matches!(s, Source::State(_)));
        let asset = asset(&drawn);
        for (gpu, list) in [(false, &mut found.cpu), (true, &mut found.gpu)] {
            if typed
                && kept
                && let Ok(plan) = planned(&drawn, &asset, gpu, Precision::Exact)
            {
                list.insert(at);
                found.kernels.extend(plan.steps.iter().map(kernel));
            }
        }
    }
    found
}

fn derived() -> String {
    let mut lines = vec![];
    for case in OPS.iter().flat_map(|f| f.iter()).flat_map(|op| op.cases()).chain(host_cases()) {
        lines.push(probe(&case).line(case.name));
    }
    for name in ["dataflow.read_handle_v1", "dataflow.write_handle_v1"] {
        lines.push(states(name).line(name));
    }
    lines.sort();
    lines.concat()
}

#[test]
fn the_op_table_says_what_is_planned() {
    let found = derived();
    if writes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ops/support.txt");
        std::fs::write(path, &found).unwrap();
        return;
    }
    let (mut new, mut old) = (found.lines(), SUPPORT.lines());
    loop {
        let pair = (new.next(), old.next());
        assert_eq!(pair.0, pair.1, "support.txt is old: run this test with {WRITE}=1");
        if pair.0.is_none() {
            break;
        }
    }
}

#[test]
fn the_table_has_every_name() {
    for case in OPS.iter().flat_map(|f| f.iter()).flat_map(|op| op.cases()).chain(host_cases()) {
        let support = Support::of(case.name);
        let any = [&support.cpu, &support.gpu, &support.host_only].iter().any(|list| !list.is_empty());
        assert!(any, "{} has no element type", case.name);
        assert!(support.gpu.iter().all(|e| support.cpu.contains(e)), "{}", case.name);
    }
    let add = Support::of("primitive.add_v1");
    assert!(add.gpu.contains(&"float16") && add.host_only.contains(&"float64"));
    assert_eq!(add.kernels, ["Map"]);
}
