//! The boundary with wgpu: which allocations are its own, and how its callbacks become futures.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside a call into wgpu. A counting allocator leaves those allocations
/// out: what wgpu allocates while it encodes is not ours to avoid.
pub fn inside_seam() -> bool {
    INSIDE.try_with(Cell::get).unwrap_or(false)
}

/// Runs a call into wgpu.
pub(crate) fn seam<R>(call: impl FnOnce() -> R) -> R {
    struct Leave(bool);
    impl Drop for Leave {
        fn drop(&mut self) {
            INSIDE.with(|i| i.set(self.0));
        }
    }
    let _leave = Leave(INSIDE.with(|i| i.replace(true)));
    call()
}

/// Locks, also after another thread panicked while holding the lock: everything guarded in this
/// folder is valid after each single assignment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A reusable one-shot: a wgpu callback completes it, one task waits for it.
#[derive(Default)]
pub(crate) struct Signal {
    state: Mutex<SignalState>,
}

#[derive(Default)]
struct SignalState {
    /// Whether the operation succeeded, once it is over.
    done: Option<bool>,
    waker: Option<Waker>,
}

impl Signal {
    /// Makes the signal ready for the next operation.
    pub fn reset(&self) {
        *lock(&self.state) = SignalState::default();
    }

    /// Ends the operation.
    pub fn complete(&self, success: bool) {
        let mut state = lock(&self.state);
        state.done = Some(success);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The result, if the operation is over.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn result(&self) -> Option<bool> {
        lock(&self.state).done
    }

    /// Waits for the operation; true when it succeeded.
    pub fn wait(&self) -> Wait<'_> {
        Wait(self)
    }
}

/// See [`Signal::wait`].
pub(crate) struct Wait<'a>(&'a Signal);

impl Future for Wait<'_> {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = lock(&self.0.state);
        match state.done {
            Some(success) => Poll::Ready(success),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
