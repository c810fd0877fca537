//! Decoder language models as graphs, in the shape of Apple's macOS export: one function for prompts and
//! single tokens, positions of all tokens so far, caches that grow.

mod architecture;
mod attention;
mod cache;
mod experts;
mod feed_forward;
mod norm;
mod projection;
mod rope;
mod scores;

use std::collections::{BTreeMap, HashMap};

use coreai_asset::{Asset, AssetBuilder, Bound, Callee, ElementType, Graph, Metadata, Value};

use cache::Cache;
use norm::Norm;

use crate::config::Config;
use crate::error::ConvertError;
use crate::quantize::WeightClass;
use crate::rows::SharedRows;
use crate::weights::Weights;

/// A decoder that is being built: the graph, and what all layers use.
pub(crate) struct Decoder<'a, 'm> {
    g: Graph<'m>,
    config: &'a Config,
    tensors: &'a BTreeMap<String, SharedRows>,
    weights: &'a mut Weights,
    /// Positions the model is made for.
    max_context: u64,
    /// Tokens of this call, int32 `[1]`.
    query_len: Value,
    /// Tokens so far with those of this call, int32 `[1]`.
    seq_len: Value,
    /// Tokens before this call, int32 `[1]`.
    offset: Value,
    /// Positions of the tokens of this call, int32 `[1, query]`.
    positions: Value,
    cache: Cache,
    /// Private graphs by what distinguishes them.
    callees: HashMap<String, Callee>,
}

/// The decoder of a checkpoint as an asset with the function `main`. Weights are read when the asset is written.
///
/// Inputs `input_ids` `[1, query]` and `position_ids` `[1, seq]`, int32; states `keyCache` and `valueCache`
/// `[layers, 1, kv heads, context, head dim]`; output `logits` `[1, query, vocabulary]`.
pub(crate) fn build(
    config: &Config,
    tensors: &BTreeMap<String, SharedRows>,
    weights: &mut Weights,
    max_context: u64,
    metadata: Metadata,
) -> Result<Asset, ConvertError> {
    let element = weights.element();
    let mut asset = AssetBuilder::new();
    let mut g = asset.function("main");
    let ids = g.input("input_ids", ElementType::SI32, &[Some(1), None])?;
    let all_positions = g.input("position_ids", ElementType::SI32, &[Some(1), None])?;
    let cache = Cache::declare(&mut g, config, element)?;
    let query_len = g.size(ids, 1)?;
    let seq_len = g.size(all_positions, 1)?;
    let offset = g.sub(seq_len, query_len)?;
    let positions =
        g.slice(all_positions, &[(Bound::At(0), Bound::End), (Bound::Of(offset), Bound::Of(seq_len))])?;
    let callees = HashMap::new();
    let mut decoder = Decoder {
        g,
        config,
        tensors,
        weights,
        max_context,
        query_len,
        seq_len,
        offset,
        positions,
        cache,
        callees,
    };
    let logits = decoder.logits(ids)?;
    decoder.g.output("logits", logits)?;
    decoder.g.finish()?;
    Ok(asset.finish(metadata)?)
}

impl Decoder<'_, '_> {
    /// `[1, query]` → `[1, query, vocabulary]`
    fn logits(&mut self, ids: Value) -> Result<Value, ConvertError> {
        let element = self.weights.element();
        let table = self.matrix("model.embed_tokens.weight", WeightClass::Embedding)?;
        let indices = self.g.expand_dims(ids, 2)?;
        let mut x = self.g.gather_nd(table, indices)?; // [1, query, hidden]
        if self.config.embed_scale != 1.0 {
            let scale = self.g.number(element, self.config.embed_scale)?;
            x = self.g.mul(x, scale)?;
        }
        for layer in 0..self.config.layers {
            x = architecture::layer(self, layer, x)?;
        }
        let x = self.norm(Norm::Hidden, "model.norm.weight", x)?;
        let head = match self.config.tied {
            true => table,
            false => self.matrix("lm_head.weight", WeightClass::Head)?,
        };
        let mut logits = self.product(x, head, None)?;
        if let Some(cap) = self.config.final_softcap {
            logits = self.soft_cap(logits, cap)?;
        }
        // engines take float16 logits from models that compute in bfloat16
        Ok(match element {
            ElementType::BF16 => self.g.cast(logits, ElementType::F16)?,
            _ => logits,
        })
    }

    /// `cap · tanh(x / cap)`
    fn soft_cap(&mut self, x: Value, cap: f64) -> Result<Value, ConvertError> {
        let g = &mut self.g;
        let element = g.ty(x)?.element;
        let (inverse, cap) = (g.number(element, 1.0 / cap)?, g.number(element, cap)?);
        let x = g.mul(x, inverse)?;
        let x = g.tanh(x)?;
        Ok(g.mul(x, cap)?)
    }

    fn rows(&self, name: &str) -> Result<SharedRows, ConvertError> {
        self.tensors.get(name).cloned().ok_or_else(|| ConvertError::Tensor {
            name: name.into(),
            reason: "is missing in the checkpoint".into(),
        })
    }

    /// A weight that may be compressed. `[out, in]`
    fn matrix(&mut self, name: &str, class: WeightClass) -> Result<Value, ConvertError> {
        let rows = self.rows(name)?;
        self.weights.matrix(&mut self.g, name, class, rows)
    }

    /// A bias or another vector in the type of the graph.
    fn vector(&mut self, name: &str) -> Result<Value, ConvertError> {
        let rows = self.rows(name)?;
        let element = self.weights.element();
        self.weights.plain(&mut self.g, element, rows)
    }
}
