//! Many cases at once.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use coreai::ComputeUnitKind;
use coreai::gpu::GpuDevice;

use super::runner::{Outcome, Settings, Verdict, run_folder};

/// Deeply nested programs need more than a thread's usual 2 MiB.
const STACK_BYTES: usize = 16 << 20;

/// Runs cases over the machine's threads; on the GPU unit they share one device, which is opened again
/// when a case loses it. `done` is called after each case, from any thread. Outcomes are in the order of
/// `cases`.
pub fn run_all(cases: &[PathBuf], settings: &Settings, done: &(dyn Fn(&Outcome) + Sync)) -> Vec<Outcome> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(cases.len().max(1));
    let next = AtomicUsize::new(0);
    let device = Mutex::new(settings.device.clone());
    let outcomes = Mutex::new(Vec::with_capacity(cases.len()));
    let work = || {
        while let Some((number, folder)) = {
            let number = next.fetch_add(1, Ordering::Relaxed);
            cases.get(number).map(|folder| (number, folder))
        } {
            let mut own = settings.clone();
            own.device = device.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let outcome = run_folder(folder, &own);
            if lost(&outcome) && settings.options.compute_unit == ComputeUnitKind::Gpu {
                let mut device = device.lock().unwrap_or_else(PoisonError::into_inner);
                if let Ok(fresh) = GpuDevice::open_blocking(&settings.options) {
                    *device = Some(fresh);
                }
            }
            done(&outcome);
            outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((number, outcome));
        }
    };
    std::thread::scope(|scope| {
        let started = (0..threads)
            .map(|_| std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work));
        if started.filter_map(Result::ok).count() == 0 {
            work();
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|(number, _)| *number);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn lost(outcome: &Outcome) -> bool {
    matches!(&outcome.verdict, Verdict::Failed(f) if f.code == "device_lost")
}
