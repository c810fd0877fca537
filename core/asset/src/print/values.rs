//! Types, attributes and constants as text.

use std::fmt::{self, Write};

use crate::asset::Asset;
use crate::ir::{Attribute, ConstantRef};
use crate::literal::element;
use crate::types::{Type, TypeId};

/// Elements shown of a constant.
const SHOWN_ELEMENTS: u64 = 8;

/// A type as text, e.g. `tensor<1x?xfloat16>`; see [`Asset::type_text`].
pub struct TypeText<'a> {
    types: &'a [Type],
    id: TypeId,
}

impl<'a> TypeText<'a> {
    pub(crate) fn new(types: &'a [Type], id: TypeId) -> Self {
        Self { types, id }
    }
}

impl fmt::Display for TypeText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = |id: &TypeId| TypeText { types: self.types, id: *id };
        let list = |f: &mut fmt::Formatter<'_>, ids: &[TypeId]| {
            for (i, id) in ids.iter().enumerate() {
                write!(f, "{}{}", if i > 0 { ", " } else { "" }, inner(id))?;
            }
            Ok(())
        };
        match self.types.get(self.id.0 as usize) {
            None => f.write_str("?"),
            Some(Type::Scalar(element)) => write!(f, "{element}"),
            Some(Type::Tensor(tensor)) => {
                f.write_str("tensor<")?;
                for extent in &tensor.shape {
                    match extent {
                        Some(extent) => write!(f, "{extent}x")?,
                        None => f.write_str("?x")?,
                    }
                }
                let encoded = if tensor.encoding.is_some() { ", encoded" } else { "" };
                write!(f, "{}{encoded}>", tensor.element)
            }
            // the table has no cycles: handles hold tensors, functions take no functions
            Some(Type::Handle(id)) => write!(f, "handle<{}>", inner(id)),
            Some(Type::Token) => f.write_str("token"),
            Some(Type::Function { inputs, outputs }) => {
                f.write_str("(")?;
                list(f, inputs)?;
                f.write_str(") -> (")?;
                list(f, outputs)?;
                f.write_str(")")
            }
            Some(Type::Image { fourcc, height, width, .. }) => {
                write!(f, "image<{fourcc:#x} {height}x{width}>")
            }
            Some(Type::Opaque { name, .. }) => write!(f, "opaque<{name}>"),
            Some(Type::Parametric(code)) => write!(f, "parametric<{code}>"),
            Some(Type::Debug(code)) => write!(f, "debug<{code}>"),
        }
    }
}

pub(crate) fn type_text(types: &[Type], id: TypeId) -> String {
    TypeText { types, id }.to_string()
}

/// A few elements of a constant, where the source holds them in memory.
pub(super) fn write_constant(
    asset: &Asset,
    constant: &ConstantRef,
    ty: TypeId,
    out: &mut dyn Write,
) -> fmt::Result {
    let length = constant.range.end - constant.range.start;
    let splat = if constant.splat { "splat " } else { "" };
    let tensor = asset.tensor_type(ty);
    let count = tensor.and_then(|tensor| tensor.elements());
    let (Some(tensor), Some(count)) = (tensor, count) else {
        return write!(out, "{splat}<{length} bytes>");
    };
    let count = if constant.splat { count.min(1) } else { count };
    // 16 bytes hold any element
    let end = constant.range.end.min(constant.range.start + 16 * SHOWN_ELEMENTS);
    let Some(bytes) = asset.source().slice(constant.range.start..end) else {
        return write!(out, "{splat}<{length} bytes>");
    };
    let per_byte = tensor.element.packed_bytes(count) != Some(length);
    write!(out, "{splat}[")?;
    for index in 0..count.min(SHOWN_ELEMENTS) {
        let value = element(bytes, tensor.element, index as usize, per_byte);
        match value {
            Some(value) => write!(out, "{}{value}", if index > 0 { ", " } else { "" })?,
            None => return out.write_str("?]"),
        }
    }
    out.write_str(if count > SHOWN_ELEMENTS { ", …]" } else { "]" })
}

pub(super) fn write_attribute(asset: &Asset, attribute: &Attribute, out: &mut dyn Write) -> fmt::Result {
    let list = |items: &[Attribute], open: &str, close: &str, out: &mut dyn Write| {
        out.write_str(open)?;
        for (i, item) in items.iter().enumerate() {
            out.write_str(if i > 0 { ", " } else { "" })?;
            write_attribute(asset, item, out)?;
        }
        out.write_str(close)
    };
    match attribute {
        Attribute::String(text) => write!(out, "{text:?}"),
        Attribute::Integer { width: 1, value, .. } => write!(out, "{}", *value != 0),
        Attribute::Integer { value, .. } => write!(out, "{value}"),
        Attribute::Float { width: 64, value } => write!(out, "{value}"),
        Attribute::Float { value, .. } => write!(out, "{}", *value as f32),
        Attribute::Type(ty) => write!(out, "{}", asset.type_text(*ty)),
        Attribute::Array(items) => list(items, "[", "]", out),
        Attribute::Dictionary(items) => list(items, "{", "}", out),
        Attribute::Constant(constant) => {
            write!(out, "<{} bytes>", constant.range.end - constant.range.start)
        }
        Attribute::Opaque { name, params } => match params.as_slice() {
            [] => out.write_str(name),
            [value] => {
                write!(out, "{name}=")?;
                write_attribute(asset, value, out)
            }
            _ => {
                write!(out, "{name}=")?;
                list(params, "[", "]", out)
            }
        },
        Attribute::Symbol(path) => write!(out, "@{}", path.join("::")),
        Attribute::Enum { name, .. } => out.write_str(name),
        Attribute::ParamConstant { value, .. } => write_attribute(asset, value, out),
        Attribute::ParamBind { reference, params, .. } => {
            write_attribute(asset, reference, out)?;
            list(params, "<", ">", out)
        }
        Attribute::ParamDecl { name, ty, .. } => {
            write!(out, "{name}: {}", asset.type_text(*ty))
        }
        Attribute::TargetSpec { triple, soc, options } => {
            out.write_str("target<")?;
            for (i, part) in [triple, soc, options].into_iter().enumerate() {
                out.write_str(if i > 0 { ", " } else { "" })?;
                write_attribute(asset, part, out)?;
            }
            out.write_str(">")
        }
        Attribute::HwConstraints { alignments, interleave, backing, .. } => {
            write!(out, "hw<alignments {alignments:?}, interleave {interleave:?}, {backing}>")
        }
        Attribute::ImageConstraints { backing, row_alignments } => {
            write!(out, "image<rows {row_alignments:?}, {backing}>")
        }
        Attribute::Sparse { scheme, nnz, .. } => write!(out, "sparse<{scheme}, nnz {nnz:?}>"),
        Attribute::Unit => out.write_str("unit"),
        Attribute::Debug { code, id } => write!(out, "debug<{code}, #{}>", id.0),
    }
}
