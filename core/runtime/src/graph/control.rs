//! `if` and `while`: inlined or unrolled where the host knows the condition, else nodes with bodies.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use coreai_asset::{Attribute, Op as AssetOp, Region, Scope, ValueId};

use super::flatten::{Builder, Env};
use super::{Graph, MIRRORED_ELEMENTS, NewNode, NodeKind, Source, Val};
use crate::error::Error;
use crate::facts::Fact;
use crate::host;
use crate::ndarray::NDArray;
use crate::ops::{CONTROL, Fault};

/// Most nodes that unrolling one loop may add, and most rounds: a round may add none.
const MAX_UNROLLED_NODES: usize = 4096;
const MAX_UNROLLED_ROUNDS: usize = 1024;

/// A region as a function: its graph's inputs are its arguments, then what it captures.
#[derive(Clone)]
pub struct Body {
    /// The graph; its states are those of the function.
    pub graph: Graph,
    /// Number of leading inputs that are arguments.
    pub args: usize,
    /// Operands of the control node that feed the other inputs.
    pub captures: Vec<usize>,
}

impl Body {
    /// Whether the body reads or writes states.
    pub fn effects(&self) -> bool {
        self.graph.nodes.iter().any(|n| match &n.kind {
            NodeKind::If(bodies) | NodeKind::While(bodies) => bodies.iter().any(Body::effects),
            _ => n.op.effects() && n.name.ends_with("_handle_v1"),
        })
    }
}

impl Builder<'_> {
    /// `controlflow.if_v1`.
    pub(super) fn branch(
        &mut self,
        op: &AssetOp,
        inputs: &[Val],
        scope: &Scope,
        env: &Env,
        source: Option<Arc<str>>,
        depth: usize,
    ) -> Result<Vec<Val>, Error> {
        let Some(cond) = inputs.first().copied() else {
            return Err(self.graph.fault(&op.name, source, Fault::program("no condition")));
        };
        if let Some([c]) = self.graph.fact(cond).const_ints().as_deref() {
            let region = &op.regions[usize::from(*c == 0)];
            return self.region(region, &[], Some((scope, env)), depth + 1);
        }
        let mut operands = vec![cond];
        let then = self.body(&op.regions[0], scope, env, &mut operands, depth)?;
        let other = self.body(&op.regions[1], scope, env, &mut operands, depth)?;
        self.control(op, NodeKind::If(Arc::new([then, other])), operands, scope, source)
    }

    /// `controlflow.while_v1`. Iterations whose condition the host knows are unrolled.
    pub(super) fn repeat(
        &mut self,
        op: &AssetOp,
        inits: Vec<Val>,
        scope: &Scope,
        env: &Env,
        source: Option<Arc<str>>,
        depth: usize,
    ) -> Result<Vec<Val>, Error> {
        let mut values = inits;
        let start = self.graph.nodes.len();
        for _ in 0..MAX_UNROLLED_ROUNDS {
            if self.graph.nodes.len() - start > MAX_UNROLLED_NODES {
                break;
            }
            let results = self.region(&op.regions[0], &values, Some((scope, env)), depth + 1)?;
            let Some((cond, args)) = results.split_first() else {
                return Err(self.graph.fault(&op.name, source, Fault::program("no condition")));
            };
            match self.graph.fact(*cond).const_ints().as_deref() {
                Some([0]) => return Ok(args.to_vec()),
                Some([_]) => values = self.region(&op.regions[1], args, Some((scope, env)), depth + 1)?,
                _ => break,
            }
        }
        let mut operands = values;
        let before = self.body(&op.regions[0], scope, env, &mut operands, depth)?;
        let after = self.body(&op.regions[1], scope, env, &mut operands, depth)?;
        self.control(op, NodeKind::While(Arc::new([before, after])), operands, scope, source)
    }

    fn control(
        &mut self,
        op: &AssetOp,
        kind: NodeKind,
        operands: Vec<Val>,
        scope: &Scope,
        source: Option<Arc<str>>,
    ) -> Result<Vec<Val>, Error> {
        let Some(declared) = self.declared(op, scope) else {
            let fault = Fault::unsupported("a result is not a tensor");
            return Err(self.graph.fault(&op.name, source, fault));
        };
        let facts = declared.into_iter().map(|f| self.graph.settled(f)).collect();
        let new = NewNode { kind, source, ..NewNode::plain(&CONTROL, op.name.clone(), operands) };
        Ok(self.graph.push(new, facts))
    }

    /// Flattens a region on its own. What it captures is appended to `operands`.
    fn body(
        &mut self,
        region: &Region,
        scope: &Scope,
        env: &Env,
        operands: &mut Vec<Val>,
        depth: usize,
    ) -> Result<Body, Error> {
        let mut b = Builder::new(self.asset, self.options, Graph::new(&self.graph.function));
        let mut fix = || None;
        for (name, v) in &self.graph.states {
            b.graph.port(name.clone(), dynamic(self.graph.fact(*v)), true, 1, &mut fix);
        }
        let mut inner: Env = HashMap::new();
        let mut ports: Vec<(Val, Fact)> = vec![];
        for (i, id) in region.args.iter().enumerate() {
            let declared = scope.types.get(id.0 as usize).and_then(|t| self.type_fact(*t));
            let Some(declared) = declared else {
                let fault = Fault::unsupported("a region argument that is not a tensor");
                return Err(self.graph.fault("region", None, fault));
            };
            let v = match declared.content.is_some() {
                // A token; it still takes its place among the arguments.
                true => b.graph.port(format!("token{i}"), declared, false, 0, &mut fix),
                false => {
                    let v = b.graph.port(format!("arg{i}"), declared.clone(), false, 0, &mut fix);
                    ports.push((v, declared));
                    v
                }
            };
            inner.insert(*id, v);
        }
        let mut captures = vec![];
        let mut known: HashMap<Val, Val> = HashMap::new();
        for id in captured(region) {
            let Some(outer) = env.get(&id).copied() else { continue };
            if let Some(v) = known.get(&outer) {
                inner.insert(id, *v);
                continue;
            }
            let fact = self.graph.fact(outer).clone();
            let v = match self.graph.sources[outer.0 as usize] {
                Source::State(n) => b.graph.states[n].1,
                Source::Constant => {
                    let v = b.graph.value(fact, Source::Constant);
                    if let Some(array) = self.graph.folded.get(&outer) {
                        b.graph.folded.insert(v, array.clone());
                    }
                    v
                }
                _ if fact.const_ints().is_some() => b.graph.value(fact, Source::Constant),
                _ => {
                    let declared = dynamic(&fact);
                    let name = format!("capture{}", captures.len());
                    let v = b.graph.port(name, declared.clone(), false, 0, &mut fix);
                    ports.push((v, declared));
                    captures.push(operands.len());
                    operands.push(outer);
                    v
                }
            };
            known.insert(outer, v);
            inner.insert(id, v);
        }
        for (v, declared) in ports {
            b.graph.mirror(v, &declared, MIRRORED_ELEMENTS, &mut fix);
        }
        let args: Vec<Val> = region.args.iter().filter_map(|id| inner.get(id).copied()).collect();
        let results = b.region(region, &args, Some((scope, &inner)), depth + 1)?;
        b.graph.outputs = results.into_iter().enumerate().map(|(i, v)| (format!("result{i}"), v)).collect();
        Ok(Body { graph: b.graph, args: region.args.len(), captures })
    }
}

