//! The function as a flat list of nodes: calls inlined, composites matched, duplicates merged.

mod control;
mod flatten;
mod replay;
mod sparse;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use coreai_asset::{Attribute, Composite};

use crate::error::Error;
use crate::expr::{Bounds, Expr};
use crate::facts::{Assumptions, Fact, is_integer};
use crate::host;
use crate::ndarray::NDArray;
use crate::ops::{Fault, InferCx, Op};
use crate::plan::{Symbol, SymbolSource};
use crate::step::Origin;

pub use control::Body;
pub use flatten::flatten;
pub use replay::{Segment, replay};

/// Integer values with at most this many elements are mirrored on the host where they enter a plan.
pub const MIRRORED_ELEMENTS: i64 = 16;

/// A value of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Val(pub u32);

/// How a node is executed.
#[derive(Clone)]
pub enum NodeKind {
    /// Lowered into a plan.
    Plan,
    /// Evaluated by the host on whole tensors; why, for the report.
    Host(Arc<str>),
    /// Brings a small integer tensor to the host: its elements are symbols from here on.
    Fetch,
    /// Operand 0 chooses the region; the other operands are what the regions capture.
    If(Arc<[Body; 2]>),
    /// `before` and `after`; the leading operands are the initial values, the others captures.
    While(Arc<[Body; 2]>),
}

/// A node: one op or composite applied to values.
#[derive(Clone)]
pub struct Node {
    /// The op's implementation.
    pub op: &'static dyn Op,
    /// How it is executed.
    pub kind: NodeKind,
    /// Serialized name, or the composite's name.
    pub name: Arc<str>,
    /// Operands. A composite's are in the order of its own arguments.
    pub inputs: Vec<Val>,
    /// Results.
    pub outputs: Vec<Val>,
    /// Inherent attributes.
    pub attrs: Vec<(&'static str, Attribute)>,
    /// The region of `reduce`, `reduce_index` and `scatter_nd`.
    pub region: Option<Arc<host::Region>>,
    /// The composite's declaration.
    pub composite: Option<Arc<Composite>>,
    /// Where it came from.
    pub origin: Origin,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Result of a node.
    Node(usize),
    /// Input number `n`.
    Input(usize),
    /// State number `n` (a handle).
    State(usize),
    /// A constant.
    Constant,
}

/// A flattened function, or a part of one.
#[derive(Clone)]
pub struct Graph {
    /// Function name.
    pub function: String,
    /// Nodes in execution order.
    pub nodes: Vec<Node>,
    /// Facts of each value. Handles have the facts of their tensor; tokens are the constant 0.
    pub facts: Vec<Fact>,
    /// Definition of each value.
    pub sources: Vec<Source>,
    /// Name, value of each input.
    pub inputs: Vec<(String, Val)>,
    /// Name, value of each state.
    pub states: Vec<(String, Val)>,
    /// Name, value of each output.
    pub outputs: Vec<(String, Val)>,
    /// Values whose elements the host computes from the symbols, for a later part.
    pub contents: Vec<Val>,
    /// Constants that were computed while flattening.
    pub folded: HashMap<Val, Arc<NDArray>>,
    /// Symbols, guards.
    pub assumptions: Assumptions,
}

/// What a variant fixes before planning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fixed {
    /// Values of symbols, by source, that are constants of the variant.
    pub symbols: Vec<Option<i64>>,
}

/// How a graph is made from the asset.
#[derive(Clone, Debug, Default)]
pub struct FlattenOptions {
    /// Replace composites by their rules.
    pub rules: bool,
    /// Composites whose rule turned out not to be executable: their body is used.
    pub without: BTreeSet<String>,
}

/// A node about to be added.
pub struct NewNode {
    /// The op's implementation.
    pub op: &'static dyn Op,
    /// How it is executed.
    pub kind: NodeKind,
    /// Serialized name, or the composite's name.
    pub name: Arc<str>,
    /// Operands.
    pub inputs: Vec<Val>,
    /// Inherent attributes.
    pub attrs: Vec<(&'static str, Attribute)>,
    /// Region.
    pub region: Option<Arc<host::Region>>,
    /// The composite's declaration.
    pub composite: Option<Arc<Composite>>,
    /// `file:line`.
    pub source: Option<Arc<str>>,
}

impl NewNode {
    /// A node of a plan without attributes.
    pub fn plain(op: &'static dyn Op, name: Arc<str>, inputs: Vec<Val>) -> NewNode {
        NewNode {
            op,
            kind: NodeKind::Plan,
            name,
            inputs,
            attrs: vec![],
            region: None,
            composite: None,
            source: None,
        }
    }
}

impl Graph {
    /// A graph without values.
    pub fn new(function: &str) -> Graph {
        Graph {
            function: function.into(),
            nodes: vec![],
            facts: vec![],
            sources: vec![],
            inputs: vec![],
            states: vec![],
            outputs: vec![],
            contents: vec![],
            folded: HashMap::new(),
            assumptions: Assumptions::default(),
        }
    }

    /// Adds a value.
    pub fn value(&mut self, fact: Fact, source: Source) -> Val {
        let val = Val(self.facts.len() as u32);
        self.facts.push(fact);
        self.sources.push(source);
        val
    }

