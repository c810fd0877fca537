//! Rotary position embedding, as `modeling_rope_utils.py` of transformers reads it from a config.

use super::fields::Fields;
use crate::error::ConvertError;

/// Rotary position embedding: angle `position · base^(−2i / dims)` for the pair `(i, i + dims / 2)` of a
/// head (halves are rotated, not neighbours), changed by `scaling`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the wavelengths (`rope_theta`), greater than 1.
    pub base: f64,
    /// Values of a head that are rotated, from its start; even. The rest passes unchanged.
    pub dims: u64,
    /// Changes the frequencies.
    pub scaling: RopeScaling,
}

/// How the inverse frequencies `f = base^(−2i / dims)` are stretched.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// They are not.
    None,
    /// `f / factor`.
    Linear {
        /// At least 10⁻⁶.
        factor: f64,
    },
    /// Llama 3.1: `f / factor` for wavelengths above `original_max_positions / low_freq_factor`, `f` for
    /// those below `original_max_positions / high_freq_factor`, and a ramp between.
    Llama3 {
        /// Divisor of low frequencies.
        factor: f64,
        /// Bound of the low frequencies, in rotations over the original positions.
        low_freq_factor: f64,
        /// Bound of the high frequencies, in rotations over the original positions; greater than the low one.
        high_freq_factor: f64,
        /// Positions of the pretraining.
        original_max_positions: u64,
    },
    /// YaRN: `f / factor` and `f`, mixed by a ramp over the pairs.
    Yarn {
        /// Divisor of low frequencies.
        factor: f64,
        /// Rotations over the original positions above which frequencies stay.
        beta_fast: f64,
        /// Rotations over the original positions below which frequencies are divided.
        beta_slow: f64,
        /// Multiplies cosines and sines; derived from `factor`, `mscale` and `mscale_all_dim` where the
        /// file does not give it.
        attention_factor: f64,
        /// Positions of the pretraining.
        original_max_positions: u64,
        /// The bounds of the ramp are rounded outwards to whole pairs.
        truncate: bool,
    },
    /// LongRoPE: `f / short[i]` up to `original_max_positions` positions, `f / long[i]` beyond.
    LongRope {
        /// `[dims / 2]`
        short: Vec<f64>,
        /// `[dims / 2]`
        long: Vec<f64>,
        /// Positions of the pretraining.
        original_max_positions: u64,
        /// Multiplies cosines and sines; derived from the ratio of the positions where the file does not
        /// give it.
        attention_factor: f64,
    },
    /// `f / divisors[i]`: what GGUF files keep of Llama 3.1's scaling.
    Divisors {
        /// `[dims / 2]`
        divisors: Vec<f64>,
    },
}

impl Rope {
    /// Inverse frequencies in radians per position, `[dims / 2]`, for sequences of `positions`
    /// positions (only LongRoPE distinguishes them).
    pub fn frequencies(&self, positions: u64) -> Vec<f64> {
        let dims = self.dims as f64;
        let plain = (0..self.dims / 2).map(|pair| self.base.powf(-2.0 * pair as f64 / dims));
        match &self.scaling {
            RopeScaling::None => plain.collect(),
            RopeScaling::Linear { factor } => plain.map(|f| f / factor).collect(),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
                let scaled = |f: f64| {
                    let rotations = *original_max_positions as f64 * f / std::f64::consts::TAU;
                    let ramp = (rotations - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    let ramp = ramp.clamp(0.0, 1.0);
                    (1.0 - ramp) * f / factor + ramp * f
                };
                plain.map(scaled).collect()
            }
            RopeScaling::Yarn { factor, beta_fast, beta_slow, original_max_positions, truncate, .. } => {
                let original = *original_max_positions as f64;
                let bound = |rotations: f64| {
                    dims * (original / (rotations * std::f64::consts::TAU)).ln() / (2.0 * self.base.ln())
                };
                let (low, high) = (bound(*beta_fast), bound(*beta_slow));
                let (low, high) = if *truncate { (low.floor(), high.ceil()) } else { (low, high) };
                let (low, high) = (low.max(0.0), high.min(dims - 1.0));
                // a ramp of no width becomes a step
                let width = if low == high { 0.001 } else { high - low };
                let scaled = |(pair, f): (usize, f64)| {
                    let ramp = ((pair as f64 - low) / width).clamp(0.0, 1.0);
                    ramp * f / factor + (1.0 - ramp) * f
                };
                plain.enumerate().map(scaled).collect()
            }
            RopeScaling::LongRope { short, long, original_max_positions, .. } => {
                let divisors = if positions > *original_max_positions { long } else { short };
                plain.zip(divisors).map(|(f, divisor)| f / divisor).collect()
            }
            RopeScaling::Divisors { divisors } => plain.zip(divisors).map(|(f, d)| f / d).collect(),
        }
    }

