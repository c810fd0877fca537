//! From the asset's nested regions to a flat graph.

use std::collections::HashMap;
use std::sync::Arc;

use coreai_asset::{
    Asset, Attribute, Composite, Function, Op as AssetOp, Param, ParamKind, Region, Scope, Type, TypeId,
    ValueId,
};

use super::{Fixed, FlattenOptions, Graph, MIRRORED_ELEMENTS, NewNode, NodeKind, Source, Val, control};
use crate::error::Error;
use crate::expr::{Bounds, Expr};
use crate::facts::{Dyadic, Fact, MAX_CONTENT, integer_range, is_integer, kind_of};
use crate::host;
use crate::image::ImageDescriptor;
use crate::ndarray::NDArray;
use crate::ops::{self, Fault, HOST, Op};

/// Deepest chain of calls and nested regions. Real assets stay below 10.
const MAX_DEPTH: usize = 64;
/// Most nodes of a flattened function. A 100-layer decoder without rules has about 10^5.
const MAX_NODES: usize = 4_000_000;

/// Values of the asset's scope.
pub(super) type Env = HashMap<ValueId, Val>;

/// Makes one graph.
pub(super) struct Builder<'a> {
    pub asset: &'a Asset,
    pub options: &'a FlattenOptions,
    pub graph: Graph,
    seen: HashMap<(Arc<str>, Vec<Val>, String), Vec<Val>>,
    constants: HashMap<(coreai_asset::ConstantRef, TypeId), Val>,
    /// Masks of sparse values, which are modelled as dense ones.
    pub masks: HashMap<Val, Val>,
}

/// Flattens `function`. Symbols are numbered in order: extents of inputs and states, then elements
/// of small integer inputs.
pub fn flatten(
    asset: &Asset,
    function: &Function,
    options: &FlattenOptions,
    fixed: &Fixed,
) -> Result<Graph, Error> {
    let mut b = Builder::new(asset, options, Graph::new(&function.name));
    let args = b.arguments(function, fixed)?;
    let results = b.region(&function.body, &args, None, 0)?;
    if results.len() != function.outputs.len() {
        let fault = Fault::program("wrong number of results");
        return Err(b.graph.fault("dataflow.output_v1", None, fault));
    }
    for (param, value) in function.outputs.iter().zip(&results) {
        if param.kind == ParamKind::Output {
            b.graph.outputs.push((param.name.clone(), *value));
        }
    }
    Ok(b.graph)
}

