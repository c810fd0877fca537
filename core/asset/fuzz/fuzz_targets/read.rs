//! Any bytes end in an asset or a typed error, by whichever kind of source they come.
#![no_main]

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use coreai_asset::{Asset, ByteSource, MemorySource, PrintOptions, ReadFuture};
use libfuzzer_sys::fuzz_target;

/// A source without slices.
struct Ranges(Vec<u8>);

impl ByteSource for Ranges {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        let bytes = self
            .0
            .get(range.start as usize..range.end as usize)
            .unwrap_or(&[]);
        Box::pin(std::future::ready(Ok(Cow::Borrowed(bytes))))
    }
}

fuzz_target!(|bytes: &[u8]| {
    let _ = Asset::read_blocking(Arc::new(Ranges(bytes.to_vec())), None, None);
    let source = Arc::new(MemorySource(bytes.to_vec()));
    if let Ok(asset) = Asset::read_blocking(source, None, None) {
        asset.text(PrintOptions {
            bodies: true,
            locations: true,
        });
        asset.summary();
    }
});
