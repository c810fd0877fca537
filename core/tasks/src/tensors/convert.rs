//! From the element type and shape of a file to those of a port.

use coreai::{Elements, NDArray, PortDescriptor};

use super::{Fitted, TensorError};

/// Extents as text; `?` is dynamic.
pub(super) fn shape_text(shape: &[Option<usize>]) -> String {
    let extents: Vec<String> = shape.iter().map(|d| d.map_or("?".into(), |d| d.to_string())).collect();
    format!("[{}]", extents.join(", "))
}

/// A port's shape for `count` elements: one dynamic extent takes what the others leave, further ones
/// are 1. `None` when the count does not fit.
pub fn concrete(port: &PortDescriptor, count: usize) -> Option<Vec<usize>> {
    let known = port.shape.iter().flatten().try_fold(1usize, |n, d| n.checked_mul(*d))?;
    let Some(last) = port.shape.iter().rposition(Option::is_none) else {
        return (known == count).then(|| port.shape.iter().flatten().copied().collect());
    };
    let rest = count.checked_div(known).filter(|rest| rest * known == count)?;
    let extent = |(axis, d): (usize, &Option<usize>)| d.unwrap_or(if axis == last { rest } else { 1 });
    Some(port.shape.iter().enumerate().map(extent).collect())
}

/// Whether `shape` is one that the port takes.
pub fn check_shape(port: &PortDescriptor, shape: &[usize]) -> Result<(), TensorError> {
    let fits = shape.len() == port.shape.len()
        && port.shape.iter().zip(shape).all(|(expected, found)| expected.is_none_or(|e| e == *found));
    if fits {
        return Ok(());
    }
    let reason = format!(
        "expected shape {}, found {shape:?}; --shape {}=… gives the elements another shape",
        shape_text(&port.shape),
        port.name
    );
    Err(TensorError::Value { name: port.name.clone(), reason })
}

/// Converts a tensor to a port's element type where no value changes its meaning: integers must fit,
/// floats are rounded. `given` replaces the shape when the element counts agree.
pub fn fit(
    port: &PortDescriptor,
    mut array: NDArray,
    given: Option<&[usize]>,
) -> Result<Fitted, TensorError> {
    if let Some(given) = given {
        let count = given.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        if count != Some(array.len()) {
            let reason = format!("--shape {given:?} does not hold the {} elements of the value", array.len());
            return Err(TensorError::Value { name: port.name.clone(), reason });
        }
        array.shape = given.to_vec();
    }
    check_shape(port, &array.shape)?;
    let (to, from) = (port.element, array.element);
    if to == from {
        return Ok(Fitted { array, notes: vec![] });
    }
    let refused = |why: &str| TensorError::Value {
        name: port.name.clone(),
        reason: format!("expected {}, found {}{why}", to.name(), from.name()),
    };
    let integral = |e: coreai::ElementType| e.is_integer() || e == coreai::ElementType::Bool;
    let mut lost = None;
    let converted = match array.elements()? {
        Elements::Int(values) if integral(to) => {
            let wrapped = NDArray::from_elements(to, &array.shape, &Elements::Int(values.clone()))?;
            let same = wrapped.elements()? == Elements::Int(values);
            // uint64 beyond int64 reads as negative in both.
            if !same || to.is_signed_integer() && from == coreai::ElementType::UI64 && negative(&wrapped) {
                return Err(refused(" whose values do not all fit; convert the file"));
            }
            wrapped
        }
        Elements::Int(values) if to.is_float() => {
            let floats = Elements::Real(values.iter().map(|x| *x as f64).collect());
            let array = NDArray::from_elements(to, &array.shape, &floats)?;
            let Elements::Real(back) = array.elements()? else { return Err(refused("")) };
            if !back.iter().zip(&values).all(|(b, x)| *b as i128 == i128::from(*x)) {
                return Err(refused(" whose values it cannot hold exactly; convert the file"));
            }
            array
        }
        Elements::Real(values) if to.is_float() => {
            let elements = Elements::Real(values);
            let array = NDArray::from_elements(to, &array.shape, &elements)?;
            lost = largest_change(&elements, &array.elements()?);
            array
        }
        elements @ Elements::Complex(_) if to.is_complex() => {
            let array = NDArray::from_elements(to, &array.shape, &elements)?;
            lost = largest_change(&elements, &array.elements()?);
            array
        }
        Elements::Real(_) if integral(to) => {
            return Err(refused("; floats are not turned into integers here, convert the file"));
        }
        _ => return Err(refused("; convert the file")),
    };
    if lost.is_some_and(f64::is_infinite) {
        return Err(refused(" with values outside its range; scale the file"));
    }
    let effect = match lost {
        Some(change) if change > 0.0 => format!("rounded, by {change:.2e} at most"),
        _ => "exact".into(),
    };
    let notes = vec![format!("{}: {} converted to {} ({effect})", port.name, from.name(), to.name())];
    Ok(Fitted { array: converted, notes })
}

