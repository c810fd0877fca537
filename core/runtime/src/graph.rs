//! The function as a flat list of nodes: calls inlined, composites matched, duplicates merged.

use std::collections::HashMap;
use std::sync::Arc;

use coreai_asset::{
    Asset, Attribute, Composite, Function, Op as AssetOp, Param, ParamKind, Region, Scope, Type, TypeId,
    ValueId,
};

use crate::error::Error;
use crate::expr::{Bounds, Expr};
use crate::facts::{Assumptions, Fact, MAX_CONTENT, is_integer};
use crate::ops::{self, Fault, InferCx, Op};
use crate::plan::{Symbol, SymbolSource};
use crate::step::Origin;

/// Deepest chain of calls and nested regions. Real assets stay below 10.
const MAX_DEPTH: usize = 64;
/// Most nodes of a flattened function. A 100-layer decoder without rules has about 10^5.
const MAX_NODES: usize = 4_000_000;
/// Integer inputs with at most this many elements have a host mirror.
const MIRRORED_ELEMENTS: i64 = 16;

/// A value of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Val(pub u32);

/// A node: one op or composite applied to values.
pub struct Node {
    /// The op's implementation.
    pub op: &'static dyn Op,
    /// Serialized name, or the composite's name.
    pub name: Arc<str>,
    /// Operands. A composite's are in the order of its own arguments.
    pub inputs: Vec<Val>,
    /// Results.
    pub outputs: Vec<Val>,
    /// Inherent attributes.
    pub attrs: Vec<(&'static str, Attribute)>,
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

/// A flattened function.
pub struct Graph {
    /// Function name.
    pub function: String,
    /// Nodes in execution order.
    pub nodes: Vec<Node>,
    /// Facts of each value. Handles have the facts of their tensor; tokens are empty.
    pub facts: Vec<Fact>,
    /// Definition of each value.
    pub sources: Vec<Source>,
    /// Name, value of each input.
    pub inputs: Vec<(String, Val)>,
    /// Name, value of each state.
    pub states: Vec<(String, Val)>,
    /// Name, value of each output.
    pub outputs: Vec<(String, Val)>,
    /// Symbols, guards.
    pub assumptions: Assumptions,
}

/// What a variant fixes before planning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fixed {
    /// Values of symbols, by source, that are constants of the variant.
    pub symbols: Vec<Option<i64>>,
}

struct Builder<'a> {
    asset: &'a Asset,
    rules: bool,
    graph: Graph,
    seen: HashMap<(Arc<str>, Vec<Val>, String), Vec<Val>>,
    constants: HashMap<(coreai_asset::ConstantRef, TypeId), Val>,
}

/// Flattens `function`. Symbols are numbered in order: extents of inputs and states, then elements
/// of small integer inputs.
pub fn flatten(asset: &Asset, function: &Function, rules: bool, fixed: &Fixed) -> Result<Graph, Error> {
    let graph = Graph {
        function: function.name.clone(),
        nodes: vec![],
        facts: vec![],
        sources: vec![],
        inputs: vec![],
        states: vec![],
        outputs: vec![],
        assumptions: Assumptions::default(),
    };
    let mut b = Builder { asset, rules, graph, seen: HashMap::new(), constants: HashMap::new() };
    let args = b.arguments(function, fixed)?;
    let results = b.region(&function.body, &args, None, 0)?;
    for (param, value) in function.outputs.iter().zip(&results) {
        if param.kind == ParamKind::Output {
            b.graph.outputs.push((param.name.clone(), *value));
        }
    }
    if results.len() != function.outputs.len() {
        return Err(b.fault("dataflow.output_v1", None, Fault::program("wrong number of results")));
    }
    Ok(b.graph)
}

impl Graph {
    /// Adds a value.
    pub fn value(&mut self, fact: Fact, source: Source) -> Val {
        let val = Val(self.facts.len() as u32);
        self.facts.push(fact);
        self.sources.push(source);
        val
    }

    /// Facts of a value.
    pub fn fact(&self, v: Val) -> &Fact {
        &self.facts[v.0 as usize]
    }

