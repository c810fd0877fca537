//! Shape arithmetic, views, concatenation, slices and padding.

use coreai_asset::Attribute;

#[cfg(test)]
use super::cases::{ANY, Call, Case};
use super::{Fault, InferCx, Op, wrap_axis};
use crate::expr::{Expr, Func};
use crate::facts::{Fact, contiguous, kind_of, product};
use crate::lower::Lower;
use crate::map::MapProg;
use crate::step::{Kernel, Kind, PadMode, View};

/// The family's ops.
pub static OPS: &[&dyn Op] = &[
    &GetShape,
    &Reshape,
    &Transpose,
    &ExpandDims,
    &ShrinkDims,
    &BroadcastTo,
    &BroadcastInDims,
    &BroadcastShapes,
    &Concat,
    &Split,
    &Pad,
    &Reverse,
    &Tile,
    &Identity,
];

struct GetShape;

impl Op for GetShape {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.get_shape_v2", "primitive.get_shape_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let dims = cx.input(0)?.dims.clone();
        Ok(vec![Fact::new(cx.element()?, vec![Expr::from(dims.len())]).with_content(Some(dims))])
    }

    fn lower(&self, _: &mut Lower, _: usize) -> Result<(), Fault> {
        Err(Fault::unsupported("a tensor of too many axes"))
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let (element, dims) = (d.element(ANY), d.dims(0..=5));
            Call::new(vec![d.data(element, &dims)], coreai_asset::ElementType::UI32)
        })
    }
}

struct Reshape;

impl Op for Reshape {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.reshape_v2", "primitive.reshape_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        let mut dims = cx.content(1)?.to_vec();
        let total = x.elements();
        if let Some(at) = dims.iter().position(|d| d.is(-1)) {
            dims[at] = Expr::one();
            let rest = product(&dims);
            dims[at] = total.exact_div(&rest).unwrap_or_else(|| Expr::func(Func::FloorDiv, &total, &rest));
        }
        let new = product(&dims);
        cx.unify(&total, &new)?;
        let content = x.content.as_ref().map(|c| c.to_vec());
        Ok(vec![Fact::new(x.element, dims).with_content(content).with_number(x.number)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let dims = cx.fact(outputs[0]).dims.clone();
        cx.reinterpret(inputs[0], outputs[0], &|v, shapes| {
            // Equal products that no rule proves axis by axis: row-major data fits any shape.
            let whole = || View { strides: contiguous(&dims), dims: dims.clone(), ..v.clone() };
            v.reshape(&dims, shapes).or_else(|| v.is_row_major().then(whole))
        })
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let (element, dims) = (d.element(ANY), d.solid(0..=5));
            let x = d.data(element, &dims);
            let to = d.regrouped(&dims);
            let to = d.ints(&to);
            Call::new(vec![x, to], element)
        })
    }
}

struct Transpose;

impl Op for Transpose {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.transpose_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        let perm = permutation(&cx.ints(1)?, x.dims.len())?;
        let content = x.content.as_ref().filter(|_| x.dims.len() <= 1).map(|c| c.to_vec());
        let dims = perm.iter().map(|p| x.dims[*p].clone()).collect();
        Ok(vec![Fact::new(x.element, dims).with_content(content)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let ints =
            cx.fact(inputs[1]).const_ints().ok_or_else(|| Fault::unsupported("a computed permutation"))?;
        let perm = permutation(&ints, cx.fact(inputs[0]).dims.len())?;
        cx.reinterpret(inputs[0], outputs[0], &|v, _| Some(v.permute(&perm)))
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let (element, dims) = (d.element(ANY), d.dims(0..=5));
            let x = d.data(element, &dims);
            let perm = d.permutation(dims.len());
            let perm = d.sizes(&perm);
            Call::new(vec![x, perm], element)
        })
    }
}

