//! Compressed weights (`OPSET` §9).

use half::{bf16, f16};

use super::error::BuildError;
use super::extent::{Extent, shape_text};
use super::graph::{Graph, Value};
use crate::types::ElementType;

impl Graph<'_> {
    /// `scale · (data − zero) + minimum`. The parameters have the rank of `data` and all the same extents, as
    /// Apple's reader demands; each of them divides that of `data`, and a parameter stands for the block. The
    /// result has the type of `minimum`.
    pub fn blockwise_shift_scale(
        &mut self,
        data: Value,
        scale: Value,
        zero: Value,
        minimum: Value,
    ) -> Result<Value, BuildError> {
        let name = "primitive.blockwise_shift_scale_v2";
        let shape = self.shape(data)?.to_vec();
        let blocks = self.shape(scale)?.to_vec();
        let divides = |(data, block): (&Extent, &Extent)| matches!((data, block), (Some(data), Some(block)) if *block > 0 && data % block == 0);
        if blocks.len() != shape.len() || !shape.iter().zip(&blocks).all(divides) {
            let expected = format!("blocks of {}", shape_text(&shape));
            return Err(BuildError::operand(name, "the scale", shape_text(&blocks), expected));
        }
        for (what, parameter) in [("the zero point", zero), ("the minimum", minimum)] {
            let found = self.shape(parameter)?;
            if found != blocks {
                let (found, expected) = (shape_text(found), shape_text(&blocks));
                return Err(BuildError::operand(name, what, found, expected));
            }
        }
        let element = self.element(minimum)?;
        self.one(name, &[data, scale, zero, minimum], element, &shape)
    }

    /// Elements of a palette: `[a…]` codes, `[b…, entries, 1]` palettes, each for a block of codes.
    pub fn lut_to_dense(&mut self, codes: Value, palette: Value) -> Result<Value, BuildError> {
        let name = "primitive.lut_to_dense_v1";
        let (codes_ty, palette_ty) = (self.ty(codes)?.clone(), self.ty(palette)?.clone());
        let entries = 1u64.checked_shl(codes_ty.element.bits());
        let fits = match palette_ty.shape.as_slice() {
            [blocks @ .., count, Some(1)] => blocks.len() == codes_ty.shape.len() && *count == entries,
            _ => false,
        };
        if !fits || !codes_ty.element.is_unsigned_integer() {
            let found = format!("{}{}", palette_ty.element, shape_text(&palette_ty.shape));
            let expected =
                format!("[blocks…, entries, 1] for {}{}", codes_ty.element, shape_text(&codes_ty.shape));
            return Err(BuildError::operand(name, "the palette", found, expected));
        }
        let axis = self.scalar(0i16)?;
        self.one(name, &[codes, palette, axis], palette_ty.element, &codes_ty.shape)
    }

    /// A constant whose elements are all the same number, of a real float or an integer type of at most
    /// 32 bits; one element is stored. `[extents]`
    pub fn filled(&mut self, element: ElementType, shape: &[u64], number: f64) -> Result<Value, BuildError> {
        use ElementType::*;
        let bytes = match element {
            F32 => (number as f32).to_le_bytes().to_vec(),
            F16 => f16::from_f64(number).to_le_bytes().to_vec(),
            BF16 => bf16::from_f64(number).to_le_bytes().to_vec(),
            // code 0 of the short floats is 0
            F8E5M2 | F8E4M3FN | F4E2M1FN if number == 0.0 => vec![0],
            _ if element.is_integer() && element.bits() <= 32 => {
                let code = (number as i64) & ((1i64 << element.bits()) - 1);
                code.to_le_bytes()[..element.bits().div_ceil(8) as usize].to_vec()
            }
            _ => {
                let expected = "a float or an integer of at most 32 bits";
                return Err(BuildError::operand("filled", "the element type", element.name(), expected));
            }
        };
        self.splat(element, shape, bytes)
    }
}