    /// Adds a node after running its type rule.
    #[allow(clippy::too_many_arguments)]
    pub fn node(
        &mut self,
        op: &'static dyn Op,
        name: Arc<str>,
        inputs: Vec<Val>,
        attrs: Vec<(&'static str, Attribute)>,
        composite: Option<Arc<Composite>>,
        declared: &[Fact],
        source_line: Option<Arc<str>>,
    ) -> Result<Vec<Val>, Error> {
        let facts: Vec<Fact> = inputs.iter().map(|v| self.fact(*v).clone()).collect();
        let origin = Origin { op: name.clone(), node: self.nodes.len() as u32, source: source_line };
        let mut cx = InferCx {
            name: &name,
            inputs: &facts,
            composite: composite.as_deref(),
            declared,
            shapes: &mut self.assumptions,
        };
        let results = op.infer(&mut cx).map_err(|f| f.at(&self.function, &origin))?;
        for (result, declared) in results.iter().zip(declared) {
            if result.element != declared.element {
                let fault = Fault::program(format!(
                    "declared result {} but its operands give {}",
                    declared.element.name(),
                    result.element.name()
                ));
                return Err(fault.at(&self.function, &origin));
            }
        }
        if results.len() != declared.len() {
            return Err(Fault::program("wrong number of results").at(&self.function, &origin));
        }
        let at = self.nodes.len();
        let outputs: Vec<Val> = results.into_iter().map(|f| self.value(f, Source::Node(at))).collect();
        self.nodes.push(Node { op, name, inputs, outputs: outputs.clone(), attrs, composite, origin });
        Ok(outputs)
    }
}

impl Builder<'_> {
    fn fault(&self, op: &str, source: Option<Arc<str>>, fault: Fault) -> Error {
        fault.at(&self.graph.function, &Origin { op: op.into(), node: self.graph.nodes.len() as u32, source })
    }

    fn arguments(&mut self, function: &Function, fixed: &Fixed) -> Result<Vec<Val>, Error> {
        let mut args = vec![];
        let mut next = 0;
        let mut fix = || {
            let v = fixed.symbols.get(next).copied().flatten();
            next += 1;
            v
        };
        for param in &function.inputs {
            let mut fact = self.param_fact(param)?;
            let state = param.kind == ParamKind::State;
            let number = if state { self.graph.states.len() } else { self.graph.inputs.len() };
            for (axis, dim) in fact.dims.iter_mut().enumerate() {
                if dim.is(-1) {
                    let source = if state {
                        SymbolSource::StateDim { state: number, axis }
                    } else {
                        SymbolSource::InputDim { input: number, axis }
                    };
                    let bounds = Bounds { min: 1, max: i64::from(i32::MAX) };
                    *dim = self.graph.assumptions.symbol(Symbol { source, bounds }, fix());
                }
            }
            let source = if state { Source::State(number) } else { Source::Input(number) };
            let value = self.graph.value(fact, source);
            let list = if state { &mut self.graph.states } else { &mut self.graph.inputs };
            list.push((param.name.clone(), value));
            args.push(value);
        }
        let inputs: Vec<Val> = self.graph.inputs.iter().map(|(_, v)| *v).collect();
        let params = function.inputs.iter().filter(|p| p.kind != ParamKind::State);
        for ((input, value), param) in inputs.into_iter().enumerate().zip(params) {
            let fact = self.graph.fact(value).clone();
            // The declared shape decides, so that every variant numbers its symbols alike.
            let declared = self.param_fact(param)?;
            let count = match declared.dims.iter().any(|d| d.is(-1)) {
                true => i64::MAX,
                false => declared.elements().as_const().unwrap_or(i64::MAX),
            };
            if !is_integer(fact.element) || count > MIRRORED_ELEMENTS {
                continue;
            }
            let (min, max) = crate::facts::integer_range(fact.element).unwrap_or((i64::MIN, i64::MAX));
            let content = (0..count as usize)
                .map(|element| {
                    let source = SymbolSource::InputElement { input, element };
                    self.graph.assumptions.symbol(Symbol { source, bounds: Bounds { min, max } }, fix())
                })
                .collect();
            self.graph.facts[value.0 as usize] = fact.with_content(Some(content));
        }
        Ok(args)
    }

    fn param_fact(&self, param: &Param) -> Result<Fact, Error> {
        match self.type_fact(param.ty) {
            Some(fact) => Ok(fact),
            None => Err(self.fault(
                "dataflow.graph_v1",
                None,
                Fault::unsupported(format!("argument {:?} is not a tensor", param.name)),
            )),
        }
    }