fn permutation(ints: &[i64], rank: usize) -> Result<Vec<usize>, Fault> {
    let perm = ints.iter().map(|a| wrap_axis(*a, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if sorted.iter().copied().ne(0..rank) {
        return Err(Fault::program(format!("{ints:?} is not a permutation of {rank} axes")));
    }
    Ok(perm)
}

struct ExpandDims;

impl Op for ExpandDims {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.expand_dims_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        let rank = x.dims.len() + cx.ints(1)?.len();
        let mut axes = cx.axes(1, rank)?;
        axes.sort_unstable();
        let mut dims = x.dims.clone();
        for a in axes {
            dims.insert(a.min(dims.len()), Expr::one());
        }
        let content = x.content.as_ref().map(|c| c.to_vec());
        Ok(vec![Fact::new(x.element, dims).with_content(content).with_number(x.number)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        reshape_like(cx, node)
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let (element, dims) = (d.element(ANY), d.dims(0..=4));
            let x = d.data(element, &dims);
            let first = d.rng.below(dims.len() + 1) as i64;
            let last = if d.rng.once_in(2) { vec![-1] } else { vec![] };
            let axes = d.ints(&[vec![first], last].concat());
            Call::new(vec![x, axes], element)
        })
    }
}

struct ShrinkDims;

impl Op for ShrinkDims {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.shrink_dims_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        let axes = cx.axes(1, x.dims.len())?;
        for a in &axes {
            cx.unify(&x.dims[*a], &Expr::one())?;
        }
        let dims = (0..x.dims.len()).filter(|i| !axes.contains(i)).map(|i| x.dims[i].clone()).collect();
        let content = x.content.as_ref().map(|c| c.to_vec());
        Ok(vec![Fact::new(x.element, dims).with_content(content).with_number(x.number)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        reshape_like(cx, node)
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let (element, mut dims) = (d.element(ANY), d.dims(1..=5));
            let axes = d.axes(dims.len());
            for a in &axes {
                let rank = dims.len();
                dims[wrap_axis(*a, rank).unwrap()] = 1;
            }
            let (x, axes) = (d.data(element, &dims), d.ints(&axes));
            Call::new(vec![x, axes], element)
        })
    }
}

/// Axes of extent 1 come or go.
fn reshape_like(cx: &mut Lower, node: usize) -> Result<(), Fault> {
    let (inputs, outputs) = cx.node_values(node);
    let dims = cx.fact(outputs[0]).dims.clone();
    cx.reinterpret(inputs[0], outputs[0], &|v, shapes| v.realign(&dims).or_else(|| v.reshape(&dims, shapes)))
}

struct BroadcastTo;

impl Op for BroadcastTo {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.broadcast_to_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        let want = cx.content(1)?.to_vec();
        let dims = cx.broadcast(&want, &x.dims)?;
        Ok(vec![Fact::new(x.element, dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        broadcast(cx, node)
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let (element, dims) = (d.element(ANY), d.dims(0..=5));
            let own = d.stretched(&dims, true);
            let (x, sizes) = (d.data(element, &own), d.sizes(&dims));
            Call::new(vec![x, sizes], element)
        })
    }
}

struct BroadcastInDims;

impl Op for BroadcastInDims {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.broadcast_in_dims_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        let (sizes, axes) = (cx.content(1)?, cx.axes(2, x.dims.len())?);
        if sizes.len() != axes.len() {
            return Err(Fault::program("as many sizes as axes are needed"));
        }
        let mut dims = x.dims.clone();
        for (size, a) in sizes.iter().zip(axes) {
            if !dims[a].is(1) {
                cx.unify(&dims[a].clone(), size)?;
            }
            dims[a] = size.clone();
        }
        Ok(vec![Fact::new(x.element, dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        broadcast(cx, node)
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let (element, mut dims) = (d.element(ANY), d.solid(1..=5));
            let axes = d.axes(dims.len());
            let mut sizes = vec![];
            for a in &axes {
                let rank = dims.len();
                dims[wrap_axis(*a, rank).unwrap()] = 1;
                sizes.push(1 + d.rng.below(4));
            }
            let inputs = vec![d.data(element, &dims), d.sizes(&sizes), d.ints(&axes)];
            Call::new(inputs, element)
        })
    }
}

