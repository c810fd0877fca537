//! Decoding of constants on the host.

use coreai_asset::{Asset, ConstantRef, ElementType};

use super::Fault;
use crate::facts::Fact;
use crate::host::{E2M1, Elements, encode, small_float};
use crate::ndarray::NDArray;

/// Largest constant expanded on the host; larger ones stay references.
pub const MAX_EXPANDED_BYTES: usize = 1 << 30;

/// Raw bytes of a constant; a splat's single element.
pub fn bytes<'a>(asset: &'a Asset, data: &ConstantRef) -> Result<std::borrow::Cow<'a, [u8]>, Fault> {
    if data.range.is_empty() {
        return Ok(std::borrow::Cow::Borrowed(&[]));
    }
    match asset.source().slice(data.range.clone()) {
        Some(bytes) => Ok(bytes.into()),
        // Not "unsupported": nothing else may take over while the source can still bring the bytes.
        None => Err(Fault::program("the asset's source gives no direct access to the constant")),
    }
}

/// Code `i` of a dense little-endian bit stream.
pub fn code_at(bytes: &[u8], bits: u32, i: usize, one_per_byte: bool) -> u32 {
    let mask = (1u32 << bits) - 1;
    let get = |at: usize| u32::from(bytes.get(at).copied().unwrap_or(0));
    if one_per_byte {
        return get(i) & mask;
    }
    let bit = i * bits as usize;
    ((get(bit / 8) | get(bit / 8 + 1) << 8) >> (bit % 8)) & mask
}

fn one_per_byte(len: usize, elements: usize, bits: u32) -> bool {
    bits < 8 && len == elements && len != (elements * bits as usize).div_ceil(8)
}

/// Elements of an integer or bool constant.
pub fn integers(asset: &Asset, fact: &Fact, data: &ConstantRef, count: usize) -> Result<Vec<i64>, Fault> {
    if count > MAX_EXPANDED_BYTES / 8 {
        return Err(Fault::unsupported("a constant too large to expand"));
    }
    let raw = bytes(asset, data)?;
    let stored = if data.splat { 1 } else { count };
    let bits = fact.element.bits();
    let signed = matches!(
        fact.element,
        ElementType::SI64
            | ElementType::SI32
            | ElementType::SI16
            | ElementType::SI8
            | ElementType::SI4
            | ElementType::SI2
    );
    let unpacked = one_per_byte(raw.len(), stored, bits);
    let mut out = Vec::with_capacity(count);
    for i in 0..stored {
        let value = if bits < 8 {
            i64::from(code_at(&raw, bits, i, unpacked))
        } else {
            let width = bits as usize / 8;
            let chunk = raw
                .get(i * width..(i + 1) * width)
                .ok_or_else(|| Fault::program("a constant is too short"))?;
            let mut word = [0u8; 8];
            word[..width].copy_from_slice(chunk);
            // uint64 beyond i64 wraps to negative; such extents are rejected when used.
            i64::from_le_bytes(word)
        };
        let shift = 64 - bits;
        out.push(if signed && bits < 64 { value << shift >> shift } else { value });
    }
    if data.splat {
        out.resize(count, out.first().copied().unwrap_or(0));
    }
    Ok(out)
}

/// A constant as a host tensor.
pub fn array(asset: &Asset, fact: &Fact, data: &ConstantRef) -> Result<NDArray, Fault> {
    let shape = fact.dims.iter().map(|d| d.as_const().and_then(|d| usize::try_from(d).ok()));
    let Some(shape) = shape.collect::<Option<Vec<usize>>>() else {
        return Err(Fault::program("a constant of dynamic extents"));
    };
    let width = (fact.element.bits() as usize).div_ceil(8);
    let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    let Some(count) = count.filter(|n| n.checked_mul(width).is_some_and(|b| b <= MAX_EXPANDED_BYTES)) else {
        return Err(Fault::unsupported("a constant too large to expand"));
    };
    let raw = bytes(asset, data)?;
    let stored = if data.splat { count.min(1) } else { count };
    let bits = fact.element.bits();
    let mut elements: Vec<u8> = if bits < 8 {
        let unpacked = one_per_byte(raw.len(), stored, bits);
        (0..stored).map(|i| code_at(&raw, bits, i, unpacked) as u8).collect()
    } else {
        raw.get(..stored * width).ok_or_else(|| Fault::program("a constant is too short"))?.to_vec()
    };
    if matches!(fact.element, ElementType::SI4 | ElementType::SI2) {
        let shift = 8 - bits;
        elements.iter_mut().for_each(|b| *b = ((*b << shift) as i8 >> shift) as u8);
    }
    if data.splat {
        elements = elements.repeat(count);
    }
    NDArray::new(fact.element, shape, elements).map_err(|e| Fault::program(e.to_string()))
}

/// The host tensor of a value that is constant.
pub fn of_fact(asset: &Asset, fact: &Fact) -> Result<NDArray, Fault> {
    match (&fact.constant, fact.const_ints()) {
        (Some(data), _) => array(asset, fact, data),
        (None, Some(ints)) => {
            let shape = fact.dims.iter().filter_map(|d| d.as_const()).map(|d| d as usize);
            let fault = |e| Fault::program(format!("{e:?}"));
            encode(fact.element, &shape.collect::<Vec<_>>(), &Elements::Int(ints)).map_err(fault)
        }
        (None, None) => Err(Fault::program("not a constant")),
    }
}

/// Elements of a constant of any real type as float32.
pub fn floats(asset: &Asset, fact: &Fact, data: &ConstantRef) -> Result<Vec<f32>, Fault> {
    let count = fact.elements().as_const().and_then(|n| usize::try_from(n).ok());
    let Some(count) = count.filter(|n| *n <= MAX_EXPANDED_BYTES / 4) else {
        return Err(Fault::unsupported("a constant too large to expand"));
    };
    let stored = if data.splat { 1 } else { count };
    let raw = bytes(asset, data)?;
    let short = || Fault::program("a constant is too short");
    let width = (fact.element.bits() as usize).div_ceil(8);
    let each = |f: &dyn Fn(&[u8]) -> f32| -> Result<Vec<f32>, Fault> {
        (0..stored).map(|i| raw.get(i * width..(i + 1) * width).map(f).ok_or_else(short)).collect()
    };
    use ElementType::*;
    let mut out = match fact.element {
        F32 | TF32 => each(&|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))?,
        F64 => each(&|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32)?,
        F16 => each(&|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32())?,
        BF16 => each(&|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32())?,
        F8E4M3FN => each(&|b| small_float(b[0], 4, 3, true) as f32)?,
        F8E5M2 => each(&|b| small_float(b[0], 5, 2, false) as f32)?,
        F8E8M0FN => each(&|b| if b[0] == 255 { f32::NAN } else { (f64::from(b[0]) - 127.0).exp2() as f32 })?,
        F4E2M1FN => {
            let unpacked = one_per_byte(raw.len(), stored, 4);
            (0..stored)
                .map(|i| {
                    let code = code_at(&raw, 4, i, unpacked);
                    let m = E2M1[(code & 7) as usize] as f32;
                    if code & 8 != 0 { -m } else { m }
                })
                .collect()
        }
        _ => return Ok(integers(asset, fact, data, count)?.into_iter().map(|v| v as f32).collect()),
    };
    if data.splat {
        out.resize(count, out.first().copied().unwrap_or(0.0));
    }
    Ok(out)
}