    /// Facts a type states; dynamic extents are −1. Tokens are empty tensors.
    fn type_fact(&self, ty: TypeId) -> Option<Fact> {
        match self.asset.ty(ty) {
            Type::Tensor(t) => {
                let dims = t
                    .shape
                    .iter()
                    .map(|d| {
                        d.map_or(Expr::from(-1i64), |d| Expr::from(i64::try_from(d).unwrap_or(i64::MAX)))
                    })
                    .collect();
                Some(Fact::new(t.element, dims))
            }
            Type::Handle(inner) => self.type_fact(*inner),
            Type::Token => Some(Fact::new(coreai_asset::ElementType::Bool, vec![])),
            _ => None,
        }
    }

    /// Inlines a region; returns the operands of its terminator.
    fn region(
        &mut self,
        region: &Region,
        args: &[Val],
        outer: Option<(&Scope, &HashMap<ValueId, Val>)>,
        depth: usize,
    ) -> Result<Vec<Val>, Error> {
        if depth > MAX_DEPTH {
            return Err(self.fault("dataflow.invoke_v1", None, Fault::program("calls nest too deeply")));
        }
        let (scope, mut env) = match (&region.scope, outer) {
            (Some(scope), _) => (scope, HashMap::new()),
            (None, Some((scope, env))) => (scope, env.clone()),
            (None, None) => {
                return Err(self.fault("region", None, Fault::program("an inline region without a scope")));
            }
        };
        if region.args.len() != args.len() {
            return Err(self.fault("region", None, Fault::program("argument count differs from the call")));
        }
        env.extend(region.args.iter().copied().zip(args.iter().copied()));
        for op in &region.ops {
            let source = self.source_line(op);
            let inputs =
                op.operands.iter().map(|v| env.get(v).copied()).collect::<Option<Vec<Val>>>().ok_or_else(
                    || self.fault(&op.name, source.clone(), Fault::program("an operand is undefined")),
                )?;
            if matches!(&*op.name, "dataflow.output_v1" | "dataflow.yield_v1") {
                return Ok(inputs);
            }
            let results = self.op(op, inputs, scope, &env, source, depth)?;
            env.extend(op.results.iter().copied().zip(results));
        }
        Err(self.fault("region", None, Fault::program("a region without a terminator")))
    }

    fn source_line(&self, op: &AssetOp) -> Option<Arc<str>> {
        let place = self.asset.location(op.location)?;
        // Assets whose debug locations were stripped name no file.
        (place.line > 0).then(|| format!("{}:{}", place.file, place.line).into())
    }

    fn op(
        &mut self,
        op: &AssetOp,
        inputs: Vec<Val>,
        scope: &Scope,
        env: &HashMap<ValueId, Val>,
        source: Option<Arc<str>>,
        depth: usize,
    ) -> Result<Vec<Val>, Error> {
        if self.graph.nodes.len() > MAX_NODES {
            return Err(self.fault(&op.name, source, Fault::program("the program is too large")));
        }
        let declared = op
            .results
            .iter()
            .map(|v| scope.types.get(v.0 as usize).and_then(|t| self.type_fact(*t)))
            .collect::<Option<Vec<Fact>>>();
        match &*op.name {
            "primitive.constant_v1" => return self.constant(op, scope, source).map(|v| vec![v]),
            "dataflow.invoke_v1" => return self.invoke(op, inputs, declared, source, depth),
            "dataflow.isolated_group_v1" if op.regions.len() == 1 => {
                return self.region(&op.regions[0], &inputs, None, depth + 1);
            }
            "controlflow.if_v1" if op.regions.len() == 2 => {
                let cond = inputs.first().and_then(|c| self.graph.fact(*c).const_ints());
                return match cond.as_deref() {
                    Some([c]) => {
                        let region = &op.regions[usize::from(*c == 0)];
                        self.region(region, &[], Some((scope, env)), depth + 1)
                    }
                    _ => Err(self.fault(
                        &op.name,
                        source,
                        Fault::unsupported("the condition is known only on the device"),
                    )),
                };
            }
            _ => {}
        }
        let Some(declared) = declared else {
            return Err(self.fault(&op.name, source, Fault::unsupported("a result is not a tensor")));
        };
        if let Some(implementation) = ops::find(&op.name) {
            return self.add(
                implementation,
                op.name.clone(),
                inputs,
                op.attrs.clone(),
                None,
                declared,
                source,
            );
        }
        match op.regions.as_slice() {
            [body] if body.scope.is_some() && body.args.len() == inputs.len() => {
                self.region(body, &inputs, None, depth + 1)
            }
            _ => Err(self.fault(&op.name, source, Fault::unsupported("this runtime does not know the op"))),
        }
    }

