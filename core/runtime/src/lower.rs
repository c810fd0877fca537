//! From graph to plan: every live value becomes a view, a fused expression, or a step.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use coreai_asset::{Asset, ElementType};

use crate::expr::Expr;
use crate::facts::{Assumptions, Fact, kind_of, product};
use crate::graph::{Graph, Source, Val};
use crate::map::{Instr, MapOp, MapProg};
use crate::ops::{Fault, constant};
use crate::options::Precision;
use crate::plan::{Plan, Port};
use crate::report::ReportEntry;
use crate::states::StateUse;
use crate::step::{Buffer, BufferId, Kernel, Kind, Norm, QuantSource, Role, Round, Step, Storage, View};
use crate::view::same_squeezed;

/// Most operands of a fused step: 8 storage buffers less the result.
const MAX_OPERANDS: usize = 7;
/// Most instructions of a fused expression.
const MAX_INSTRS: usize = 48;
/// Operand numbers from here on are accumulators of the anchor kernel.
const ACC: u16 = 0x8000;
/// Most products of one left operand in a step: what both units have kernels for.
const MAX_WEIGHTS: usize = 2;

/// An elementwise expression that has not become a step yet.
#[derive(Clone, Debug)]
pub struct Lazy {
    dims: Vec<Expr>,
    instrs: Vec<Instr>,
    scalars: Vec<Expr>,
    views: Vec<View>,
    anchor: Option<Anchor>,
}

/// The kernel whose accumulators a [`Lazy`] starts from: the expression becomes its epilogue.
#[derive(Clone, Debug)]
struct Anchor {
    kernel: Kernel,
    /// Operands of the kernel without epilogue operands.
    reads: Vec<View>,
    /// Dims the kernel writes.
    dims: Vec<Expr>,
    node: usize,
}

/// A normalization that its consumers may compute themselves.
#[derive(Clone, Debug)]
struct PendingNorm {
    norm: Norm,
    x: View,
    scale: View,
    node: usize,
}

#[derive(Clone, Debug)]
enum Repr {
    View(View),
    Lazy(Box<Lazy>),
    Norm(Box<PendingNorm>),
}

/// The lowering of one function.
pub struct Lower<'a> {
    /// The asset.
    pub asset: &'a Asset,
    /// The graph.
    pub graph: &'a Graph,
    /// Symbols and guards; grows while lowering.
    pub shapes: Assumptions,
    /// Fuse chains and epilogues.
    pub fuse: bool,
    precision: Precision,
    plan: Plan,
    reprs: Vec<Option<Repr>>,
    uses: Vec<u32>,
    constants: HashMap<Val, BufferId>,
    quants: HashMap<(QuantSource, Vec<u64>), BufferId>,
    states: StateUse,
    report: Vec<ReportEntry>,
    /// Node being lowered.
    node: usize,
}

/// Lowers a graph. Returns the plan and the fallbacks taken.
pub fn lower(
    asset: &Asset,
    graph: &Graph,
    precision: Precision,
    fuse: bool,
) -> Result<(Plan, Vec<ReportEntry>), crate::Error> {
    let live = live_nodes(graph);
    let uses = use_counts(graph, &live);
    let mut cx = Lower {
        asset,
        graph,
        shapes: graph.assumptions.clone(),
        fuse,
        precision,
        plan: Plan {
            function: graph.function.clone(),
            buffers: vec![],
            steps: vec![],
            symbols: vec![],
            guards: vec![],
            inputs: vec![],
            outputs: vec![],
            states: vec![],
        },
        reprs: vec![None; graph.facts.len()],
        uses,
        constants: HashMap::new(),
        quants: HashMap::new(),
        states: StateUse::analyse(graph, &live),
        report: vec![],
        node: 0,
    };
    let place = |fault: Fault, name: &str| {
        fault.at(&graph.function, &crate::step::Origin { op: name.into(), node: 0, source: None })
    };
    cx.ports().map_err(|f| place(f, "dataflow.graph_v1"))?;
    for (at, node) in graph.nodes.iter().enumerate() {
        if !live[at] {
            continue;
        }
        cx.node = at;
        node.op.lower(&mut cx, at).map_err(|f| f.at(&graph.function, &node.origin))?;
    }
    cx.outputs().map_err(|f| place(f, "dataflow.output_v1"))?;
    cx.input_parts();
    cx.choices();
    cx.plan.symbols = std::mem::take(&mut cx.shapes.symbols);
    cx.plan.guards = std::mem::take(&mut cx.shapes.guards);
    Ok((cx.plan, cx.report))
}

/// Nodes whose results are needed as data. Values known on the host need no producer.
fn live_nodes(graph: &Graph) -> Vec<bool> {
    let mut live = vec![false; graph.nodes.len()];
    let mut stack: Vec<Val> = graph.outputs.iter().map(|(_, v)| *v).collect();
    for (at, node) in graph.nodes.iter().enumerate() {
        if &*node.name == "primitive.write_handle_v1" || &*node.name == "dataflow.write_handle_v1" {
            live[at] = true;
            stack.extend(&node.inputs);
        }
    }
    while let Some(v) = stack.pop() {
        if graph.fact(v).content.is_some() {
            continue;
        }
        if let Source::Node(at) = graph.sources[v.0 as usize]
            && !live[at]
        {
            live[at] = true;
            stack.extend(&graph.nodes[at].inputs);
        }
    }
    live
}

