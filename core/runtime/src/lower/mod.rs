//! From graph to plan: every live value becomes a view, a fused expression, or a step.

use std::collections::{BTreeMap, HashMap};

use coreai_asset::{Asset, ElementType};

use crate::expr::Expr;
use crate::facts::{Assumptions, Fact, kind_of, product};
use crate::graph::{Graph, Node, Source, Val};
use crate::map::MapProg;
use crate::ops::Fault;
use crate::options::Precision;
use crate::plan::{Plan, Port};
use crate::report::ReportEntry;
use crate::states::StateUse;
use crate::step::{
    Buffer, BufferId, Kernel, Kind, QuantFormat, QuantSource, Role, Round, Step, Storage, View,
};

mod constants;
pub mod expression;
mod fuse;

use fuse::{Lazy, PendingNorm};

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
    quants: HashMap<(QuantSource, QuantFormat), BufferId>,
    states: StateUse,
    report: Vec<ReportEntry>,
    /// Node being lowered.
    node: usize,
}

/// Why a graph cannot be lowered.
pub struct Failure {
    /// The node, when one is to blame.
    pub node: Option<usize>,
    /// Something is missing here, as opposed to: the program is wrong.
    pub unsupported: bool,
    /// What to tell the caller.
    pub error: Box<crate::Error>,
}

/// Lowers a graph. Returns the plan and the fallbacks taken.
pub fn lower(
    asset: &Asset,
    graph: &Graph,
    precision: Precision,
    fuse: bool,
) -> Result<(Plan, Vec<ReportEntry>), Failure> {
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
    let place = |fault: Fault, name: &str| Failure {
        node: None,
        unsupported: fault.unsupported,
        error: Box::new(
            fault.at(&graph.function, &crate::step::Origin { op: name.into(), node: 0, source: None }),
        ),
    };
    cx.ports().map_err(|f| place(f, "dataflow.graph_v1"))?;
    for (at, node) in graph.nodes.iter().enumerate() {
        if !live[at] {
            continue;
        }
        cx.node = at;
        node.op.lower(&mut cx, at).map_err(|f| Failure {
            node: Some(at),
            unsupported: f.unsupported,
            error: Box::new(f.at(&graph.function, &node.origin)),
        })?;
    }
    cx.outputs().map_err(|f| place(f, "dataflow.output_v1"))?;
    cx.drop_unread_constants();
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

/// Storage of a state of this element type.
pub fn state_storage(element: ElementType) -> Storage {
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
            // Of types that registers lack the host may know the elements: their readers go there.
            let known = fact.content.is_some() && kind_of(fact.element).is_none();
            if self.uses[v.0 as usize] > 0 && !known {
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
        let used = |n: &Node| n.outputs.iter().any(|v| self.uses[v.0 as usize] > 0);
        for node in self.graph.nodes.iter().filter(|n| n.composite.is_some() && used(n)) {
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

    /// The node that computes a value.
    pub fn producer(&self, v: Val) -> Option<&Node> {
        match self.graph.sources.get(v.0 as usize) {
            Some(Source::Node(at)) => self.graph.nodes.get(*at),
            _ => None,
        }
    }

    /// The nodes that read a value; `None` for a result of the function.
    pub fn readers(&self, v: Val) -> Option<Vec<usize>> {
        if self.graph.outputs.iter().any(|(_, output)| *output == v) {
            return None;
        }
        let nodes = self.graph.nodes.iter().enumerate();
        Some(nodes.filter(|(_, node)| node.inputs.contains(&v)).map(|(at, _)| at).collect())
    }

    /// A new contiguous temporary with the facts of `v`, and rounding for its dtype.
    pub fn temp(&mut self, v: Val) -> Result<(View, Round), Fault> {
        let fact = self.fact(v);
        let (element, dims) = (fact.element, fact.dims.clone());
        let kind = self.kind(element)?;
        Ok((self.temp_of(kind, dims), self.round(element)))
    }

    /// A new contiguous temporary.
    pub fn temp_of(&mut self, kind: Kind, dims: Vec<Expr>) -> View {
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

    /// Emits a step whose result is part of a larger one and is not rounded.
    pub fn step_raw(&mut self, kernel: Kernel, reads: Vec<View>, write: View) {
        self.push(kernel, reads, write, Round::None, None);
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

    fn copy_of(&mut self, view: &View) -> (View, Round) {
        let kind = self.plan.buffer(view).kind;
        (self.temp_of(kind, view.dims.clone()), Round::None)
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

    /// A `[k]`-strided scale as the matmul prologue wants it, if `view` is one.
    pub fn is_row_vector(view: &View) -> bool {
        view.dims.iter().rev().skip(1).all(|d| d.is(1)) && !view.dims.is_empty()
    }
}
