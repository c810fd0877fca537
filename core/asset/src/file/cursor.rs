//! Primitive decoding: bounded bytes and PrefixVarInt (§2.1).

use crate::error::AssetError;

/// A position in a slice of the file. Every read is checked; errors carry the file offset.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    /// Index of the next byte; never greater than `bytes.len()`.
    at: usize,
    /// File offset of `bytes[0]`.
    base: u64,
    /// What is being read, for messages.
    what: &'static str,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8], base: u64, what: &'static str) -> Self {
        Self { bytes, at: 0, base, what }
    }

    /// File offset of the next byte.
    pub fn offset(&self) -> u64 {
        self.base.saturating_add(self.at as u64)
    }

    pub fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    pub fn is_done(&self) -> bool {
        self.remaining() == 0
    }

    pub fn malformed(&self, reason: impl Into<String>) -> AssetError {
        AssetError::malformed(self.what, self.offset(), reason)
    }

    /// Fails if bytes are left.
    pub fn finish(&self) -> Result<(), AssetError> {
        match self.remaining() {
            0 => Ok(()),
            n => Err(self.malformed(format!("{n} bytes too many"))),
        }
    }

    pub fn u8(&mut self) -> Result<u8, AssetError> {
        match self.take(1)? {
            [byte] => Ok(*byte),
            _ => Err(self.malformed("no byte")),
        }
    }

    pub fn take(&mut self, count: u64) -> Result<&'a [u8], AssetError> {
        let taken = usize::try_from(count)
            .ok()
            .and_then(|count| self.at.checked_add(count))
            .and_then(|end| Some((end, self.bytes.get(self.at..end)?)));
        match taken {
            Some((end, bytes)) => {
                self.at = end;
                Ok(bytes)
            }
            None => Err(AssetError::Truncated {
                what: self.what,
                offset: self.offset(),
                needed: count,
                available: self.remaining() as u64,
            }),
        }
    }

    /// A cursor over the next `count` bytes.
    pub fn sub(&mut self, count: u64, what: &'static str) -> Result<Cursor<'a>, AssetError> {
        let base = self.offset();
        Ok(Cursor::new(self.take(count)?, base, what))
    }

    /// PrefixVarInt: the trailing zero bits of the first byte count the bytes that follow.
    pub fn vi(&mut self) -> Result<u64, AssetError> {
        let first = self.u8()?;
        let extra = first.trailing_zeros(); // 8 for a zero byte
        let rest = self.take(u64::from(extra))?;
        let tail = rest.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        Ok(match extra {
            0 => u64::from(first >> 1),
            // 7 - extra payload bits in the first byte, then `extra` whole bytes
            1..=7 => tail << (7 - extra) | u64::from(first) >> (extra + 1),
            _ => tail,
        })
    }

    /// Zig-zag PrefixVarInt.
    pub fn svi(&mut self) -> Result<i64, AssetError> {
        let value = self.vi()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A value with a flag in its low bit.
    pub fn flagged(&mut self) -> Result<(u64, bool), AssetError> {
        let value = self.vi()?;
        Ok((value >> 1, value & 1 == 1))
    }

    /// A count of items that take at least `item_bytes` bytes each: cannot exceed what is left.
    pub fn count(&mut self, what: &'static str, item_bytes: usize) -> Result<usize, AssetError> {
        let offset = self.offset();
        let value = self.vi()?;
        self.check_count(value, what, item_bytes, offset)
    }

    pub fn check_count(
        &self,
        value: u64,
        what: &'static str,
        item_bytes: usize,
        offset: u64,
    ) -> Result<usize, AssetError> {
        let limit = self.remaining() / item_bytes.max(1);
        match usize::try_from(value) {
            Ok(count) if count <= limit => Ok(count),
            _ => Err(AssetError::LimitExceeded { what, offset, value, limit: limit as u64 }),
        }
    }

    /// A table index as `u32`, checked against the length of its table.
    pub fn index(&mut self, what: &'static str, len: usize) -> Result<u32, AssetError> {
        let offset = self.offset();
        let index = self.vi()?;
        check_index(what, index, len, offset)
    }

    /// `0xCB` bytes up to the next file offset that is a multiple of `alignment`.
    pub fn padding(&mut self, alignment: u64) -> Result<(), AssetError> {
        if !alignment.is_power_of_two() {
            return Err(self.malformed(format!("alignment {alignment} is not a power of two")));
        }
        if alignment > crate::limits::MAX_ALIGNMENT {
            return Err(AssetError::LimitExceeded {
                what: "alignment",
                offset: self.offset(),
                value: alignment,
                limit: crate::limits::MAX_ALIGNMENT,
            });
        }
        let gap = self.offset().wrapping_neg() & (alignment - 1);
        if self.take(gap)?.iter().any(|byte| *byte != 0xCB) {
            return Err(self.malformed("padding bytes are not CB"));
        }
        Ok(())
    }

    /// Bytes up to a NUL, which is consumed.
    pub fn c_string(&mut self) -> Result<&'a [u8], AssetError> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let Some(length) = rest.iter().position(|byte| *byte == 0) else {
            return Err(self.malformed("unterminated string"));
        };
        let bytes = self.take(length as u64)?;
        self.take(1)?;
        Ok(bytes)
    }
}

