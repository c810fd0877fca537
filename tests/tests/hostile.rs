//! Damaged assets that still parse must plan or end in a typed error: never in a panic.

use std::sync::Arc;

use coreai::{AIModel, AIModelAsset, ComputeUnitKind};
use coreai_asset::{Asset, MemorySource};
use coreai_tests::{places, runner};

/// Damaged copies of each asset.
const COPIES: usize = 400;

/// xorshift64* (Vigna 2016), so that every run damages the same bytes.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n.max(1)
    }
}

#[test]
fn planning_damaged_assets_never_panics() {
    let mut random = Random(0x5eed);
    let (mut parsed, mut planned) = (0, 0);
    let cases = places::own_cases();
    assert!(!cases.is_empty(), "the repository holds assets of its own");
    for folder in cases {
        let bytes = std::fs::read(folder.join("model.aimodel/main.mlirb")).expect("asset");
        // Program and tables come first; most of a large file is weights, whose damage changes numbers only.
        let reach = bytes.len().min(60_000);
        for _ in 0..COPIES {
            let mut copy = bytes.clone();
            for _ in 0..1 + random.below(3) {
                let at = random.below(reach);
                copy[at] = random.below(256) as u8;
            }
            let source = Arc::new(MemorySource(copy));
            let Ok(asset) = pollster::block_on(Asset::read(source, None, None)) else { continue };
            parsed += 1;
            let asset = AIModelAsset::new(asset);
            for rules in [true, false] {
                let mut options = runner::options(ComputeUnitKind::Cpu);
                options.rules = rules;
                planned += usize::from(AIModel::specialize_blocking(asset.clone(), options).is_ok());
            }
        }
    }
    println!("{parsed} damaged assets parsed, {planned} plans made");
    assert!(parsed > 500, "only {parsed} damaged assets reached the planner");
}