/// Expressions are computed once and then read with stride 0.
fn broadcast(cx: &mut Lower, node: usize) -> Result<(), Fault> {
    let (inputs, outputs) = cx.node_values(node);
    let dims = cx.fact(outputs[0]).dims.clone();
    let own = cx.fact(inputs[0]).dims.clone();
    if own == dims {
        return cx.alias(inputs[0], outputs[0]);
    }
    let view = cx.view(inputs[0])?.broadcast(&dims);
    cx.define(outputs[0], view);
    Ok(())
}

struct BroadcastShapes;

impl Op for BroadcastShapes {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.broadcast_shapes_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let (a, b) = (cx.content(0)?, cx.content(1)?);
        let dims = cx.broadcast(&a, &b)?;
        Ok(vec![Fact::new(cx.element()?, vec![Expr::from(dims.len())]).with_content(Some(dims))])
    }

    fn lower(&self, _: &mut Lower, _: usize) -> Result<(), Fault> {
        Err(Fault::unsupported("shapes of too many axes"))
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let dims = d.dims(1..=5);
            let shapes = [0; 2].map(|_| d.stretched(&dims, true));
            Call::new(shapes.iter().map(|s| d.sizes(s)).collect(), coreai_asset::ElementType::UI32)
        })
    }
}

struct Concat;

impl Op for Concat {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.concat_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let first = cx.input(1)?.clone();
        // Scalars join vectors as one element.
        let at_least_1d = |f: &Fact| if f.dims.is_empty() { vec![Expr::one()] } else { f.dims.clone() };
        let mut dims = at_least_1d(&first);
        let axis = cx.axis(0, dims.len())?;
        for i in 2..cx.inputs.len() {
            let mut other = cx.inputs[i].clone();
            other.dims = at_least_1d(&other);
            if other.dims.len() != dims.len() || other.element.bits() != first.element.bits() {
                return Err(Fault::program(format!("cannot concatenate {dims:?} and {:?}", other.dims)));
            }
            for (a, (dim, extent)) in dims.iter_mut().zip(&other.dims).enumerate() {
                if a == axis {
                    *dim = &*dim + extent;
                } else {
                    cx.unify(dim, extent)?;
                }
            }
        }
        let content = (dims.len() == 1)
            .then(|| {
                let parts = cx.inputs[1..].iter().map(|f| f.content.as_ref().map(|c| c.to_vec()));
                parts.collect::<Option<Vec<_>>>().map(|p| p.concat())
            })
            .flatten();
        Ok(vec![Fact::new(cx.element()?, dims).with_content(content)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let rank = cx.fact(outputs[0]).dims.len();
        let axis = cx.fact(inputs[0]).const_ints().unwrap_or_default();
        let axis = wrap_axis(axis.first().copied().unwrap_or(0), rank)?;
        let (out, _) = cx.temp(outputs[0])?;
        let mut start = Expr::zero();
        for v in &inputs[1..] {
            let own = cx.fact(*v).dims.clone();
            let length = own.get(axis).cloned().unwrap_or_else(Expr::one);
            let mut dest = out.slice(axis, &start, &length, 1);
            // Extents that were unified may be spelled differently; the operand's spelling serves.
            if own.is_empty() {
                dest = View { dims: vec![], strides: vec![], ..dest };
            } else {
                dest.dims = own;
            }
            cx.write_into(*v, dest)?;
            start = &start + &length;
        }
        cx.define(outputs[0], out);
        Ok(())
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let (element, mut dims) = (d.element(ANY), d.dims(1..=5));
            let (at, axis) = d.axis(dims.len());
            let mut inputs = vec![axis];
            for _ in 0..2 + d.rng.below(3) {
                dims[at] = d.rng.below(6);
                inputs.push(d.data(element, &dims));
            }
            Call::new(inputs, element)
        })
    }
}

struct Split;

