//! MXFP4 as gpt-oss stores it: codes and exponents in two tensors of bytes.

use std::sync::Arc;

use crate::error::ConvertError;
use crate::rows::{CodeType, PackedRows, Packing, Rows, ScaleType, SharedRows};

/// Values that share an exponent.
const BLOCK: u64 = 32;
/// Bytes of the codes of a block.
const BLOCK_BYTES: u64 = BLOCK / 2;
/// Magnitudes of the codes without their sign bit (OCP microscaling formats, E2M1).
const MAGNITUDES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// `*_blocks` `[.., rows, blocks, 16]` and `*_scales` `[.., rows, blocks]` as `[.., rows, 32 · blocks]`. The low
/// four bits of a byte are the earlier value; a scale is the exponent `e` of `2^(e − 127)`.
pub(super) struct Microscaled {
    name: String,
    blocks: SharedRows,
    scales: SharedRows,
    shape: Vec<u64>,
}

impl Microscaled {
    pub fn rows(name: &str, blocks: SharedRows, scales: SharedRows) -> Result<SharedRows, ConvertError> {
        let mut shape = scales.shape().to_vec();
        let wide = shape.last_mut().and_then(|count| {
            *count = count.checked_mul(BLOCK)?;
            Some(())
        });
        let fits = matches!(blocks.shape(), [outer @ .., BLOCK_BYTES] if outer == scales.shape());
        if wide.is_none() || !fits {
            let reason = format!("blocks {:?} do not belong to scales {:?}", blocks.shape(), scales.shape());
            return Err(ConvertError::Tensor { name: name.into(), reason });
        }
        Ok(Arc::new(Self { name: name.into(), blocks, scales, shape }))
    }

    /// Codes and exponents of rows, a byte each.
    fn bytes(&self, first: u64, count: u64) -> Result<(Vec<u8>, Vec<u8>), ConvertError> {
        let per_row = self.scales.columns();
        if first.checked_add(count).is_none_or(|end| end > Rows::rows(self)) {
            let reason = format!("rows from {first} on, {count} of them, of {}", Rows::rows(self));
            return Err(ConvertError::Tensor { name: self.name.clone(), reason });
        }
        // a tensor of bytes is read as the numbers they are
        let mut exponents = vec![0.0; (count * per_row) as usize];
        self.scales.read(first, &mut exponents)?;
        let mut pairs = vec![0.0; (count * per_row * BLOCK_BYTES) as usize];
        self.blocks.read(first * per_row, &mut pairs)?;
        let codes = pairs.iter().map(|pair| *pair as u8).flat_map(|pair| [pair & 15, pair >> 4]).collect();
        Ok((codes, exponents.iter().map(|exponent| *exponent as u8).collect()))
    }

    fn scale(&self, exponent: u8) -> Result<f32, ConvertError> {
        match exponent {
            // 2^−127 is subnormal
            0 => Ok(f32::from_bits(1 << 22)),
            255 => {
                let reason = "an exponent byte is 255, which is no scale".into();
                Err(ConvertError::Tensor { name: self.name.clone(), reason })
            }
            exponent => Ok(f32::from_bits(u32::from(exponent) << 23)),
        }
    }
}

impl Rows for Microscaled {
    fn shape(&self) -> &[u64] {
        &self.shape
    }

    fn read(&self, first: u64, out: &mut [f32]) -> Result<(), ConvertError> {
        let columns = self.columns();
        let count = out.len() as u64 / columns.max(1);
        if count * columns != out.len() as u64 {
            let reason = format!("{} values are not whole rows of {columns}", out.len());
            return Err(ConvertError::Tensor { name: self.name.clone(), reason });
        }
        let (codes, exponents) = self.bytes(first, count)?;
        let blocks = out.chunks_mut(BLOCK as usize).zip(codes.chunks(BLOCK as usize));
        for ((out, codes), exponent) in blocks.zip(exponents) {
            let scale = self.scale(exponent)?;
            for (out, code) in out.iter_mut().zip(codes) {
                let magnitude = MAGNITUDES.get(usize::from(code & 7)).copied().unwrap_or(0.0);
                *out = if code & 8 == 0 { magnitude * scale } else { -magnitude * scale };
            }
        }
        Ok(())
    }

    fn packing(&self) -> Option<Packing> {
        Some(Packing {
            codes: CodeType::F4E2M1,
            block: BLOCK,
            zero: 0,
            minimum: false,
            palette: None,
            scale: ScaleType::Exponent,
        })
    }

    fn read_packed(&self, first: u64, count: u64, out: &mut PackedRows) -> Result<(), ConvertError> {
        let (codes, exponents) = self.bytes(first, count)?;
        out.codes = codes;
        out.scales = exponents.into_iter().map(|exponent| self.scale(exponent)).collect::<Result<_, _>>()?;
        out.minimums.clear();
        Ok(())
    }
}
