//! Typed access to the keys of a JSON object that a checkpoint brought.

use serde_json::{Map, Value};

use crate::error::ConvertError;

/// An object of a configuration file and where it stands, for messages.
#[derive(Clone)]
pub(crate) struct Fields<'a> {
    file: &'a str,
    /// Keys that lead to the object, each with a dot behind it.
    prefix: String,
    object: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The outermost object of `file`.
    pub fn new(file: &'a str, json: &'a Value) -> Result<Self, ConvertError> {
        match json {
            Value::Object(object) => Ok(Self { file, prefix: String::new(), object }),
            other => Err(ConvertError::Config {
                file: file.into(),
                key: "the outermost value".into(),
                found: shown(other),
                expected: "an object".into(),
            }),
        }
    }

    pub fn wrong(&self, key: &str, found: impl Into<String>, expected: impl Into<String>) -> ConvertError {
        ConvertError::Config {
            file: self.file.into(),
            key: format!("{}{key}", self.prefix),
            found: found.into(),
            expected: expected.into(),
        }
    }

    /// The key is written, be it as `null`.
    pub fn has(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }

    /// The value of `key`; `None` for `null`.
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    pub fn object(&self, key: &str) -> Result<Option<Fields<'a>>, ConvertError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Object(object)) => {
                Ok(Some(Self { file: self.file, prefix: format!("{}{key}.", self.prefix), object }))
            }
            Some(other) => Err(self.wrong(key, shown(other), "an object")),
        }
    }

    /// An integer from `low` to `high`. Integers written as `4096.0` are taken.
    pub fn count(&self, key: &str, low: u64, high: u64) -> Result<Option<u64>, ConvertError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match integer(value) {
            Some(count) if (low..=high).contains(&count) => Ok(Some(count)),
            _ => Err(self.wrong(key, shown(value), format!("an integer from {low} to {high}"))),
        }
    }

    /// A finite number from `low` to `high`.
    pub fn number(&self, key: &str, low: f64, high: f64) -> Result<Option<f64>, ConvertError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if number >= low && number <= high => Ok(Some(number)),
            _ => Err(self.wrong(key, shown(value), format!("a number from {low:e} to {high:e}"))),
        }
    }

    /// Exactly `length` positive numbers.
    pub fn numbers(&self, key: &str, length: u64) -> Result<Vec<f64>, ConvertError> {
        let expected = || format!("{length} positive numbers");
        let values = match self.value(key) {
            Some(Value::Array(values)) if values.len() as u64 == length => values,
            Some(Value::Array(values)) => {
                return Err(self.wrong(key, format!("a list of {}", values.len()), expected()));
            }
            Some(other) => return Err(self.wrong(key, shown(other), expected())),
            None => return Err(self.wrong(key, "absent", expected())),
        };
        let positive = |value: &Value| value.as_f64().filter(|number| *number > 0.0 && *number < 1e30);
        let one = |value: &Value| positive(value).ok_or_else(|| self.wrong(key, shown(value), expected()));
        values.iter().map(one).collect()
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>, ConvertError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.wrong(key, shown(other), "true or false")),
        }
    }

    pub fn text(&self, key: &str) -> Result<Option<&'a str>, ConvertError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, shown(other), "a string")),
        }
    }

    /// One token id or a list of them.
    pub fn tokens(&self, key: &str) -> Result<Option<Vec<u32>>, ConvertError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        // more ids than this end nothing that the first ones do not
        if values.len() > 256 {
            return Err(self.wrong(key, format!("a list of {}", values.len()), "at most 256 token ids"));
        }
        let one = |value: &Value| {
            let id = integer(value).and_then(|id| u32::try_from(id).ok());
            id.ok_or_else(|| self.wrong(key, shown(value), "token ids"))
        };
        values.iter().map(one).collect::<Result<Vec<u32>, _>>().map(Some)
    }
}

fn integer(value: &Value) -> Option<u64> {
    // 2⁵³: the floating-point numbers below it are exact
    let exact = |number: &f64| *number >= 0.0 && *number <= 9_007_199_254_740_992.0 && number.fract() == 0.0;
    value.as_u64().or_else(|| value.as_f64().filter(exact).map(|number| number as u64))
}

/// A value for messages: short ones as they are, long ones by their kind.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("a list of {}", values.len()),
        Value::Object(_) => "an object".into(),
        Value::String(text) if text.len() > 80 => format!("a string of {} bytes", text.len()),
        short => short.to_string(),
    }
}
