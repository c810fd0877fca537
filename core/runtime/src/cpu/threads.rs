//! Parallel loops over disjoint pieces of a result.

use std::cell::RefCell;

/// Below this many operations a loop stays on the calling thread: waking a worker costs about as
/// much as 20 000 of them.
#[cfg(not(target_arch = "wasm32"))]
const SERIAL: usize = 40_000;

/// Number of threads that work at once.
pub(crate) fn width() -> usize {
    #[cfg(not(target_arch = "wasm32"))]
    return rayon::current_num_threads();
    #[cfg(target_arch = "wasm32")]
    1
}

/// Runs `f` on a worker, so that the loops inside need no hand-over from another thread.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn enter<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    if width() > 1 { rayon::scope(|_| f()) } else { f() }
}

/// Runs `f`.
#[cfg(target_arch = "wasm32")]
pub(super) fn enter<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Calls `f(start, piece)` for pieces of `size` elements; `cost` is operations per element.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn chunks<T: Send>(
    data: &mut [T],
    size: usize,
    cost: usize,
    f: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    use rayon::prelude::*;
    let size = size.max(1);
    if data.len().saturating_mul(cost) < SERIAL || data.len() <= size || width() == 1 {
        data.chunks_mut(size).enumerate().for_each(|(i, piece)| f(i * size, piece));
    } else {
        data.par_chunks_mut(size).enumerate().for_each(|(i, piece)| f(i * size, piece));
    }
}

/// Calls `f(start, piece)` for pieces of `size` elements.
#[cfg(target_arch = "wasm32")]
pub(super) fn chunks<T>(data: &mut [T], size: usize, _cost: usize, f: impl Fn(usize, &mut [T])) {
    let size = size.max(1);
    data.chunks_mut(size).enumerate().for_each(|(i, piece)| f(i * size, piece));
}

/// Calls `f(row number, row)` for rows of `width` elements; `cost` is operations per row.
pub(super) fn rows<T: Send>(
    data: &mut [T],
    width: usize,
    cost: usize,
    f: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    if width == 0 {
        return;
    }
    // Tasks of a few microseconds at least.
    let per_task = (16_384 / cost.max(1)).max(1);
    chunks(data, per_task * width, cost / width + 1, |start, piece| {
        for (i, row) in piece.chunks_mut(width).enumerate() {
            f(start / width + i, row);
        }
    });
}

thread_local! {
    /// Buffers not lent out at the moment; as many as calls of [`scratch`] nest.
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Lends `f` a buffer of `len` floats of unspecified content, kept by the thread between calls.
pub(super) fn scratch<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    let result = f(&mut buffer[..len]);
    SCRATCH.with_borrow_mut(|free| free.push(buffer));
    result
}
