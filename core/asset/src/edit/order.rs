//! Numbers of values in the order of their definition.

use crate::ir::{Op, Region, Scope, ValueId};

/// Old numbers by new ones, and where each is visible.
struct Numbering {
    old: Scope,
    new: Scope,
    /// New number of each old one, while it is visible.
    ids: Vec<Option<ValueId>>,
}

/// Numbers the values of a body in the order in which they are defined, without gaps. Says what is wrong where
/// a value is used that is not defined there.
pub(super) fn renumber(body: &mut Region, scope: Scope) -> Result<(), String> {
    let ids = vec![None; scope.types.len()];
    let mut numbering = Numbering { old: scope, new: Scope::default(), ids };
    numbering.region(body)?;
    body.scope = Some(numbering.new);
    Ok(())
}

impl Numbering {
    fn region(&mut self, region: &mut Region) -> Result<(), String> {
        let mut defined = Vec::new();
        for arg in &mut region.args {
            defined.push(*arg);
            *arg = self.define(*arg)?;
        }
        for op in &mut region.ops {
            defined.extend_from_slice(&op.results);
            self.op(op)?;
        }
        // what is defined in here is not visible outside
        for value in defined {
            if let Some(id) = self.ids.get_mut(value.0 as usize) {
                *id = None;
            }
        }
        Ok(())
    }

    fn op(&mut self, op: &mut Op) -> Result<(), String> {
        for operand in &mut op.operands {
            let known = self.ids.get(operand.0 as usize).copied().flatten();
            *operand =
                known.ok_or_else(|| format!("{} uses value {} before it is defined", op.name, operand.0))?;
        }
        for result in &mut op.results {
            *result = self.define(*result)?;
        }
        for inner in op.regions.iter_mut().filter(|inner| inner.scope.is_none()) {
            self.region(inner)?;
        }
        Ok(())
    }

    fn define(&mut self, value: ValueId) -> Result<ValueId, String> {
        let ty = self.old.ty(value).ok_or_else(|| format!("value {} has no type", value.0))?;
        let id = ValueId(self.new.types.len() as u32); // as many as before at most
        self.new.types.push(ty);
        match self.ids.get_mut(value.0 as usize) {
            Some(slot @ None) => *slot = Some(id),
            _ => return Err(format!("value {} is defined twice", value.0)),
        }
        Ok(id)
    }
}
