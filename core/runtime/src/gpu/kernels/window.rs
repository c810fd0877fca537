//! Which bytes of a buffer a binding shows: the whole buffer, an aligned window, or one segment of a
//! compressed weight.

use super::{Fault, LowerCx};
use crate::expr::{Bounds, Expr, Sym};
use crate::gpu::segments::{BINDING_ALIGNMENT, Segment, segments};
use crate::plan::Plan;
use crate::step::{QuantFormat, Storage, View};

/// What is bound for a view.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// Byte range; `None` binds the whole buffer.
    pub bytes: Option<(u64, u64)>,
    /// The view's offset relative to the window, elements.
    pub offset: Expr,
    /// Parts of the bound segment of a compressed weight.
    pub segment: Option<Segment>,
}

impl LowerCx<'_> {
    /// Bounds of an expression in this bucket.
    pub fn bounds(&self, e: &Expr) -> Bounds {
        e.bounds(&|Sym(s)| {
            let at = s as usize;
            Bounds {
                min: self.min.get(at).copied().unwrap_or(0),
                max: self.max.get(at).copied().unwrap_or(0),
            }
        })
    }

    /// Least and greatest element a view touches, within its buffer.
    pub fn touched(&self, plan: &Plan, view: &View) -> (u64, u64) {
        let offset = self.bounds(&view.offset);
        let (mut low, mut high) = (offset.min, offset.max);
        for (dim, stride) in view.dims.iter().zip(&view.strides) {
            let reach = self.bounds(&(&(dim - &Expr::one()) * stride));
            low = low.saturating_add(reach.min.min(0));
            high = high.saturating_add(reach.max.max(0));
        }
        let elements = self.bounds(&plan.buffer(view).elements).max;
        let inside = |e: i64| u64::try_from(e.min(elements - 1)).unwrap_or(0);
        (inside(low), inside(high))
    }
}

/// Bits of an element of a plain storage.
pub(super) fn element_bits(storage: &Storage) -> u64 {
    match storage {
        Storage::Word => 32,
        Storage::F16 | Storage::BF16 => 16,
        Storage::Byte { .. } => 8,
        Storage::Quant(format) => format.code_bits(),
    }
}

/// The window of `view`, which is operand `operand` of the step (reads first, then writes).
pub(super) fn window(plan: &Plan, cx: &LowerCx<'_>, view: &View, operand: usize) -> Result<Window, Fault> {
    let buffer = plan.buffer(view);
    let limit = cx.caps.max_binding_bytes;
    if let Storage::Quant(format) = &buffer.storage {
        return quantized(plan, cx, view, format, operand);
    }
    let elements = u64::try_from(cx.bounds(&buffer.elements).max).unwrap_or(0);
    let total = Plan::storage_bytes(&buffer.storage, elements);
    if total <= limit {
        return Ok(Window { bytes: None, offset: view.offset.clone(), segment: None });
    }
    let bits = element_bits(&buffer.storage);
    let (low, high) = cx.touched(plan, view);
    let start = low * bits / 8 / BINDING_ALIGNMENT * BINDING_ALIGNMENT;
    let end = ((high + 1) * bits).div_ceil(8).next_multiple_of(4);
    if end - start > limit {
        return Err(Fault::TooLarge { operand, needed: end - start });
    }
    let base = i64::try_from(start * 8 / bits).unwrap_or(i64::MAX);
    Ok(Window { bytes: Some((start, end - start)), offset: &view.offset - &Expr::from(base), segment: None })
}

fn quantized(
    plan: &Plan,
    cx: &LowerCx<'_>,
    view: &View,
    format: &QuantFormat,
    operand: usize,
) -> Result<Window, Fault> {
    let limit = cx.caps.max_binding_bytes;
    let (low, high) = cx.touched(plan, view);
    let mut all = segments(format, limit);
    let first = all.next();
    if let Some(only) = first
        && only.rows == format.dims.first().copied().unwrap_or(1)
    {
        if only.parts.bytes > limit {
            return Err(Fault::TooLarge { operand, needed: only.parts.bytes });
        }
        return Ok(Window { bytes: None, offset: view.offset.clone(), segment: Some(only) });
    }
    let row = format.row_elements();
    let holds = |s: &Segment| low >= s.first_row * row && high < (s.first_row + s.rows) * row;
    match first.into_iter().chain(all).find(holds) {
        Some(segment) if segment.parts.bytes <= limit => Ok(segment_window(view, segment, row)),
        _ => Err(Fault::TooLarge { operand, needed: format.device_bytes() }),
    }
}

/// The window that shows one segment; the view's offset becomes relative to it.
pub(super) fn segment_window(view: &View, segment: Segment, row_elements: u64) -> Window {
    let base = i64::try_from(segment.first_row * row_elements).unwrap_or(i64::MAX);
    Window {
        bytes: Some((segment.offset, segment.parts.bytes)),
        offset: &view.offset - &Expr::from(base),
        segment: Some(segment),
    }
}