    /// What cosines and sines are multiplied with; 1 for most scalings.
    pub fn attention_factor(&self) -> f64 {
        match &self.scaling {
            RopeScaling::Yarn { attention_factor, .. } | RopeScaling::LongRope { attention_factor, .. } => {
                *attention_factor
            }
            _ => 1.0,
        }
    }
}

/// What a family lays down about its embedding.
pub(super) struct RopeRules {
    /// `rope_theta` where the file has none.
    pub base: f64,
    /// Only a part of a head may be rotated (`partial_rotary_factor`).
    pub partial: bool,
    /// Every scaling is LongRoPE, whatever old files call it (`su`, `yarn`).
    pub long: bool,
    /// `original_max_position_embeddings` where the file has none; the positions if `None`.
    pub original: Option<u64>,
    /// Scaling where the file says nothing of one.
    pub scaling: RopeScaling,
}

pub(super) const MAX_POSITIONS: u64 = 1 << 32;

/// The embedding of `fields`, with both spellings: `rope_parameters`, and `rope_theta` next to
/// `rope_scaling`.
pub(super) fn rope(
    fields: &Fields,
    rules: &RopeRules,
    head_dim: u64,
    positions: u64,
) -> Result<Rope, ConvertError> {
    let parameters = match fields.object("rope_scaling")? {
        Some(parameters) => Some(parameters),
        None => fields.object("rope_parameters")?,
    };
    if let Some(parameters) = &parameters {
        for kind in ["full_attention", "sliding_attention"] {
            if parameters.value(kind).is_some() {
                return Err(parameters.wrong(kind, "an object", "one embedding for all layers"));
            }
        }
    }
    let base = match &parameters {
        Some(parameters) => base(parameters, "rope_theta")?,
        None => None,
    };
    let base = match base {
        Some(base) => base,
        None => self::base(fields, "rope_theta")?.unwrap_or(rules.base),
    };
    let dims = rotated(fields, parameters.as_ref(), rules, head_dim)?;
    let scaling = match &parameters {
        Some(parameters) => scaling(fields, parameters, rules, dims, positions)?,
        None => rules.scaling.clone(),
    };
    Ok(Rope { base, dims, scaling })
}

/// The two embeddings of Gemma 3: of layers that see everything, and of layers with a window.
pub(super) fn gemma(fields: &Fields, head_dim: u64, positions: u64) -> Result<(Rope, Rope), ConvertError> {
    let rules =
        RopeRules { base: 1e6, partial: false, long: false, original: None, scaling: RopeScaling::None };
    let nested = fields.object("rope_parameters")?;
    if let Some(nested) = &nested {
        for key in ["rope_type", "rope_theta", "factor"] {
            if nested.value(key).is_some() {
                let expected = "the objects full_attention and sliding_attention around it";
                return Err(nested.wrong(key, "not in an object", expected));
            }
        }
    }
    let section = |key: &str| nested.as_ref().map_or(Ok(None), |nested| nested.object(key));
    let one = |parameters: Option<Fields>, theta: &str, default: f64| -> Result<Rope, ConvertError> {
        let own = parameters.as_ref().map_or(Ok(None), |own| base(own, "rope_theta"))?;
        let base = match own {
            Some(base) => base,
            None => base(fields, theta)?.unwrap_or(default),
        };
        let dims = rotated(fields, parameters.as_ref(), &rules, head_dim)?;
        let scaling = match &parameters {
            Some(own) => scaling(fields, own, &rules, dims, positions)?,
            None => RopeScaling::None,
        };
        Ok(Rope { base, dims, scaling })
    };
    // old files have one scaling, which is that of the layers that see everything
    let full = match fields.object("rope_scaling")? {
        Some(scaling) => Some(scaling),
        None => section("full_attention")?,
    };
    Ok((one(full, "rope_theta", 1e6)?, one(section("sliding_attention")?, "rope_local_base_freq", 1e4)?))
}

fn base(fields: &Fields, key: &str) -> Result<Option<f64>, ConvertError> {
    fields.number(key, 1.0 + 1e-6, 1e15)
}

fn rotated(
    fields: &Fields,
    parameters: Option<&Fields>,
    rules: &RopeRules,
    head_dim: u64,
) -> Result<u64, ConvertError> {
    const KEY: &str = "partial_rotary_factor";
    let own = parameters.map_or(Ok(None), |parameters| parameters.number(KEY, 0.0, 1.0))?;
    let part = match own {
        Some(part) => part,
        None => fields.number(KEY, 0.0, 1.0)?.unwrap_or(1.0),
    };
    if part != 1.0 && !rules.partial {
        return Err(fields.wrong(KEY, part.to_string(), "1 for this architecture"));
    }
    // truncates as the reference does
    let dims = (head_dim as f64 * part) as u64;
    if dims < 2 || !dims.is_multiple_of(2) {
        let expected = "an even number of rotated values per head";
        return Err(fields.wrong("head_dim", format!("{head_dim}, of which {dims} are rotated"), expected));
    }
    Ok(dims)
}