pub(crate) fn check_index(
    what: &'static str,
    index: u64,
    len: usize,
    offset: u64,
) -> Result<u32, AssetError> {
    match u32::try_from(index) {
        Ok(small) if (small as usize) < len => Ok(small),
        _ => Err(AssetError::IndexOutOfRange { what, offset, index, len: len as u64 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vi(bytes: &[u8]) -> Result<u64, AssetError> {
        let mut cursor = Cursor::new(bytes, 0, "test");
        let value = cursor.vi()?;
        cursor.finish()?;
        Ok(value)
    }

    /// The writer's side, to test every length.
    fn encode(value: u64) -> Vec<u8> {
        for extra in 0..8u32 {
            let bits = 7 * (extra + 1);
            if value >> bits == 0 {
                let word = (value << 1 | 1) << extra;
                return word.to_le_bytes()[..=extra as usize].to_vec();
            }
        }
        let mut bytes = vec![0];
        bytes.extend(value.to_le_bytes());
        bytes
    }

    #[test]
    fn examples_of_the_format_text() {
        assert_eq!(vi(&[0x1d]).unwrap(), 14);
        assert_eq!(vi(&[0x1e, 0x04]).unwrap(), 263);
        assert_eq!(vi(&[0x08, 0x01, 0x00, 0x32]).unwrap(), 52_428_816);
        let dynamic = [0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(vi(&dynamic).unwrap(), u64::MAX);
        assert_eq!(Cursor::new(&dynamic, 0, "test").svi().unwrap(), i64::MIN);
    }

    #[test]
    fn every_length_round_trips() {
        for bit in 0..64 {
            for value in [1u64 << bit, (1u64 << bit) - 1, (1u64 << bit) | 1, u64::MAX >> bit] {
                assert_eq!(vi(&encode(value)).unwrap(), value, "{value:#x}");
            }
        }
    }

    #[test]
    fn zig_zag() {
        for (word, value) in [(0u64, 0i64), (1, -1), (2, 1), (3, -2), (u64::MAX - 1, i64::MAX)] {
            assert_eq!(Cursor::new(&encode(word), 0, "test").svi().unwrap(), value);
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        for bytes in [encode(263), encode(1 << 40), encode(u64::MAX)] {
            for length in 0..bytes.len() {
                assert!(matches!(vi(&bytes[..length]), Err(AssetError::Truncated { .. })));
            }
        }
    }

    #[test]
    fn counts_are_bounded_by_the_bytes_left() {
        let mut cursor = Cursor::new(&[0x09, 0, 0, 0], 100, "test"); // 4 items, 3 bytes
        match cursor.count("items", 1) {
            Err(AssetError::LimitExceeded { offset: 100, value: 4, limit: 3, .. }) => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn padding_follows_the_file_offset() {
        let mut cursor = Cursor::new(&[0xCB, 0xCB, 7], 14, "test");
        cursor.padding(16).unwrap();
        assert_eq!(cursor.u8().unwrap(), 7);
        assert!(Cursor::new(&[0, 0], 14, "test").padding(16).is_err());
        assert!(Cursor::new(&[0xCB; 8], 14, "test").padding(3).is_err());
        assert!(Cursor::new(&[0xCB; 8], 14, "test").padding(1 << 40).is_err());
    }
}
