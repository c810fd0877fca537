//! Opening a real model costs little time and memory: weights and locations are not touched.

mod corpus;

use std::time::{Duration, Instant};

use coreai_asset::Asset;
use corpus::heap;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

#[test]
fn smollm2_opens_in_little_memory() {
    let model = "models/smollm2-135m-int4/smollm2_135m_instruct_int4.aimodel";
    let Some(path) = corpus::shared(model) else {
        return;
    };
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let before = heap::reset_peak();
        let start = Instant::now();
        let asset = Asset::open(&path).unwrap();
        best = best.min(start.elapsed());
        let (held, peak) = (heap::live().saturating_sub(before), heap::peak().saturating_sub(before));
        println!("open {:?}, heap {held} bytes held, {peak} at the peak", start.elapsed());
        assert!(peak < 10 << 20, "{peak} bytes");
        assert_eq!(asset.functions.iter().filter(|f| !f.private).count(), 1);
    }
    // a release build takes a tenth of this; the bound only catches accidents
    assert!(best < Duration::from_millis(300), "{best:?}");
}
