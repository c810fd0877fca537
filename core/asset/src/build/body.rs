//! Operations with a decomposition: a region that says the same in simpler operations (`AIMODEL_FORMAT` §6.1).

use super::error::BuildError;
use super::extent::Extent;
use super::function::Signature;
use super::graph::{Graph, Value, tensor};
use crate::ir::Region;
use crate::types::{ElementType, TensorType, TypeId};

impl Graph<'_> {
    /// A region of its own with arguments of the given types. `build` gives the operands of its terminator.
    pub(super) fn region(
        &mut self,
        arguments: &[TypeId],
        terminator: &str,
        build: impl FnOnce(&mut Graph<'_>, &[Value]) -> Result<Vec<Value>, BuildError>,
    ) -> Result<Region, BuildError> {
        let mut inner = Graph::new(self.module, Signature::default());
        let values: Vec<Value> = arguments.iter().map(|ty| inner.argument(*ty)).collect();
        let results = build(&mut inner, &values)?;
        Ok(inner.close(terminator, &results)?.0)
    }

    /// An operation with one result and a body, whose arguments are the operands.
    pub(super) fn decomposed(
        &mut self,
        name: &str,
        operands: &[Value],
        result: TensorType,
        body: impl FnOnce(&mut Graph<'_>, &[Value]) -> Result<Value, BuildError>,
    ) -> Result<Value, BuildError> {
        let foreign = || BuildError::Foreign { op: name.into() };
        let types: Option<Vec<TypeId>> = operands.iter().map(|value| self.type_id(*value)).collect();
        let region = self.region(&types.ok_or_else(foreign)?, "dataflow.yield_v1", |inner, values| {
            Ok(vec![body(inner, values)?])
        })?;
        Ok(self.emit(name, operands, Vec::new(), vec![region], &[result])?[0])
    }

    /// The extents of a value as a uint32 vector: a constant where all are known.
    pub(super) fn extents(&mut self, value: Value) -> Result<Value, BuildError> {
        let shape = self.shape(value)?.to_vec();
        let known: Option<Vec<u32>> =
            shape.iter().map(|extent| extent.and_then(|extent| u32::try_from(extent).ok())).collect();
        match known {
            Some(known) => self.constant(&[known.len() as u64], &known),
            None => self.get_shape(value),
        }
    }

    /// Both values stretched to their common extents.
    pub(super) fn stretched(&mut self, values: &[Value], shape: &[Extent]) -> Result<Vec<Value>, BuildError> {
        let mut common = None;
        for value in values {
            if self.shape(*value)?.is_empty() {
                continue; // stretches to whatever the others have
            }
            let own = self.extents(*value)?;
            common = Some(match common {
                None => own,
                Some(others) => {
                    let rank = self.vector_length(others)?.max(self.vector_length(own)?);
                    self.one(
                        "primitive.broadcast_shapes_v1",
                        &[others, own],
                        ElementType::UI32,
                        &[Some(rank)],
                    )?
                }
            });
        }
        let Some(common) = common else {
            return Ok(values.to_vec()); // scalars
        };
        let mut stretched = Vec::with_capacity(values.len());
        for value in values {
            let element = self.element(*value)?;
            stretched.push(self.one("primitive.broadcast_to_v1", &[*value, common], element, shape)?);
        }
        Ok(stretched)
    }

    fn vector_length(&self, vector: Value) -> Result<u64, BuildError> {
        Ok(self.shape(vector)?.first().copied().flatten().unwrap_or(0))
    }

    /// The type of a value with other extents.
    pub(super) fn resized(&self, value: Value, shape: &[Extent]) -> Result<TensorType, BuildError> {
        Ok(tensor(self.element(value)?, shape))
    }
}