fn scaling(
    fields: &Fields,
    parameters: &Fields,
    rules: &RopeRules,
    dims: u64,
    positions: u64,
) -> Result<RopeScaling, ConvertError> {
    let factor = |key: &str| parameters.number(key, 1e-6, 1e9);
    let needed = |key: &str| factor(key)?.ok_or_else(|| parameters.wrong(key, "absent", "a number"));
    let original = || -> Result<u64, ConvertError> {
        const KEY: &str = "original_max_position_embeddings";
        // at least 2: its logarithm is a divisor
        let outer = fields.count(KEY, 2, MAX_POSITIONS)?;
        let inner = parameters.count(KEY, 2, MAX_POSITIONS)?;
        Ok(outer.or(inner).or(rules.original).unwrap_or(positions).max(2))
    };
    let named = match parameters.text("rope_type")? {
        Some(name) => Some(name),
        None => parameters.text("type")?,
    };
    let name = match named.unwrap_or("default") {
        "su" | "yarn" if rules.long => "longrope",
        name => name,
    };
    match name {
        "default" => Ok(RopeScaling::None),
        "longrope" => long_rope(parameters, dims, positions, original()?),
        other if rules.long => {
            Err(parameters.wrong("rope_type", format!("{other:?}"), "\"default\" or \"longrope\""))
        }
        "linear" => Ok(RopeScaling::Linear { factor: needed("factor")? }),
        "llama3" => {
            let (low, high) = (needed("low_freq_factor")?, needed("high_freq_factor")?);
            if high <= low {
                let expected = format!("more than low_freq_factor, {low}");
                return Err(parameters.wrong("high_freq_factor", high.to_string(), expected));
            }
            Ok(RopeScaling::Llama3 {
                factor: needed("factor")?,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_positions: original()?,
            })
        }
        "yarn" => yarn(parameters, positions, original()?),
        other => {
            let expected = "\"default\", \"linear\", \"llama3\", \"yarn\" or \"longrope\"";
            Err(parameters.wrong("rope_type", format!("{other:?}"), expected))
        }
    }
}

fn yarn(parameters: &Fields, positions: u64, original: u64) -> Result<RopeScaling, ConvertError> {
    let number = |key: &str| parameters.number(key, 0.0, 1e9);
    let factor = match parameters.number("factor", 1e-6, 1e9)? {
        Some(factor) => factor,
        None => positions as f64 / original as f64,
    };
    let magnitude = |scale: f64, by: f64| if scale <= 1.0 { 1.0 } else { 0.1 * by * scale.ln() + 1.0 };
    let attention_factor = match number("attention_factor")? {
        Some(factor) => factor,
        // zero counts as absent there, as in the reference
        None => match (number("mscale")?, number("mscale_all_dim")?) {
            (Some(one), Some(all)) if one != 0.0 && all != 0.0 => {
                magnitude(factor, one) / magnitude(factor, all)
            }
            _ => magnitude(factor, 1.0),
        },
    };
    let beta = |key: &str, default: f64| {
        Ok::<_, ConvertError>(number(key)?.filter(|beta| *beta != 0.0).unwrap_or(default))
    };
    Ok(RopeScaling::Yarn {
        factor,
        beta_fast: beta("beta_fast", 32.0)?,
        beta_slow: beta("beta_slow", 1.0)?,
        attention_factor,
        original_max_positions: original,
        truncate: parameters.flag("truncate")?.unwrap_or(true),
    })
}

fn long_rope(
    parameters: &Fields,
    dims: u64,
    positions: u64,
    original: u64,
) -> Result<RopeScaling, ConvertError> {
    let factor = match parameters.number("factor", 1e-6, 1e9)? {
        Some(factor) => factor,
        None => positions as f64 / original as f64,
    };
    let attention_factor = match parameters.number("attention_factor", 0.0, 1e9)? {
        Some(factor) => factor,
        None if factor <= 1.0 => 1.0,
        None => (1.0 + factor.ln() / (original as f64).ln()).sqrt(),
    };
    Ok(RopeScaling::LongRope {
        short: parameters.numbers("short_factor", dims / 2)?,
        long: parameters.numbers("long_factor", dims / 2)?,
        original_max_positions: original,
        attention_factor,
    })
}
