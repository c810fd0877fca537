//! Keys and values, by type.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::cursor::Cursor;
use super::value::{Numbers, Strings, Value, integer};
use crate::error::ConvertError;

/// Alignment of tensors where a file says nothing.
const DEFAULT_ALIGNMENT: u64 = 32;
/// Real files have 32, some 4096.
const MAX_ALIGNMENT: u64 = 1 << 16;
/// Bytes of a key, by the specification.
const MAX_KEY_BYTES: u64 = (1 << 16) - 1;

/// The keys of a file. Accessors of a type give `None` for a key that is not there, and a
/// [`ConvertError::Config`] for a value of another type.
pub struct Metadata {
    file: String,
    values: BTreeMap<String, Value>,
}

impl Metadata {
    pub(super) fn read(cursor: &mut Cursor, count: u64) -> Result<Self, ConvertError> {
        let mut values = BTreeMap::new();
        for index in 0..count {
            cursor.begin(format!("key {index}"));
            let key = cursor.text()?.to_owned();
            if key.is_empty() || key.len() as u64 > MAX_KEY_BYTES {
                return Err(
                    cursor.malformed(format!("has {} bytes; expected 1 to {MAX_KEY_BYTES}", key.len()))
                );
            }
            cursor.begin(format!("key {key:?}"));
            match values.entry(key) {
                Entry::Vacant(entry) => entry.insert(Value::read(cursor)?),
                Entry::Occupied(_) => return Err(cursor.malformed("is there twice".into())),
            };
        }
        Ok(Self { file: cursor.file().into(), values })
    }

    /// A value of any type.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Keys, sorted.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// A string.
    pub fn str(&self, key: &str) -> Result<Option<&str>, ConvertError> {
        self.typed(key, "a string", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// An integer from 0 on, whatever its width.
    pub fn u64(&self, key: &str) -> Result<Option<u64>, ConvertError> {
        self.typed(key, "an integer from 0 on", |value| match value {
            Value::Unsigned(value) => Some(*value),
            Value::Signed(value) => u64::try_from(*value).ok(),
            _ => None,
        })
    }

    /// An integer below 2⁶³, whatever its width.
    pub fn i64(&self, key: &str) -> Result<Option<i64>, ConvertError> {
        self.typed(key, "an integer below 2⁶³", integer)
    }

    /// A number: a float, or an integer of at most 53 bits. A float32 keeps its value: 1e-5 is 9.99999974…e-6.
    pub fn f64(&self, key: &str) -> Result<Option<f64>, ConvertError> {
        self.typed(key, "a number", |value| match value {
            Value::Float(value) => Some(*value),
            value => integer(value).filter(|value| value.unsigned_abs() <= 1 << 53).map(|value| value as f64),
        })
    }

    /// A bool.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, ConvertError> {
        self.typed(key, "a bool", |value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        })
    }

    /// An array of strings.
    pub fn strings(&self, key: &str) -> Result<Option<&Strings>, ConvertError> {
        self.typed(key, "an array of strings", |value| match value {
            Value::Strings(strings) => Some(strings),
            _ => None,
        })
    }

    /// An array of integers below 2⁶³.
    pub fn integers(&self, key: &str) -> Result<Option<impl Iterator<Item = i64>>, ConvertError> {
        self.typed(key, "an array of integers", |value| numbers(value)?.integers())
    }

    /// An array of floats.
    pub fn floats(&self, key: &str) -> Result<Option<impl Iterator<Item = f64>>, ConvertError> {
        self.typed(key, "an array of floats", |value| numbers(value)?.floats())
    }

    /// An array of bools.
    pub fn bools(&self, key: &str) -> Result<Option<impl Iterator<Item = bool>>, ConvertError> {
        self.typed(key, "an array of bools", |value| numbers(value)?.bools())
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        of: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConvertError> {
        let Some(value) = self.values.get(key) else {
            return Ok(None);
        };
        of(value).map(Some).ok_or_else(|| self.unexpected(key, expected))
    }

    /// The error for a key that is not there, or whose value is not what is `expected`.
    pub fn unexpected(&self, key: &str, expected: &str) -> ConvertError {
        ConvertError::Config {
            file: self.file.clone(),
            key: key.into(),
            found: self.get(key).map_or("missing".into(), Value::describe),
            expected: expected.into(),
        }
    }

    /// Of the tensors' data.
    pub(super) fn alignment(&self) -> Result<u64, ConvertError> {
        let key = "general.alignment";
        match self.u64(key)?.unwrap_or(DEFAULT_ALIGNMENT) {
            alignment if alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT => Ok(alignment),
            _ => Err(self.unexpected(key, &format!("a power of two up to {MAX_ALIGNMENT}"))),
        }
    }
}

fn numbers(value: &Value) -> Option<&Numbers> {
    match value {
        Value::Numbers(numbers) => Some(numbers),
        _ => None,
    }
}
