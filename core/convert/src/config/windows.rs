//! How far back each layer sees.

use serde_json::Value;

use super::Architecture;
use super::fields::Fields;
use super::rope::MAX_POSITIONS;
use crate::error::ConvertError;

/// A window for each layer, as the models of transformers build their masks.
pub(super) fn windows(
    fields: &Fields,
    architecture: Architecture,
    layers: u64,
) -> Result<Vec<u64>, ConvertError> {
    let absent = match architecture {
        Architecture::Mistral | Architecture::Gemma3 => Some(4096),
        Architecture::Qwen2 | Architecture::Qwen3 | Architecture::Qwen3Moe => Some(4096),
        Architecture::GptOss => Some(128),
        Architecture::Llama | Architecture::Phi3 | Architecture::Mixtral => None,
    };
    let window = match fields.has("sliding_window") {
        true => fields.count("sliding_window", 1, MAX_POSITIONS)?,
        false => absent,
    };
    let used = fields.flag("use_sliding_window")?.unwrap_or(false);
    let everywhere = |window: Option<u64>| Ok((0..layers).map(|_| window.unwrap_or(0)).collect());
    match architecture {
        Architecture::Llama => everywhere(None),
        // with `layer_types` transformers reads it as Ministral, whose layers differ
        Architecture::Mistral => by_layer(fields, layers, window, |_| window.is_some()),
        Architecture::Phi3 | Architecture::Mixtral => everywhere(window),
        Architecture::Qwen3Moe => everywhere(window.filter(|_| used)),
        Architecture::Qwen2 | Architecture::Qwen3 => {
            let window = window.filter(|_| used);
            let first = fields.count("max_window_layers", 0, u64::MAX)?.unwrap_or(28);
            by_layer(fields, layers, window, |layer| window.is_some() && layer >= first)
        }
        Architecture::Gemma3 => {
            let pattern = fields.count("sliding_window_pattern", 1, u64::MAX)?.unwrap_or(6);
            by_layer(fields, layers, window, |layer| (layer + 1) % pattern != 0)
        }
        Architecture::GptOss => by_layer(fields, layers, window, |layer| layer % 2 == 0),
    }
}

/// `layer_types`, or where the file has none the layers that `slides` names.
fn by_layer(
    fields: &Fields,
    layers: u64,
    window: Option<u64>,
    slides: impl Fn(u64) -> bool,
) -> Result<Vec<u64>, ConvertError> {
    const KEY: &str = "layer_types";
    let sliding: Vec<bool> = match fields.value(KEY) {
        None => (0..layers).map(slides).collect(),
        Some(Value::Array(types)) if types.len() as u64 == layers => types
            .iter()
            .map(|name| match name.as_str() {
                Some("sliding_attention") => Ok(true),
                Some("full_attention") => Ok(false),
                _ => {
                    let expected = "\"full_attention\" or \"sliding_attention\" for each layer";
                    Err(fields.wrong(KEY, name.to_string(), expected))
                }
            })
            .collect::<Result<_, _>>()?,
        Some(Value::Array(types)) => {
            return Err(fields.wrong(KEY, format!("a list of {}", types.len()), format!("{layers} names")));
        }
        Some(_) => return Err(fields.wrong(KEY, "no list", format!("{layers} names"))),
    };
    match window {
        None if sliding.contains(&true) => {
            Err(fields.wrong("sliding_window", "absent", "a number of positions, since layers have a window"))
        }
        window => Ok(sliding.iter().map(|slides| if *slides { window.unwrap_or(0) } else { 0 }).collect()),
    }
}
