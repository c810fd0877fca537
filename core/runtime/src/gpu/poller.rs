//! Native only: the thread that waits for the device when the caller awaits instead of blocking.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::seam::lock;

#[derive(Default)]
struct Requests {
    wanted: bool,
    stop: bool,
}

/// Polls the device on request; callbacks run on its thread. Ends when dropped.
pub(crate) struct Poller {
    shared: Arc<(Mutex<Requests>, Condvar)>,
    device: wgpu::Device,
    /// `None` when the system gave no thread; requests then block the caller.
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Poller {
    pub fn new(device: wgpu::Device) -> Poller {
        let shared = Arc::new((Mutex::new(Requests::default()), Condvar::new()));
        let (theirs, polled) = (shared.clone(), device.clone());
        let thread = std::thread::Builder::new().name("coreai-gpu".into()).spawn(move || {
            loop {
                let mut requests = lock(&theirs.0);
                while !requests.wanted && !requests.stop {
                    requests = theirs.1.wait(requests).unwrap_or_else(PoisonError::into_inner);
                }
                if requests.stop {
                    return;
                }
                requests.wanted = false;
                drop(requests);
                wait(&polled);
            }
        });
        Poller { shared, device, thread: thread.ok() }
    }

    /// Makes every callback of work submitted so far run.
    pub fn request(&self) {
        if self.thread.is_none() {
            return wait(&self.device);
        }
        lock(&self.shared.0).wanted = true;
        self.shared.1.notify_one();
    }
}

/// A failed wait is a lost device, which its own callback reports.
fn wait(device: &wgpu::Device) {
    let _ = device.poll(wgpu::PollType::wait_indefinitely());
}

impl Drop for Poller {
    fn drop(&mut self) {
        lock(&self.shared.0).stop = true;
        self.shared.1.notify_one();
        // The thread holds the device, which must be gone before the driver's library is unloaded
        // at exit. A callback that drops the last owner runs on the thread itself.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}