    /// Adds an input or state with these facts; dynamic extents (−1) become symbols, which `fix` may
    /// make constants. `least` is the smallest extent that occurs.
    pub fn port(
        &mut self,
        name: String,
        mut fact: Fact,
        state: bool,
        least: i64,
        fix: &mut dyn FnMut() -> Option<i64>,
    ) -> Val {
        let number = if state { self.states.len() } else { self.inputs.len() };
        for (axis, dim) in fact.dims.iter_mut().enumerate() {
            if dim.is(-1) {
                let source = if state {
                    SymbolSource::StateDim { state: number, axis }
                } else {
                    SymbolSource::InputDim { input: number, axis }
                };
                let bounds = Bounds { min: least, max: i64::from(i32::MAX) };
                *dim = self.assumptions.symbol(Symbol { source, bounds }, fix());
            }
        }
        let source = if state { Source::State(number) } else { Source::Input(number) };
        let value = self.value(fact, source);
        let list = if state { &mut self.states } else { &mut self.inputs };
        list.push((name, value));
        value
    }

    /// Makes the elements of an integer input symbols, when the declared extents make it small.
    pub fn mirror(&mut self, value: Val, declared: &Fact, most: i64, fix: &mut dyn FnMut() -> Option<i64>) {
        let Source::Input(input) = self.sources[value.0 as usize] else { return };
        // The declared shape decides, so that every variant numbers its symbols alike.
        let count = match declared.dims.iter().any(|d| d.is(-1)) {
            true => i64::MAX,
            false => declared.elements().as_const().unwrap_or(i64::MAX),
        };
        if !is_integer(declared.element) || count > most {
            return;
        }
        let (min, max) = crate::facts::integer_range(declared.element).unwrap_or((i64::MIN, i64::MAX));
        let content = (0..count as usize)
            .map(|element| {
                let source = SymbolSource::InputElement { input, element };
                self.assumptions.symbol(Symbol { source, bounds: Bounds { min, max } }, fix())
            })
            .collect();
        let fact = self.fact(value).clone();
        self.facts[value.0 as usize] = fact.with_content(Some(content));
    }

    /// An extent or element that only a run knows.
    pub fn unknown(&mut self, bounds: Bounds) -> Expr {
        self.assumptions.symbol(Symbol { source: SymbolSource::Later, bounds }, None)
    }

    /// The facts with a symbol for each dynamic extent (−1). Data may be empty.
    pub fn settled(&mut self, mut fact: Fact) -> Fact {
        for dim in &mut fact.dims {
            if dim.is(-1) {
                *dim = self.unknown(Bounds { min: 0, max: i64::from(i32::MAX) });
            }
        }
        fact
    }

    /// Facts of a value.
    pub fn fact(&self, v: Val) -> &Fact {
        &self.facts[v.0 as usize]
    }

    /// The type rule of a node.
    pub fn infer(&mut self, new: &NewNode, declared: &[Fact]) -> Result<Vec<Fact>, Fault> {
        let facts: Vec<Fact> = new.inputs.iter().map(|v| self.fact(*v).clone()).collect();
        let mut cx = InferCx {
            name: &new.name,
            inputs: &facts,
            region: new.region.as_deref(),
            composite: new.composite.as_deref(),
            declared,
            shapes: &mut self.assumptions,
        };
        let mut results = new.op.infer(&mut cx)?;
        for result in &mut results {
            // Longer vectors of what only a run knows are data, no shape arithmetic.
            let long = |c: &Arc<Vec<Expr>>| c.len() as i64 > MIRRORED_ELEMENTS;
            if result.content.as_ref().is_some_and(|c| long(c) && c.iter().any(|e| e.as_const().is_none())) {
                result.content = None;
            }
        }
        if results.len() != declared.len() {
            return Err(Fault::program("wrong number of results"));
        }
        for (result, declared) in results.iter().zip(declared) {
            if result.element != declared.element {
                return Err(Fault::program(format!(
                    "declared result {} but its operands give {}",
                    declared.element.name(),
                    result.element.name()
                )));
            }
        }
        Ok(results)
    }

    /// Adds a node with results of these facts.
    pub fn push(&mut self, new: NewNode, results: Vec<Fact>) -> Vec<Val> {
        let at = self.nodes.len();
        let outputs: Vec<Val> = results.into_iter().map(|f| self.value(f, Source::Node(at))).collect();
        let origin = Origin { op: new.name.clone(), node: at as u32, source: new.source };
        self.nodes.push(Node {
            op: new.op,
            kind: new.kind,
            name: new.name,
            inputs: new.inputs,
            outputs: outputs.clone(),
            attrs: new.attrs,
            region: new.region,
            composite: new.composite,
            origin,
        });
        outputs
    }

    /// Adds a node after running its type rule.
    pub fn node(&mut self, new: NewNode, declared: &[Fact]) -> Result<Vec<Val>, Error> {
        let facts = self.infer(&new, declared).map_err(|f| self.fault(&new.name, new.source.clone(), f))?;
        Ok(self.push(new, facts))
    }

    /// A fault at the node that would be added next.
    pub fn fault(&self, op: &str, source: Option<Arc<str>>, fault: Fault) -> Error {
        fault.at(&self.function, &Origin { op: op.into(), node: self.nodes.len() as u32, source })
    }
}
