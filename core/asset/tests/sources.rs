//! A source that only reads ranges gives the same asset as one in memory, and reads little.

mod corpus;

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use coreai_asset::{Asset, AssetError, ByteSource, HashStatus, MemorySource, ReadFuture};

/// Reads without slices, and counts.
struct Ranges {
    bytes: Vec<u8>,
    reads: AtomicU64,
    read_bytes: AtomicU64,
}

impl Ranges {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, reads: AtomicU64::new(0), read_bytes: AtomicU64::new(0) }
    }
}

impl ByteSource for Ranges {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        self.reads.fetch_add(1, Relaxed);
        self.read_bytes.fetch_add(range.end - range.start, Relaxed);
        let bytes = &self.bytes[range.start as usize..range.end as usize];
        Box::pin(std::future::ready(Ok(Cow::Owned(bytes.to_vec()))))
    }
}

fn compare(path: &Path) -> (u64, u64) {
    let bytes = std::fs::read(path.join("main.mlirb")).unwrap();
    let memory = Arc::new(MemorySource(bytes.clone()));
    let memory = Asset::read_blocking(memory, None, None).unwrap();
    let source = Arc::new(Ranges::new(bytes));
    let ranges = Asset::read_blocking(source.clone(), None, None).unwrap();
    let cost = (source.reads.load(Relaxed), source.read_bytes.load(Relaxed));
    // text of ops elides constants without slices, so compare the trees themselves
    let tree = |asset: &Asset| format!("{:?}", asset.functions);
    assert!(tree(&memory) == tree(&ranges), "{}", path.display());
    cost
}

#[test]
fn samples_read_by_ranges() {
    for case in corpus::samples() {
        compare(&case.join("model.aimodel"));
    }
}

#[test]
fn models_read_by_ranges() {
    for model in [
        "models/smollm2-135m-int4/smollm2_135m_instruct_int4.aimodel",
        "models/minilm/all-MiniLM-L6-v2_int8.aimodel",
    ] {
        let Some(path) = corpus::shared(model) else {
            return;
        };
        let (reads, bytes) = compare(&path);
        println!("{model}: {reads} reads, {bytes} bytes");
        assert!(reads < 20 && bytes < 2 << 20, "{model}: {reads} reads, {bytes} bytes");
    }
}

#[test]
fn corpus_reads_by_ranges() {
    let Some(root) = corpus::shared("conformance/cases") else {
        return;
    };
    // every 16th: comparing is slow
    for case in corpus::folders(&root).iter().step_by(16) {
        compare(&case.join("model.aimodel"));
    }
}

#[test]
fn a_hash_tells() {
    let case = &corpus::samples()[0];
    let folder = case.join("model.aimodel");
    let bytes = std::fs::read(folder.join("main.mlirb")).unwrap();
    let hash: [u8; 32] = std::fs::read(folder.join("main.hash")).unwrap().try_into().unwrap();
    let open = |hash| {
        let source = Arc::new(Ranges::new(bytes.clone()));
        Asset::read_blocking(source, None, hash).unwrap().verify_hash().unwrap()
    };
    assert_eq!(open(Some(hash)), HashStatus::Match);
    assert_eq!(open(Some([0; 32])), HashStatus::Mismatch);
    assert_eq!(open(None), HashStatus::Absent);
}

#[test]
fn a_source_that_lies_is_an_error() {
    struct Short;
    impl ByteSource for Short {
        fn len(&self) -> u64 {
            1 << 40
        }
        fn read(&self, _: Range<u64>) -> ReadFuture<'_> {
            Box::pin(std::future::ready(Ok(Cow::Borrowed(&[1, 2, 3][..]))))
        }
    }
    let error = Asset::read_blocking(Arc::new(Short), None, None).unwrap_err();
    assert!(matches!(error, AssetError::Source { .. }), "{error}");
}
