//! Counts heap allocations of the current thread outside of wgpu.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::gpu::inside_seam;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

fn record(allocations: u64, bytes: i64) {
    if inside_seam() {
        return;
    }
    let _ = ALLOCATIONS.try_with(|a| a.set(a.get() + allocations));
    let live = LIVE.try_with(|l| {
        l.set(l.get() + bytes);
        l.get()
    });
    let _ = PEAK.try_with(|p| p.set(p.get().max(live.unwrap_or(0))));
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        record(1, layout.size() as i64);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        record(0, -(layout.size() as i64));
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

/// Allocations of this thread so far.
pub fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// Greatest number of bytes that `work` held at once on this thread.
pub fn peak<T>(work: impl FnOnce() -> T) -> (T, i64) {
    let before = LIVE.with(Cell::get);
    PEAK.with(|p| p.set(before));
    let value = work();
    (value, PEAK.with(Cell::get) - before)
}