    /// Adds a node unless an equal one exists.
    #[allow(clippy::too_many_arguments)]
    fn add(
        &mut self,
        op: &'static dyn Op,
        name: Arc<str>,
        inputs: Vec<Val>,
        attrs: Vec<(&'static str, Attribute)>,
        composite: Option<Arc<Composite>>,
        declared: Vec<Fact>,
        source: Option<Arc<str>>,
    ) -> Result<Vec<Val>, Error> {
        let pure = !op.effects();
        let mut detail = String::new();
        if !attrs.is_empty() || composite.is_some() {
            detail = format!("{attrs:?}{composite:?}");
        }
        if matches!(&*name, "primitive.cast_v1") {
            detail = format!("{:?}", declared.first().map(|d| d.element));
        }
        let key = (name.clone(), inputs.clone(), detail);
        if pure && let Some(found) = self.seen.get(&key) {
            return Ok(found.clone());
        }
        let outputs = self.graph.node(op, name, inputs, attrs, composite, &declared, source)?;
        if pure {
            self.seen.insert(key, outputs.clone());
        }
        Ok(outputs)
    }

    fn constant(&mut self, op: &AssetOp, scope: &Scope, source: Option<Arc<str>>) -> Result<Val, Error> {
        let ty = op.results.first().and_then(|v| scope.types.get(v.0 as usize)).copied();
        let (Some(ty), Some(Attribute::Constant(data))) = (ty, op.attr("value")) else {
            return Err(self.fault(&op.name, source, Fault::unsupported("a constant that is not a tensor")));
        };
        let key = (data.clone(), ty);
        if let Some(found) = self.constants.get(&key) {
            return Ok(*found);
        }
        let Some(mut fact) = self.type_fact(ty) else {
            return Err(self.fault(&op.name, source, Fault::unsupported("a constant that is not a tensor")));
        };
        let count = fact.elements().as_const().unwrap_or(-1);
        let host = is_integer(fact.element) || fact.element == coreai_asset::ElementType::Bool;
        if host && (0..=MAX_CONTENT as i64).contains(&count) {
            let ints = ops::constant::integers(self.asset, &fact, data, count as usize)
                .map_err(|f| self.fault(&op.name, source, f))?;
            fact = fact.with_content(Some(ints.into_iter().map(Expr::from).collect()));
        }
        if count == 1 && matches!(crate::facts::kind_of(fact.element), Some(crate::step::Kind::F32)) {
            let number = ops::constant::floats(self.asset, &fact, data).ok();
            fact.number = number.and_then(|n| crate::facts::Dyadic::of(*n.first()?));
        }
        fact.constant = Some(data.clone());
        let value = self.graph.value(fact, Source::Constant);
        self.constants.insert(key, value);
        Ok(value)
    }

    fn invoke(
        &mut self,
        op: &AssetOp,
        inputs: Vec<Val>,
        declared: Option<Vec<Fact>>,
        source: Option<Arc<str>>,
        depth: usize,
    ) -> Result<Vec<Val>, Error> {
        let name = op.attr("callee").and_then(symbol_path);
        let callee = name.as_ref().and_then(|n| self.asset.function(n));
        let Some(callee) = callee else {
            let what = name.unwrap_or_else(|| "?".into());
            return Err(self.fault(&op.name, source, Fault::program(format!("no graph named {what:?}"))));
        };
        if self.rules
            && let (Some(composite), Some(declared)) = (&callee.composite, declared)
            && composite.input_names.len() == inputs.len()
            && let Some(rule) = ops::composite(&composite.name)
        {
            let facts: Vec<&Fact> = inputs.iter().map(|v| self.graph.fact(*v)).collect();
            if rule.matches(composite, &facts) {
                let name: Arc<str> = composite.name.as_str().into();
                let composite = Some(Arc::new(composite.clone()));
                return self.add(rule.op(), name, inputs, vec![], composite, declared, source);
            }
        }
        self.region(&callee.body, &inputs, None, depth + 1)
    }
}

fn symbol_path(attr: &Attribute) -> Option<String> {
    match attr {
        Attribute::Symbol(path) => Some(path.join(".")),
        Attribute::ParamConstant { value, .. } => symbol_path(value),
        Attribute::ParamBind { reference, .. } => symbol_path(reference),
        _ => None,
    }
}
