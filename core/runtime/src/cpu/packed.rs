//! Constant weights in the order that matrix products read, made once.

use std::collections::HashMap;

use super::Fault;
use super::gemm::Gemm;
use super::layout::Layout;
use super::memory::Operand;

/// Most words that an executor keeps (256 MiB); further weights are packed in every run.
const LIMIT: usize = 64 << 20;

/// Packed weights by the number of their buffer.
#[derive(Default)]
pub(super) struct PackedWeights {
    kept: HashMap<u32, (Layout, Vec<u32>)>,
    words: usize,
}

impl PackedWeights {
    /// A `[a_batches, m, k]` as [`Gemm::pack`] makes it: kept from an earlier run, or made now.
    /// `loaded` and `packed` are memory for weights that are not kept.
    pub fn of<'b>(
        &'b mut self,
        gemm: &Gemm,
        a: &Operand,
        loaded: &mut Vec<u32>,
        packed: &'b mut Vec<u32>,
    ) -> Result<&'b [u32], Fault> {
        let count = a.layout.count();
        let Some(buffer) = a.fixed else { return pack(gemm, a, loaded, packed) };
        if !self.kept.contains_key(&buffer) && self.words + count <= LIMIT {
            let mut own = Vec::new();
            pack(gemm, a, loaded, &mut own)?;
            self.words += count;
            self.kept.insert(buffer, (a.layout, own));
        }
        match self.kept.get(&buffer) {
            // Other steps may see the same buffer through another view.
            Some((layout, own)) if *layout == a.layout => Ok(own),
            _ => pack(gemm, a, loaded, packed),
        }
    }
}

fn pack<'b>(
    gemm: &Gemm,
    a: &Operand,
    loaded: &mut Vec<u32>,
    packed: &'b mut Vec<u32>,
) -> Result<&'b [u32], Fault> {
    gemm.pack(a.dense(loaded)?, packed)?;
    Ok(&packed[..a.layout.count()])
}