fn use_counts(graph: &Graph, live: &[bool]) -> Vec<u32> {
    let mut uses = vec![0u32; graph.facts.len()];
    for (at, node) in graph.nodes.iter().enumerate() {
        if live[at] {
            for v in &node.inputs {
                uses[v.0 as usize] += 1;
            }
        }
    }
    for (_, v) in &graph.outputs {
        uses[v.0 as usize] += 1;
    }
    uses
}

/// Storage and host conversion of an input, output or state of this element type.
fn state_storage(element: ElementType) -> Storage {
    match element {
        ElementType::F16 => Storage::F16,
        ElementType::BF16 => Storage::BF16,
        _ => Storage::Word,
    }
}

impl Lower<'_> {
    fn kind(&self, element: ElementType) -> Result<Kind, Fault> {
        kind_of(element).ok_or_else(|| Fault::unsupported(format!("{} tensors", element.name())))
    }

    fn buffer(&mut self, role: Role, kind: Kind, storage: Storage, elements: Expr) -> BufferId {
        let id = BufferId(self.plan.buffers.len() as u32);
        self.plan.buffers.push(Buffer { role, kind, storage, elements });
        id
    }

    fn ports(&mut self) -> Result<(), Fault> {
        let graph = self.graph;
        for (i, (name, v)) in graph.inputs.iter().enumerate() {
            let fact = graph.fact(*v);
            let mut buffer = None;
            if self.uses[v.0 as usize] > 0 {
                let kind = self.kind(fact.element)?;
                let id = self.buffer(Role::Input(i), kind, Storage::Word, fact.elements());
                self.reprs[v.0 as usize] = Some(Repr::View(View::whole(id, fact.dims.clone())));
                buffer = Some(id);
            }
            let port = Port {
                name: name.clone(),
                element: fact.element,
                dims: fact.dims.clone(),
                buffer,
                part: None,
            };
            self.plan.inputs.push(port);
        }
        for (i, (name, v)) in graph.states.iter().enumerate() {
            let fact = graph.fact(*v);
            let kind = self.kind(fact.element)?;
            let storage = state_storage(fact.element);
            let id = self.buffer(Role::State(i), kind, storage, fact.elements());
            self.plan.states.push(Port {
                name: name.clone(),
                element: fact.element,
                dims: fact.dims.clone(),
                buffer: Some(id),
                part: None,
            });
        }
        Ok(())
    }

    fn outputs(&mut self) -> Result<(), Fault> {
        let graph = self.graph;
        for (i, (name, v)) in graph.outputs.iter().enumerate() {
            let fact = graph.fact(*v);
            let kind = self.kind(fact.element)?;
            let view = self.view(*v)?;
            let elements = fact.elements();
            let own = &self.plan.buffers[view.buffer.0 as usize];
            let id = if own.role == Role::Temp && own.kind == kind && view.is_whole(&own.elements) {
                self.plan.buffers[view.buffer.0 as usize].role = Role::Output(i);
                view.buffer
            } else {
                let id = self.buffer(Role::Output(i), kind, Storage::Word, elements);
                let dest = View::whole(id, view.dims.clone());
                let round = self.round(fact.element);
                self.push(Kernel::Map(MapProg::copy(kind)), vec![view], dest, round, None);
                id
            };
            self.plan.outputs.push(Port {
                name: name.clone(),
                element: fact.element,
                dims: fact.dims.clone(),
                buffer: Some(id),
                part: None,
            });
        }
        Ok(())
    }

    /// What was chosen where there was a choice, for the report.
    fn choices(&mut self) {
        let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
        for node in self.graph.nodes.iter().filter(|n| n.composite.is_some()) {
            *rules.entry(&node.name).or_default() += 1;
        }
        let mut packed: BTreeMap<&str, usize> = BTreeMap::new();
        for buffer in &self.plan.buffers {
            if let Storage::Quant(format) = &buffer.storage {
                *packed.entry(format.code.name()).or_default() += 1;
            }
        }
        let list = |counts: BTreeMap<&str, usize>| {
            counts.into_iter().map(|(name, n)| format!("{name} × {n}")).collect::<Vec<_>>().join(", ")
        };
        let in_place = self.states.in_place.len();
        let found = [
            ("rules", !rules.is_empty(), format!("composites replaced by one kernel: {}", list(rules))),
            ("packed_weights", !packed.is_empty(), format!("weights that stay compressed: {}", list(packed))),
            ("state_in_place", in_place > 0, format!("state updates done in place: {in_place}")),
        ];
        for (code, _, message) in found.into_iter().filter(|(_, there, _)| *there) {
            self.report.push(ReportEntry { code, message, fallback: false });
        }
    }

    /// Finds the inputs of which every step reads the same contiguous part.
    fn input_parts(&mut self) {
        for port in &mut self.plan.inputs {
            let Some(id) = port.buffer else { continue };
            let mut parts = vec![];
            for view in self.plan.steps.iter().flat_map(|s| &s.reads).filter(|v| v.buffer == id) {
                let mut last = Expr::zero();
                for (d, s) in view.dims.iter().zip(&view.strides) {
                    if !d.is(1) {
                        last = &last + &(&(d - &Expr::one()) * s);
                    }
                }
                let forward = view.strides.iter().all(|s| self.shapes.bounds(s).min >= 0);
                let part = forward.then(|| (view.offset.clone(), &last + &Expr::one()));
                if !parts.contains(&part) {
                    parts.push(part);
                }
            }
            if let [Some(part)] = parts.as_slice() {
                port.part = Some(part.clone());
            }
        }
    }

    fn round(&self, element: ElementType) -> Round {
        match (self.precision, element) {
            (Precision::Fast, ElementType::F16) => Round::F16,
            (Precision::Fast, ElementType::BF16) => Round::BF16,
            _ => Round::None,
        }
    }

    fn push(&mut self, kernel: Kernel, reads: Vec<View>, write: View, round: Round, node: Option<usize>) {
        let origin = match self.graph.nodes.get(node.unwrap_or(self.node)) {
            Some(n) => n.origin.clone(),
            None => crate::step::Origin { op: "dataflow.output_v1".into(), node: 0, source: None },
        };
        self.plan.steps.push(Step { kernel, reads, writes: vec![write], round, origin });
    }

    /// A fallback that the report must name.
    pub fn note(&mut self, code: &'static str, message: String) {
        let fallback = true;
        if !self.report.iter().any(|e| e.code == code && e.message == message) {
            self.report.push(ReportEntry { code, message, fallback });
        }
    }

    /// Facts of a value.
    pub fn fact(&self, v: Val) -> &Fact {
        self.graph.fact(v)
    }

    /// Operand and result values of the node being lowered.
    pub fn node_values(&self, node: usize) -> (Vec<Val>, Vec<Val>) {
        let n = &self.graph.nodes[node];
        (n.inputs.clone(), n.outputs.clone())
    }

    /// A new contiguous temporary with the facts of `v`, and rounding for its dtype.
    pub fn temp(&mut self, v: Val) -> Result<(View, Round), Fault> {
        let fact = self.fact(v);
        let (element, dims) = (fact.element, fact.dims.clone());
        let kind = self.kind(element)?;
        Ok((self.temp_of(kind, dims), self.round(element)))
    }

    fn temp_of(&mut self, kind: Kind, dims: Vec<Expr>) -> View {
        let id = self.buffer(Role::Temp, kind, Storage::Word, product(&dims));
        View::whole(id, dims)
    }

    /// Defines `v` as a view.
    pub fn define(&mut self, v: Val, view: View) {
        self.reprs[v.0 as usize] = Some(Repr::View(view));
    }

    /// Emits a step that computes `v` into a new temporary.
    pub fn step(&mut self, kernel: Kernel, reads: Vec<View>, v: Val) -> Result<(), Fault> {
        let (out, round) = self.temp(v)?;
        self.push(kernel, reads, out.clone(), round, None);
        self.define(v, out);
        Ok(())
    }

    /// Emits a step with the given result view (its dims may differ from `v`'s by layout only).
    pub fn step_into(&mut self, kernel: Kernel, reads: Vec<View>, write: View, v: Val) {
        let round = self.round(self.fact(v).element);
        self.push(kernel, reads, write, round, None);
    }

    /// The value as a view, computing it now if it is pending.
    pub fn view(&mut self, v: Val) -> Result<View, Fault> {
        let repr = match &self.reprs[v.0 as usize] {
            Some(Repr::View(view)) => return Ok(view.clone()),
            Some(other) => other.clone(),
            None => {
                let view = self.host_view(v)?;
                self.define(v, view.clone());
                return Ok(view);
            }
        };
        let view = match repr {
            Repr::View(view) => view,
            Repr::Lazy(lazy) => {
                let (out, round) = self.temp(v)?;
                self.emit_lazy(*lazy, out.clone(), round)?;
                out
            }
            Repr::Norm(pending) => {
                let (out, round) = self.temp(v)?;
                let reads = vec![pending.x.clone(), pending.scale.broadcast(&pending.x.dims)];
                let dest = View::whole(out.buffer, pending.x.dims.clone());
                self.push(Kernel::Norm(pending.norm), reads, dest, round, Some(pending.node));
                out
            }
        };
        self.define(v, view.clone());
        Ok(view)
    }

    /// A view of a constant or of a value that only the host knows.
    fn host_view(&mut self, v: Val) -> Result<View, Fault> {
        let fact = self.fact(v).clone();
        let kind = self.kind(fact.element)?;
        if let Some(id) = self.constants.get(&v) {
            return Ok(View::whole(*id, fact.dims));
        }
        if fact.constant.is_some() {
            let id = self.constant_buffer(&fact, kind)?;
            self.constants.insert(v, id);
            return Ok(View::whole(id, fact.dims));
        }
        let Some(content) = fact.content.clone() else {
            return Err(Fault::program("a value is used before it is defined"));
        };
        if let Some(ints) = fact.const_ints() {
            let words: Vec<u32> = ints.iter().map(|v| *v as u32).collect();
            let bytes = Arc::new(bytemuck::cast_slice(&words).to_vec());
            let id = self.buffer(Role::Host(bytes), kind, Storage::Word, Expr::from(words.len()));
            return Ok(View::whole(id, fact.dims));
        }
        // A vector of expressions: pick by the flat index.
        let mut instrs = vec![Instr { op: MapOp::Index(0), args: [0; 3], kind: Kind::I32 }];
        let push = |instrs: &mut Vec<Instr>, op, args, kind| {
            instrs.push(Instr { op, args, kind });
            (instrs.len() - 1) as u16
        };
        let mut last = push(&mut instrs, MapOp::Scalar(0), [0; 3], kind);
        for i in 1..content.len() {
            let at = push(&mut instrs, MapOp::Const(i as u32), [0; 3], Kind::I32);
            let here = push(&mut instrs, MapOp::Fn(crate::map::MapFn::Equal), [0, at, 0], Kind::Bool);
            let value = push(&mut instrs, MapOp::Scalar(i as u16), [0; 3], kind);
            last = push(&mut instrs, MapOp::Fn(crate::map::MapFn::Select), [here, value, last], kind);
        }
        if content.len() > 16 {
            return Err(Fault::unsupported("a long vector of extents as data"));
        }
        let prog = MapProg { instrs, scalars: content.to_vec() };
        let flat = self.temp_of(kind, vec![Expr::from(content.len())]);
        self.push(Kernel::Map(prog), vec![], flat.clone(), Round::None, None);
        Ok(View::whole(flat.buffer, fact.dims))
    }

    fn constant_buffer(&mut self, fact: &Fact, kind: Kind) -> Result<BufferId, Fault> {
        use ElementType::*;
        let Some(data) = fact.constant.clone() else {
            return Err(Fault::program("not a constant"));
        };
        let elements = fact.elements();
        if let Some(ints) = fact.const_ints() {
            let words: Vec<u32> = ints.iter().map(|v| *v as u32).collect();
            let bytes = Arc::new(bytemuck::cast_slice(&words).to_vec());
            return Ok(self.buffer(Role::Host(bytes), kind, Storage::Word, elements));
        }
        let storage = match fact.element {
            F32 | SI32 | UI32 => Some(Storage::Word),
            F16 => Some(Storage::F16),
            BF16 => Some(Storage::BF16),
            SI8 => Some(Storage::Byte { signed: true }),
            UI8 | Bool => Some(Storage::Byte { signed: false }),
            _ => None,
        };
        if let Some(storage) = storage {
            return Ok(self.buffer(Role::Constant(data), kind, storage, elements));
        }
        let bytes: Vec<u8> = if kind == Kind::F32 {
            self.note(
                "expanded_weight",
                format!("a {} constant is expanded to float32", fact.element.name()),
            );
            bytemuck::cast_slice(&constant::floats(self.asset, fact, &data)?).to_vec()
        } else {
            let count = elements.as_const().and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
            if count > constant::MAX_EXPANDED_BYTES / 8 {
                return Err(Fault::unsupported("a constant too large to expand"));
            }
            let ints = constant::integers(self.asset, fact, &data, count)?;
            let words: Vec<u32> = ints.iter().map(|v| *v as u32).collect();
            bytemuck::cast_slice(&words).to_vec()
        };
        Ok(self.buffer(Role::Host(Arc::new(bytes)), kind, Storage::Word, elements))
    }

    /// A buffer of float32 values made on the host; equal values share one.
    pub fn host_floats(&mut self, values: &[f32], dims: Vec<Expr>) -> View {
        let bytes: Arc<Vec<u8>> = Arc::new(bytemuck::cast_slice(values).to_vec());
        let role = Role::Host(bytes.clone());
        if let Some(at) = self.plan.buffers.iter().position(|b| b.role == role && b.kind == Kind::F32) {
            return View::whole(BufferId(at as u32), dims);
        }
        let id = self.buffer(Role::Host(bytes), Kind::F32, Storage::Word, Expr::from(values.len()));
        View::whole(id, dims)
    }

    /// Defines `v` as a compressed weight that kernels dequantize on load.
    pub fn define_quant(&mut self, v: Val, format: crate::step::QuantFormat, source: QuantSource) {
        let dims = self.fact(v).dims.clone();
        let key = (source.clone(), format.dims.clone());
        let id = match self.quants.get(&key) {
            Some(id) => *id,
            None => {
                let storage = Storage::Quant(Arc::new(format));
                let id = self.buffer(Role::Quant(source), Kind::F32, storage, product(&dims));
                self.quants.insert(key, id);
                id
            }
        };
        self.define(v, View::whole(id, dims));
    }

    /// Defines `v` as float32 data expanded on the host.
    pub fn define_expanded(&mut self, v: Val, values: Vec<f32>) {
        let dims = self.fact(v).dims.clone();
        let view = self.host_floats(&values, dims);
        self.define(v, view);
    }

    /// Data that [`Self::define_expanded`] gave to `v`.
    pub fn expanded(&self, v: Val) -> Option<Vec<f32>> {
        let Some(Repr::View(view)) = &self.reprs[v.0 as usize] else { return None };
        match &self.plan.buffer(view).role {
            Role::Host(bytes) => {
                Some(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
            }
            _ => None,
        }
    }

    /// A single constant element, as bits of its kind.
    fn scalar_bits(&self, v: Val) -> Option<u32> {
        let fact = self.fact(v);
        if let Some(ints) = fact.const_ints() {
            return match ints.as_slice() {
                [one] => Some(*one as u32),
                [first, rest @ ..] if rest.iter().all(|x| x == first) => Some(*first as u32),
                _ => None,
            };
        }
        let data = fact.constant.as_ref()?;
        let single = data.splat || fact.elements().is(1);
        if !single || kind_of(fact.element)? != Kind::F32 {
            return None;
        }
        let one = Fact::new(fact.element, vec![]);
        Some(constant::floats(self.asset, &one, data).ok()?.first()?.to_bits())
    }

    /// Constant float elements of a small operand.
    pub fn const_floats(&self, v: Val) -> Result<Vec<f32>, Fault> {
        let fact = self.fact(v);
        let Some(data) = &fact.constant else {
            return Err(Fault::unsupported("an operand that must be a constant"));
        };
        if fact.elements().as_const().is_none_or(|n| n > 4096) {
            return Err(Fault::unsupported("a parameter operand with too many elements"));
        }
        constant::floats(self.asset, fact, data)
    }

    /// Bits of a single-element constant operand.
    pub fn const_bits(&self, v: Val) -> Result<u32, Fault> {
        self.scalar_bits(v).ok_or_else(|| Fault::unsupported("an operand that must be a constant scalar"))
    }

    /// Lowers a conversion.
    pub fn cast(&mut self, x: Val, out: Val, from: ElementType, to: ElementType) -> Result<(), Fault> {
        let small = |e| {
            matches!(
                e,
                ElementType::F8E5M2 | ElementType::F8E4M3FN | ElementType::F4E2M1FN | ElementType::F8E8M0FN
            )
        };
        let (a, b) = (self.kind(from)?, self.kind(to)?);
        let widening = match (crate::facts::integer_range(from), crate::facts::integer_range(to)) {
            (Some(f), Some(t)) => f.0 >= t.0 && f.1 <= t.1,
            _ => false,
        };
        let same_register = a == b && (a == Kind::F32 && !small(to) || widening);
        if same_register {
            // float → float keeps the register; the declared dtype matters where it is stored.
            self.alias(x, out)
        } else {
            self.map(&[x], out, MapOp::Cast(to), b, None)
        }
    }

    /// `out` is `x`, unchanged. A pending expression moves on when this is its only use.
    pub fn alias(&mut self, x: Val, out: Val) -> Result<(), Fault> {
        let moves = self.uses[x.0 as usize] == 1 && self.uses[out.0 as usize] == 1;
        match self.reprs[x.0 as usize].clone() {
            Some(repr @ Repr::Lazy(_)) if moves => self.reprs[out.0 as usize] = Some(repr),
            _ => {
                let view = self.view(x)?;
                self.define(out, view);
            }
        }
        Ok(())
    }

    /// Lowers an elementwise op: fuses pending operands and leaves the result pending when it has
    /// one use.
    pub fn map(
        &mut self,
        inputs: &[Val],
        out: Val,
        op: MapOp,
        kind: Kind,
        wrap: Option<MapOp>,
    ) -> Result<(), Fault> {
        let dims = self.fact(out).dims.clone();
        let mut lazy =
            Lazy { dims: dims.clone(), instrs: vec![], scalars: vec![], views: vec![], anchor: None };
        let mut args = [0u16; 3];
        for (k, v) in inputs.iter().enumerate() {
            args[k] = self.operand(&mut lazy, *v, inputs.len() - 1 - k)?;
        }
        lazy.instrs.push(Instr { op, args, kind });
        if let Some(wrap) = wrap {
            let last = (lazy.instrs.len() - 1) as u16;
            lazy.instrs.push(Instr { op: wrap, args: [last, 0, 0], kind });
        }
        let reads = lazy.views.len() + lazy.anchor.as_ref().map_or(0, |a| a.reads.len());
        let full = reads >= MAX_OPERANDS || lazy.instrs.len() >= MAX_INSTRS;
        self.reprs[out.0 as usize] = Some(Repr::Lazy(Box::new(lazy)));
        if self.uses[out.0 as usize] != 1 || full || !self.fuse {
            self.view(out)?;
        }
        Ok(())
    }

    /// Appends the value as an operand of the expression; returns the instruction that holds it.
    fn operand(&mut self, lazy: &mut Lazy, v: Val, to_come: usize) -> Result<u16, Fault> {
        let kind = self.kind(self.fact(v).element)?;
        let push = |lazy: &mut Lazy, op| {
            lazy.instrs.push(Instr { op, args: [0; 3], kind });
            Ok((lazy.instrs.len() - 1) as u16)
        };
        if let Some(bits) = self.scalar_bits(v) {
            return push(lazy, MapOp::Const(bits));
        }
        if self.fact(v).elements().is(1)
            && let Some([one]) = self.fact(v).content.as_deref().map(Vec::as_slice)
        {
            lazy.scalars.push(one.clone());
            return push(lazy, MapOp::Scalar((lazy.scalars.len() - 1) as u16));
        }
        if let Some(Repr::Lazy(own)) = &self.reprs[v.0 as usize] {
            let own = own.clone();
            if self.can_inline(lazy, &own, to_come) {
                self.reprs[v.0 as usize] = None;
                return Ok(self.inline(lazy, *own));
            }
        }
        let view = self.view(v)?.broadcast(&lazy.dims);
        let number = match lazy.views.iter().position(|w| *w == view) {
            Some(n) => n,
            None => {
                lazy.views.push(view);
                lazy.views.len() - 1
            }
        };
        push(lazy, MapOp::Load(number as u16))
    }

    /// Whether `own` fits into the expression, with `to_come` operands after it.
    fn can_inline(&self, into: &Lazy, own: &Lazy, to_come: usize) -> bool {
        let instrs = into.instrs.len() + own.instrs.len() + 4;
        if instrs > MAX_INSTRS || into.scalars.len() + own.scalars.len() > 16 {
            return false;
        }
        // Broadcasting an expression would evaluate it again for every copy.
        if !same_squeezed(&into.dims, &own.dims, &self.shapes) {
            return false;
        }
        let anchored = match (&into.anchor, &own.anchor) {
            (None, None) => 0,
            (Some(a), None) | (None, Some(a)) => a.reads.len(),
            (Some(a), Some(b)) => {
                let storage = |x: &Anchor| x.reads.get(1).map(|w| self.plan.buffer(w).storage.clone());
                match merge_anchors(a, b) {
                    Some((merged, _)) if storage(a) == storage(b) => merged.reads.len(),
                    _ => return false,
                }
            }
        };
        anchored + into.views.len() + own.views.len() + to_come <= MAX_OPERANDS
    }

    fn inline(&mut self, into: &mut Lazy, own: Lazy) -> u16 {
        let base = into.instrs.len() as u16;
        let mut acc_base = 0;
        match (&mut into.anchor, own.anchor) {
            (_, None) => {}
            (slot @ None, Some(anchor)) => *slot = Some(anchor),
            (Some(a), Some(b)) => {
                if let Some((merged, first)) = merge_anchors(a, &b) {
                    acc_base = first;
                    *a = merged;
                }
            }
        }
        let views: Vec<u16> = own
            .views
            .iter()
            .map(|view| {
                let view = view.realign(&into.dims).unwrap_or_else(|| view.broadcast(&into.dims));
                match into.views.iter().position(|w| *w == view) {
                    Some(n) => n as u16,
                    None => {
                        into.views.push(view);
                        (into.views.len() - 1) as u16
                    }
                }
            })
            .collect();
        let scalar_base = into.scalars.len() as u16;
        into.scalars.extend(own.scalars);
        for mut instr in own.instrs {
            instr.op = match instr.op {
                MapOp::Load(n) if n >= ACC => MapOp::Load(n + acc_base),
                MapOp::Load(n) => MapOp::Load(views[n as usize]),
                MapOp::Scalar(n) => MapOp::Scalar(n + scalar_base),
                op => op,
            };
            for arg in &mut instr.args {
                *arg += base;
            }
            into.instrs.push(instr);
        }
        (into.instrs.len() - 1) as u16
    }

    /// Emits the step of a pending expression into `dest`, whose dims equal the expression's up to
    /// axes of extent 1.
    fn emit_lazy(&mut self, lazy: Lazy, dest: View, round: Round) -> Result<(), Fault> {
        let misaligned = || Fault::program("shapes of a fused expression differ");
        let Some(anchor) = lazy.anchor else {
            let prog = MapProg { instrs: lazy.instrs, scalars: lazy.scalars };
            let dest = View { dims: lazy.dims.clone(), ..dest.realign(&lazy.dims).ok_or_else(misaligned)? };
            self.push(Kernel::Map(prog), lazy.views, dest, round, None);
            return Ok(());
        };
        let accumulators = match &anchor.kernel {
            Kernel::MatMul { weights, .. } => *weights as u16,
            _ => 1,
        };
        let instrs: Vec<Instr> = lazy
            .instrs
            .iter()
            .map(|i| Instr {
                op: match i.op {
                    MapOp::Load(n) if n >= ACC => MapOp::Load(n - ACC),
                    MapOp::Load(n) => MapOp::Load(n + accumulators),
                    op => op,
                },
                ..*i
            })
            .collect();
        let trivial = matches!(instrs.as_slice(), [Instr { op: MapOp::Load(0), .. }]);
        let prog = (!trivial).then_some(MapProg { instrs, scalars: lazy.scalars });
        let mut kernel = anchor.kernel;
        match &mut kernel {
            Kernel::MatMul { epilogue, .. } | Kernel::Conv { epilogue, .. } => *epilogue = prog,
            _ => {}
        }
        let mut reads = anchor.reads;
        for view in &lazy.views {
            reads.push(view.realign(&anchor.dims).ok_or_else(misaligned)?);
        }
        let dest = dest.realign(&anchor.dims).ok_or_else(misaligned)?;
        self.push(kernel, reads, dest, round, Some(anchor.node));
        Ok(())
    }

    /// Emits a kernel that takes an epilogue; it stays pending when its result has one use.
    pub fn anchored(
        &mut self,
        kernel: Kernel,
        reads: Vec<View>,
        dims: Vec<Expr>,
        out: Val,
    ) -> Result<(), Fault> {
        let kind = self.kind(self.fact(out).element)?;
        let load = Instr { op: MapOp::Load(ACC), args: [0; 3], kind };
        let anchor = Anchor { kernel, reads, dims, node: self.node };
        let lazy = Lazy {
            dims: self.fact(out).dims.clone(),
            instrs: vec![load],
            scalars: vec![],
            views: vec![],
            anchor: Some(anchor),
        };
        self.reprs[out.0 as usize] = Some(Repr::Lazy(Box::new(lazy)));
        if self.uses[out.0 as usize] != 1 || !self.fuse || kind != Kind::F32 {
            self.view(out)?;
        }
        Ok(())
    }

    /// Defines `v` as a normalization that small matrix products may compute themselves.
    pub fn pending_norm(&mut self, v: Val, norm: Norm, x: View, scale: View) {
        let node = self.node;
        self.reprs[v.0 as usize] = Some(Repr::Norm(Box::new(PendingNorm { norm, x, scale, node })));
    }

    /// The pending normalization behind `v`, if any.
    pub fn norm_of(&self, v: Val) -> Option<(Norm, View, View)> {
        match &self.reprs[v.0 as usize] {
            Some(Repr::Norm(p)) => Some((p.norm, p.x.clone(), p.scale.clone())),
            _ => None,
        }
    }

    /// Whether all uses of `v` are left operands of matrix products.
    pub fn only_multiplied(&self, v: Val) -> bool {
        self.graph.nodes.iter().all(|n| {
            !n.inputs.contains(&v)
                || (n.name.ends_with("batch_matmul_v1")
                    && n.inputs.first() == Some(&v)
                    && n.inputs.get(1) != Some(&v))
        }) && !self.graph.outputs.iter().any(|(_, o)| *o == v)
    }

    /// Defines `out` by re-interpreting `x`: `f` maps a view of `x` to a view of `out`, or `None`
    /// when the data must be made contiguous first.
    pub fn reinterpret(
        &mut self,
        x: Val,
        out: Val,
        f: &dyn Fn(&View, &Assumptions) -> Option<View>,
    ) -> Result<(), Fault> {
        let single = self.uses[x.0 as usize] == 1;
        if single
            && self.fuse
            && let Some(Repr::Lazy(lazy)) = self.reprs[x.0 as usize].clone()
        {
            let dims = self.fact(out).dims.clone();
            let moved = match &lazy.anchor {
                Some(_) => {
                    // Only axes of extent 1 may change under an epilogue.
                    let kept =
                        same_squeezed(&lazy.dims, &dims, &self.shapes) && self.keeps_order(&lazy, &dims, f);
                    let views = lazy.views.iter().map(|v| v.realign(&dims)).collect::<Option<Vec<_>>>();
                    views.filter(|_| kept)
                }
                None => lazy.views.iter().map(|v| f(v, &self.shapes)).collect::<Option<Vec<_>>>(),
            };
            if let Some(views) = moved
                && !lazy.views.is_empty() | lazy.anchor.is_some()
                && self.uses[out.0 as usize] == 1
            {
                self.reprs[x.0 as usize] = None;
                self.reprs[out.0 as usize] = Some(Repr::Lazy(Box::new(Lazy { dims, views, ..*lazy })));
                return Ok(());
            }
        }
        let view = self.view(x)?;
        let mut result = f(&view, &self.shapes);
        if result.is_none() {
            let (copy, round) = self.copy_of(&view);
            self.push(
                Kernel::Map(MapProg::copy(self.plan.buffer(&view).kind)),
                vec![view],
                copy.clone(),
                round,
                None,
            );
            result = f(&copy, &self.shapes);
        }
        let view = result.ok_or_else(|| Fault::program("the shapes do not fit"))?;
        self.define(out, view);
        Ok(())
    }

    /// Whether `f` keeps row-major order (a reshape, not a transpose) on the expression's dims.
    fn keeps_order(
        &self,
        lazy: &Lazy,
        dims: &[Expr],
        f: &dyn Fn(&View, &Assumptions) -> Option<View>,
    ) -> bool {
        let probe = View::whole(BufferId(u32::MAX), lazy.dims.clone());
        f(&probe, &self.shapes).is_some_and(|v| v.dims == dims && v.is_row_major() && v.offset.is(0))
    }

    fn copy_of(&mut self, view: &View) -> (View, Round) {
        let kind = self.plan.buffer(view).kind;
        (self.temp_of(kind, view.dims.clone()), Round::None)
    }

    /// Computes `v` straight into `dest`, which has its dims.
    pub fn write_into(&mut self, v: Val, dest: View) -> Result<(), Fault> {
        let element = self.fact(v).element;
        let round = self.round(element);
        let kind = self.kind(element)?;
        let packed = self.plan.buffer(&dest).storage != Storage::Word;
        if let Some(Repr::Lazy(lazy)) = self.reprs[v.0 as usize].clone()
            && self.uses[v.0 as usize] == 1
            && !(packed && lazy.anchor.is_some())
            && !lazy.views.iter().any(|r| r.buffer == dest.buffer)
            && lazy.anchor.as_ref().is_none_or(|a| !a.reads.iter().any(|r| r.buffer == dest.buffer))
        {
            self.reprs[v.0 as usize] = None;
            return self.emit_lazy(*lazy, dest, round);
        }
        let mut view = self.view(v)?;
        if view.buffer == dest.buffer {
            let (copy, _) = self.copy_of(&view);
            self.push(Kernel::Map(MapProg::copy(kind)), vec![view], copy.clone(), Round::None, None);
            view = copy;
        }
        let dest = View { dims: view.dims.clone(), ..dest };
        self.push(Kernel::Map(MapProg::copy(kind)), vec![view], dest, round, None);
        Ok(())
    }

    /// Copies a view into a new temporary.
    pub fn copy_to_temp(&mut self, view: View) -> View {
        let kind = self.plan.buffer(&view).kind;
        let (copy, _) = self.copy_of(&view);
        self.push(Kernel::Map(MapProg::copy(kind)), vec![view], copy.clone(), Round::None, None);
        copy
    }

    /// The view of state `n`.
    pub fn state_view(&self, n: usize) -> Option<View> {
        let port = self.plan.states.get(n)?;
        Some(View::whole(port.buffer?, port.dims.clone()))
    }

    /// Whether a view shows a state.
    pub fn is_state(&self, view: &View) -> bool {
        matches!(self.plan.buffer(view).role, Role::State(_))
    }

    /// What the program does with states.
    pub fn states(&self) -> &StateUse {
        &self.states
    }

    /// Before a state is written: computes every pending expression that reads it.
    pub fn settle_readers(&mut self, buffer: BufferId) -> Result<(), Fault> {
        let reads = |views: &[View]| views.iter().any(|v| v.buffer == buffer);
        let pending: Vec<Val> = (0..self.reprs.len())
            .filter(|i| match &self.reprs[*i] {
                Some(Repr::Lazy(l)) => reads(&l.views) || l.anchor.as_ref().is_some_and(|a| reads(&a.reads)),
                Some(Repr::Norm(n)) => n.x.buffer == buffer || n.scale.buffer == buffer,
                _ => false,
            })
            .map(|i| Val(i as u32))
            .collect();
        for v in pending {
            self.view(v)?;
        }
        Ok(())
    }

    /// A `[k]`-strided scale as the matmul prologue wants it, if `view` is one.
    pub fn is_row_vector(view: &View) -> bool {
        view.dims.iter().rev().skip(1).all(|d| d.is(1)) && !view.dims.is_empty()
    }
}