/// Facts as a declaration: extents that are not constant are dynamic (−1).
pub(super) fn dynamic(fact: &Fact) -> Fact {
    let dims = fact.dims.iter().map(|d| match d.as_const() {
        Some(_) => d.clone(),
        None => crate::expr::Expr::from(-1i64),
    });
    Fact::new(fact.element, dims.collect())
}

/// Values that a region uses and does not define, in order.
fn captured(region: &Region) -> BTreeSet<ValueId> {
    fn walk(region: &Region, used: &mut BTreeSet<ValueId>, defined: &mut HashSet<ValueId>) {
        defined.extend(&region.args);
        for op in &region.ops {
            used.extend(&op.operands);
            defined.extend(&op.results);
            for inner in op.regions.iter().filter(|r| r.scope.is_none()) {
                walk(inner, used, defined);
            }
        }
    }
    let (mut used, mut defined) = (BTreeSet::new(), HashSet::new());
    walk(region, &mut used, &mut defined);
    used.retain(|v| !defined.contains(v));
    used
}

/// The region of a fold as the host evaluates it; `None` when it is not a list of scalar ops.
pub(super) fn scalar_region(b: &Builder, region: &Region, outer: &Scope) -> Option<host::Region> {
    let scope = region.scope.as_ref().unwrap_or(outer);
    let mut numbers: HashMap<ValueId, usize> = region.args.iter().copied().zip(0..).collect();
    let mut out = host::Region::default();
    let mut next = region.args.len();
    for op in &region.ops {
        let inputs = op.operands.iter().map(|v| numbers.get(v).copied()).collect::<Option<Vec<usize>>>()?;
        if &*op.name == "dataflow.yield_v1" {
            out.result = *inputs.first()?;
            return Some(out);
        }
        let declared = b.declared(op, scope)?;
        let constant = match (&*op.name, op.attr("value"), declared.first()) {
            ("primitive.constant_v1", Some(Attribute::Constant(data)), Some(fact)) => {
                Some(crate::ops::constant::array(b.asset, fact, data).ok()?)
            }
            _ => None::<NDArray>,
        };
        out.nodes.push(host::RegionNode {
            name: op.name.to_string(),
            attrs: op.attrs.clone(),
            inputs,
            results: declared.iter().map(|f| f.element).collect(),
            constant,
        });
        for v in &op.results {
            numbers.insert(*v, next);
            next += 1;
        }
    }
    None
}
