//! Element, tensor and function types (`AIMODEL_FORMAT` §3).

/// Element type of a tensor, by its type code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ElementType {
    Bool,
    F64,
    F32,
    F16,
    BF16,
    F8E5M2,
    F8E4M3FN,
    ComplexF64,
    ComplexF32,
    ComplexF16,
    ComplexBF16,
    ComplexF8E5M2,
    ComplexF8E4M3FN,
    SI64,
    SI32,
    SI16,
    SI8,
    SI4,
    SI2,
    UI64,
    UI32,
    UI16,
    UI8,
    UI4,
    UI2,
    UI1,
    UI6,
    UI3,
    TF32,
    F4E2M1FN,
    F8E8M0FN,
}

/// A tensor type; the rank is always static.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Extents; `None` is a dynamic extent (`?`).
    pub shape: Vec<Option<u64>>,
    /// Element type.
    pub element: ElementType,
    /// Layout or sparsity encoding (type code 3): an index into the attribute table.
    pub encoding: Option<AttrId>,
}

/// Index of an attribute in the asset's attribute table; decoded on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttrId(pub u32);

impl AttrId {
    /// The location of what has none: no file has that many attributes.
    pub const UNKNOWN: Self = Self(u32::MAX);
}

/// Index of a type in the asset's type table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TypeId(pub u32);

/// A type of the `aicode` dialect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// A bare element type.
    Scalar(ElementType),
    /// A tensor, with or without an encoding.
    Tensor(TensorType),
    /// A state: mutable storage owned by the caller.
    Handle(TypeId),
    /// An ordering token.
    Token,
    /// A function signature.
    Function {
        /// Argument types.
        inputs: Vec<TypeId>,
        /// Result types.
        outputs: Vec<TypeId>,
    },
    /// An image.
    Image {
        /// FourCC value.
        fourcc: u64,
        /// Rows.
        height: u64,
        /// Columns.
        width: u64,
        /// Image constraints (type code 40).
        constraints: Option<AttrId>,
    },
    /// A named opaque type.
    Opaque {
        /// Its name.
        name: String,
        /// Its parameters.
        params: Vec<AttrId>,
    },
    /// A parametric-graph type (codes 33–35); the code.
    Parametric(u8),
    /// A debug-information type (codes 41–45), never decoded further; the code.
    Debug(u8),
}

/// Code, element type, name, name in NumPy or `ml_dtypes` (our own where neither has it) and storage
/// bits; the one table of element types.
const ELEMENTS: [(u8, ElementType, &str, &str, u32); 31] = {
    use ElementType::*;
    [
        (4, Bool, "bool", "bool", 8),
        (5, F64, "float64", "float64", 64),
        (6, F32, "float32", "float32", 32),
        (7, F16, "float16", "float16", 16),
        (8, BF16, "bfloat16", "bfloat16", 16),
        (9, F8E5M2, "float8E5M2", "float8_e5m2", 8),
        (10, F8E4M3FN, "float8E4M3FN", "float8_e4m3fn", 8),
        (11, ComplexF64, "complex_float64", "complex128", 128),
        (12, ComplexF32, "complex_float32", "complex64", 64),
        (13, ComplexF16, "complex_float16", "complex_float16", 32),
        (14, ComplexBF16, "complex_bfloat16", "complex_bfloat16", 32),
        (15, ComplexF8E5M2, "complex_float8E5M2", "complex_float8E5M2", 16),
        (16, ComplexF8E4M3FN, "complex_float8E4M3FN", "complex_float8E4M3FN", 16),
        (17, SI64, "sint64", "int64", 64),
        (18, SI32, "sint32", "int32", 32),
        (19, SI16, "sint16", "int16", 16),
        (20, SI8, "sint8", "int8", 8),
        (21, SI4, "sint4", "int4", 4),
        (22, SI2, "sint2", "int2", 2),
        (23, UI64, "uint64", "uint64", 64),
        (24, UI32, "uint32", "uint32", 32),
        (25, UI16, "uint16", "uint16", 16),
        (26, UI8, "uint8", "uint8", 8),
        (27, UI4, "uint4", "uint4", 4),
        (28, UI2, "uint2", "uint2", 2),
        (29, UI1, "uint1", "uint1", 1),
        (36, UI6, "uint6", "uint6", 6),
        (37, UI3, "uint3", "uint3", 3),
        (38, TF32, "tfloat32", "tfloat32", 32),
        (46, F4E2M1FN, "float4E2M1FN", "float4_e2m1fn", 4),
        (47, F8E8M0FN, "float8E8M0FN", "float8_e8m0fnu", 8),
    ]
};

