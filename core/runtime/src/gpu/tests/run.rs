//! Layouts, parameters, submissions, readback, errors.

use std::future::Future;
use std::sync::atomic::AtomicBool;

use super::heap::allocations;
use super::*;
use crate::error::Error;

#[test]
fn one_layout_runs_every_size_of_its_bucket() {
    let Some(device) = device() else { return };
    let (plan, dispatches) = chain(3, 300_000);
    let mut layout = lay_out(&device, plan, &dispatches).unwrap();
    // 300,000 elements are 4688 workgroups; 0 is a run of nothing.
    for (n, b) in [(5, 1), (300_000, -3i64), (0, 0), (64, 2)] {
        let x: Vec<f32> = (0..n).map(|i| (i % 100) as f32).collect();
        let b_symbol = b.max(0);
        layout.run_blocking(&[n, b_symbol], &[words(&x)], &[OutputWant::all(0)]).unwrap();
        let y = floats(layout.output(0));
        assert_eq!(y.len(), n as usize);
        for (y, x) in y.iter().zip(&x) {
            assert_eq!(*y, x * 8.0 + 7.0 * b_symbol as f32);
        }
    }
    let last = [OutputWant { output: 0, words: Some(63..64) }, OutputWant { output: 0, words: Some(0..2) }];
    let x = [1.0f32; 64];
    pollster::block_on(layout.run(&[64, 0], &[words(&x)], &last)).unwrap();
    assert_eq!((floats(layout.output(0)), floats(layout.output(1))), (&[8.0][..], &[8.0, 8.0][..]));
}

#[test]
fn steps_inside_a_bucket_create_nothing_and_do_not_allocate() {
    let Some(device) = device() else { return };
    let (plan, dispatches) = chain(20, 4096);
    let mut layout = lay_out(&device, plan, &dispatches).unwrap();
    let x = vec![0.5f32; 4096];
    let wants = [OutputWant::all(0)];
    let mut step = |n: i64| {
        let before = allocations();
        layout.run_blocking(&[n, n], &[words(&x[..n as usize])], &wants).unwrap();
        allocations() - before
    };
    for n in [4096, 1, 2] {
        step(n);
    }
    let before = device.counters();
    let allocated: u64 = (0..200).map(|i| step(100 + i)).sum();
    let after = device.counters();
    assert_eq!(allocated, 0, "heap allocations outside of wgpu");
    assert_eq!(after.layouts - before.layouts, 0);
    assert_eq!(after.buffers - before.buffers, 0);
    assert_eq!(after.pipelines - before.pipelines, 0);
    assert_eq!(after.bind_groups - before.bind_groups, 0);
    assert_eq!(after.bind_group_layouts - before.bind_group_layouts, 0);
    assert_eq!(after.submits - before.submits, 200);
    assert_eq!(after.dispatches - before.dispatches, 20 * 200);
    // Inputs, and in each step the parameters from the first slot's first word to the last's second.
    let inputs: u64 = (0..200).map(|i| (100 + i) * 4).sum();
    assert_eq!(after.bytes_written - before.bytes_written, inputs + 200 * (19 * 256 + 8));
    assert_eq!(after.bytes_read - before.bytes_read, inputs + 200 * 16);
}

#[test]
fn only_the_part_of_an_input_that_is_read_is_written() {
    let Some(device) = device() else { return };
    let (mut plan, dispatches) = chain(1, 16);
    // The last two elements.
    plan.inputs[0].part = Some((&Expr::from(Sym(0)) - &Expr::from(2i64), Expr::from(2i64)));
    let mut layout = lay_out(&device, plan, &dispatches).unwrap();
    let before = device.counters().bytes_written;
    layout.run_blocking(&[16, 0], &[words(&[1.0; 16])], &[OutputWant::all(0)]).unwrap();
    assert_eq!(floats(layout.output(0))[12..], [0.0, 0.0, 2.0, 2.0]);
    // And two parameter words of the one dispatch, of which the second is already 0.
    assert_eq!(device.counters().bytes_written - before, 8 + 4);
    // A part that begins before the input has nothing to write.
    layout.run_blocking(&[1, 0], &[words(&[1.0])], &[]).unwrap();
}

