//! Sparse weights: the values of the set bits of a mask, expanded when the plan is made.

#[cfg(test)]
use super::super::cases::{Call, Case, WIDE_FLOATS};
use super::super::{Fault, InferCx, Op, constant};
use super::{count, extents, palette};
use crate::facts::Fact;
use crate::graph::{Source, Val};
use crate::lower::Lower;

const BUILD: &str = "primitive.build_sparse_with_bitmask_v1";

/// The fault of weights that are not constant: the host evaluator takes them.
fn not_constant() -> Fault {
    Fault::unsupported("sparse data that is not constant")
}

/// The mask of a sparse value, one truth value per element.
fn mask(cx: &Lower, v: Val) -> Result<Vec<bool>, Fault> {
    let Source::Node(at) = cx.graph.sources[v.0 as usize] else { return Err(not_constant()) };
    let node = &cx.graph.nodes[at];
    match (&*node.name, node.inputs.as_slice()) {
        (BUILD, [_, mask]) => bits(cx, *mask),
        // Operands come before results, so the search ends.
        (_, [first, ..]) if first.0 < v.0 => mask(cx, *first),
        _ => Err(not_constant()),
    }
}

fn bits(cx: &Lower, v: Val) -> Result<Vec<bool>, Fault> {
    let fact = cx.fact(v);
    let Some(data) = &fact.constant else { return Err(not_constant()) };
    let n = usize::try_from(count(&extents(fact)?)).unwrap_or(usize::MAX);
    Ok(constant::integers(cx.asset, fact, data, n)?.into_iter().map(|b| b != 0).collect())
}

pub(super) struct BuildSparse;

impl Op for BuildSparse {
    fn names(&self) -> &'static [&'static str] {
        &[BUILD]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let (values, mask) = (cx.input(0)?, cx.input(1)?);
        Ok(vec![Fact::new(values.element, mask.dims.clone())])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let values = cx.known_floats(inputs[0])?.ok_or_else(not_constant)?;
        let mask = bits(cx, inputs[1])?;
        let mut stored = values.into_iter();
        let dense: Vec<f32> =
            mask.iter().map(|set| if *set { stored.next().unwrap_or(0.0) } else { 0.0 }).collect();
        let to = cx.fact(outputs[0]).element.name().to_string();
        cx.note("expanded_weight", format!("sparse weights are expanded to dense {to}"));
        cx.define_host(outputs[0], &dense)
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let (element, dims) = (d.element(WIDE_FLOATS), d.solid(1..=3));
            Call::new(d.sparse_parts(element, &dims, 0).to_vec(), element)
        })
    }
}

pub(super) struct SparseToDense;

impl Op for SparseToDense {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.sparse_with_bitmask_to_dense_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?;
        Ok(vec![Fact::new(x.element, x.dims.clone())])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        cx.alias(inputs[0], outputs[0])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let (element, dims) = (d.element(WIDE_FLOATS), d.solid(1..=3));
            Call::new(vec![d.sparse(element, &dims, 0)], element)
        })
    }
}

pub(super) struct LutToSparse;

impl Op for LutToSparse {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.lut_to_sparse_with_bitmask_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let (x, lut) = (cx.input(0)?, cx.input(1)?);
        let mut dims = x.dims.clone();
        let axis = cx.axis(2, dims.len().max(1))?;
        match (dims.get_mut(axis), lut.dims.last()) {
            (Some(extent), Some(width)) => *extent = &*extent * width,
            _ => return Err(Fault::program("the table needs two axes more than the indices")),
        }
        Ok(vec![Fact::new(lut.element, dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let (dims, table) = (extents(cx.fact(inputs[0]))?, extents(cx.fact(inputs[1]))?);
        let codes = cx.host_values(inputs[0]).ok_or_else(not_constant)?;
        let lut = cx.known_floats(inputs[1])?.ok_or_else(not_constant)?;
        let axis = cx.fact(inputs[2]).const_ints().unwrap_or_default();
        let axis = super::super::wrap_axis(axis.first().copied().unwrap_or(0), dims.len().max(1))?;
        let codes: Vec<i64> = codes.into_iter().map(|c| c as i64).collect();
        let mut values = palette::look_up(&codes, &dims, &lut, &table, axis)?;
        // The mask is as wide as the indices; a vector is stored or absent as a whole.
        let set: Vec<i64> = mask(cx, inputs[0])?.into_iter().map(i64::from).collect();
        let width = table.last().copied().unwrap_or(1);
        let blank = [vec![1; dims.len()], vec![2, width]].concat();
        let lanes = usize::try_from(width).unwrap_or(0);
        let presence = [vec![0.0; lanes], vec![1.0; lanes]].concat();
        let kept = palette::look_up(&set, &dims, &presence, &blank, axis)?;
        for (value, kept) in values.iter_mut().zip(kept) {
            *value *= kept;
        }
        cx.define_host(outputs[0], &values)
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let element = d.element(WIDE_FLOATS);
            let (dims, blocks) = super::blocked(d);
            let [entries, vector] = [16, 2].map(|n| 1 + d.rng.below(n));
            let codes = d.sparse(coreai_asset::ElementType::UI8, &dims, entries as i64 - 1);
            let table = d.parameter(element, &[blocks, vec![entries, vector]].concat());
            let (_, axis) = d.axis(dims.len());
            Call::new(vec![codes, table, axis], element)
        })
    }
}

pub(super) struct SparseShiftScale;

impl Op for SparseShiftScale {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.sparse_with_bitmask_blockwise_shift_scale_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let x = cx.input(0)?.clone();
        cx.input(2)?;
        for parameter in &cx.inputs[1..] {
            super::axes(cx.shapes, &x.dims, &parameter.dims)?;
        }
        Ok(vec![Fact::new(cx.element()?, x.dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let set = mask(cx, inputs[0])?;
        let mut values = super::shift_scale::known(cx, &inputs)?.ok_or_else(not_constant)?;
        for (value, _) in values.iter_mut().zip(set).filter(|(_, set)| !set) {
            *value = 0.0;
        }
        cx.define_host(outputs[0], &values)
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let element = d.element(WIDE_FLOATS);
            let (dims, blocks) = super::blocked(d);
            let code = coreai_asset::ElementType::SI8;
            let codes = d.sparse(code, &dims, 127);
            let inputs = vec![codes, d.parameter(element, &blocks), d.parameter(code, &blocks)];
            Call::new(inputs, element)
        })
    }
}
