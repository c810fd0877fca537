//! Images as tensors of bytes (`OPSET` §10).

/// Extents of the uint8 tensor that holds an image of this format; `None` for formats without one.
pub fn tensor_shape(fourcc: u64, height: u64, width: u64) -> Option<Vec<u64>> {
    const RGB24: u64 = 24;
    const ARGB32: u64 = 32;
    const BGRA: u64 = 0x4247_5241;
    const Y420: u64 = 0x7934_3230;
    Some(match fourcc {
        RGB24 => vec![height, width, 3],
        ARGB32 | BGRA => vec![height, width, 4],
        // Luma, then both chroma planes at half the resolution.
        Y420 => vec![height.checked_mul(width)?.checked_mul(3)? / 2],
        _ => return None,
    })
}
