//! Matrix products.

#[cfg(test)]
use super::cases::{Call, Case, SUMS, Spice};
use super::{Fault, InferCx, Op};
use crate::facts::{Fact, product};
use crate::lower::Lower;
use crate::step::Kernel;

/// The family's ops.
pub static OPS: &[&dyn Op] = &[&BatchMatMul];

/// Longest row a matrix product normalizes itself.
const MAX_NORM_ROW: i64 = 8192;

struct BatchMatMul;

impl Op for BatchMatMul {
    fn names(&self) -> &'static [&'static str] {
        &["primitive.batch_matmul_v1", "broadcasting_batch_matmul_v1"]
    }

    fn infer(&self, cx: &mut InferCx) -> Result<Vec<Fact>, Fault> {
        let (a, b) = (cx.input(0)?.clone(), cx.input(1)?.clone());
        let (ra, rb) = (a.dims.len(), b.dims.len());
        if ra < 2 || rb < 2 {
            return Err(Fault::program("matrices need at least two axes"));
        }
        cx.unify(&a.dims[ra - 1], &b.dims[rb - 2])?;
        let mut dims = cx.broadcast(&a.dims[..ra - 2], &b.dims[..rb - 2])?;
        dims.push(a.dims[ra - 2].clone());
        dims.push(b.dims[rb - 1].clone());
        Ok(vec![Fact::new(a.element, dims)])
    }

    fn lower(&self, cx: &mut Lower, node: usize) -> Result<(), Fault> {
        let (inputs, outputs) = cx.node_values(node);
        let dims = cx.fact(outputs[0]).dims.clone(); // [batch.., m, n]
        let batch = &dims[..dims.len() - 2];
        let b = cx.view(inputs[1])?;
        let k = b.dims[b.dims.len() - 2].clone();
        let b = b.broadcast(&[batch, &b.dims[b.dims.len() - 2..]].concat());
        let one_row = product(&dims[..dims.len() - 1]).is(1);
        if one_row
            && k.as_const().is_some_and(|k| k <= MAX_NORM_ROW)
            && let Some((norm, x, scale)) = cx.norm_of(inputs[0])
            && let Some(a) = x.realign(&[batch, &[dims[dims.len() - 2].clone(), k.clone()]].concat())
        {
            let kernel = Kernel::MatMul { weights: 1, norm: Some(norm), epilogue: None };
            return cx.anchored(kernel, vec![a, b, scale], dims, outputs[0]);
        }
        let a = cx.view(inputs[0])?;
        let a = a.broadcast(&[batch, &a.dims[a.dims.len() - 2..]].concat());
        let kernel = Kernel::MatMul { weights: 1, norm: None, epilogue: None };
        cx.anchored(kernel, vec![a, b], dims, outputs[0])
    }

    fn slice_through(&self, axis: usize, inputs: &[Fact], output: &Fact) -> Option<Vec<Option<usize>>> {
        let rank = output.dims.len();
        let row = rank - 2;
        // Rows of the result come from rows of the left operand.
        (axis == row && inputs[0].dims.len() >= 2).then(|| vec![Some(inputs[0].dims.len() - 2), None])
    }

    #[cfg(test)]
    fn cases(&self) -> Vec<Case> {
        Case::each(self.names(), |d| {
            let element = d.element(SUMS);
            d.at_most(Spice::Wide);
            let batch: Vec<usize> = (0..d.rng.below(3)).map(|_| 1 + d.rng.below(3)).collect();
            let [m, k, n] = [0; 3].map(|_| d.rng.pick(&[1, 1, 2, 3, 5, 8, 16, 17, 31, 33, 64, 65]));
            let own = |d: &mut super::cases::Draw| match d.name.starts_with("broadcasting_") {
                true => d.stretched(&batch, true),
                false => batch.clone(),
            };
            let (left, right) = (own(d), own(d));
            let a = d.data(element, &[left, vec![m, k]].concat());
            let b = d.data(element, &[right, vec![k, n]].concat());
            Call::new(vec![a, b], element)
        })
    }
}