impl ElementType {
    /// The element type of a type code (`AIMODEL_FORMAT` §3).
    pub fn from_code(code: u64) -> Option<Self> {
        ELEMENTS.iter().find(|row| u64::from(row.0) == code).map(|row| row.1)
    }

    /// Every element type, in the order of their codes.
    pub fn all() -> impl Iterator<Item = Self> {
        ELEMENTS.iter().map(|row| row.1)
    }

    /// The element type of a name as [`ElementType::numpy_name`] gives it.
    pub fn from_numpy_name(name: &str) -> Option<Self> {
        ELEMENTS.iter().find(|row| row.3 == name).map(|row| row.1)
    }

    fn row(self) -> (&'static str, &'static str, u32) {
        let row = ELEMENTS.iter().find(|row| row.1 == self);
        row.map_or(("unknown", "unknown", 0), |row| (row.2, row.3, row.4)) // the table is complete, see the test
    }

    /// As NumPy and `ml_dtypes` call it, e.g. `int32`, `float8_e5m2`.
    pub fn numpy_name(self) -> &'static str {
        self.row().1
    }

    /// E.g. `float16`, `sint4`, `uint8`.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Bits of one stored element; `bool` takes a byte, complex types both parts.
    pub fn bits(self) -> u32 {
        self.row().2
    }

    /// Real floating-point types, of any width.
    pub fn is_float(self) -> bool {
        use ElementType::*;
        let exotic = matches!(self, TF32 | F4E2M1FN | F8E8M0FN);
        exotic || matches!(self, F64 | F32 | F16 | BF16 | F8E5M2 | F8E4M3FN)
    }

    /// Complex types.
    pub fn is_complex(self) -> bool {
        self.complex_part().is_some()
    }

    /// The type of the real and imaginary parts.
    pub fn complex_part(self) -> Option<Self> {
        use ElementType::*;
        Some(match self {
            ComplexF64 => F64,
            ComplexF32 => F32,
            ComplexF16 => F16,
            ComplexBF16 => BF16,
            ComplexF8E5M2 => F8E5M2,
            ComplexF8E4M3FN => F8E4M3FN,
            _ => return None,
        })
    }

    /// Signed integers.
    pub fn is_signed_integer(self) -> bool {
        use ElementType::*;
        matches!(self, SI64 | SI32 | SI16 | SI8 | SI4 | SI2)
    }

    /// Unsigned integers; `bool` is not one.
    pub fn is_unsigned_integer(self) -> bool {
        use ElementType::*;
        matches!(self, UI64 | UI32 | UI16 | UI8 | UI6 | UI4 | UI3 | UI2 | UI1)
    }

    /// Signed or unsigned integers.
    pub fn is_integer(self) -> bool {
        self.is_signed_integer() || self.is_unsigned_integer()
    }

    /// Bytes of `count` packed elements; `None` on overflow.
    pub fn packed_bytes(self, count: u64) -> Option<u64> {
        Some(count.checked_mul(u64::from(self.bits()))?.div_ceil(8))
    }
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl TensorType {
    /// Number of elements; `None` if an extent is dynamic or the product overflows.
    pub fn elements(&self) -> Option<u64> {
        let zero = self.shape.contains(&Some(0)) && !self.shape.contains(&None);
        if zero {
            return Some(0);
        }
        self.shape.iter().try_fold(1u64, |count, extent| count.checked_mul((*extent)?))
    }

    /// No extent is dynamic.
    pub fn is_static(&self) -> bool {
        self.shape.iter().all(Option::is_some)
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn element_table_is_complete() {
        for element in ElementType::all() {
            assert!(element.bits() > 0 && element.name() != "unknown", "{element:?}");
        }
        assert_eq!(ElementType::from_code(21), Some(ElementType::SI4));
        assert_eq!(ElementType::from_code(30), None);
        assert_eq!(ElementType::SI4.packed_bytes(5), Some(3));
        assert_eq!(ElementType::UI3.packed_bytes(8), Some(3));
        assert_eq!(ElementType::F64.packed_bytes(u64::MAX), None);
    }

    #[test]
    fn elements_of_shapes() {
        let tensor = |shape: &[Option<u64>]| TensorType {
            shape: shape.to_vec(),
            element: ElementType::F32,
            encoding: None,
        };
        assert_eq!(tensor(&[]).elements(), Some(1));
        assert_eq!(tensor(&[Some(2), Some(3)]).elements(), Some(6));
        assert_eq!(tensor(&[Some(2), None]).elements(), None);
        assert_eq!(tensor(&[Some(0), Some(u64::MAX), Some(9)]).elements(), Some(0));
        assert_eq!(tensor(&[Some(1 << 40), Some(1 << 40)]).elements(), None);
    }
}
