//! Root-mean-square norms.

use std::sync::Arc;

use coreai_asset::{Declaration, DeclaredValue, ElementType, Value};

use super::Decoder;
use crate::error::ConvertError;
use crate::rows::{Rows, SharedRows};

/// What is normed.
#[derive(Clone, Copy)]
pub(super) enum Norm {
    /// The residual stream.
    Hidden,
    /// Query and key heads, each by itself.
    Heads,
}

impl Decoder<'_, '_> {
    /// The norm of a layer by the name of its weight.
    pub(super) fn layer_norm(&mut self, layer: u64, name: &str, x: Value) -> Result<Value, ConvertError> {
        self.norm(Norm::Hidden, &format!("model.layers.{layer}.{name}.weight"), x)
    }

    /// x / √(mean x² + eps) · weight, over the last axis.
    pub(super) fn norm(&mut self, what: Norm, name: &str, x: Value) -> Result<Value, ConvertError> {
        let rows = self.rows(name)?;
        let scale = self.norm_weight(rows)?;
        self.normed(what, x, scale)
    }

    /// As the graph multiplies with it. Gemma's are 1 + weight, kept in float32 as Apple's export has them.
    fn norm_weight(&mut self, rows: SharedRows) -> Result<Value, ConvertError> {
        match self.config.norm_offset {
            0.0 => {
                let element = self.weights.element();
                self.weights.plain(&mut self.g, element, rows)
            }
            offset => {
                let rows = Arc::new(Raised { rows, offset: offset as f32 });
                self.weights.plain(&mut self.g, ElementType::F32, rows)
            }
        }
    }

    /// Queries and keys together, each head by itself: the weight of the queries for the first heads, that of
    /// the keys for the others. `[1, heads + kv heads, query, head dim]`
    pub(super) fn query_key_norm(&mut self, layer: u64, x: Value) -> Result<Value, ConvertError> {
        let weight = |name: &str| format!("model.layers.{layer}.self_attn.{name}.weight");
        let heads = Arc::new(PerHead {
            queries: self.rows(&weight("q_norm"))?,
            keys: self.rows(&weight("k_norm"))?,
            heads: self.config.heads,
            shape: [self.config.heads + self.config.kv_heads, 1, self.config.head_dim],
        });
        let scale = self.norm_weight(heads)?;
        self.normed(Norm::Heads, x, scale)
    }

    fn normed(&mut self, what: Norm, x: Value, scale: Value) -> Result<Value, ConvertError> {
        let (kind, path) = match what {
            Norm::Hidden => ("norm", "model.norm.rmsnorm_impl"),
            Norm::Heads => ("head norm", "model.layers.0.self_attn.qk_norm.rmsnorm_impl"),
        };
        let callee = match self.callees.get(kind) {
            Some(callee) => callee.clone(),
            None => {
                let eps = self.config.rms_eps as f32;
                let declaration = Declaration {
                    name: "rms_norm",
                    inputs: vec!["input", "scale"],
                    attrs: vec![("axes", DeclaredValue::Integer(-1)), ("eps", DeclaredValue::Float(eps))],
                };
                let callee = self.g.composite(path, declaration, &[x, scale], |g, arguments| {
                    let (x, scale) = (arguments[0], arguments[1]);
                    let element = g.element(x)?;
                    let wide = g.cast(x, ElementType::F32)?;
                    let squares = g.mul(wide, wide)?;
                    let mean = g.reduce_mean(squares, &[-1])?;
                    let eps = g.scalar(eps)?;
                    let mean = g.add(mean, eps)?;
                    let inverse = g.rsqrt(mean)?;
                    let normed = g.mul(wide, inverse)?;
                    // rounded to the type of the weight before it is multiplied with it
                    let scale_element = g.element(scale)?;
                    let normed = g.cast(normed, scale_element)?;
                    let scaled = g.mul(normed, scale)?;
                    g.cast(scaled, element)
                })?;
                self.callees.insert(kind.into(), callee.clone());
                callee
            }
        };
        Ok(self.g.invoke(&callee, &[x, scale])?)
    }
}

/// Values plus a number.
struct Raised {
    rows: SharedRows,
    offset: f32,
}

impl Rows for Raised {
    fn shape(&self) -> &[u64] {
        self.rows.shape()
    }

    fn read(&self, first: u64, out: &mut [f32]) -> Result<(), ConvertError> {
        self.rows.read(first, out)?;
        out.iter_mut().for_each(|value| *value += self.offset);
        Ok(())
    }
}

/// A vector for each query head and another for each key head. `[heads, 1, head dim]`
struct PerHead {
    queries: SharedRows,
    keys: SharedRows,
    heads: u64,
    shape: [u64; 3],
}

impl Rows for PerHead {
    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn read(&self, first: u64, out: &mut [f32]) -> Result<(), ConvertError> {
        let columns = self.columns().max(1) as usize;
        for (head, row) in (first..).zip(out.chunks_exact_mut(columns)) {
            if head < self.heads { &self.queries } else { &self.keys }.read(0, row)?;
        }
        Ok(())
    }
}
