//! The bounds of the reader. All are far above what real assets need.

/// The bytecode version this reader understands.
pub const BYTECODE_VERSION: u64 = 6;
/// The encoding version of the `aicode` dialect this reader understands.
pub const DIALECT_VERSION: u64 = 2;
/// The asset version of `metadata.json`.
pub const ASSET_VERSION: &str = "2.0";
/// Newest feature version (yyyymmdd) whose operations are known; newer ones are a warning.
pub const FEATURE_VERSION: u32 = 20_260_409;

/// Depth of nested regions; real assets reach 6.
pub const MAX_REGION_DEPTH: usize = 64;
/// Depth of nested attributes; real assets reach 6. Also ends cycles.
pub const MAX_ATTRIBUTE_DEPTH: usize = 32;
/// Rank of a tensor.
pub const MAX_RANK: u64 = 32;
/// Elements of one constant.
pub const MAX_ELEMENTS: u64 = 1 << 40;
/// Alignment of a section or a resource, in bytes.
pub const MAX_ALIGNMENT: u64 = 1 << 16;
/// Bytes of `metadata.json`.
pub const MAX_METADATA_BYTES: u64 = 16 << 20;
/// Bytes of all tables together (everything but weights).
pub const MAX_TABLE_BYTES: u64 = 1 << 30;

/// Bytes of decoded attributes that a file with `table_bytes` of tables may expand to. Attributes
/// form a graph that is unfolded into trees; without a bound 1 kB could unfold to any size.
pub(crate) fn attribute_budget(table_bytes: u64) -> u64 {
    (8 << 20) + table_bytes.saturating_mul(64).min(1 << 30)
}
