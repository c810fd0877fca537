//! Formats of ggml that store runs of values together as blocks.

use half::f16;

use super::iq4::{Iq4Nl, Iq4Xs};
use super::mxfp4::Mxfp4;
use super::q2_k::Q2K;
use super::q3_k::Q3K;
use super::q4::{Q4Scaled, Q4Shifted};
use super::q4_k::Q4K;
use super::q5::{Q5Scaled, Q5Shifted};
use super::q5_k::Q5K;
use super::q6_k::Q6K;
use super::q8::Q8;
use crate::rows::{CodeType, PackedRows, Packing, ScaleType};

/// A format of ggml whose values are stored in blocks, by ggml's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, non_camel_case_types)] // ggml's names, as they are in every file name
pub enum BlockFormat {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    IQ4_NL,
    IQ4_XS,
    MXFP4,
}

impl BlockFormat {
    /// All formats.
    pub const ALL: [Self; 13] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2_K,
        Self::Q3_K,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
        Self::IQ4_NL,
        Self::IQ4_XS,
        Self::MXFP4,
    ];

    /// ggml's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q2_K => "Q2_K",
            Self::Q3_K => "Q3_K",
            Self::Q4_K => "Q4_K",
            Self::Q5_K => "Q5_K",
            Self::Q6_K => "Q6_K",
            Self::IQ4_NL => "IQ4_NL",
            Self::IQ4_XS => "IQ4_XS",
            Self::MXFP4 => "MXFP4",
        }
    }

    /// Values of a block.
    pub fn elements(self) -> u64 {
        self.codec().elements
    }

    /// Bytes of a block.
    pub fn bytes(self) -> u64 {
        self.codec().bytes
    }

    /// How rows of this format are packed.
    pub fn packing(self) -> Packing {
        self.codec().packing
    }

    pub(super) fn codec(self) -> Codec {
        match self {
            Self::Q4_0 => Codec::of::<Q4Scaled, _, _, _>(),
            Self::Q4_1 => Codec::of::<Q4Shifted, _, _, _>(),
            Self::Q5_0 => Codec::of::<Q5Scaled, _, _, _>(),
            Self::Q5_1 => Codec::of::<Q5Shifted, _, _, _>(),
            Self::Q8_0 => Codec::of::<Q8, _, _, _>(),
            Self::Q2_K => Codec::of::<Q2K, _, _, _>(),
            Self::Q3_K => Codec::of::<Q3K, _, _, _>(),
            Self::Q4_K => Codec::of::<Q4K, _, _, _>(),
            Self::Q5_K => Codec::of::<Q5K, _, _, _>(),
            Self::Q6_K => Codec::of::<Q6K, _, _, _>(),
            Self::IQ4_NL => Codec::of::<Iq4Nl, _, _, _>(),
            Self::IQ4_XS => Codec::of::<Iq4Xs, _, _, _>(),
            Self::MXFP4 => Codec::of::<Mxfp4, _, _, _>(),
        }
    }
}

/// A block taken apart: `ELEMENTS / SCALES` neighbouring values share a scale.
pub(super) struct Parts<const ELEMENTS: usize, const SCALES: usize> {
    pub codes: [u8; ELEMENTS],
    pub scales: [f32; SCALES],
    /// Zeros for formats without minimums.
    pub minimums: [f32; SCALES],
}

/// A format: blocks of `BYTES` bytes hold `ELEMENTS` values under `SCALES` scales.
pub(super) trait Block<const BYTES: usize, const ELEMENTS: usize, const SCALES: usize> {
    const CODES: CodeType;
    const ZERO: i32 = 0;
    const MINIMUM: bool = false;
    const PALETTE: Option<&'static [i8]> = None;
    const SCALE: ScaleType = ScaleType::Float;

    fn split(block: &[u8; BYTES]) -> Parts<ELEMENTS, SCALES>;

    /// The values as ggml computes them, which for all formats with real scales is the rule of
    /// [`Packing`] in float32, rounded after each operation.
    fn dequantize(block: &[u8; BYTES], out: &mut [f32; ELEMENTS]) {
        let parts = Self::split(block);
        let scales = parts.scales.iter().zip(&parts.minimums);
        let runs = out.chunks_exact_mut(ELEMENTS / SCALES).zip(parts.codes.chunks_exact(ELEMENTS / SCALES));
        for ((scale, minimum), (out, codes)) in scales.zip(runs) {
            for (out, code) in out.iter_mut().zip(codes) {
                let product = Self::number(*code) * scale;
                *out = if Self::MINIMUM { product + minimum } else { product };
            }
        }
    }

    /// `v − zero` of a code.
    #[inline(always)]
    fn number(code: u8) -> f32 {
        match (Self::PALETTE, Self::CODES) {
            (Some(palette), _) => palette.get(usize::from(code)).copied().map_or(0.0, f32::from),
            (None, CodeType::SI8) => f32::from(code.cast_signed()),
            (None, _) => (i32::from(code) - Self::ZERO) as f32,
        }
    }
}

/// A format, as functions over whole rows.
pub(super) struct Codec {
    /// Of a block.
    pub bytes: u64,
    /// Of a block.
    pub elements: u64,
    pub packing: Packing,
    /// As many values as there are in the blocks.
    pub dequantize: fn(&[u8], &mut [f32]),
    /// Appends the blocks.
    pub split: fn(&[u8], &mut PackedRows),
}

impl Codec {
    fn of<B, const BYTES: usize, const ELEMENTS: usize, const SCALES: usize>() -> Self
    where
        B: Block<BYTES, ELEMENTS, SCALES>,
    {
        Self {
            bytes: BYTES as u64,
            elements: ELEMENTS as u64,
            packing: Packing {
                codes: B::CODES,
                block: (ELEMENTS / SCALES) as u64,
                zero: B::ZERO,
                minimum: B::MINIMUM,
                palette: B::PALETTE,
                scale: B::SCALE,
            },
            dequantize: |bytes, out| {
                for (block, out) in bytes.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut().0) {
                    B::dequantize(block, out);
                }
            },
            split: |bytes, out| {
                for block in bytes.as_chunks::<BYTES>().0 {
                    let parts = B::split(block);
                    out.codes.extend_from_slice(&parts.codes);
                    out.scales.extend_from_slice(&parts.scales);
                    if B::MINIMUM {
                        out.minimums.extend_from_slice(&parts.minimums);
                    }
                }
            },
        }
    }
}

/// A little-endian float16.
#[inline]
pub(super) fn half(low: u8, high: u8) -> f32 {
    f16::from_le_bytes([low, high]).to_f32()
}

/// 32 codes of 4 bits: the low halves of the 16 bytes, then the high ones.
#[inline]
pub(super) fn nibbles(bytes: &[u8; 16]) -> [u8; 32] {
    let mut codes = [0; 32];
    for (i, byte) in bytes.iter().enumerate() {
        codes[i] = byte & 15;
        codes[i + 16] = byte >> 4;
    }
    codes
}
