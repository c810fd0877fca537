//! Between host tensors in their declared dtype and the words that kernels read.

use coreai_asset::ElementType;
use half::{bf16, f16};

use crate::error::Error;
use crate::host;

use crate::step::Storage;

fn unsupported(element: ElementType) -> Error {
    Error::Input { name: String::new(), reason: format!("{} values cannot be passed", element.name()) }
}

/// Converts dense little-endian elements to one word each, appended to `out` (cleared first).
pub fn from_bytes(element: ElementType, bytes: &[u8], out: &mut Vec<u32>) -> Result<(), Error> {
    use ElementType::*;
    out.clear();
    let chunk2 = |b: &[u8]| u16::from_le_bytes([b[0], b[1]]);
    let chunk4 = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    match element {
        F32 | SI32 | UI32 => out.extend(bytes.chunks_exact(4).map(chunk4)),
        F16 => out.extend(bytes.chunks_exact(2).map(|b| f16::from_bits(chunk2(b)).to_f32().to_bits())),
        BF16 => out.extend(bytes.chunks_exact(2).map(|b| u32::from(chunk2(b)) << 16)),
        SI16 => out.extend(bytes.chunks_exact(2).map(|b| i32::from(chunk2(b) as i16) as u32)),
        UI16 => out.extend(bytes.chunks_exact(2).map(|b| u32::from(chunk2(b)))),
        SI8 | SI4 | SI2 => out.extend(bytes.iter().map(|b| i32::from(*b as i8) as u32)),
        UI8 | UI6 | UI4 | UI3 | UI2 | UI1 => out.extend(bytes.iter().map(|b| u32::from(*b))),
        Bool => out.extend(bytes.iter().map(|b| u32::from(*b != 0))),
        F8E5M2 | F8E4M3FN | F8E8M0FN | F4E2M1FN | TF32 => {
            let reals = host::reals(element, bytes).ok_or_else(|| unsupported(element))?;
            out.extend(reals.iter().map(|v| (*v as f32).to_bits()));
        }
        _ => return Err(unsupported(element)),
    }
    Ok(())
}

/// Converts words to dense little-endian elements of `element`. Floats round to nearest even;
/// integers were wrapped or saturated by the op that made them.
pub fn to_bytes(element: ElementType, words: &[u32]) -> Result<Vec<u8>, Error> {
    use ElementType::*;
    let float = |w: &u32| f32::from_bits(*w);
    Ok(match element {
        F32 | SI32 | UI32 => words.iter().flat_map(|w| w.to_le_bytes()).collect(),
        F16 => words.iter().flat_map(|w| f16::from_f32(float(w)).to_le_bytes()).collect(),
        BF16 => words.iter().flat_map(|w| bf16::from_f32(float(w)).to_le_bytes()).collect(),
        SI16 | UI16 => words.iter().flat_map(|w| (*w as u16).to_le_bytes()).collect(),
        SI8 | SI4 | SI2 | UI8 | UI6 | UI4 | UI3 | UI2 | UI1 => words.iter().map(|w| *w as u8).collect(),
        Bool => words.iter().map(|w| u8::from(*w != 0)).collect(),
        F8E5M2 | F8E4M3FN | F8E8M0FN | F4E2M1FN | TF32 => {
            let reals = words.iter().map(|w| f64::from(float(w)));
            host::float_bytes(element, reals).ok_or_else(|| unsupported(element))?
        }
        _ => return Err(unsupported(element)),
    })
}

/// Packs one-per-word elements into a state's storage.
pub fn pack(storage: &Storage, words: &[u32]) -> Vec<u32> {
    let pair = |p: &[u32], f: &dyn Fn(f32) -> u16| {
        let high = p.get(1).map_or(0, |w| u32::from(f(f32::from_bits(*w))));
        u32::from(f(f32::from_bits(p[0]))) | high << 16
    };
    match storage {
        Storage::F16 => words.chunks(2).map(|p| pair(p, &|x| f16::from_f32(x).to_bits())).collect(),
        Storage::BF16 => words.chunks(2).map(|p| pair(p, &|x| bf16::from_f32(x).to_bits())).collect(),
        _ => words.to_vec(),
    }
}

/// Unpacks a state's storage to one element per word.
pub fn unpack(storage: &Storage, words: &[u32], elements: usize) -> Vec<u32> {
    let halves = |f: &dyn Fn(u16) -> u32| {
        let both = words.iter().flat_map(|w| [*w as u16, (*w >> 16) as u16]);
        both.take(elements).map(f).collect()
    };
    match storage {
        Storage::F16 => halves(&|b| f16::from_bits(b).to_f32().to_bits()),
        Storage::BF16 => halves(&|b| u32::from(b) << 16),
        _ => words[..elements.min(words.len())].to_vec(),
    }
}
