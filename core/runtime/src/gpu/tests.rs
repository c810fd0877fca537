//! The seam on a real adapter, with hand-written kernels. Skipped where there is no adapter.

mod heap;
mod run;
mod upload;

use std::sync::{Arc, OnceLock};

use super::*;
use crate::expr::{Bounds, Expr, Sym};
use crate::gpu::dispatch::{Binding, Dispatch, Target};
use crate::map::MapProg;
use crate::options::SpecializationOptions;
use crate::plan::{Plan, Port, Symbol, SymbolSource};
use crate::step::{Buffer, BufferId, Kernel, Kind, Origin, Role, Round, Step, Storage, View};
use coreai_asset::ElementType;

/// Binding limit of the tests' device, bytes.
const BINDING_LIMIT: u64 = 4 << 20;

fn options() -> SpecializationOptions {
    SpecializationOptions {
        allow_software_adapter: true,
        max_binding_bytes: Some(BINDING_LIMIT),
        ..Default::default()
    }
}

/// A device of its own for each test: counters are per device.
fn device() -> Option<Arc<GpuDevice>> {
    static PRESENT: OnceLock<bool> = OnceLock::new();
    match GpuDevice::open_blocking(&options()) {
        Ok(device) => Some(device),
        Err(e) => {
            PRESENT.get_or_init(|| {
                println!("skipped: {e}");
                false
            });
            None
        }
    }
}

/// `y = 2x + b` on `n` words, with `n` and `b` as parameters.
const AFFINE: &str = "
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 16>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>,
        @builtin(local_invocation_index) lid: u32) {
    let i = (wid.x + wid.y * nwg.x + wid.z * nwg.x * nwg.y) * 64u + lid;
    if (i >= p[0].x) { return; }
    y[i] = x[i] * 2.0 + f32(bitcast<i32>(p[0].y));
}";

fn affine(step: u32, from: u32, to: u32, n: &Expr, b: &Expr) -> Dispatch {
    let bind = |id, write| Binding { target: Target::Buffer(BufferId(id)), write, window: None };
    let groups = Expr::func(crate::expr::Func::FloorDiv, &(n + &Expr::from(63i64)), &Expr::from(64i64));
    Dispatch {
        kernel: "affine",
        source: AFFINE.into(),
        bindings: vec![bind(from, false), bind(to, true)],
        params: vec![n.clone(), b.clone(), Expr::from(7i64)],
        workgroups: groups,
        step,
    }
}

/// Input 0 `[s0]` → temporaries → output 0, through `steps` affine steps adding symbol 1.
fn chain(steps: u32, elements: i64) -> (Plan, Vec<Dispatch>) {
    let (n, b) = (Expr::from(Sym(0)), Expr::from(Sym(1)));
    let buffer = |role| Buffer { role, kind: Kind::F32, storage: Storage::Word, elements: n.clone() };
    let mut buffers = vec![buffer(Role::Input(0))];
    buffers.extend((1..steps).map(|_| buffer(Role::Temp)));
    buffers.push(buffer(Role::Output(0)));
    let view = |id| View {
        buffer: BufferId(id),
        offset: Expr::zero(),
        dims: vec![n.clone()],
        strides: vec![Expr::one()],
    };
    let step = |i: u32| Step {
        kernel: Kernel::Map(MapProg::copy(Kind::F32)),
        reads: vec![view(i)],
        writes: vec![view(i + 1)],
        round: Round::None,
        origin: Origin { op: "test.affine".into(), node: i, source: Some("model.py:3".into()) },
    };
    let port = |name: &str, id| Port {
        name: name.into(),
        element: ElementType::F32,
        dims: vec![n.clone()],
        buffer: Some(BufferId(id)),
        part: None,
    };
    let symbol =
        |max| Symbol { source: SymbolSource::InputDim { input: 0, axis: 0 }, bounds: Bounds { min: 0, max } };
    let plan = Plan {
        function: "main".into(),
        buffers,
        steps: (0..steps).map(step).collect(),
        symbols: vec![symbol(elements), symbol(1 << 20)],
        guards: vec![],
        inputs: vec![port("x", 0)],
        outputs: vec![port("y", steps)],
        states: vec![],
    };
    (plan, (0..steps).map(|i| affine(i, i, i + 1, &n, &b)).collect())
}

fn lay_out(device: &Arc<GpuDevice>, plan: Plan, dispatches: &[Dispatch]) -> Result<GpuLayout, crate::Error> {
    let max: Vec<i64> = plan.symbols.iter().map(|s| s.bounds.max).collect();
    let min: Vec<i64> = plan.symbols.iter().map(|s| s.bounds.min).collect();
    let constants = GpuConstants::new(device.clone());
    let plan = Arc::new(plan);
    pollster::block_on(GpuLayout::with_dispatches(device, &constants, plan, &[], &max, &min, dispatches))
}

fn floats(words: &[u32]) -> &[f32] {
    bytemuck::cast_slice(words)
}

fn words(floats: &[f32]) -> &[u32] {
    bytemuck::cast_slice(floats)
}
