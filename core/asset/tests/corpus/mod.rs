//! Where test assets are, and an allocator that counts.
#![allow(dead_code)] // each test uses a part

pub mod dump;

use std::path::{Path, PathBuf};

/// The samples in the repository: one folder each, with `model.aimodel` and `case.json`.
pub fn samples() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/assets");
    let cases = folders(&root);
    assert!(!cases.is_empty(), "no sample assets in {}", root.display());
    cases
}

/// `$COREAI_SHARED`, or the folder `shared` next to the repository.
pub fn shared(part: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("COREAI_SHARED") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    let path = root.join(part);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} does not exist (set COREAI_SHARED)", path.display());
    None
}

/// The folders in a folder that hold a case, sorted.
pub fn folders(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut cases: Vec<_> =
        entries.map(|entry| entry.path()).filter(|path| path.join("case.json").exists()).collect();
    cases.sort();
    cases
}

/// Counts live heap bytes and their peak, and can refuse to exceed a cap.
pub mod heap {
    #![allow(unsafe_code)]

    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    static LIVE: AtomicUsize = AtomicUsize::new(0);
    static PEAK: AtomicUsize = AtomicUsize::new(0);

    /// The system's allocator, counted.
    pub struct Counting;

    // SAFETY: forwards to the system's allocator; the counters do not touch memory.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
            PEAK.fetch_max(live, Relaxed);
            // SAFETY: the caller's promise is passed on.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            LIVE.fetch_sub(layout.size(), Relaxed);
            // SAFETY: the caller's promise is passed on.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    /// Live bytes.
    pub fn live() -> usize {
        LIVE.load(Relaxed)
    }

    /// Starts a measurement: the peak is the live bytes of now.
    pub fn reset_peak() -> usize {
        let live = live();
        PEAK.store(live, Relaxed);
        live
    }

    /// The highest number of live bytes since.
    pub fn peak() -> usize {
        PEAK.load(Relaxed)
    }
}