impl Op for Split {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.split_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        let axis = cx.axis(2, x.dims.len())?;
        let sizes = split_sizes(cx.input(1)?, &x.dims[axis], cx.declared.len(), &cx.content(1)?)?;
        let total = sizes.iter().fold(Expr::zero(), |a, b| &a + b);
        cx.unify(&total, &x.dims[axis])?;
        Ok(sizes
            .into_iter()
            .map(|size| {
                let mut dims = x.dims.clone();
                dims[axis] = size;
                Fact::new(x.element, dims)
            })
            .collect())
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let rank = cx.fact(inputs[0]).dims.len();
        let axis = cx.fact(inputs[2]).const_ints().unwrap_or_default();
        let axis = wrap_axis(axis.first().copied().unwrap_or(0), rank)?;
        let view = cx.view(inputs[0])?;
        let mut start = Expr::zero();
        for out in outputs {
            let length = cx.fact(out).dims[axis].clone();
            cx.define(out, view.slice(axis, &start, &length, 1));
            start = &start + &length;
        }
        Ok(())
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let (element, mut dims) = (d.element(ANY), d.dims(1..=5));
            let (at, axis) = d.axis(dims.len());
            let parts = 2 + d.rng.below(3);
            let equal = d.rng.once_in(2);
            let sizes: Vec<usize> = match equal {
                true => vec![1 + d.rng.below(5); parts],
                false => (0..parts).map(|_| d.rng.below(5)).collect(),
            };
            dims[at] = sizes.iter().sum::<usize>() - usize::from(equal && sizes[0] > 1);
            let x = d.data(element, &dims);
            let sizes = if equal { d.int(sizes[0] as i64) } else { d.sizes(&sizes) };
            Call::many(vec![x, sizes, axis], vec![element; parts])
        })
    }
}

/// Sizes of the parts: a scalar gives equal chunks with a remainder, a vector the sizes themselves.
fn split_sizes(fact: &Fact, dim: &Expr, parts: usize, content: &[Expr]) -> Result<Vec<Expr>, Fault> {
    if !fact.dims.is_empty() {
        return Ok(content.to_vec());
    }
    let chunk = &content[0];
    if parts == 0 {
        return Ok(vec![]);
    }
    let last = dim - &(chunk * &Expr::from(parts - 1));
    let mut sizes = vec![chunk.clone(); parts - 1];
    sizes.push(last);
    Ok(sizes)
}

struct Pad;

impl Op for Pad {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.pad_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        let padding = cx.content(1)?;
        cx.input(2)?;
        if padding.len() != 2 * x.dims.len() {
            return Err(Fault::program("padding needs two numbers per axis"));
        }
        let dims =
            x.dims.iter().enumerate().map(|(i, d)| &(d + &padding[2 * i]) + &padding[2 * i + 1]).collect();
        Ok(vec![Fact::new(x.element, dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let mode = match cx.graph.nodes[node].attrs.iter().find(|(n, _)| *n == "padding_mode") {
            Some((_, Attribute::Enum { value: 0, .. })) => PadMode::Circular,
            Some((_, Attribute::Enum { value: 1, .. })) | None => PadMode::Constant,
            Some((_, Attribute::Enum { value: 2, .. })) => PadMode::Reflect,
            Some((_, Attribute::Enum { value: 3, .. })) => PadMode::Replicate,
            Some((_, Attribute::Enum { value: 4, .. })) => PadMode::Symmetric,
            Some((_, other)) => return Err(Fault::unsupported(format!("padding mode {other:?}"))),
        };
        let padding =
            cx.fact(inputs[1]).content.clone().ok_or_else(|| Fault::unsupported("computed padding"))?;
        if padding.iter().all(|p| p.is(0)) {
            return cx.alias(inputs[0], outputs[0]);
        }
        let before = padding.iter().step_by(2).cloned().collect();
        let value = if mode == PadMode::Constant { cx.const_bits(inputs[2])? } else { 0 };
        let x = cx.view(inputs[0])?;
        cx.step(Kernel::Pad { mode, before, value }, vec![x], outputs[0])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let (element, dims) = (d.element(ANY), d.solid(1..=4));
            let mode = d.rng.below(5);
            // What a mode repeats must be there.
            let most = |n: usize| match mode {
                2 => n - 1,
                1 | 3 => 3,
                _ => n,
            };
            let padding: Vec<usize> =
                dims.iter().flat_map(|n| [most(*n).min(3); 2]).map(|m| d.rng.below(m + 1)).collect();
            let inputs = vec![d.data(element, &dims), d.sizes(&padding), d.parameter(element, &[])];
            Call::new(inputs, element).with("padding_mode", mode as u64)
        })
    }
}

struct Reverse;

