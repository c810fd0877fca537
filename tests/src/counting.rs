//! A global allocator that counts. The only unsafe code of the tests: it forwards to the system's.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Counts allocations and live bytes of Rust code. Allocations inside calls into `wgpu` are counted
/// as bytes but not as allocations: encoding a pass allocates there, and no caller can change it.
pub struct Counting {
    calls: AtomicU64,
    live: AtomicUsize,
    peak: AtomicUsize,
}

impl Counting {
    /// Starts at zero.
    pub const fn new() -> Counting {
        Counting { calls: AtomicU64::new(0), live: AtomicUsize::new(0), peak: AtomicUsize::new(0) }
    }

    /// Allocations so far, outside of `wgpu`.
    pub fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    /// Live bytes.
    pub fn live(&self) -> usize {
        self.live.load(Relaxed)
    }

    /// Highest number of live bytes since [`Counting::reset_peak`].
    pub fn peak(&self) -> usize {
        self.peak.load(Relaxed)
    }

    /// Starts a new peak measurement.
    pub fn reset_peak(&self) {
        self.peak.store(self.live(), Relaxed);
    }

    fn grew(&self, bytes: usize) {
        if !coreai::gpu::inside_seam() {
            self.calls.fetch_add(1, Relaxed);
        }
        let live = self.live.fetch_add(bytes, Relaxed) + bytes;
        self.peak.fetch_max(live, Relaxed);
    }
}

impl Default for Counting {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: every call is forwarded unchanged to the system allocator; the counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.grew(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        self.live.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.live.fetch_sub(layout.size(), Relaxed);
        self.grew(size);
        unsafe { System.realloc(at, layout, size) }
    }
}
