//! Damaged files end in a file or a typed error: no panic, little memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use coreai_asset::MemorySource;
use coreai_convert::{ConvertError, Gguf, PackedRows, Rows};

use crate::build::{Build, Ranges, array, read, small};
use crate::corpus::heap;

/// Bytes that reading a damaged file of 1 kB, and its tensors, may take; other tests run meanwhile.
const MEMORY: usize = 32 << 20;

/// Reads everything that the file claims to have.
fn read_all(bytes: Vec<u8>, slices: bool) -> Result<(), ConvertError> {
    let file = match slices {
        true => Gguf::read("test.gguf", Arc::new(MemorySource(bytes)))?,
        false => Gguf::read("test.gguf", Arc::new(Ranges(bytes)))?,
    };
    for key in file.metadata().keys() {
        if let Ok(Some(strings)) = file.metadata().strings(key) {
            assert_eq!(strings.iter().count(), strings.len());
        }
        if let Ok(Some(numbers)) = file.metadata().integers(key) {
            numbers.for_each(drop);
        }
        file.metadata().get(key).map(|value| value.describe());
    }
    for name in file.names() {
        let tensor = file.tensor(name).expect("a name of the file");
        let mut values = vec![0.0; (tensor.rows() * tensor.columns()) as usize];
        tensor.read(0, &mut values)?;
        if tensor.packing().is_some() {
            tensor.read_packed(0, tensor.rows(), &mut PackedRows::default())?;
        }
    }
    Ok(())
}

#[test]
fn every_truncation() {
    let bytes = small().bytes();
    read_all(bytes.clone(), true).unwrap();
    read_all(bytes.clone(), false).unwrap();
    for length in 0..bytes.len() {
        for slices in [true, false] {
            let error = read_all(bytes[..length].to_vec(), slices).unwrap_err();
            assert_eq!(error.code(), "convert.malformed", "{length} bytes: {error}");
            assert!(error.to_string().contains("test.gguf"), "{error}");
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

#[test]
fn random_damage() {
    let original = small().bytes();
    let header = small().header().len();
    let mut random = Random(0x6767_7566);
    let mut answers = BTreeMap::new();
    for copy in 0..40_000 {
        let mut bytes = original.clone();
        for _ in 0..1 + random.below(3) {
            let at = random.below(header);
            match random.below(5) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.next() as u8,
                2 => bytes[at] = random.below(32) as u8,
                // a number of up to 2⁶⁴
                3 => bytes[at..(at + 8).min(header)].fill(0xff),
                _ => {
                    let from = random.below(header - 8);
                    bytes.copy_within(from..from + 1 + random.below(8), at.min(header - 8));
                }
            }
        }
        let before = heap::reset_peak();
        let answer = read_all(bytes, copy % 2 == 0);
        let peak = heap::peak().saturating_sub(before);
        assert!(peak < MEMORY, "copy {copy}: {peak} bytes");
        let code = answer.map_or_else(|error| error.code(), |()| "read");
        *answers.entry(code).or_insert(0) += 1;
    }
    println!("{answers:?}");
    // harmless damage, and damage that was found
    assert!(answers["read"] > 100 && answers["convert.malformed"] > 10_000, "{answers:?}");
}

/// Counts of 2⁶³ and the like, wherever a file has a count.
#[test]
fn huge_counts() {
    let huge = [1 << 20, 1 << 32, 1 << 61, 1 << 63, u64::MAX];
    for count in huge {
        let before = heap::reset_peak();
        for at in [8, 16] {
            let mut bytes = small().bytes();
            bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
            assert_eq!(read(bytes).err().unwrap().code(), "convert.malformed", "{count} at {at}");
        }
        for kind in 0..=12 {
            let build = Build::default().key("k", 9, &array(kind, count, &[1; 64]));
            assert_eq!(build.error().code(), "convert.malformed", "{count} of type {kind}");
        }
        let build = Build::default().key("k", 8, &count.to_le_bytes());
        assert_eq!(build.error().code(), "convert.malformed", "{count}");
        for extents in [&[count][..], &[1, count], &[count; 4]] {
            let build = Build::default().tensor("w", extents, 0, 0).data(&[0; 64]);
            assert_eq!(build.error().code(), "convert.malformed", "{extents:?}");
        }
        assert!(heap::peak().saturating_sub(before) < MEMORY, "{count}");
    }
}

/// A file that is as long as its counts claim, but holds nothing.
struct Endless;

impl coreai_asset::ByteSource for Endless {
    fn len(&self) -> u64 {
        1 << 60
    }

    fn read(&self, range: std::ops::Range<u64>) -> coreai_asset::ReadFuture<'_> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        // magic, version, no tensors, a key "k" that is an array of 2⁵⁰ strings
        let build = Build::default().key("k", 9, &array(8, 1 << 50, &[]));
        for (at, byte) in build.bytes().into_iter().enumerate() {
            if let Some(index) = (at as u64).checked_sub(range.start)
                && let Some(place) = bytes.get_mut(index as usize)
            {
                *place = byte;
            }
        }
        Box::pin(std::future::ready(Ok(bytes.into())))
    }
}

#[test]
fn headers_have_a_limit() {
    let before = heap::reset_peak();
    let error = Gguf::read("test.gguf", Arc::new(Endless)).err().unwrap();
    assert_eq!(error.code(), "convert.limit", "{error}");
    assert!(heap::peak().saturating_sub(before) < MEMORY);
}

#[test]
fn keys_and_tensors_have_limits() {
    let mut bytes = Build::default().bytes();
    bytes.resize(8 << 20, 0);
    for (at, count) in [(8, 200_000u64), (16, 70_000)] {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
        let error = read(bytes).err().unwrap();
        assert_eq!(error.code(), "convert.limit", "{error}");
    }
}