#[test]
fn temporaries_share_slots_and_pipelines_are_shared() {
    let Some(device) = device() else { return };
    let (plan, dispatches) = chain(10, 1024);
    let layout = lay_out(&device, plan, &dispatches).unwrap();
    assert_eq!(layout.arena_bytes(), 2 * 4096);
    assert_eq!(device.device_bytes().arena, 2 * 4096);
    assert_eq!(device.counters().pipelines, 1);
    // Input → a, then a → b and b → a in turn, then the last into the output.
    assert_eq!(device.counters().bind_groups, 4);
    drop(layout);
    assert_eq!(device.device_bytes().total(), 0);
}

#[test]
fn long_runs_are_cut_and_can_be_cancelled() {
    let Some(device) = device() else { return };
    let (plan, dispatches) = chain(1300, 16);
    let mut layout = lay_out(&device, plan, &dispatches).unwrap();
    assert_eq!(layout.submissions(), 3);
    let x = [0.0f32; 16];
    layout.run_blocking(&[16, 0], &[words(&x)], &[OutputWant::all(0)]).unwrap();
    assert_eq!(floats(layout.output(0)), x);
    pollster::block_on(layout.run(&[16, 0], &[words(&x)], &[])).unwrap();
    let cancel = Arc::new(AtomicBool::new(true));
    layout.cancel_with(cancel.clone());
    let stopped = layout.run_blocking(&[16, 0], &[words(&x)], &[]);
    assert!(matches!(stopped, Err(Error::Cancelled)));
    cancel.store(false, std::sync::atomic::Ordering::Relaxed);
    layout.run_blocking(&[16, 0], &[words(&x)], &[]).unwrap();
}

#[test]
fn a_dropped_run_leaves_the_layout_usable() {
    let Some(device) = device() else { return };
    let (plan, dispatches) = chain(2, 16);
    let mut layout = lay_out(&device, plan, &dispatches).unwrap();
    let x = [1.0f32; 16];
    let wants = [OutputWant::all(0)];
    {
        let inputs = [words(&x)];
        let mut run = Box::pin(layout.run(&[16, 0], &inputs, &wants));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = run.as_mut().poll(&mut cx);
    }
    layout.run_blocking(&[16, 1], &[words(&x)], &wants).unwrap();
    assert_eq!(floats(layout.output(0)), [7.0; 16]);
}

#[test]
fn a_bad_index_is_a_typed_error_and_does_not_stick() {
    let Some(device) = device() else { return };
    let (plan, mut dispatches) = chain(1, 16);
    dispatches[0].source = AFFINE
        .replace(
            "@compute",
            "@group(0) @binding(3) var<storage, read_write> status: array<atomic<u32>>;\n@compute",
        )
        .replace(
            "y[i] =",
            "if (x[i] < 0.0 && atomicCompareExchangeWeak(&status[0], 0u, 1u).exchanged) {
                 atomicStore(&status[1], bitcast<u32>(i32(x[i]))); atomicStore(&status[2], 16u);
             }
             y[i] =",
        )
        .into();
    dispatches[0].bindings.push(Binding { target: Target::Status, write: true, window: None });
    let mut layout = lay_out(&device, plan, &dispatches).unwrap();
    let failed = layout.run_blocking(&[2, 0], &[words(&[1.0, -17.0])], &[]).unwrap_err();
    assert_eq!(failed.to_string(), "test.affine (model.py:3): index -17 is out of range [-16, 16)");
    layout.run_blocking(&[2, 0], &[words(&[1.0, 17.0])], &[]).unwrap();
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(device) = device() else { return };
    let (plan, dispatches) = chain(2, 2 << 20);
    match lay_out(&device, plan, &dispatches).err() {
        Some(Error::OutOfMemory { what: "storage binding", needed, limit, .. }) => {
            assert_eq!((needed, limit), (8 << 20, BINDING_LIMIT));
        }
        other => panic!("{other:?}"),
    }
    let (plan, dispatches) = chain(2, i64::from(i32::MAX));
    let refused = lay_out(&device, plan, &dispatches).err().map(|e| e.code());
    assert_eq!(refused, Some("out_of_memory"));

    let (plan, mut dispatches) = chain(2, 16);
    dispatches[1].source = "@compute @workgroup_size(1) fn main() { nonsense }".into();
    let broken = lay_out(&device, plan.clone(), &dispatches).err().unwrap().to_string();
    assert!(broken.contains("compiling kernel affine"), "{broken}");

    let mut layout = lay_out(&device, plan, &chain(2, 16).1).unwrap();
    let x = [0.0f32; 16];
    let code = |e: Result<(), Error>| e.unwrap_err().code();
    assert_eq!(code(layout.run_blocking(&[3, 0], &[words(&x)], &[])), "input");
    assert_eq!(code(layout.run_blocking(&[17, 0], &[words(&x)], &[])), "program");
    assert_eq!(code(layout.run_blocking(&[16, 0], &[], &[])), "program");
    assert_eq!(code(layout.run_blocking(&[16, 0], &[words(&x)], &[OutputWant::all(1)])), "program");
    let beyond = OutputWant { output: 0, words: Some(8..17) };
    assert_eq!(code(layout.run_blocking(&[16, 0], &[words(&x)], &[beyond])), "program");
    layout.run_blocking(&[16, 0], &[words(&x)], &[]).unwrap();
}

