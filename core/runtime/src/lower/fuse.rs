//! Fusion: elementwise expressions wait for their consumer, products and convolutions take them as
//! epilogues, products of one row take a norm as prologue.

use coreai_asset::ElementType;

use super::expression::{Term, narrowing};
use super::{Lower, Repr};
use crate::expr::Expr;
use crate::facts::{Assumptions, kind_of};
use crate::graph::{Source, Val};
use crate::map::{Instr, MapOp, MapProg};
use crate::ops::Fault;
use crate::step::{BufferId, Kernel, Kind, Norm, Round, Storage, View};
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
pub(super) struct Lazy {
    pub dims: Vec<Expr>,
    pub instrs: Vec<Instr>,
    pub scalars: Vec<Expr>,
    pub views: Vec<View>,
    pub anchor: Option<Anchor>,
}

impl Lazy {
    /// Whether nothing more should be fused into it.
    pub fn is_full(&self) -> bool {
        let reads = self.views.len() + self.anchor.as_ref().map_or(0, |a| a.reads.len());
        reads >= MAX_OPERANDS || self.instrs.len() >= MAX_INSTRS
    }

    /// Appends an instruction that loads a view of the expression's extents.
    pub fn load(&mut self, view: View, kind: Kind) -> u16 {
        let number = match self.views.iter().position(|w| *w == view) {
            Some(n) => n,
            None => {
                self.views.push(view);
                self.views.len() - 1
            }
        };
        self.instrs.push(Instr { op: MapOp::Load(number as u16), args: [0; 3], kind });
        (self.instrs.len() - 1) as u16
    }
}

/// The kernel whose accumulators a [`Lazy`] starts from: the expression becomes its epilogue.
#[derive(Clone, Debug)]
pub(super) struct Anchor {
    kernel: Kernel,
    /// Operands of the kernel without epilogue operands.
    reads: Vec<View>,
    /// Dims the kernel writes.
    dims: Vec<Expr>,
    node: usize,
}

/// A normalization that its consumers may compute themselves.
#[derive(Clone, Debug)]
pub(super) struct PendingNorm {
    pub norm: Norm,
    pub x: View,
    pub scale: View,
    pub node: usize,
}

impl Lower<'_> {
    /// Lowers a conversion.
    pub fn cast(&mut self, x: Val, out: Val, from: ElementType, to: ElementType) -> Result<(), Fault> {
        let small = |e| {
            matches!(
                e,
                ElementType::F8E5M2 | ElementType::F8E4M3FN | ElementType::F4E2M1FN | ElementType::F8E8M0FN
            )
        };
        let widening = match (crate::facts::integer_range(from), crate::facts::integer_range(to)) {
            (Some(f), Some(t)) => f.0 >= t.0 && f.1 <= t.1,
            _ => false,
        };
        if is_long(to) && widening && kind_of(from).is_some() {
            // Registers hold the value; what reads it as 64 bits says that it cannot, except a cast.
            if self.fact(x).content.is_none() {
                let view = self.view(x)?;
                self.define(out, view);
            }
            return Ok(());
        }
        if is_long(from) {
            return self.cast_back(x, out, to);
        }
        let (a, b) = (self.kind(from)?, self.kind(to)?);
        if b == Kind::F32
            && !small(to)
            && let Some(values) = self.host_values(x)
        {
            return self.define_host(out, &values);
        }
        let same_register = a == b && (a == Kind::F32 && !small(to) || widening);
        if same_register {
            // float → float keeps the register; the declared dtype matters where it is stored.
            self.alias(x, out)
        } else {
            self.map(&[x], out, MapOp::Cast(to), b, None)
        }
    }

    /// The cast of a 64-bit value that was cast from 32 bits or less: the cast of that.
    fn cast_back(&mut self, x: Val, out: Val, to: ElementType) -> Result<(), Fault> {
        let kind = self.kind(to)?;
        let Some(Repr::View(view)) = self.reprs[x.0 as usize].clone() else {
            // Known to the host as the value before the cast.
            let producer = match self.graph.sources[x.0 as usize] {
                Source::Node(at) => self.graph.nodes.get(at),
                _ => None,
            };
            let before = producer.filter(|n| &*n.name == "primitive.cast_v1").and_then(|n| n.inputs.first());
            return match before.map(|v| (*v, self.fact(*v).element)) {
                Some((v, from)) if from != self.fact(x).element => self.cast(v, out, from, to),
                _ => Err(Fault::unsupported("64-bit integers that are not shape arithmetic")),
            };
        };
        let same = self.plan.buffer(&view).kind == kind && to.bits() >= 32;
        if same {
            self.define(out, view);
            return Ok(());
        }
        self.expression(&[Term::View(view)], out, |body, args| {
            body.push(MapOp::Cast(to), &[args[0]], kind);
        })
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
        let terms: Vec<Term> = inputs.iter().copied().map(Term::Value).collect();
        self.expression(&terms, out, |body, args| {
            let last = body.push(op, args, kind);
            if let Some(wrap) = wrap {
                body.push(wrap, &[last], kind);
            }
        })
    }

    /// Appends the value as an operand of the expression; returns the instruction that holds it.
    pub(super) fn operand(&mut self, lazy: &mut Lazy, v: Val, to_come: usize) -> Result<u16, Fault> {
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
        Ok(lazy.load(view, kind))
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
    pub(super) fn emit_lazy(&mut self, lazy: Lazy, dest: View, round: Round) -> Result<(), Fault> {
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
        let element = self.fact(out).element;
        let kind = self.kind(element)?;
        let narrowing = narrowing(element);
        if kind != Kind::F32 && narrowing.is_some() {
            let (temp, _) = self.temp(out)?;
            let dest = View::whole(temp.buffer, dims);
            self.push(kernel, reads, dest, Round::None, None);
            return self.narrowed(out, temp);
        }
        let load = Instr { op: MapOp::Load(ACC), args: [0; 3], kind };
        let round = narrowing.map(|op| Instr { op, args: [0; 3], kind });
        let anchor = Anchor { kernel, reads, dims, node: self.node };
        let lazy = Lazy {
            dims: self.fact(out).dims.clone(),
            instrs: std::iter::once(load).chain(round).collect(),
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
}

fn is_long(element: ElementType) -> bool {
    matches!(element, ElementType::SI64 | ElementType::UI64)
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
