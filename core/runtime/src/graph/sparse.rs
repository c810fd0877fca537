//! Sparse values, modelled as a dense tensor with zeros elsewhere and the mask that belongs to it.

use std::sync::Arc;

use coreai_asset::Op as AssetOp;

use super::flatten::Builder;
use super::{NewNode, NodeKind, Val};
use crate::error::Error;
use crate::facts::Fact;
use crate::ops::{Fault, HOST};

impl Builder<'_> {
    /// The results of an op on sparse values; `None` for every other op.
    pub(super) fn sparse(
        &mut self,
        op: &AssetOp,
        inputs: &[Val],
        declared: &[Fact],
        source: Option<Arc<str>>,
    ) -> Result<Option<Vec<Val>>, Error> {
        let build = match &*op.name {
            "primitive.build_sparse_with_bitmask_v1" => true,
            "primitive.lut_to_sparse_with_bitmask_v1"
            | "primitive.sparse_with_bitmask_blockwise_shift_scale_v1" => false,
            // The dense tensor itself.
            "primitive.sparse_with_bitmask_to_dense_v1" => return Ok(Some(inputs.to_vec())),
            _ => return Ok(None),
        };
        let wrong = |why: &str| Fault::program(why.to_string());
        let mut operands = inputs.to_vec();
        let mask = if build {
            inputs.get(1).copied()
        } else {
            inputs.first().and_then(|v| self.masks.get(v)).copied()
        };
        let Some(mask) = mask else {
            return Err(self.graph.fault(&op.name, source, wrong("the operand is not a sparse value")));
        };
        if !build {
            operands.push(mask);
        }
        let new = NewNode {
            kind: NodeKind::Host("sparse values".into()),
            attrs: op.attrs.clone(),
            source,
            ..NewNode::plain(&HOST, op.name.clone(), operands)
        };
        let results = self.add_on_host(new, declared)?;
        // Vector palettes change the extents; no op takes such a value further as a sparse one.
        if let Some(v) = results.first().filter(|v| self.graph.fact(**v).dims == self.graph.fact(mask).dims) {
            self.masks.insert(*v, mask);
        }
        Ok(Some(results))
    }
}
