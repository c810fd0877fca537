//! Values of metadata.

use super::cursor::Cursor;
use crate::error::ConvertError;

/// A value of metadata. Numbers of all widths are held in the widest.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Strings(Strings),
    /// Also of bools.
    Numbers(Numbers),
}

impl Value {
    /// The value, or what kind of array it is, for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Unsigned(value) => value.to_string(),
            Self::Signed(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Text(text) => match text.char_indices().nth(40) {
                Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
                None => format!("{text:?}"),
            },
            Self::Strings(strings) => format!("an array of {} strings", strings.len()),
            Self::Numbers(numbers) => format!("an array of {} {}s", numbers.len(), numbers.element.name()),
        }
    }

    /// A value of the file, with its type before it.
    pub(super) fn read(cursor: &mut Cursor) -> Result<Self, ConvertError> {
        match Type::read(cursor)? {
            Type::Number(element) => {
                let bytes = cursor.take(element.bytes())?;
                let number = element.decode(bytes);
                number.ok_or_else(|| cursor.malformed("a bool is neither 0 nor 1".into()))
            }
            Type::Text => Ok(Self::Text(cursor.text()?.into())),
            Type::Array => match Type::read(cursor)? {
                Type::Number(element) => Numbers::read(cursor, element).map(Self::Numbers),
                Type::Text => Strings::read(cursor).map(Self::Strings),
                Type::Array => Err(cursor.malformed("is an array of arrays; expected a flat one".into())),
            },
        }
    }
}

/// Strings, all in one piece of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    text: String,
    /// Of each string in `text`; a header has less than 4 GiB.
    ends: Vec<u32>,
}

impl Strings {
    fn read(cursor: &mut Cursor) -> Result<Self, ConvertError> {
        let count = cursor.items(8)?;
        let mut strings = Self { text: String::new(), ends: Vec::with_capacity(count as usize) };
        for _ in 0..count {
            strings.text.push_str(cursor.text()?);
            strings.ends.push(strings.text.len() as u32);
        }
        strings.text.shrink_to_fit();
        Ok(strings)
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// One of them.
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end);
        self.text.get(start as usize..end as usize)
    }

    /// All, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index).unwrap_or_default())
    }
}

/// Numbers of one type, or bools, as the file stores them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers {
    element: Element,
    bytes: Vec<u8>,
}

impl Numbers {
    fn read(cursor: &mut Cursor, element: Element) -> Result<Self, ConvertError> {
        let count = cursor.items(element.bytes())?;
        let bytes = cursor.take(count * element.bytes())?.to_vec();
        if element == Element::Bool && bytes.iter().any(|byte| *byte > 1) {
            return Err(cursor.malformed("a bool is neither 0 nor 1".into()));
        }
        Ok(Self { element, bytes })
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.element.bytes() as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn values(&self) -> impl Iterator<Item = Value> {
        self.bytes.chunks_exact(self.element.bytes() as usize).filter_map(|bytes| self.element.decode(bytes))
    }

    /// The integers; `None` if they are floats or bools, or one of them is beyond 2⁶³.
    pub fn integers(&self) -> Option<impl Iterator<Item = i64>> {
        if self.element.is_float() || self.element == Element::Bool {
            return None;
        }
        if self.element == Element::U64 && self.values().any(|value| integer(&value).is_none()) {
            return None;
        }
        Some(self.values().filter_map(|value| integer(&value)))
    }

    /// The floats; `None` if they are integers or bools.
    pub fn floats(&self) -> Option<impl Iterator<Item = f64>> {
        self.element.is_float().then(|| {
            self.values().filter_map(|value| match value {
                Value::Float(value) => Some(value),
                _ => None,
            })
        })
    }

    /// The bools; `None` if they are numbers.
    pub fn bools(&self) -> Option<impl Iterator<Item = bool>> {
        (self.element == Element::Bool).then(|| self.bytes.iter().map(|byte| *byte == 1))
    }
}

/// An integer value that fits.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Unsigned(value) => i64::try_from(*value).ok(),
        Value::Signed(value) => Some(*value),
        _ => None,
    }
}

/// Type of a value, or of the elements of an array.
enum Type {
    Number(Element),
    Text,
    Array,
}

impl Type {
    fn read(cursor: &mut Cursor) -> Result<Self, ConvertError> {
        Ok(match cursor.u32()? {
            0 => Self::Number(Element::U8),
            1 => Self::Number(Element::I8),
            2 => Self::Number(Element::U16),
            3 => Self::Number(Element::I16),
            4 => Self::Number(Element::U32),
            5 => Self::Number(Element::I32),
            6 => Self::Number(Element::F32),
            7 => Self::Number(Element::Bool),
            8 => Self::Text,
            9 => Self::Array,
            10 => Self::Number(Element::U64),
            11 => Self::Number(Element::I64),
            12 => Self::Number(Element::F64),
            code => return Err(cursor.malformed(format!("has type {code}; expected 0 to 12"))),
        })
    }
}

/// Type of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    U64,
    I64,
    F64,
}

impl Element {
    fn name(self) -> &'static str {
        match self {
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::U16 => "uint16",
            Self::I16 => "int16",
            Self::U32 => "uint32",
            Self::I32 => "int32",
            Self::F32 => "float32",
            Self::Bool => "bool",
            Self::U64 => "uint64",
            Self::I64 => "int64",
            Self::F64 => "float64",
        }
    }

    fn bytes(self) -> u64 {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// The value of [`Element::bytes`] bytes; `None` for bools that are neither 0 nor 1.
    fn decode(self, bytes: &[u8]) -> Option<Value> {
        // sign-extended or zero-extended to eight bytes
        let word = bytes.iter().rev().fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
        Some(match self {
            Self::U8 | Self::U16 | Self::U32 | Self::U64 => Value::Unsigned(word),
            Self::I8 => Value::Signed((word as i8).into()),
            Self::I16 => Value::Signed((word as i16).into()),
            Self::I32 => Value::Signed((word as i32).into()),
            Self::I64 => Value::Signed(word.cast_signed()),
            Self::F32 => Value::Float(f32::from_bits(word as u32).into()),
            Self::F64 => Value::Float(f64::from_bits(word)),
            Self::Bool if word <= 1 => Value::Bool(word == 1),
            Self::Bool => return None,
        })
    }
}