impl Op for Reverse {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.reverse_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        cx.axes(1, x.dims.len())?;
        Ok(vec![Fact::new(x.element, x.dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let ints = cx.fact(inputs[1]).const_ints().ok_or_else(|| Fault::unsupported("computed axes"))?;
        let rank = cx.fact(inputs[0]).dims.len();
        let axes = ints.iter().map(|a| wrap_axis(*a, rank)).collect::<Result<Vec<_>, _>>()?;
        cx.reinterpret(inputs[0], outputs[0], &|v, _| {
            Some(axes.iter().fold(v.clone(), |v, a| {
                let last = &v.dims[*a] - &Expr::one();
                let length = v.dims[*a].clone();
                v.slice(*a, &last, &length, -1)
            }))
        })
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let (element, dims) = (d.element(ANY), d.dims(1..=5));
            let (x, axes) = (d.data(element, &dims), d.axes(dims.len()));
            Call::new(vec![x, d.ints(&axes)], element)
        })
    }
}

struct Tile;

impl Op for Tile {
    fn names(&self) -> &'static [&'static str] {
        &["tile_v2", "tile_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        let reps = cx.content(1)?.to_vec();
        let rank = x.dims.len().max(reps.len());
        let pad = |v: &[Expr]| [vec![Expr::one(); rank - v.len()], v.to_vec()].concat();
        let (dims, reps) = (pad(&x.dims), pad(&reps));
        Ok(vec![Fact::new(x.element, dims.iter().zip(&reps).map(|(d, r)| d * r).collect())])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let reps =
            cx.fact(inputs[1]).content.clone().ok_or_else(|| Fault::unsupported("computed repetitions"))?;
        let x = cx.view(inputs[0])?;
        let rank = x.dims.len().max(reps.len());
        let view = (x.dims.len()..rank).fold(x, |v, _| v.expand(0));
        // [r0, d0, r1, d1, …] with stride 0 on the repetitions, without repetitions of 1 and with one
        // axis where the data has one element.
        let lead = rank - reps.len();
        let (mut dims, mut strides) = (vec![], vec![]);
        for (i, (d, stride)) in view.dims.iter().zip(&view.strides).enumerate() {
            let times = i.checked_sub(lead).map_or(Expr::one(), |k| reps[k].clone());
            if !times.is(1) {
                dims.push(times.clone());
                strides.push(Expr::zero());
            }
            if !d.is(1) || times.is(1) {
                dims.push(d.clone());
                strides.push(stride.clone());
            }
        }
        let source = View { buffer: view.buffer, offset: view.offset.clone(), dims: dims.clone(), strides };
        if dims.len() == rank {
            // Only axes of extent 1 are repeated: the data is read with stride 0.
            cx.define(outputs[0], View { dims: cx.fact(outputs[0]).dims.clone(), ..source });
            return Ok(());
        }
        // The copy into the result seen so.
        let (out, _) = cx.temp(outputs[0])?;
        let dest = View::whole(out.buffer, dims);
        let kind = kind_of(cx.fact(outputs[0]).element).unwrap_or(Kind::F32);
        cx.step_into(Kernel::Map(MapProg::copy(kind)), vec![source], dest, outputs[0]);
        cx.define(outputs[0], out);
        Ok(())
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let (element, dims) = (d.element(ANY), d.dims(1..=4));
            let reps: Vec<usize> = dims.iter().map(|_| d.rng.pick(&[1, 1, 2, 3])).collect();
            let inputs = vec![d.data(element, &dims), d.sizes(&reps)];
            Call::new(inputs, element)
        })
    }
}

/// Layout constraints do not change values.
struct Identity;

impl Op for Identity {
    fn names(&self) -> &'static [&'static str] {
        &["ax.copy_with_constraints_v1", "ax.copy_discarding_constraints_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?;
        Ok(vec![Fact {
            element: x.element,
            dims: x.dims.clone(),
            content: x.content.clone(),
            constant: None,
            number: x.number.clone(),
        }])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        cx.alias(inputs[0], outputs[0])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let (element, dims) = (d.element(ANY), d.dims(0..=5));
            Call::new(vec![d.data(element, &dims)], element)
        })
    }
}
