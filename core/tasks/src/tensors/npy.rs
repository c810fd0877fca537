//! NumPy's `.npy` files, versions 1 to 3: a header in Python syntax, then the elements.

use std::path::Path;

use coreai::{ElementType, Elements, NDArray};

use super::TensorError;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Elements start at a multiple of this.
const ALIGNMENT: usize = 64;
/// Most axes; NumPy's own limit.
const MAX_RANK: usize = 64;

fn wrong(reason: impl Into<String>) -> TensorError {
    TensorError::Content(reason.into())
}

/// Reads a file.
pub fn read(path: &Path) -> Result<NDArray, TensorError> {
    decode(&super::bytes(path)?, None).map_err(|e| e.of(path))
}

/// Decodes a file's bytes. Elements that NumPy only knows as raw bytes (`V2` for bfloat16, `V1` for
/// 8-bit floats) are taken as `hint`.
pub(super) fn decode(bytes: &[u8], hint: Option<ElementType>) -> Result<NDArray, TensorError> {
    let rest =
        bytes.strip_prefix(MAGIC).ok_or_else(|| wrong("not a .npy file: it lacks NumPy's magic bytes"))?;
    let cut = || wrong("the .npy header is cut off");
    let (version, rest) = rest.split_at_checked(2).ok_or_else(cut)?;
    let (length, rest) = match version[0] {
        1 => {
            let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        other => return Err(wrong(format!(".npy version {other} is not known; expected 1 to 3"))),
    };
    let (header, data) = rest.split_at_checked(length).ok_or_else(cut)?;
    let header = Header::parse(header)?;
    let (element, width, big) = header.element(hint)?;
    let count = header.shape.iter().try_fold(width, |n, d| n.checked_mul(*d));
    if count != Some(data.len()) {
        return Err(wrong(format!(
            "shape {:?} of {} does not fit the {} bytes of data",
            header.shape,
            header.descr,
            data.len()
        )));
    }
    let mut data = data.to_vec();
    if big {
        let part = if element.is_complex() { width / 2 } else { width };
        data.chunks_exact_mut(part.max(1)).for_each(<[u8]>::reverse);
    }
    if header.fortran {
        data = row_major(&data, &header.shape, width);
    }
    Ok(NDArray::new(element, header.shape, data)?)
}

/// Elements stored with the first axis innermost, reordered with the last axis innermost.
fn row_major(data: &[u8], shape: &[usize], width: usize) -> Vec<u8> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = width;
    for extent in shape {
        strides.push(stride);
        stride = stride.saturating_mul(*extent);
    }
    let mut out = Vec::with_capacity(data.len());
    let mut index = vec![0; shape.len()];
    while out.len() < data.len() {
        let at: usize = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
        out.extend(data.get(at..at + width).unwrap_or(&[]));
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    out
}

struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
    fn parse(bytes: &[u8]) -> Result<Header, TensorError> {
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("the .npy header is not text"))?;
        let value = |key: &str| {
            let at = text
                .find(&format!("'{key}'"))
                .ok_or_else(|| wrong(format!("the .npy header has no {key}")))?;
            let rest = text[at + key.len() + 2..].trim_start();
            rest.strip_prefix(':').map(str::trim_start).ok_or_else(|| wrong("the .npy header has no value"))
        };
        let descr = value("descr")?
            .strip_prefix('\'')
            .and_then(|rest| rest.split_once('\''))
            .map(|(descr, _)| descr.to_string())
            .ok_or_else(|| wrong("the .npy file holds records; expected one element type"))?;
        let fortran = value("fortran_order")?.starts_with("True");
        let list = value("shape")?
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .map(|(list, _)| list)
            .ok_or_else(|| wrong("the .npy header has no shape"))?;
        let extents = list.split(',').map(str::trim).filter(|extent| !extent.is_empty());
        let shape: Vec<usize> = extents
            .map(|e| e.parse().map_err(|_| wrong(format!("the .npy header has extent {e:?}"))))
            .collect::<Result<_, _>>()?;
        if shape.len() > MAX_RANK {
            return Err(wrong(format!("the .npy header has {} axes; at most {MAX_RANK}", shape.len())));
        }
        Ok(Header { descr, fortran, shape })
    }

    /// Element type, bytes of one element, and whether they are big-endian.
    fn element(&self, hint: Option<ElementType>) -> Result<(ElementType, usize, bool), TensorError> {
        use ElementType::*;
        let kind = self.descr.trim_start_matches(['<', '>', '|', '=']);
        let element = match kind {
            "f8" => F64,
            "f4" => F32,
            "f2" => F16,
            "i8" => SI64,
            "i4" => SI32,
            "i2" => SI16,
            "i1" => SI8,
            "u8" => UI64,
            "u4" => UI32,
            "u2" => UI16,
            "u1" => UI8,
            "b1" | "?" => Bool,
            "c8" => ComplexF32,
            "c16" => ComplexF64,
            _ => hint
                .filter(|h| h.is_float() && kind == format!("V{}", h.bits().div_ceil(8)))
                .ok_or_else(|| wrong(format!("elements of NumPy type {:?} are not read", self.descr)))?,
        };
        Ok((element, element.bits().div_ceil(8) as usize, self.descr.starts_with('>')))
    }
}

