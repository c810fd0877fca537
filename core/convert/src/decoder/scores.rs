//! Scaled dot-product attention: the declared operation and its body.

use coreai_asset::{Bound, BuildError, Declaration, DeclaredValue, Graph, Size, Value};

use super::Decoder;
use crate::error::ConvertError;

/// What is added to the scores of positions that a query does not see. Apple's body adds the same.
const UNSEEN: f64 = -10_000.0;

/// What distinguishes the attention of layers.
#[derive(Clone, Copy)]
struct Attention {
    heads: u64,
    kv_heads: u64,
    head_dim: u64,
    /// Factor of query · key.
    scale: f64,
    /// Positions that a query sees, itself included; 0 for all.
    window: u64,
}

impl Decoder<'_, '_> {
    /// softmax(query · keyᵀ · scale) · value over the positions that each query sees.
    /// `[1, heads, query, head dim]`, twice `[1, kv heads, seq, head dim]` → `[1, heads, query, head dim]`
    pub(super) fn attended(
        &mut self,
        layer: u64,
        query: Value,
        key: Value,
        value: Value,
    ) -> Result<Value, ConvertError> {
        let config = self.config;
        let window = usize::try_from(layer).ok().and_then(|layer| config.windows.get(layer)).copied();
        let attention = Attention {
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            scale: config.query_scale,
            window: window.unwrap_or(0),
        };
        let mut arguments = vec![query, key, value];
        let path = format!("model.layers.{layer}.self_attn");
        if config.sinks {
            arguments.push(self.vector(&format!("{path}.sinks"))?);
        }
        let kind = format!("attention {}", attention.window);
        let callee = match self.callees.get(&kind) {
            Some(callee) => callee.clone(),
            None => {
                let declaration = attention.declaration(config.sinks);
                let path = format!("{path}.sdpa");
                let callee = self
                    .g
                    .composite(&path, declaration, &arguments, |g, arguments| attention.body(g, arguments))?;
                self.callees.insert(kind, callee.clone());
                callee
            }
        };
        Ok(self.g.invoke(&callee, &arguments)?)
    }
}

impl Attention {
    fn declaration(&self, sinks: bool) -> Declaration {
        let mut inputs = vec!["query", "key", "value"];
        if sinks {
            inputs.push("sinks");
        }
        let mut attrs = vec![
            ("is_causal", DeclaredValue::Bool(true)),
            ("window_size", DeclaredValue::Integer(self.window as i64)),
        ];
        // absent for the usual one
        let usual = (self.head_dim as f64).powf(-0.5);
        if (self.scale - usual).abs() > 1e-12 {
            attrs.push(("scale", DeclaredValue::Float(self.scale as f32)));
        }
        Declaration { name: "scaled_dot_product_attention", inputs, attrs }
    }

    fn body(&self, g: &mut Graph<'_>, arguments: &[Value]) -> Result<Value, BuildError> {
        let (query, key, value) = (arguments[0], arguments[1], arguments[2]);
        let element = g.element(query)?;
        let group = self.heads / self.kv_heads;
        let (query_len, seq_len) = (g.size(query, 2)?, g.size(key, 2)?);
        let scale = g.number(element, self.scale)?;
        let query = g.mul(query, scale)?;
        let fixed = Size::Fixed;
        let sizes = [fixed(1), fixed(self.kv_heads), fixed(group), Size::Of(query_len), fixed(self.head_dim)];
        let query = g.reshape(query, &sizes)?;
        let key = g.transpose(key, &[0, 1, 3, 2])?;
        let key = g.expand_dims(key, 2)?;
        let mut scores = g.matmul(query, key)?; // [1, kv heads, group, query, seq]
        let unseen = self.unseen(g, query_len, seq_len)?;
        let unseen = g.cast(unseen, element)?;
        let low = g.number(element, UNSEEN)?;
        let low = g.mul(unseen, low)?;
        scores = g.add(scores, low)?;
        let weights = match arguments.get(3) {
            None => g.softmax(scores, -1)?,
            Some(sinks) => {
                let sizes = [fixed(1), fixed(self.kv_heads), fixed(group), fixed(1), fixed(1)];
                let sinks = g.reshape(*sinks, &sizes)?;
                let sizes = [fixed(1), fixed(self.kv_heads), fixed(group), Size::Of(query_len), fixed(1)];
                let sinks = g.broadcast_to(sinks, &sizes)?;
                let scores = g.concat(&[scores, sinks], -1)?;
                let weights = g.softmax(scores, -1)?;
                g.narrow(weights, -1, Bound::At(0), Bound::Of(seq_len))?
            }
        };
        let value = g.expand_dims(value, 2)?;
        let y = g.matmul(weights, value)?; // [1, kv heads, group, query, head dim]
        g.reshape(y, &[fixed(1), fixed(self.heads), Size::Of(query_len), fixed(self.head_dim)])
    }

    /// Which positions a query does not see: those after it, and those before its window. `[query, seq]`, bool
    fn unseen(&self, g: &mut Graph<'_>, query_len: Value, seq_len: Value) -> Result<Value, BuildError> {
        let offset = g.sub(seq_len, query_len)?;
        let offset = g.to_scalar(offset)?;
        let end = g.to_scalar(seq_len)?;
        let zero = g.scalar(0i32)?;
        let queries = g.range(offset, end)?;
        let queries = g.expand_dims(queries, 1)?; // [query, 1]
        let keys = g.range(zero, end)?;
        let keys = g.expand_dims(keys, 0)?; // [1, seq]
        let later = g.greater(keys, queries)?;
        if self.window == 0 {
            return Ok(later);
        }
        let window = g.constant(&[1], &[i32::try_from(self.window).unwrap_or(i32::MAX)])?;
        let last_seen = g.sub(queries, window)?;
        // keys ≤ query − window
        let within = g.greater(keys, last_seen)?;
        let before = g.not(within)?;
        g.logical_or(later, before)
    }
}
