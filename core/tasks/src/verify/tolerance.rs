//! The one table of tolerances.

use coreai::ElementType;

/// How far results of one element type may be from recorded ones.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Element type.
    pub element: ElementType,
    /// Largest difference, relative to the largest recorded magnitude of the tensor.
    pub relative: f64,
    /// Low precision: a tensor beyond `relative` still passes when it is as close to the float64
    /// accumulated result as the recorded one is (see [`WIDE_FACTOR`]).
    pub wide: bool,
}

/// Every type that is not here must be equal: integers, bool, powers of two, 4-bit floats.
///
/// float64, float32, complex: rounding order of sums. float16, bfloat16: the bounds of the corpus'
/// README. 8-bit floats: one unit in the last place of the largest element.
pub const TABLE: &[Row] = &[
    Row { element: ElementType::F64, relative: 2e-5, wide: false },
    Row { element: ElementType::F32, relative: 2e-5, wide: false },
    Row { element: ElementType::TF32, relative: 1e-3, wide: true },
    Row { element: ElementType::F16, relative: 1e-2, wide: true },
    Row { element: ElementType::BF16, relative: 4e-2, wide: true },
    Row { element: ElementType::F8E4M3FN, relative: 0.0625, wide: true },
    Row { element: ElementType::F8E5M2, relative: 0.125, wide: true },
    Row { element: ElementType::ComplexF64, relative: 2e-5, wide: false },
    Row { element: ElementType::ComplexF32, relative: 2e-5, wide: false },
    Row { element: ElementType::ComplexF16, relative: 1e-2, wide: true },
    Row { element: ElementType::ComplexBF16, relative: 4e-2, wide: true },
];

/// `err(ours, wide) ≤ 1.25 × err(recorded, wide) + 1 ulp`, errors being the largest over a tensor.
pub const WIDE_FACTOR: f64 = 1.25;

/// How many times the absolute bound the recorded tensor may be from the wide one for that rule: what is
/// farther off is another function and not rounding, and the wide result is our own.
pub const WIDE_REACH: f64 = 4.0;

/// The row of an element type; equality for those that have none.
pub fn row(element: ElementType) -> Row {
    let found = TABLE.iter().find(|r| r.element == element);
    found.copied().unwrap_or(Row { element, relative: 0.0, wide: false })
}

/// One unit in the last place of `magnitude`.
pub(super) fn ulp(element: ElementType, magnitude: f64) -> f64 {
    use ElementType::*;
    let part = element.complex_part().unwrap_or(element);
    let mantissa = match part {
        F64 => 52,
        F32 => 23,
        F16 | TF32 => 10,
        BF16 => 7,
        F8E4M3FN => 3,
        F8E5M2 => 2,
        _ => return 0.0,
    };
    if magnitude > 0.0 && magnitude.is_finite() {
        (magnitude.log2().floor() - f64::from(mantissa)).exp2()
    } else {
        0.0
    }
}

/// Bounds of one tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowed {
    /// Absolute difference; 0 asks for equality.
    pub absolute: f64,
    /// Further difference, relative to the recorded element.
    pub relative: f64,
    /// Whether closeness to the wide result counts as well.
    pub wide: bool,
}

/// The smallest positive value of a low-precision type: where all of a tensor is that small, its
/// elements are steps of this size. 0 for types that do not come near it.
fn least(element: ElementType) -> f64 {
    match element.complex_part().unwrap_or(element) {
        ElementType::F16 => (-24f64).exp2(),
        ElementType::F8E4M3FN => (-9f64).exp2(),
        ElementType::F8E5M2 => (-16f64).exp2(),
        _ => 0.0,
    }
}

/// Bounds for a tensor of `element` whose largest magnitude is `peak`. `rounding` is the coarsest
/// float type of the program; `test` is the tolerance of the test that made the case, which counts for
/// low precision only.
pub fn allowed(
    element: ElementType,
    rounding: ElementType,
    peak: f64,
    test: Option<super::CaseTolerance>,
) -> Allowed {
    let own = row(element);
    if own.relative == 0.0 {
        return Allowed { absolute: 0.0, relative: 0.0, wide: false };
    }
    let program = row(rounding);
    let full = matches!(element, ElementType::F32 | ElementType::ComplexF32);
    let (bound, wide) = match full {
        true => (own.relative.max(program.relative), program.wide),
        false => (own.relative, own.wide),
    };
    // The tests' own tolerances allow for float16; a float32 program is held to float32.
    let test = test.filter(|_| wide).unwrap_or_default();
    let least = least(element).max(if full { least(rounding) } else { 0.0 });
    let absolute = test.atol.unwrap_or(0.0).max(bound * peak).max(least);
    Allowed { absolute, relative: test.rtol.unwrap_or(0.0), wide }
}

#[cfg(test)]
mod tests {
    use super::super::CaseTolerance;
    use super::*;

    #[test]
    fn only_floats_may_differ() {
        for element in ElementType::all() {
            let bound = allowed(
                element,
                ElementType::F16,
                1.0,
                Some(CaseTolerance { rtol: Some(1.0), atol: Some(1.0) }),
            );
            let exact = bound.absolute == 0.0 && bound.relative == 0.0 && !bound.wide;
            let float = TABLE.iter().any(|r| r.element == element);
            assert_eq!(exact, !float, "{element}");
            assert!(!float || element.is_float() || element.is_complex());
        }
    }

    #[test]
    fn a_float32_result_of_a_float16_program_is_float16_exact() {
        assert_eq!(allowed(ElementType::F32, ElementType::F16, 2.0, None).absolute, 0.02);
        assert_eq!(allowed(ElementType::F32, ElementType::F32, 2.0, None).absolute, 4e-5);
        assert_eq!(allowed(ElementType::F16, ElementType::F32, 2.0, None).absolute, 0.02);
        assert_eq!(allowed(ElementType::F16, ElementType::F16, 1e-7, None).absolute, 2f64.powi(-24));
    }

    #[test]
    fn units_in_the_last_place() {
        assert_eq!(ulp(ElementType::F16, 1.5), 2f64.powi(-10));
        assert_eq!(ulp(ElementType::BF16, 4.0), 2f64.powi(-5));
        assert_eq!(ulp(ElementType::SI32, 4.0), 0.0);
        assert_eq!(ulp(ElementType::F16, 0.0), 0.0);
    }
}
