//! Linear layers.

use std::sync::Arc;

use coreai_asset::{Bound, Size, Value};

use super::Decoder;
use crate::error::ConvertError;
use crate::quantize::WeightClass;
use crate::rows::{PackedRows, Packing, Rows, SharedRows};

/// How a checkpoint holds the projections to queries, keys and values.
#[derive(Clone, Copy)]
pub(super) enum Qkv {
    /// `q_proj`, `k_proj`, `v_proj`.
    Separate,
    /// `qkv_proj`.
    Fused,
}

impl Decoder<'_, '_> {
    /// `x · weightᵀ + bias` of a weight `[out, in]`. `[.., in]` → `[.., out]`
    pub(super) fn product(
        &mut self,
        x: Value,
        weight: Value,
        bias: Option<Value>,
    ) -> Result<Value, ConvertError> {
        let transposed = self.g.transpose(weight, &[1, 0])?;
        let y = self.g.matmul(x, transposed)?;
        Ok(match bias {
            Some(bias) => self.g.add(y, bias)?,
            None => y,
        })
    }

    /// The linear layer `NAME.weight`, and `NAME.bias` where it has one.
    pub(super) fn linear(&mut self, name: &str, bias: bool, x: Value) -> Result<Value, ConvertError> {
        let weight = self.matrix(&format!("{name}.weight"), WeightClass::Linear)?;
        let bias = if bias { Some(self.vector(&format!("{name}.bias"))?) } else { None };
        self.product(x, weight, bias)
    }

    /// Queries, keys and values of all heads. `[1, query, hidden]` → `[1, heads + 2 kv heads, query, head dim]`
    pub(super) fn heads(&mut self, layer: u64, qkv: Qkv, x: Value) -> Result<Value, ConvertError> {
        let config = self.config;
        let path = |name: &str| format!("model.layers.{layer}.self_attn.{name}");
        let y = match qkv {
            Qkv::Fused => self.linear(&path("qkv_proj"), config.qkv_bias, x)?,
            Qkv::Separate => {
                let names = ["q_proj", "k_proj", "v_proj"].map(path);
                let parts: Result<Vec<SharedRows>, ConvertError> =
                    names.iter().map(|name| self.rows(&format!("{name}.weight"))).collect();
                match Joined::new(parts?) {
                    Some(rows) => {
                        let name = path("qkv_proj.weight");
                        let weights = &mut *self.weights;
                        let weight =
                            weights.matrix(&mut self.g, &name, WeightClass::Linear, Arc::new(rows))?;
                        let bias = match config.qkv_bias {
                            true => {
                                let parts: Result<Vec<Value>, ConvertError> =
                                    names.iter().map(|name| self.vector(&format!("{name}.bias"))).collect();
                                Some(self.g.concat(&parts?, 0)?)
                            }
                            false => None,
                        };
                        self.product(x, weight, bias)?
                    }
                    // packed in different ways: three products keep them as they are
                    None => {
                        let parts: Result<Vec<Value>, ConvertError> =
                            names.iter().map(|name| self.linear(name, config.qkv_bias, x)).collect();
                        self.g.concat(&parts?, -1)?
                    }
                }
            }
        };
        let all = config.heads + 2 * config.kv_heads;
        let sizes =
            [Size::Fixed(1), Size::Of(self.query_len), Size::Fixed(all), Size::Fixed(config.head_dim)];
        let y = self.g.reshape(y, &sizes)?;
        Ok(self.g.transpose(y, &[0, 2, 1, 3])?)
    }

    /// Heads `from..to`. `[1, all, query, head dim]`
    pub(super) fn head_range(&mut self, x: Value, from: u64, to: u64) -> Result<Value, ConvertError> {
        // heads are at most 2¹⁶
        Ok(self.g.narrow(x, 1, Bound::At(from as i32), Bound::At(to as i32))?)
    }
}

/// Matrices one above the other. `[rows of all, columns]`
struct Joined {
    parts: Vec<SharedRows>,
    shape: [u64; 2],
}

impl Joined {
    /// `None` if they are packed in different ways, or have different columns.
    fn new(parts: Vec<SharedRows>) -> Option<Self> {
        let first = parts.first()?;
        let (columns, packing) = (first.columns(), first.packing());
        let alike = parts.iter().all(|part| part.columns() == columns && part.packing() == packing);
        let rows = parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.rows()))?;
        alike.then_some(Self { shape: [rows, columns], parts })
    }

    /// Calls `each` with the parts that hold rows from `first` on, and which of their rows these are.
    fn parts(
        &self,
        first: u64,
        count: u64,
        mut each: impl FnMut(&SharedRows, u64, u64) -> Result<(), ConvertError>,
    ) -> Result<(), ConvertError> {
        let (mut begin, end) = (0, first + count);
        for part in &self.parts {
            let rows = part.rows();
            let (from, to) = (first.max(begin), end.min(begin + rows));
            if from < to {
                each(part, from - begin, to - from)?;
            }
            begin += rows;
        }
        Ok(())
    }
}

impl Rows for Joined {
    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn read(&self, first: u64, mut out: &mut [f32]) -> Result<(), ConvertError> {
        let columns = self.columns().max(1);
        self.parts(first, out.len() as u64 / columns, |part, from, count| {
            let values = (count * columns) as usize; // of `out`, which has them
            part.read(from, out.split_off_mut(..values).unwrap_or_default())
        })
    }

    fn packing(&self) -> Option<Packing> {
        self.parts.first()?.packing()
    }

    fn read_packed(&self, first: u64, count: u64, out: &mut PackedRows) -> Result<(), ConvertError> {
        *out = PackedRows::default();
        let mut piece = PackedRows::default();
        self.parts(first, count, |part, from, count| {
            part.read_packed(from, count, &mut piece)?;
            out.codes.append(&mut piece.codes);
            out.scales.append(&mut piece.scales);
            out.minimums.append(&mut piece.minimums);
            Ok(())
        })
    }
}
