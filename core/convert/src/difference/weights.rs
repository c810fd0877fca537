//! Weights: constants, and what the operations that unpack weights make of constants (`OPSET` §9).

use coreai_asset::{Asset, AssetError, ConstantRef, ElementType, Op, TensorType, TypeId};

use super::elements::{CHUNK, decode};
use crate::weights::content::rounded;

/// Unpacking operations on top of each other; real weights have a table under a scale.
const MAX_DEPTH: usize = 3;
/// Axes of a tensor (the format has no more).
const MAX_RANK: u64 = 32;

/// A weight: where it is made, its type, and of what.
#[derive(Clone)]
pub(super) struct Weight<'a> {
    /// Place of its operation.
    pub index: usize,
    pub ty: TypeId,
    pub form: Form<'a>,
}

#[derive(Clone)]
pub(super) enum Form<'a> {
    /// A constant.
    Stored(&'a ConstantRef),
    /// `blockwise_shift_scale`: data, scale, offset, and a second offset in newer files.
    Scaled(Vec<Weight<'a>>),
    /// `lut_to_dense`: codes and a table of single values.
    Looked(Vec<Weight<'a>>),
    /// Axis `d` of the result is axis `order[d]` of the operand.
    Transposed(Box<Weight<'a>>, Vec<usize>),
}

impl<'a> Weight<'a> {
    /// What an unpacking operation makes of weights; `None` for other operations.
    pub fn unpacked(asset: &Asset, op: &Op, index: usize, ty: TypeId, from: Vec<Self>) -> Option<Self> {
        let form = match (&*op.name, from.len()) {
            ("primitive.blockwise_shift_scale_v2", 4) | ("primitive.blockwise_shift_scale_v1", 3) => {
                Form::Scaled(from)
            }
            ("primitive.lut_to_dense_v1", 3) => Form::Looked(from.into_iter().take(2).collect()),
            _ => return None,
        };
        let weight = Self { index, ty, form };
        (weight.depth() <= MAX_DEPTH && Reader::new(asset, &weight, CHUNK).is_some()).then_some(weight)
    }

    /// With its axes in another order, which a constant vector gives.
    pub fn transposed(&self, asset: &Asset, index: usize, ty: TypeId, order: &Self) -> Option<Self> {
        let Form::Stored(constant) = order.form else { return None };
        let vector = asset.tensor_type(order.ty)?;
        let count = vector.elements().filter(|count| *count <= MAX_RANK)?;
        let mut numbers = Vec::new();
        decode(asset, constant, vector.element, count, 0, count, &mut numbers).ok()?;
        let order = numbers.into_iter().map(|axis| axis as usize).collect();
        let weight = Self { index, ty, form: Form::Transposed(Box::new(self.clone()), order) };
        Reader::new(asset, &weight, CHUNK).is_some().then_some(weight)
    }

    /// It is more than a constant.
    pub fn is_packed(&self) -> bool {
        !matches!(self.form, Form::Stored(_))
    }

    fn parts(&self) -> &[Self] {
        match &self.form {
            Form::Stored(_) => &[],
            Form::Scaled(parts) | Form::Looked(parts) => parts,
            Form::Transposed(of, _) => std::slice::from_ref(&**of),
        }
    }

    /// At most [`MAX_DEPTH`] levels below each that is made, so that recursion over it ends soon.
    fn depth(&self) -> usize {
        1 + self.parts().iter().map(Self::depth).max().unwrap_or(0)
    }

    /// Its constants, in order.
    pub fn constants(&self) -> Vec<(usize, TypeId, &'a ConstantRef)> {
        match &self.form {
            Form::Stored(constant) => vec![(self.index, self.ty, constant)],
            _ => self.parts().iter().flat_map(Self::constants).collect(),
        }
    }

    /// Type of the stored numbers.
    pub fn stored(&self) -> TypeId {
        self.parts().first().map_or(self.ty, Self::stored)
    }

    /// The operations and all types, as text.
    pub fn description(&self, asset: &Asset) -> String {
        let name = match &self.form {
            Form::Stored(_) => String::new(),
            Form::Scaled(_) => "scaled".into(),
            Form::Looked(_) => "looked up".into(),
            Form::Transposed(_, order) => format!("transposed {order:?}"),
        };
        let parts: Vec<_> = self.parts().iter().map(|part| part.description(asset)).collect();
        format!("{name} {}({})", asset.type_text(self.ty), parts.join(", "))
    }
}

/// Elements of a weight as numbers.
pub(super) struct Reader<'a> {
    asset: &'a Asset,
    /// Type of its elements.
    pub element: ElementType,
    shape: Vec<u64>,
    source: Source<'a>,
}

enum Source<'a> {
    Stored {
        constant: &'a ConstantRef,
        /// Elements decoded at a time; a multiple of 8.
        window: u64,
        start: u64,
        values: Vec<f64>,
    },
    /// `scale · (data − offset) + offset2`
    Scaled {
        data: Box<Reader<'a>>,
        /// Scale and offsets, with the extents of a block of each.
        parameters: Vec<(Reader<'a>, Vec<u64>)>,
    },
    Looked {
        codes: Box<Reader<'a>>,
        table: Box<Reader<'a>>,
        /// Extents of the blocks that share entries.
        blocks: Vec<u64>,
        entries: u64,
    },
    Transposed {
        of: Box<Reader<'a>>,
        /// By axis of the result: how far apart its elements are in the operand.
        strides: Vec<u64>,
    },
}

impl<'a> Reader<'a> {
    /// `None` where shapes are not static or do not fit each other, and for packed complex numbers.
    pub fn new(asset: &'a Asset, weight: &Weight<'a>, window: u64) -> Option<Self> {
        let TensorType { shape, element, .. } = asset.tensor_type(weight.ty)?;
        let shape = shape.iter().copied().collect::<Option<Vec<u64>>>()?;
        shape.iter().try_fold(1u64, |count, extent| count.checked_mul(*extent))?;
        if weight.is_packed() && element.is_complex() {
            return None;
        }
        let part = |part: &Weight<'a>| {
            let reader = Self::new(asset, part, window)?;
            (!reader.element.is_complex()).then_some(reader)
        };
        let source = match &weight.form {
            Form::Stored(constant) => Source::Stored { constant, window, start: 0, values: Vec::new() },
            Form::Scaled(parts) => {
                let (data, parameters) = parts.split_first()?;
                let data = part(data)?;
                if data.shape != shape {
                    return None;
                }
                let parameter = |weight: &Weight<'a>| {
                    let reader = part(weight)?;
                    let blocks = blocks(&shape, &reader.shape)?;
                    Some((reader, blocks))
                };
                let parameters = parameters.iter().map(parameter).collect::<Option<_>>()?;
                Source::Scaled { data: Box::new(data), parameters }
            }
            Form::Looked(parts) => {
                let [codes, table] = parts.as_slice() else { return None };
                let (codes, table) = (part(codes)?, part(table)?);
                let (outer, [entries, 1]) = table.shape.split_last_chunk::<2>()? else { return None };
                let (blocks, entries) = (blocks(&shape, outer)?, *entries);
                if codes.shape != shape {
                    return None;
                }
                Source::Looked { codes: Box::new(codes), table: Box::new(table), blocks, entries }
            }
            Form::Transposed(of, order) => {
                // neighbours of the result are far apart in the operand
                let of = Self::new(asset, of, 8)?;
                let inner = strides(&of.shape);
                let strides =
                    order.iter().map(|axis| inner.get(*axis).copied()).collect::<Option<Vec<_>>>()?;
                let extents =
                    order.iter().map(|axis| of.shape.get(*axis).copied()).collect::<Option<Vec<_>>>()?;
                let mut axes = order.clone();
                axes.sort_unstable();
                if extents != shape || !axes.into_iter().eq(0..of.shape.len()) {
                    return None;
                }
                Source::Transposed { of: Box::new(of), strides }
            }
        };
        Some(Self { asset, element: *element, shape, source })
    }

    /// Elements.
    pub fn count(&self) -> u64 {
        self.shape.iter().product() // was checked
    }

    /// Extents.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Elements `from..to`, in order; a complex one gives two numbers. `from` is a multiple of [`CHUNK`].
    pub fn read(&mut self, from: u64, to: u64, out: &mut Vec<f64>) -> Result<(), AssetError> {
        if let Source::Stored { constant, .. } = &self.source {
            return decode(self.asset, constant, self.element, self.count(), from, to, out);
        }
        out.clear();
        for index in from..to {
            out.push(self.at(index)?);
        }
        Ok(())
    }

    /// An element that is not complex.
    fn at(&mut self, index: u64) -> Result<f64, AssetError> {
        let count = self.count();
        let Self { asset, element, shape, source } = self;
        match source {
            Source::Stored { constant, window, start, values } => {
                let held = |start: u64, values: &[f64]| {
                    values.get(usize::try_from(index.checked_sub(start)?).ok()?).copied()
                };
                if let Some(value) = held(*start, values) {
                    return Ok(value);
                }
                *start = index - index % *window;
                let end = count.min(start.saturating_add(*window));
                decode(asset, constant, *element, count, *start, end, values)?;
                held(*start, values).ok_or_else(|| {
                    let reason = format!("element {index} is not there");
                    AssetError::Source { start: constant.range.start, end: constant.range.end, reason }
                })
            }
            Source::Scaled { data, parameters } => {
                let mut value = data.at(index)?;
                let mut numbers = [1.0, 0.0, 0.0];
                for ((reader, blocks), number) in parameters.iter_mut().zip(&mut numbers) {
                    *number = reader.at(block(index, shape, &reader.shape, blocks))?;
                }
                let [scale, offset, offset2] = numbers;
                value = scale * (value - offset) + offset2;
                Ok(match element {
                    ElementType::F16 | ElementType::BF16 | ElementType::F32 => {
                        f64::from(rounded(*element, value as f32))
                    }
                    _ => value,
                })
            }
            Source::Looked { codes, table, blocks, entries } => {
                let code = codes.at(index)?;
                let outer = table.shape.split_last_chunk::<2>().map_or(&[][..], |(outer, _)| outer);
                let place = block(index, shape, outer, blocks).saturating_mul(*entries);
                match code >= 0.0 && code < *entries as f64 {
                    true => table.at(place.saturating_add(code as u64)),
                    false => Ok(f64::NAN),
                }
            }
            Source::Transposed { of, strides } => {
                let mut rest = index;
                let mut place = 0;
                for (extent, stride) in shape.iter().zip(strides).rev() {
                    place += rest % extent * *stride;
                    rest /= extent;
                }
                of.at(place)
            }
        }
    }
}