/// NumPy's name of an element type, when it has one.
fn descr(element: ElementType) -> Option<&'static str> {
    use ElementType::*;
    Some(match element {
        F64 => "<f8",
        F32 | TF32 => "<f4",
        F16 => "<f2",
        SI64 => "<i8",
        SI32 => "<i4",
        SI16 => "<i2",
        SI8 | SI4 | SI2 => "|i1",
        UI64 => "<u8",
        UI32 => "<u4",
        UI16 => "<u2",
        UI8 | UI6 | UI4 | UI3 | UI2 | UI1 => "|u1",
        Bool => "|b1",
        ComplexF32 => "<c8",
        ComplexF64 => "<c16",
        _ => return None,
    })
}

/// Encodes a tensor. Float types that NumPy lacks are widened to float32, complex ones to complex64;
/// the second value is the name of the stored type then.
pub(super) fn encode(array: &NDArray) -> Result<(Vec<u8>, Option<&'static str>), TensorError> {
    let widened;
    let (array, stored) = match (descr(array.element), array.elements()) {
        (Some(_), _) => (array, None),
        (None, elements) => {
            let elements = elements?;
            let to = match elements {
                Elements::Complex(_) => ElementType::ComplexF32,
                _ => ElementType::F32,
            };
            widened = NDArray::from_elements(to, &array.shape, &elements)?;
            (&widened, Some(to.name()))
        }
    };
    let extents: Vec<String> = array.shape.iter().map(|extent| format!("{extent},")).collect();
    let mut header = format!(
        "{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
        descr(array.element).unwrap_or("|u1"),
        extents.join(" ")
    );
    let length = (MAGIC.len() + 4 + header.len() + 1).next_multiple_of(ALIGNMENT) - MAGIC.len() - 4;
    let length = u16::try_from(length).map_err(|_| wrong("too many axes for a .npy file"))?;
    header.extend(std::iter::repeat_n(' ', usize::from(length) - header.len() - 1));
    header.push('\n');
    let mut bytes = [MAGIC, &[1, 0], &length.to_le_bytes(), header.as_bytes()].concat();
    bytes.extend(&array.data);
    Ok((bytes, stored))
}

/// Writes a file; returns the stored type's name where it is not the tensor's own.
pub fn write(path: &Path, array: &NDArray) -> Result<Option<&'static str>, TensorError> {
    let (bytes, stored) = encode(array)?;
    let failed =
        |e: std::io::Error| TensorError::File { path: path.display().to_string(), reason: e.to_string() };
    std::fs::write(path, bytes).map_err(failed)?;
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let length = (header.len() as u16).to_le_bytes();
        [MAGIC, &[1, 0], &length, header.as_bytes(), data].concat()
    }

    #[test]
    fn what_is_written_is_read() {
        for (element, shape, bytes) in [
            (ElementType::F32, vec![2, 3], 24),
            (ElementType::SI64, vec![], 8),
            (ElementType::Bool, vec![0, 4], 0),
            (ElementType::ComplexF32, vec![1], 8),
        ] {
            let array = NDArray::new(element, shape, (0..bytes).collect()).unwrap();
            let (file, stored) = encode(&array).unwrap();
            assert_eq!((file.len() - array.data.len()) % ALIGNMENT, 0);
            assert_eq!(stored, None);
            assert_eq!(decode(&file, None).unwrap(), array);
        }
        let half = NDArray::new(ElementType::BF16, vec![2], vec![0x80, 0x3f, 0, 0xc0]).unwrap();
        let (file, stored) = encode(&half).unwrap();
        assert_eq!(stored, Some("float32"));
        assert_eq!(decode(&file, None).unwrap(), NDArray::from_f32(&[2], &[1.0, -2.0]).unwrap());
    }

    #[test]
    fn big_endian_and_fortran_order() {
        let bytes = file(
            "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }",
            &[0, 1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6],
        );
        let array = decode(&bytes, None).unwrap();
        assert_eq!(array.elements().unwrap(), Elements::Int(vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn raw_elements_take_the_hint() {
        let bytes = file("{'descr': '|V2', 'fortran_order': False, 'shape': (1,), }", &[0x80, 0x3f]);
        assert_eq!(decode(&bytes, Some(ElementType::BF16)).unwrap().element, ElementType::BF16);
        assert!(decode(&bytes, Some(ElementType::F32)).is_err());
        assert!(decode(&bytes, None).is_err());
    }

    #[test]
    fn damaged_files_are_refused() {
        let good = file("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", &[0; 4]);
        assert!(decode(&good, None).is_ok());
        for length in 0..good.len() {
            assert!(decode(&good[..length], None).is_err(), "{length}");
        }
        for header in [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }",
            "{'descr': '<M8', 'fortran_order': False, 'shape': (1,), }",
            "{'descr'",
            "",
        ] {
            assert!(decode(&file(header, &[0; 4]), None).is_err(), "{header}");
        }
    }
}