#[test]
fn every_dispatch_is_timed() {
    let Some(device) = device() else { return };
    let (plan, dispatches) = chain(3, 4096);
    let mut layout = lay_out(&device, plan, &dispatches).unwrap();
    let x = vec![1.0f32; 4096];
    let traced = layout.run_traced_blocking(&[4096, 0], &[words(&x)], &[OutputWant::all(0)]).unwrap();
    assert_eq!(floats(layout.output(0))[4095], 8.0);
    assert_eq!(traced.is_some(), device.has_timestamps());
    if let Some(times) = traced {
        assert_eq!(times.iter().map(|t| t.0).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(times.iter().any(|t| t.1 > 0), "{times:?}");
    }
}

#[test]
fn a_lost_device_is_a_typed_error() {
    let Some(device) = device() else { return };
    let (plan, dispatches) = chain(2, 16);
    let mut layout = lay_out(&device, plan, &dispatches).unwrap();
    device.device.destroy();
    let _ = device.device.poll(wgpu::PollType::Poll);
    let x = [1.0f32; 16];
    let lost = layout.run_blocking(&[16, 0], &[words(&x)], &[]).unwrap_err();
    assert_eq!(lost.code(), "device_lost", "{lost}");
}

/// Natively every future may move between threads.
#[test]
fn futures_are_send() {
    fn sendable<T: Send>(_: &T) {}
    let Some(device) = device() else { return };
    let options = options();
    sendable(&GpuDevice::open(&options));
    sendable(&adapters());
    let mut constants = GpuConstants::new(device.clone());
    let (plan, dispatches) = chain(1, 16);
    let source = coreai_asset::MemorySource(vec![]);
    sendable(&constants.load(&plan, &source, &mut |_| {}));
    let mut layout = lay_out(&device, plan.clone(), &dispatches).unwrap();
    sendable(&GpuLayout::new(&device, &constants, Arc::new(plan), &[], &[16, 0], &[0, 0]));
    sendable(&layout.run(&[], &[], &[]));
    sendable(&GpuState::new(&device, Storage::Word, 1));
}

#[test]
fn a_caller_may_bring_a_device() {
    let Some(own) = device() else { return };
    let device = GpuDevice::from_existing(own.device.clone(), own.queue.clone(), &options());
    assert_eq!(device.info().name, own.info().name);
    let (plan, dispatches) = chain(2, 16);
    let mut layout = lay_out(&device, plan, &dispatches).unwrap();
    layout.run_blocking(&[1, 0], &[words(&[3.0])], &[OutputWant::all(0)]).unwrap();
    assert_eq!(floats(layout.output(0)), [12.0]);
}

#[test]
fn options_narrow_the_capabilities() {
    let Some(all) = device() else { return };
    let none = SpecializationOptions { subgroups: false, shader_f16: false, ..options() };
    let caps = GpuDevice::open_blocking(&none).unwrap().caps();
    assert!(!caps.subgroups && !caps.shader_f16);
    assert_eq!(all.caps().max_binding_bytes, BINDING_LIMIT);
    assert!(caps.max_invocations >= 256 && caps.workgroup_bytes >= 16384);
}
