//! Primitive encoding (§2.1): the counterpart of `file::cursor`.

/// PrefixVarInt: the trailing zero bits of the first byte count the bytes that follow.
pub(super) fn vi(out: &mut Vec<u8>, value: u64) {
    for extra in 0..8u32 {
        let payload = 7 * (extra + 1);
        if value >> payload == 0 {
            let word = (value << 1 | 1) << extra;
            let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
            out.extend([a, b, c, d, e, f, g, h].into_iter().take(extra as usize + 1));
            return;
        }
    }
    out.push(0);
    out.extend(value.to_le_bytes());
}

/// Zig-zag PrefixVarInt.
pub(super) fn svi(out: &mut Vec<u8>, value: i64) {
    vi(out, (value as u64) << 1 ^ (value >> 63) as u64);
}

/// A value with a flag in its low bit. Values are table indices and sizes, far below 2^63.
pub(super) fn flagged(out: &mut Vec<u8>, value: u64, flag: bool) {
    vi(out, value << 1 | u64::from(flag));
}

/// A section without alignment.
pub(super) fn section(out: &mut Vec<u8>, id: u8, data: &[u8]) {
    out.push(id);
    vi(out, data.len() as u64);
    out.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Cursor;

    #[test]
    fn what_is_written_is_read() {
        for bit in 0..64 {
            for value in [1u64 << bit, (1u64 << bit) - 1, (1u64 << bit) | 1, u64::MAX >> bit] {
                let mut bytes = Vec::new();
                vi(&mut bytes, value);
                svi(&mut bytes, value as i64);
                svi(&mut bytes, (value as i64).wrapping_neg());
                let mut cursor = Cursor::new(&bytes, 0, "test");
                assert_eq!(cursor.vi().expect("a number"), value);
                assert_eq!(cursor.svi().expect("a number"), value as i64);
                assert_eq!(cursor.svi().expect("a number"), (value as i64).wrapping_neg());
                cursor.finish().expect("no byte too many");
            }
        }
    }

    #[test]
    fn examples_of_the_format_text() {
        for (value, expected) in
            [(14, &[0x1d][..]), (263, &[0x1e, 0x04]), (52_428_816, &[0x08, 0x01, 0x00, 0x32])]
        {
            let mut bytes = Vec::new();
            vi(&mut bytes, value);
            assert_eq!(bytes, expected);
        }
        let mut dynamic = Vec::new();
        svi(&mut dynamic, i64::MIN);
        assert_eq!(dynamic, [0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    }
}