impl<'a> Builder<'a> {
    pub fn new(asset: &'a Asset, options: &'a FlattenOptions, graph: Graph) -> Builder<'a> {
        Builder {
            asset,
            options,
            graph,
            seen: HashMap::new(),
            constants: HashMap::new(),
            masks: HashMap::new(),
        }
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
            let fact = self.param_fact(param)?;
            let state = param.kind == ParamKind::State;
            args.push(self.graph.port(param.name.clone(), fact, state, 1, &mut fix));
        }
        for (param, value) in function.inputs.iter().zip(&args) {
            if param.kind != ParamKind::State {
                let declared = self.param_fact(param)?;
                self.graph.mirror(*value, &declared, MIRRORED_ELEMENTS, &mut fix);
            }
        }
        Ok(args)
    }

    fn param_fact(&self, param: &Param) -> Result<Fact, Error> {
        self.type_fact(param.ty).ok_or_else(|| {
            let fault = Fault::unsupported(format!("argument {:?} is not a tensor", param.name));
            self.graph.fault("dataflow.graph_v1", None, fault)
        })
    }

    /// Facts a type states; dynamic extents are −1. Tokens are the constant 0; images the bytes of
    /// `image_to_tensor`.
    pub fn type_fact(&self, ty: TypeId) -> Option<Fact> {
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
            Type::Token => Some(Fact::token()),
            ty @ Type::Image { .. } => {
                let shape = ImageDescriptor::of(ty)?.shape()?;
                Some(Fact::new(coreai_asset::ElementType::UI8, shape.into_iter().map(Expr::from).collect()))
            }
            _ => None,
        }
    }

    /// Inlines a region; returns the operands of its terminator.
    pub fn region(
        &mut self,
        region: &Region,
        args: &[Val],
        outer: Option<(&Scope, &Env)>,
        depth: usize,
    ) -> Result<Vec<Val>, Error> {
        let fault = |graph: &Graph, why: &str| graph.fault("region", None, Fault::program(why));
        if depth > MAX_DEPTH {
            let fault = Fault::program("calls nest too deeply");
            return Err(self.graph.fault("dataflow.invoke_v1", None, fault));
        }
        let (scope, mut env) = match (&region.scope, outer) {
            (Some(scope), _) => (scope, HashMap::new()),
            (None, Some((scope, env))) => (scope, env.clone()),
            (None, None) => return Err(fault(&self.graph, "an inline region without a scope")),
        };
        if region.args.len() != args.len() {
            return Err(fault(&self.graph, "argument count differs from the call"));
        }
        env.extend(region.args.iter().copied().zip(args.iter().copied()));
        for op in &region.ops {
            let source = self.source_line(op);
            let inputs = op.operands.iter().map(|v| env.get(v).copied()).collect::<Option<Vec<Val>>>();
            let inputs = inputs.ok_or_else(|| {
                self.graph.fault(&op.name, source.clone(), Fault::program("an operand is undefined"))
            })?;
            if matches!(&*op.name, "dataflow.output_v1" | "dataflow.yield_v1" | "controlflow.condition_v1") {
                return Ok(inputs);
            }
            let results = self.op(op, inputs, scope, &env, source, depth)?;
            env.extend(op.results.iter().copied().zip(results));
        }
        Err(fault(&self.graph, "a region without a terminator"))
    }

    fn source_line(&self, op: &AssetOp) -> Option<Arc<str>> {
        let place = self.asset.location(op.location)?;
        // Assets whose debug locations were stripped name no file.
        (place.line > 0).then(|| format!("{}:{}", place.file, place.line).into())
    }

    /// Declared facts of an op's results.
    pub fn declared(&self, op: &AssetOp, scope: &Scope) -> Option<Vec<Fact>> {
        op.results.iter().map(|v| scope.types.get(v.0 as usize).and_then(|t| self.type_fact(*t))).collect()
    }

    fn op(
        &mut self,
        op: &AssetOp,
        inputs: Vec<Val>,
        scope: &Scope,
        env: &Env,
        source: Option<Arc<str>>,
        depth: usize,
    ) -> Result<Vec<Val>, Error> {
        if self.graph.nodes.len() > MAX_NODES {
            return Err(self.graph.fault(&op.name, source, Fault::program("the program is too large")));
        }
        match &*op.name {
            "primitive.constant_v1" => return self.constant(op, scope, source).map(|v| vec![v]),
            "dataflow.invoke_v1" => {
                let declared = self.declared(op, scope);
                return self.invoke(op, inputs, declared, source, depth);
            }
            "dataflow.isolated_group_v1" if op.regions.len() == 1 => {
                return self.region(&op.regions[0], &inputs, Some((scope, env)), depth + 1);
            }
            "controlflow.if_v1" if op.regions.len() == 2 => {
                return self.branch(op, &inputs, scope, env, source, depth);
            }
            "controlflow.while_v1" if op.regions.len() == 2 => {
                return self.repeat(op, inputs, scope, env, source, depth);
            }
            "debuginfo.record_v1" | "debuginfo.value_v1" | "execution.target_spec_v1" => return Ok(vec![]),
            // The tensor of an image's bytes is what an image is here.
            "primitive.image_to_tensor_v1" | "primitive.tensor_to_image_v1" => return Ok(inputs),
            _ => {}
        }
        let Some(declared) = self.declared(op, scope) else {
            let fault = Fault::unsupported("a result is not a tensor");
            return Err(self.graph.fault(&op.name, source, fault));
        };
        if let Some(results) = self.sparse(op, &inputs, &declared, source.clone())? {
            return Ok(results);
        }
        let known = ops::find(&op.name);
        let body = match op.regions.as_slice() {
            [body] if body.scope.is_some() && body.args.len() == inputs.len() => Some(body),
            _ => None,
        };
        if known.is_none() && !host::knows(&op.name) {
            return match body {
                Some(body) => self.region(body, &inputs, None, depth + 1),
                None => {
                    let fault = Fault::unsupported(unknown(&op.name));
                    Err(self.graph.fault(&op.name, source, fault))
                }
            };
        }
        let region = if folds(&op.name) {
            let read = match op.regions.as_slice() {
                [region] if region.args.len() == 2 => control::scalar_region(self, region, scope),
                _ => None,
            };
            let fault = Fault::unsupported("its region is not a list of scalar ops over two arguments");
            Some(read.ok_or_else(|| self.graph.fault(&op.name, source.clone(), fault))?)
        } else {
            None
        };
        let new = NewNode {
            op: known.unwrap_or(&HOST),
            kind: NodeKind::Plan,
            name: op.name.clone(),
            inputs,
            attrs: op.attrs.clone(),
            region: region.map(Arc::new),
            composite: None,
            source,
        };
        self.add(new, declared)
    }

    /// Adds a node unless an equal one exists. What no plan can hold goes to the host.
    pub fn add(&mut self, mut new: NewNode, declared: Vec<Fact>) -> Result<Vec<Val>, Error> {
        let pure = !new.op.effects();
        let mut detail = String::new();
        if !new.attrs.is_empty() || new.composite.is_some() || new.region.is_some() {
            detail = format!("{:?}{:?}{:?}", new.attrs, new.composite, new.region);
        }
        if matches!(&*new.name, "primitive.cast_v1") {
            detail = format!("{:?}", declared.first().map(|d| d.element));
        }
        let key = (new.name.clone(), new.inputs.clone(), detail);
        if pure && let Some(found) = self.seen.get(&key) {
            return Ok(found.clone());
        }
        let on_host = host::knows(&new.name);
        let facts = loop {
            match self.graph.infer(&new, &declared) {
                Ok(facts) => break facts,
                Err(fault) => {
                    let fetched = fault.needs.and_then(|i| {
                        let v = *new.inputs.get(i)?;
                        Some((i, self.fetch(v)?))
                    });
                    match fetched {
                        Some((i, v)) => new.inputs[i] = v,
                        None if fault.unsupported && on_host => {
                            new.kind = NodeKind::Host(fault.reason.into());
                            break declared.iter().map(|f| self.graph.settled(f.clone())).collect();
                        }
                        None => return Err(self.graph.fault(&new.name, new.source, fault)),
                    }
                }
            }
        };
        let register = |f: &Fact| f.content.is_some() || kind_of(f.element).is_some();
        let wide = |f: &&Fact| !register(f);
        let operands = new.inputs.iter().map(|v| self.graph.fact(*v));
        if let Some(fact) = facts.iter().find(wide).or_else(|| operands.into_iter().find(wide))
            && facts.iter().any(|f| f.content.is_none())
            && on_host
            && pure
        {
            new.kind = NodeKind::Host(format!("{} values", fact.element.name()).into());
        }
        let outputs = match self.folded(&new, &facts) {
            Some(arrays) => self.constants_of(arrays, &facts),
            None => self.graph.push(new, facts),
        };
        if pure {
            self.seen.insert(key, outputs.clone());
        }
        Ok(outputs)
    }

    /// Adds a node that the host evaluates, or its results when all operands are constant.
    pub fn add_on_host(&mut self, new: NewNode, declared: &[Fact]) -> Result<Vec<Val>, Error> {
        let facts: Vec<Fact> = declared.iter().map(|f| self.graph.settled(f.clone())).collect();
        Ok(match self.folded(&new, &facts) {
            Some(arrays) => self.constants_of(arrays, &facts),
            None => self.graph.push(new, facts),
        })
    }

    /// Results of a host node whose operands are all constant.
    fn folded(&self, new: &NewNode, facts: &[Fact]) -> Option<Vec<NDArray>> {
        if !matches!(new.kind, NodeKind::Host(_)) {
            return None;
        }
        let constant = |v: &Val| {
            if let Some(array) = self.graph.folded.get(v) {
                return Some(array.clone());
            }
            let fact = self.graph.fact(*v);
            let known = self.graph.sources[v.0 as usize] == Source::Constant || fact.const_ints().is_some();
            known.then(|| ops::constant::of_fact(self.asset, fact).ok().map(Arc::new)).flatten()
        };
        let arrays = new.inputs.iter().map(constant).collect::<Option<Vec<_>>>()?;
        let inputs: Vec<&NDArray> = arrays.iter().map(|a| &**a).collect();
        let results: Vec<_> = facts.iter().map(|f| f.element).collect();
        let call = host::Call {
            name: &new.name,
            attrs: &new.attrs,
            results: &results,
            region: new.region.as_deref(),
        };
        // What fails here fails again, with its place, where it is executed.
        host::eval(&call, &inputs).ok()
    }

    fn constants_of(&mut self, arrays: Vec<NDArray>, facts: &[Fact]) -> Vec<Val> {
        let mut out = vec![];
        for (array, fact) in arrays.into_iter().zip(facts) {
            let dims = array.shape.iter().map(|d| Expr::from(*d)).collect();
            let ints = match host::decode(&array) {
                Ok(host::Elements::Int(ints)) if array.len() <= MAX_CONTENT => {
                    Some(ints.into_iter().map(Expr::from).collect())
                }
                _ => None,
            };
            let v = self.graph.value(Fact::new(fact.element, dims).with_content(ints), Source::Constant);
            self.graph.folded.insert(v, Arc::new(array));
            out.push(v);
        }
        out
    }

    /// The value with its elements known: a small integer tensor is brought to the host.
    pub fn fetch(&mut self, v: Val) -> Option<Val> {
        let fact = self.graph.fact(v).clone();
        let count = fact.elements().as_const().filter(|n| (0..=MAX_CONTENT as i64).contains(n))?;
        if fact.content.is_some() || !is_integer(fact.element) {
            return None;
        }
        let key = ("fetch".into(), vec![v], String::new());
        if let Some(found) = self.seen.get(&key) {
            return found.first().copied();
        }
        let (min, max) = integer_range(fact.element)?;
        let content = (0..count).map(|_| self.graph.unknown(Bounds { min, max })).collect();
        let new = NewNode { kind: NodeKind::Fetch, ..NewNode::plain(&HOST, key.0.clone(), vec![v]) };
        let outputs = self.graph.push(new, vec![fact.with_content(Some(content))]);
        self.seen.insert(key, outputs.clone());
        outputs.first().copied()
    }

    fn constant(&mut self, op: &AssetOp, scope: &Scope, source: Option<Arc<str>>) -> Result<Val, Error> {
        let ty = op.results.first().and_then(|v| scope.types.get(v.0 as usize)).copied();
        let not_tensor = || Fault::unsupported("a constant that is not a tensor");
        let (Some(ty), Some(Attribute::Constant(data))) = (ty, op.attr("value")) else {
            return Err(self.graph.fault(&op.name, source, not_tensor()));
        };
        let key = (data.clone(), ty);
        if let Some(found) = self.constants.get(&key) {
            return Ok(*found);
        }
        let Some(mut fact) = self.type_fact(ty) else {
            return Err(self.graph.fault(&op.name, source, not_tensor()));
        };
        let count = fact.elements().as_const().unwrap_or(-1);
        let host = is_integer(fact.element) || fact.element == coreai_asset::ElementType::Bool;
        if host && (0..=MAX_CONTENT as i64).contains(&count) {
            let ints = ops::constant::integers(self.asset, &fact, data, count as usize)
                .map_err(|f| self.graph.fault(&op.name, source, f))?;
            fact = fact.with_content(Some(ints.into_iter().map(Expr::from).collect()));
        }
        if count == 1 && kind_of(fact.element) == Some(crate::step::Kind::F32) {
            let number = ops::constant::floats(self.asset, &fact, data).ok();
            fact.number = number.and_then(|n| Dyadic::of(*n.first()?));
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
            let fault = Fault::program(format!("no graph named {what:?}"));
            return Err(self.graph.fault(&op.name, source, fault));
        };
        if let (Some(composite), Some(declared)) = (&callee.composite, declared)
            && let Some((rule, composite)) = self.rule(composite, &inputs)
        {
            let new = NewNode {
                op: rule,
                kind: NodeKind::Plan,
                name: composite.name.as_str().into(),
                inputs,
                attrs: vec![],
                region: None,
                composite: Some(Arc::new(composite.clone())),
                source,
            };
            return self.add(new, declared);
        }
        self.region(&callee.body, &inputs, None, depth + 1)
    }

    /// The rule that replaces a composite's body.
    fn rule<'c>(&self, composite: &'c Composite, inputs: &[Val]) -> Option<(&'static dyn Op, &'c Composite)> {
        if !self.options.rules
            || self.options.without.contains(&composite.name)
            || composite.input_names.len() != inputs.len()
        {
            return None;
        }
        let rule = ops::composite(&composite.name)?;
        let facts: Vec<&Fact> = inputs.iter().map(|v| self.graph.fact(*v)).collect();
        rule.matches(composite, &facts).then(|| (rule.op(), composite))
    }
}

/// Ops whose region is part of their meaning: how two elements become one.
fn folds(name: &str) -> bool {
    matches!(name, "primitive.reduce_v1" | "primitive.reduce_index_v1" | "primitive.scatter_nd_v1")
}

/// Why an op is not executed.
fn unknown(name: &str) -> &'static str {
    match name {
        "metal.metal4_kernel_v1" => {
            "a custom Metal kernel runs only on Apple's systems; export the model without it"
        }
        "udml.placeholder_v1" => "the placeholder of an op that its exporter did not register",
        _ => "this runtime does not know the op",
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