/// Two products with the same left operand become one step with several weights. Returns the merged
/// anchor and the number of the second's first accumulator.
fn merge_anchors(a: &Anchor, b: &Anchor) -> Option<(Anchor, u16)> {
    let (
        Kernel::MatMul { weights: wa, norm: na, epilogue: None },
        Kernel::MatMul { weights: wb, norm: nb, epilogue: None },
    ) = (&a.kernel, &b.kernel)
    else {
        return None;
    };
    let total = wa + wb;
    if total > MAX_WEIGHTS || na != nb || a.reads[0] != b.reads[0] || a.dims != b.dims {
        return None;
    }
    let scale = |x: &Anchor, w: usize| x.reads.get(1 + w).cloned();
    if scale(a, *wa) != scale(b, *wb) {
        return None;
    }
    let (first, second) = (&a.reads[1..=*wa], &b.reads[1..=*wb]);
    let alike = |x: &View, y: &View| x.dims == y.dims && x.strides == y.strides;
    if !second.iter().all(|w| alike(w, &first[0])) {
        return None;
    }
    let mut reads = vec![a.reads[0].clone()];
    reads.extend(first.iter().chain(second).cloned());
    reads.extend(scale(a, *wa));
    let kernel = Kernel::MatMul { weights: total, norm: *na, epilogue: None };
    Some((Anchor { kernel, reads, dims: a.dims.clone(), node: a.node }, *wa as u16))
}
