//! Damaged files end in an asset or a typed error: no panic, little memory, little time.

mod corpus;

use std::sync::Arc;
use std::time::{Duration, Instant};

use coreai_asset::{Asset, MemorySource};
use corpus::heap;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// Damaged copies of each sample.
const COPIES: usize = 8000;
/// Bytes that reading a damaged copy may take.
const MEMORY: usize = 64 << 20;
/// Time that reading and printing one damaged copy may take.
const TIME: Duration = Duration::from_secs(2);

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

/// One of several kinds of damage.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    // tables are at both ends of a file; weights in the middle are less interesting
    let reach = bytes.len().min(64 << 10);
    let at = match random.below(2) {
        0 => random.below(reach),
        _ => bytes.len() - 1 - random.below(reach),
    };
    match random.below(8) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 => bytes.truncate(at),
        // a length of up to 2^63
        3 => {
            let end = bytes.len().min(at + 9);
            bytes[at..end].fill(0xff);
            bytes[at] = 0;
        }
        // a length of 2^14 or 2^28
        4 => {
            let (first, count) = if random.below(2) == 0 { (0x06, 3) } else { (0x10, 5) };
            let end = bytes.len().min(at + count);
            bytes[at..end].fill(0xff);
            bytes[at] = first;
        }
        5 => {
            let count = random.below(16).min(bytes.len() - at);
            bytes.drain(at..at + count);
        }
        6 => {
            let count = random.below(16);
            let fill = random.next() as u8;
            bytes.splice(at..at, std::iter::repeat_n(fill, count));
        }
        _ => {
            // a few bytes from elsewhere: indices that point at other things
            let count = random.below(12).min(bytes.len() - at);
            let from = random.below(bytes.len() - count);
            bytes.copy_within(from..from + count, at);
        }
    }
}

#[test]
fn damaged_samples() {
    let (mut opened, mut total) = (0, 0);
    let mut codes = std::collections::BTreeMap::new();
    for (index, case) in corpus::samples().iter().enumerate() {
        let original = std::fs::read(case.join("model.aimodel/main.mlirb")).unwrap();
        let mut random = Random(0xc0de + index as u64);
        // the large sample takes longer
        let copies = if original.len() > 64 << 10 { COPIES / 4 } else { COPIES };
        for copy in 0..copies {
            let mut bytes = original.clone();
            for _ in 0..1 + random.below(3) {
                if !bytes.is_empty() {
                    damage(&mut bytes, &mut random);
                }
            }
            let source = Arc::new(MemorySource(bytes));
            let before = heap::reset_peak();
            let start = Instant::now();
            match Asset::read_blocking(source, None, None) {
                Ok(asset) => {
                    opened += 1;
                    assert!(!asset.text(Default::default()).is_empty());
                    asset.summary();
                    for function in &asset.functions {
                        for op in &function.body.ops {
                            asset.location(op.location);
                            let _ = asset.attribute(op.location);
                        }
                    }
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    *codes.entry(error.code()).or_insert(0) += 1;
                }
            }
            let (peak, time) = (heap::peak().saturating_sub(before), start.elapsed());
            assert!(peak < MEMORY, "{}, copy {copy}: {peak} bytes", case.display());
            assert!(time < TIME, "{}, copy {copy}: {time:?}", case.display());
            total += 1;
        }
    }
    println!("{total} damaged files, {opened} opened, errors {codes:?}");
}

#[test]
fn every_truncation_of_a_small_sample() {
    let mut samples: Vec<_> = corpus::samples()
        .iter()
        .map(|case| std::fs::read(case.join("model.aimodel/main.mlirb")).unwrap())
        .collect();
    samples.sort_by_key(Vec::len);
    for length in 0..samples[0].len() {
        let source = Arc::new(MemorySource(samples[0][..length].to_vec()));
        assert!(Asset::read_blocking(source, None, None).is_err(), "{length} bytes");
    }
}