/// Extents of the blocks that divide `shape` into `parts` along each axis.
fn blocks(shape: &[u64], parts: &[u64]) -> Option<Vec<u64>> {
    if shape.len() != parts.len() {
        return None;
    }
    let block = |(extent, parts): (&u64, &u64)| {
        let block = extent.checked_div(*parts)?;
        (block > 0 && block.checked_mul(*parts) == Some(*extent)).then_some(block)
    };
    shape.iter().zip(parts).map(block).collect()
}

/// The block of an element, in row-major order of blocks.
fn block(index: u64, shape: &[u64], parts: &[u64], blocks: &[u64]) -> u64 {
    let (mut rest, mut place, mut stride) = (index, 0, 1);
    for ((extent, parts), block) in shape.iter().zip(parts).zip(blocks).rev() {
        place += rest % extent / block * stride;
        stride *= parts;
        rest /= extent;
    }
    place
}

/// How far apart neighbours along each axis are.
fn strides(shape: &[u64]) -> Vec<u64> {
    let mut strides: Vec<u64> = Vec::with_capacity(shape.len());
    let mut stride = 1u64;
    for extent in shape.iter().rev() {
        strides.push(stride);
        stride = stride.saturating_mul(*extent);
    }
    strides.reverse();
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_elements() {
        let sizes = blocks(&[4, 6], &[2, 3]).expect("divide");
        assert_eq!(sizes, [2, 2]);
        let places: Vec<_> = (0..24).map(|index| block(index, &[4, 6], &[2, 3], &sizes)).collect();
        assert_eq!(places[..6], [0, 0, 1, 1, 2, 2]);
        assert_eq!(places[12..18], [3, 3, 4, 4, 5, 5]);
        assert_eq!(blocks(&[4, 6], &[2, 4]), None);
        assert_eq!(blocks(&[4, 6], &[2, 0]), None);
        assert_eq!(blocks(&[4, 0], &[2, 1]), None);
        assert_eq!(strides(&[2, 3, 4]), [12, 4, 1]);
    }
}
