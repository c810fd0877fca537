//! Rotary position embedding.

use coreai_asset::{Bound, BuildError, Declaration, DeclaredValue, ElementType, Graph, Value};

use super::Decoder;
use crate::config::{Rope, RopeScaling};
use crate::error::ConvertError;

impl Decoder<'_, '_> {
    /// Heads rotated by the positions of their tokens. `[1, heads, query, head dim]`
    pub(super) fn rotated(&mut self, layer: u64, x: Value) -> Result<Value, ConvertError> {
        let config = self.config;
        let windowed = usize::try_from(layer).ok().and_then(|layer| config.windows.get(layer)) != Some(&0);
        let (rope, kind) = match &config.local_rope {
            Some(local) if windowed => (local, "local rope"),
            _ => (&config.rope, "rope"),
        };
        let x = self.lengthened(rope, x)?;
        let frequencies: Vec<f32> =
            rope.frequencies(self.max_context).iter().map(|frequency| *frequency as f32).collect();
        // what base and scale do not say is an argument
        let (scale, given) = match rope.scaling {
            RopeScaling::None => (1.0, false),
            RopeScaling::Linear { factor } => ((1.0 / factor) as f32, false),
            _ => (1.0, true),
        };
        let mut arguments = vec![x, self.positions];
        if given {
            arguments.push(self.g.constant(&[frequencies.len() as u64], &frequencies)?);
        }
        let callee = match self.callees.get(kind) {
            Some(callee) => callee.clone(),
            None => {
                let declaration = declaration(rope, scale, given, config.head_dim);
                let path = format!("model.layers.{layer}.self_attn.rope");
                let halves = rope.dims / 2;
                let callee = self.g.composite(&path, declaration, &arguments, |g, arguments| {
                    let frequencies = match arguments.get(2) {
                        Some(frequencies) => *frequencies,
                        None => g.constant(&[halves], &frequencies)?,
                    };
                    body(g, arguments[0], arguments[1], frequencies, halves as i32)
                })?;
                self.callees.insert(kind.into(), callee.clone());
                callee
            }
        };
        Ok(self.g.invoke(&callee, &arguments)?)
    }

    /// The rotated values of each head, multiplied by what the scaling demands.
    fn lengthened(&mut self, rope: &Rope, x: Value) -> Result<Value, ConvertError> {
        let factor = rope.attention_factor();
        if factor == 1.0 {
            return Ok(x);
        }
        let g = &mut self.g;
        let element = g.element(x)?;
        let factor = g.number(element, factor)?;
        if rope.dims >= self.config.head_dim {
            return Ok(g.mul(x, factor)?);
        }
        let dims = rope.dims as i32; // at most 2²²
        let rotated = g.narrow(x, -1, Bound::At(0), Bound::At(dims))?;
        let rest = g.narrow(x, -1, Bound::At(dims), Bound::End)?;
        let rotated = g.mul(rotated, factor)?;
        Ok(g.concat(&[rotated, rest], -1)?)
    }
}

fn declaration(rope: &Rope, scale: f32, given: bool, head_dim: u64) -> Declaration {
    let mut inputs = vec!["input", "position_ids"];
    if given {
        inputs.push("freqs");
    }
    // Apple's export leaves the base at its default where frequencies are given
    let base = if given { 10_000.0 } else { rope.base as f32 };
    let mut attrs = vec![
        ("base", DeclaredValue::Float(base)),
        ("interleaved", DeclaredValue::Bool(false)),
        ("scale", DeclaredValue::Float(scale)),
    ];
    if rope.dims < head_dim {
        attrs.push(("dims", DeclaredValue::Integer(rope.dims as i64)));
    }
    Declaration { name: "rope", inputs, attrs }
}

/// `(x₁ cos − x₂ sin, x₁ sin + x₂ cos)` for the halves x₁, x₂ of the rotated part; angles in float32.
fn body(
    g: &mut Graph<'_>,
    x: Value,
    positions: Value,
    frequencies: Value,
    half: i32,
) -> Result<Value, BuildError> {
    let element = g.element(x)?;
    let positions = g.expand_dims(positions, 1)?;
    let positions = g.cast(positions, ElementType::F32)?;
    let positions = g.expand_dims(positions, 3)?; // [1, 1, query, 1]
    let angles = g.mul(positions, frequencies)?; // [1, 1, query, half]
    let cos = g.cos(angles)?;
    let cos = g.cast(cos, element)?;
    let sin = g.sin(angles)?;
    let sin = g.cast(sin, element)?;
    let first = g.narrow(x, -1, Bound::At(0), Bound::At(half))?;
    let second = g.narrow(x, -1, Bound::At(half), Bound::At(2 * half))?;
    let (a, b) = (g.mul(cos, first)?, g.mul(sin, second)?);
    let low = g.sub(a, b)?;
    let (a, b) = (g.mul(sin, first)?, g.mul(cos, second)?);
    let high = g.add(a, b)?;
    let mut parts = vec![low, high];
    let head_dim = g.shape(x)?.last().copied().flatten();
    if head_dim != Some(2 * half as u64) {
        parts.push(g.narrow(x, -1, Bound::At(2 * half), Bound::End)?);
    }
    g.concat(&parts, -1)
}
