//! Matrix products (`OPSET` §3, §4).

use super::error::BuildError;
use super::extent::{Extent, broadcast, shape_text};
use super::graph::{Graph, Value, tensor};
use crate::types::ElementType;

const NAME: &str = "broadcasting_batch_matmul_v1";
const PRIMITIVE: &str = "primitive.batch_matmul_v1";

impl Graph<'_> {
    /// `[.., m, k] · [.., k, n] → [.., m, n]`; the leading extents are stretched to common ones.
    pub fn matmul(&mut self, x: Value, y: Value) -> Result<Value, BuildError> {
        let (a, b) = (self.ty(x)?.clone(), self.ty(y)?.clone());
        if a.element != b.element {
            let (found, expected) = (b.element.name(), a.element.name());
            return Err(BuildError::operand(NAME, "the element type of the second operand", found, expected));
        }
        let disagree = || {
            let expected = format!("[.., k, n] for the k of {}", shape_text(&a.shape));
            BuildError::operand(NAME, "the shape of the second operand", shape_text(&b.shape), expected)
        };
        let ([batch_a @ .., m, k], [batch_b @ .., rows, n]) = (a.shape.as_slice(), b.shape.as_slice()) else {
            return Err(disagree());
        };
        if matches!((k, rows), (Some(k), Some(rows)) if k != rows) {
            return Err(disagree());
        }
        let batch = broadcast(batch_a, batch_b).ok_or_else(disagree)?;
        let with = |last: [Extent; 2]| [batch.as_slice(), &last].concat();
        let result = tensor(a.element, &with([*m, *n]));
        let alike = batch_a == batch_b && batch_a.iter().all(Option::is_some);
        self.decomposed(NAME, &[x, y], result.clone(), |g, operands| {
            let mut stretched = operands.to_vec();
            if !alike {
                let batches = [g.leading(operands[0])?, g.leading(operands[1])?];
                let common = match batches {
                    [Some(a), Some(b)] => {
                        let rank = Some(batch.len() as u64);
                        g.one("primitive.broadcast_shapes_v1", &[a, b], ElementType::UI32, &[rank])?
                    }
                    [Some(one), None] | [None, Some(one)] => one,
                    [None, None] => return Ok(g.op(PRIMITIVE, &stretched, &[result])?[0]),
                };
                for (value, last) in stretched.iter_mut().zip([[*m, *k], [*rows, *n]]) {
                    let matrix = g.trailing(*value)?;
                    let shape = g.concat(&[common, matrix], 0)?;
                    *value = g.one("primitive.broadcast_to_v1", &[*value, shape], a.element, &with(last))?;
                }
            }
            Ok(g.op(PRIMITIVE, &stretched, &[result])?[0])
        })
    }

    /// The extents before the last two as a vector, if there are any.
    fn leading(&mut self, value: Value) -> Result<Option<Value>, BuildError> {
        let rank = self.shape(value)?.len();
        if rank == 2 {
            return Ok(None);
        }
        let extents = self.extents(value)?;
        Ok(Some(self.vector_part(extents, 0, rank - 2)?))
    }

    /// The last two extents as a vector.
    fn trailing(&mut self, value: Value) -> Result<Value, BuildError> {
        let rank = self.shape(value)?.len();
        let extents = self.extents(value)?;
        self.vector_part(extents, rank - 2, rank)
    }
}
