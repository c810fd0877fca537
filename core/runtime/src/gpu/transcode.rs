//! Elements of a constant, from the asset's encoding to the device's, chunk by chunk.

/// How the elements of one part of a constant are stored, and how the device wants them. All widths
/// are in bits and at most 32, on the device powers of two; both encodings are dense and little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transcode {
    /// Distance between elements in the asset.
    pub stored: u32,
    /// Bits that count, from the low end of a stored element.
    pub value: u32,
    /// The value is sign-extended when the device's element is wider.
    pub signed: bool,
    /// Distance between elements on the device.
    pub device: u32,
}

impl Transcode {
    /// The bytes as they are.
    pub fn raw(bits: u32) -> Transcode {
        Transcode { stored: bits, value: bits, signed: false, device: bits }
    }

    /// Whether bytes can be copied.
    pub fn is_raw(&self) -> bool {
        self.stored == self.device && self.value == self.stored
    }

    /// Bytes of the asset that elements `first..first + count` lie in, relative to the first
    /// element; `None` on overflow.
    pub fn stored_bytes(&self, first: u64, count: u64) -> Option<std::ops::Range<u64>> {
        let start = first.checked_mul(u64::from(self.stored))?;
        let end = first.checked_add(count)?.checked_mul(u64::from(self.stored))?;
        Some(start / 8..end.div_ceil(8))
    }

    /// Writes `count` elements to `to`, which starts at a byte boundary and is zero. `from` starts at
    /// the byte that holds element `first`. Stops at the end of either slice.
    pub fn convert(&self, from: &[u8], first: u64, to: &mut [u8], count: usize) {
        let bit0 = (first * u64::from(self.stored) % 8) as usize;
        if self.is_raw() && bit0 == 0 {
            let bytes = (count * self.stored as usize).div_ceil(8).min(from.len()).min(to.len());
            to[..bytes].copy_from_slice(&from[..bytes]);
            return;
        }
        for i in 0..count {
            let value = self.extend(bits_at(from, bit0 + i * self.stored as usize, self.stored));
            put_bits(to, i * self.device as usize, self.device, value);
        }
    }

    /// Writes `count` copies of the one element that a splat stores.
    pub fn repeat(&self, from: &[u8], to: &mut [u8], count: usize) {
        let value = self.extend(bits_at(from, 0, self.stored));
        for i in 0..count {
            put_bits(to, i * self.device as usize, self.device, value);
        }
    }

    fn extend(&self, stored: u32) -> u32 {
        let unused = 32 - self.value.clamp(1, 32);
        if self.signed {
            ((stored << unused).cast_signed() >> unused).cast_unsigned()
        } else {
            stored << unused >> unused
        }
    }
}

/// `width` (at most 8, 16 or 32) bits at bit `at`, a multiple of `width`; 0 past the end.
fn bits_at(from: &[u8], at: usize, width: u32) -> u32 {
    let byte = |i: usize| u32::from(from.get(at / 8 + i).copied().unwrap_or(0));
    match width {
        32 => byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24,
        16 => byte(0) | byte(1) << 8,
        8 => byte(0),
        // 3 and 6 bits may lie across two bytes.
        _ => (byte(0) | byte(1) << 8) >> (at % 8) & ((1 << width) - 1),
    }
}

/// Sets `width` zero bits at bit `at`, a multiple of `width`.
fn put_bits(to: &mut [u8], at: usize, width: u32, value: u32) {
    let bytes = value.to_le_bytes();
    let first = at / 8;
    if width < 8 {
        if let Some(byte) = to.get_mut(first) {
            *byte |= ((value & ((1 << width) - 1)) as u8) << (at % 8);
        }
        return;
    }
    for (i, byte) in to.iter_mut().skip(first).take(width as usize / 8).enumerate() {
        *byte = bytes[i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(t: Transcode, from: &[u8], first: u64, count: usize) -> Vec<u8> {
        let mut to = vec![0; (count * t.device as usize).div_ceil(8)];
        let skip = t.stored_bytes(first, count as u64).unwrap();
        t.convert(&from[skip.start as usize..skip.end as usize], first, &mut to, count);
        to
    }

    #[test]
    fn elements_keep_their_values_between_widths() {
        let pack = Transcode { stored: 8, value: 4, signed: true, device: 4 };
        assert_eq!(convert(pack, &[0x01, 0xff, 0x07, 0xf8], 0, 4), [0xf1, 0x87]);
        let widen = Transcode { stored: 4, value: 4, signed: true, device: 8 };
        assert_eq!(convert(widen, &[0xf1, 0x87], 1, 3), [0xff, 0x07, 0xf8]);
        let widen = Transcode { stored: 4, value: 4, signed: false, device: 8 };
        assert_eq!(convert(widen, &[0xf1, 0x87], 0, 4), [0x01, 0x0f, 0x07, 0x08]);
        let straddling = Transcode { stored: 3, value: 3, signed: false, device: 4 };
        assert_eq!(convert(straddling, &[0b1000_1101, 0b1111_0110], 0, 5), [0x15, 0x32, 0x07]);
        let straddling = Transcode { stored: 6, value: 6, signed: false, device: 8 };
        assert_eq!(convert(straddling, &[0b0100_0001, 0b0011_1001, 0xff], 1, 3), [0x25, 0x33, 0x3f]);
        // Signed codes stored one per byte, with garbage above the code.
        let normalize = Transcode { stored: 8, value: 4, signed: true, device: 8 };
        assert_eq!(convert(normalize, &[0x3f, 0x07], 0, 2), [0xff, 0x07]);
        let words = Transcode { stored: 16, value: 16, signed: true, device: 32 };
        assert_eq!(convert(words, &[0xfe, 0xff, 2, 0], 0, 2), [0xfe, 0xff, 0xff, 0xff, 2, 0, 0, 0]);
        let bits = Transcode { stored: 8, value: 1, signed: false, device: 1 };
        assert_eq!(convert(bits, &[1, 0, 1, 1, 0, 0, 0, 1, 1], 0, 9), [0b1000_1101, 1]);
    }

    #[test]
    fn a_splat_fills_every_element() {
        let mut to = [0; 4];
        Transcode::raw(4).repeat(&[0x0a], &mut to, 7);
        assert_eq!(to, [0xaa, 0xaa, 0xaa, 0x0a]);
    }
}