fn negative(array: &NDArray) -> bool {
    matches!(array.elements(), Ok(Elements::Int(values)) if values.iter().any(|x| *x < 0))
}

/// The largest difference; infinite where a finite value became infinite or no number.
fn largest_change(before: &Elements, after: &Elements) -> Option<f64> {
    let change = |(a, b): (&f64, &f64)| match (a.is_finite(), b.is_finite()) {
        (true, true) => (a - b).abs(),
        (true, false) => f64::INFINITY,
        _ => 0.0,
    };
    match (before, after) {
        (Elements::Real(a), Elements::Real(b)) => a.iter().zip(b).map(change).reduce(f64::max),
        (Elements::Complex(a), Elements::Complex(b)) => {
            a.as_flattened().iter().zip(b.as_flattened()).map(change).reduce(f64::max)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coreai::ElementType;

    fn port(element: ElementType, shape: &[Option<usize>]) -> PortDescriptor {
        PortDescriptor { name: "x".into(), element, shape: shape.to_vec(), image: None }
    }

    fn ints(values: &[i64]) -> NDArray {
        NDArray::from_elements(ElementType::SI64, &[values.len()], &Elements::Int(values.to_vec())).unwrap()
    }

    #[test]
    fn integers_convert_only_without_loss() {
        let any = [None];
        let fitted = fit(&port(ElementType::UI8, &any), ints(&[0, 255]), None).unwrap();
        assert_eq!(fitted.array.data, [0, 255]);
        assert_eq!(fitted.notes, ["x: sint64 converted to uint8 (exact)"]);
        for (element, value) in [
            (ElementType::UI8, 256),
            (ElementType::UI8, -1),
            (ElementType::Bool, 2),
            (ElementType::SI4, 8),
            (ElementType::F16, 4097),
        ] {
            assert!(fit(&port(element, &any), ints(&[value]), None).is_err(), "{element} {value}");
        }
        assert!(fit(&port(ElementType::F16, &any), ints(&[4096]), None).is_ok());
        let large = NDArray::new(ElementType::UI64, vec![1], vec![255; 8]).unwrap();
        assert!(fit(&port(ElementType::SI64, &any), large.clone(), None).is_err());
        assert!(fit(&port(ElementType::UI64, &any), large, None).is_ok());
    }

    #[test]
    fn floats_round_and_say_so() {
        let source = NDArray::from_elements(ElementType::F64, &[2], &Elements::Real(vec![0.1, 1.0])).unwrap();
        let fitted = fit(&port(ElementType::F16, &[Some(2)]), source.clone(), None).unwrap();
        assert!(
            fitted.notes[0].contains("float64 converted to float16 (rounded, by 2.4"),
            "{:?}",
            fitted.notes
        );
        assert!(fit(&port(ElementType::SI32, &[Some(2)]), source, None).is_err());
        let large = NDArray::from_f32(&[1], &[1e6]).unwrap();
        assert!(fit(&port(ElementType::F16, &[Some(1)]), large, None).is_err());
    }

    #[test]
    fn shapes_are_checked() {
        let two = [Some(1), None];
        assert!(fit(&port(ElementType::SI64, &two), ints(&[1, 2]), None).is_err());
        let fitted = fit(&port(ElementType::SI64, &two), ints(&[1, 2]), Some(&[1, 2])).unwrap();
        assert_eq!(fitted.array.shape, [1, 2]);
        assert!(fit(&port(ElementType::SI64, &two), ints(&[1, 2]), Some(&[1, 3])).is_err());
        assert_eq!(concrete(&port(ElementType::F32, &[None, Some(4), None]), 12), Some(vec![1, 4, 3]));
        assert_eq!(concrete(&port(ElementType::F32, &[None, Some(4)]), 10), None);
        assert_eq!(concrete(&port(ElementType::F32, &[None, Some(0)]), 0), None);
    }
}
