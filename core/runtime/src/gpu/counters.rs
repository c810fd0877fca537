//! What the device was asked to do, and how many bytes it holds.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BufferClass {
    /// Constants of the asset.
    Weights,
    /// Session states.
    States,
    /// Temporaries of a layout.
    Arena,
    /// Inputs, outputs, parameters, readback.
    Other,
}

/// Bytes on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct DeviceBytes {
    /// Constants of the asset.
    pub weights: u64,
    /// Session states.
    pub states: u64,
    /// Temporaries.
    pub arena: u64,
    /// Inputs, outputs, parameters, readback.
    pub other: u64,
}

impl DeviceBytes {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.weights + self.states + self.arena + self.other
    }
}

/// Everything done on a device since it was opened. Differences of two snapshots are what a test
/// or a benchmark reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct CounterValues {
    /// Buffers created.
    pub buffers: u64,
    /// Bind group layouts created.
    pub bind_group_layouts: u64,
    /// Pipelines compiled.
    pub pipelines: u64,
    /// Bind groups created.
    pub bind_groups: u64,
    /// Execution layouts (`GpuLayout`) made.
    pub layouts: u64,
    /// Bytes written by the host.
    pub bytes_written: u64,
    /// Bytes read back by the host.
    pub bytes_read: u64,
    /// Dispatches encoded.
    pub dispatches: u64,
    /// Submissions.
    pub submits: u64,
}

macro_rules! counters {
    ($($name:ident),*) => {
        #[derive(Default)]
        pub(crate) struct Counters { $(pub $name: AtomicU64,)* }

        impl Counters {
            pub fn values(&self) -> CounterValues {
                CounterValues { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}
counters!(
    buffers,
    bind_group_layouts,
    pipelines,
    bind_groups,
    layouts,
    bytes_written,
    bytes_read,
    dispatches,
    submits
);

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

#[derive(Default)]
pub(crate) struct ByteCounters([AtomicU64; 4]);

impl ByteCounters {
    pub fn add(&self, class: BufferClass, bytes: u64) {
        self.0[class as usize].fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn remove(&self, class: BufferClass, bytes: u64) {
        self.0[class as usize].fetch_sub(bytes, Ordering::Relaxed);
    }

    pub fn values(&self) -> DeviceBytes {
        let of = |class: BufferClass| self.0[class as usize].load(Ordering::Relaxed);
        DeviceBytes {
            weights: of(BufferClass::Weights),
            states: of(BufferClass::States),
            arena: of(BufferClass::Arena),
            other: of(BufferClass::Other),
        }
    }
}
