//! Numbers as text: literals and nested JSON lists.

use coreai::{ElementType, Elements, NDArray, PortDescriptor};
use serde_json::Value;

use super::TensorError;
use super::convert::{concrete, shape_text};

/// Numbers whose element type the port decides.
#[derive(Debug, PartialEq)]
pub(super) struct Numbers {
    /// Extents; `None` for a flat list that takes the port's shape.
    shape: Option<Vec<usize>>,
    values: Elements,
}

/// `5`, `-1.5`, `true` or several of them with commas; `None` when `text` is something else.
pub(super) fn literal(text: &str) -> Option<Numbers> {
    let values: Vec<Value> = text.split(',').map(|part| number(part.trim())).collect::<Option<_>>()?;
    Some(Numbers { shape: None, values: elements(&values)? })
}

fn number(text: &str) -> Option<Value> {
    match text {
        "true" => Some(Value::from(1)),
        "false" => Some(Value::from(0)),
        _ => match text.parse::<i64>() {
            Ok(integer) => Some(Value::from(integer)),
            Err(_) => text.parse::<f64>().ok().filter(|x| x.is_finite()).map(Value::from),
        },
    }
}

/// Integers stay integers; one fraction makes all of them floats.
fn elements(values: &[Value]) -> Option<Elements> {
    let integers: Option<Vec<i64>> = values.iter().map(Value::as_i64).collect();
    match integers {
        Some(integers) => Some(Elements::Int(integers)),
        None => values.iter().map(Value::as_f64).collect::<Option<_>>().map(Elements::Real),
    }
}

/// A number or nested lists of equal lengths.
pub(super) fn json(bytes: &[u8]) -> Result<Numbers, TensorError> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|e| TensorError::Content(format!("not valid JSON: {e}")))?;
    let mut shape = vec![];
    let mut first = &value;
    while let Value::Array(items) = first {
        shape.push(items.len());
        let Some(item) = items.first() else { break };
        first = item;
    }
    let mut values = vec![];
    flatten(&value, &shape, &mut values)?;
    let values = elements(&values)
        .ok_or_else(|| TensorError::Content("a number is outside the 64-bit range".into()))?;
    Ok(Numbers { shape: Some(shape), values })
}

fn flatten(value: &Value, shape: &[usize], out: &mut Vec<Value>) -> Result<(), TensorError> {
    let wrong = |reason: String| Err(TensorError::Content(reason));
    match (value, shape) {
        (Value::Array(items), [extent, rest @ ..]) if items.len() == *extent => {
            items.iter().try_for_each(|item| flatten(item, rest, out))
        }
        (Value::Array(items), [extent, ..]) => {
            wrong(format!("lists of {extent} and of {} elements on one level", items.len()))
        }
        (Value::Number(_), []) => {
            out.push(value.clone());
            Ok(())
        }
        (Value::Bool(truth), []) => {
            out.push(Value::from(i64::from(*truth)));
            Ok(())
        }
        (Value::Array(_), []) | (Value::Number(_) | Value::Bool(_), _) => {
            wrong("lists and numbers on one level".into())
        }
        _ => wrong(format!("expected numbers and lists of numbers, found {value}")),
    }
}

impl Numbers {
    /// The tensor for a port: its element type is the port's where the values allow it.
    pub(super) fn shaped(
        self,
        port: &PortDescriptor,
        given: Option<&[usize]>,
    ) -> Result<NDArray, TensorError> {
        let count = match &self.values {
            Elements::Int(values) => values.len(),
            Elements::Real(values) => values.len(),
            Elements::Complex(values) => values.len(),
        };
        let shape = match (self.shape, given) {
            (Some(shape), _) => shape,
            (None, Some(given)) => given.to_vec(),
            (None, None) => concrete(port, count).ok_or_else(|| TensorError::Value {
                name: port.name.clone(),
                reason: format!("{count} numbers do not fill shape {}", shape_text(&port.shape)),
            })?,
        };
        let values = match (self.values, port.element.is_float()) {
            (Elements::Int(values), true) => Elements::Real(values.iter().map(|x| *x as f64).collect()),
            (values, _) => values,
        };
        // Fractions stay floats, for `fit` to refuse where integers are expected. Integers travel as
        // 64 bits, so that `fit` sees whether they are in range.
        let element = match &values {
            Elements::Real(_) if port.element.is_float() => port.element,
            Elements::Real(_) => ElementType::F64,
            _ => ElementType::SI64,
        };
        Ok(NDArray::from_elements(element, &shape, &values)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(element: ElementType, shape: &[Option<usize>]) -> PortDescriptor {
        PortDescriptor { name: "x".into(), element, shape: shape.to_vec(), image: None }
    }

    #[test]
    fn literals() {
        assert_eq!(literal("5").unwrap().values, Elements::Int(vec![5]));
        assert_eq!(literal("1, 2.5,-3").unwrap().values, Elements::Real(vec![1.0, 2.5, -3.0]));
        assert_eq!(literal("true,false").unwrap().values, Elements::Int(vec![1, 0]));
        for text in ["", "x.npy", "1,,2", "nan", "inf", "1;2"] {
            assert_eq!(literal(text), None, "{text}");
        }
    }

    #[test]
    fn flat_lists_take_the_ports_shape() {
        let array =
            literal("1,2,3").unwrap().shaped(&port(ElementType::F16, &[Some(1), None]), None).unwrap();
        assert_eq!((array.element, array.shape), (ElementType::F16, vec![1, 3]));
        assert!(literal("1,2,3").unwrap().shaped(&port(ElementType::F16, &[Some(2)]), None).is_err());
    }

    #[test]
    fn nested_lists() {
        let numbers = json(b"[[1, 2, 3], [4, 5, 6]]").unwrap();
        assert_eq!(numbers.shape, Some(vec![2, 3]));
        assert_eq!(json(b"[]").unwrap().shape, Some(vec![0]));
        assert_eq!(json(b"7").unwrap().shape, Some(vec![]));
        for text in ["[[1], 2]", "[[1, 2], [3]]", "[1, \"a\"]", "{}", "[1", "null"] {
            assert!(json(text.as_bytes()).is_err(), "{text}");
        }
    }
}
