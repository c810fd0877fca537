//! Keys and values of all tokens so far.

use coreai_asset::{Bound, ElementType, Graph, State, Value};

use super::Decoder;
use crate::config::Config;
use crate::error::ConvertError;

/// The two caches, `[layers, 1, kv heads, context, head dim]`. The caller chooses the context.
pub(super) struct Cache {
    keys: Half,
    values: Half,
}

struct Half {
    state: State,
    /// What the state holds after the layers so far.
    content: Value,
}

impl Cache {
    pub fn declare(g: &mut Graph<'_>, config: &Config, element: ElementType) -> Result<Self, ConvertError> {
        let shape = [Some(config.layers), Some(1), Some(config.kv_heads), None, Some(config.head_dim)];
        let keys = g.state("keyCache", element, &shape)?;
        let values = g.state("valueCache", element, &shape)?;
        let mut half = |state| g.read(state).map(|content| Half { state, content });
        Ok(Self { keys: half(keys)?, values: half(values)? })
    }
}

impl Decoder<'_, '_> {
    /// Appends keys and values of this call to the caches of a layer; all of them so far.
    /// `[1, kv heads, query, head dim]` → `[1, kv heads, seq, head dim]`
    pub(super) fn cached(
        &mut self,
        layer: u64,
        keys: Value,
        values: Value,
    ) -> Result<(Value, Value), ConvertError> {
        let Self { g, cache, offset, seq_len, .. } = self;
        let keys = cache.keys.append(g, layer, *offset, *seq_len, keys)?;
        let values = cache.values.append(g, layer, *offset, *seq_len, values)?;
        Ok((keys, values))
    }
}

impl Half {
    fn append(
        &mut self,
        g: &mut Graph<'_>,
        layer: u64,
        offset: Value,
        seq_len: Value,
        x: Value,
    ) -> Result<Value, ConvertError> {
        let all = (Bound::At(0), Bound::End);
        let layer = layer as i32; // at most 10 000
        let of_layer = (Bound::At(layer), Bound::At(layer + 1));
        let place = [of_layer, all, all, (Bound::Of(offset), Bound::Of(seq_len)), all];
        let update = g.expand_dims(x, 0)?;
        let updated = g.slice_update(self.content, &place, update)?;
        g.write(self.state, updated)?;
        self.content = g.read(self.state)?;
        let own = g.slice(self.content, &[of_layer, all, all, all, all])?;
        let filled = g.slice(own, &[all, all, all, (Bound::At(0), Bound::Of(seq_len)), all])?;
        Ok(g.shrink_dims(filled, 0)?)
    }
}
