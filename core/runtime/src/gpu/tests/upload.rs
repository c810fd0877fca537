//! Constants and states.

use std::ops::Range;

use coreai_asset::{ByteSource, ConstantRef, MemorySource, ReadFuture};

use super::heap::peak;
use super::*;
use crate::gpu::segments::{segment_stride, segmented_bytes, segments};
use crate::step::{Meaning, QuantFormat, QuantSource};

/// A plan whose steps read all of `buffers`.
fn reading(mut buffers: Vec<Buffer>) -> Plan {
    let (mut plan, _) = chain(1, 16);
    let first = plan.buffers.len() as u32;
    plan.buffers.append(&mut buffers);
    for id in first..plan.buffers.len() as u32 {
        let mut view = plan.steps[0].reads[0].clone();
        view.buffer = BufferId(id);
        plan.steps[0].reads.push(view);
    }
    plan
}

fn constant(range: Range<u64>, splat: bool) -> ConstantRef {
    ConstantRef { splat, range, resource: None }
}

fn plain(range: Range<u64>, splat: bool, kind: Kind, storage: Storage, elements: i64) -> Buffer {
    Buffer { role: Role::Constant(constant(range, splat)), kind, storage, elements: Expr::from(elements) }
}

fn on_device(device: &Arc<GpuDevice>, constants: &GpuConstants, buffer: &Buffer) -> Vec<u8> {
    let found = constants.get(buffer).unwrap();
    bytemuck::cast_slice(&pollster::block_on(device.read(found, found.bytes())).unwrap()).to_vec()
}

/// Answers reads only, as a source far away does.
struct Remote(MemorySource);

impl ByteSource for Remote {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        self.0.read(range)
    }
}

#[test]
fn constants_take_their_storage() {
    let Some(device) = device() else { return };
    let source = MemorySource((0..64).map(|i| if i < 4 { i % 2 } else { 250 - i }).collect());
    let bytes = Storage::Byte { signed: true };
    let cases = [
        (
            plain(0..4, false, Kind::Bool, Storage::Word, 4),
            vec![0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
        ),
        (plain(4..6, false, Kind::I32, Storage::Word, 2), vec![246, 255, 255, 255, 245, 255, 255, 255]),
        (plain(4..8, false, Kind::U32, Storage::Word, 2), vec![246, 245, 0, 0, 244, 243, 0, 0]),
        (plain(8..12, true, Kind::F32, Storage::Word, 3), [242, 241, 240, 239].repeat(3)),
        (plain(8..14, false, Kind::F32, Storage::F16, 3), vec![242, 241, 240, 239, 238, 237, 0, 0]),
        (plain(8..10, true, Kind::F32, Storage::BF16, 3), vec![242, 241, 242, 241, 242, 241, 0, 0]),
        (plain(8..13, false, Kind::I32, bytes, 5), vec![242, 241, 240, 239, 238, 0, 0, 0]),
    ];
    let host = Buffer {
        role: Role::Host(Arc::new(vec![9, 8, 7, 6, 5])),
        kind: Kind::I32,
        storage: bytes_of(true),
        elements: Expr::from(5i64),
    };
    let plan = reading(cases.iter().map(|c| c.0.clone()).chain([host.clone(), host.clone()]).collect());
    let mut constants = GpuConstants::new(device.clone());
    constants.load_blocking(&plan, &source).unwrap();
    for (buffer, expected) in &cases {
        let found = on_device(&device, &constants, buffer);
        assert_eq!(found[..expected.len()], expected[..], "{buffer:?}");
    }
    assert_eq!(on_device(&device, &constants, &host)[..8], [9, 8, 7, 6, 5, 0, 0, 0]);
    // Loading again, or another variant's plan, uploads nothing.
    let before = device.counters();
    constants.load_blocking(&plan, &source).unwrap();
    assert_eq!(device.counters().buffers, before.buffers);
    assert_eq!(device.counters().bytes_written, before.bytes_written);
    // A range that is too short for its elements, and one outside of the file.
    let short = plain(0..4, false, Kind::F32, Storage::F16, 3);
    assert_eq!(constants.load_blocking(&reading(vec![short]), &source).unwrap_err().code(), "program");
    let outside = plain(60..72, false, Kind::F32, Storage::Word, 3);
    assert!(constants.load_blocking(&reading(vec![outside]), &Remote(source)).is_err());
}

fn bytes_of(signed: bool) -> Storage {
    Storage::Byte { signed }
}

/// A weight `[rows, 64]` of int4 with a float16 scale and a zero point per 32, and its asset.
fn weight(rows: u64, unpacked: bool) -> (Buffer, Vec<u8>) {
    let (codes, blocks) = (rows * 64, rows * 2);
    let code = |i: u64| (i * 7 % 16) as u8;
    let pack = |n: u64, f: &dyn Fn(u64) -> u8| (0..n / 2).map(|i| f(2 * i) | f(2 * i + 1) << 4).collect();
    let mut file: Vec<u8> = if unpacked { (0..codes).map(code).collect() } else { pack(codes, &code) };
    let at_scale = file.len() as u64;
    file.extend((0..blocks).flat_map(|i| (i as u16).to_le_bytes()));
    let at_zero = file.len() as u64;
    file.extend::<Vec<u8>>(pack(blocks, &|i| (i % 16) as u8));
    let format = QuantFormat {
        code: ElementType::SI4,
        meaning: Meaning::Plain,
        dims: vec![rows, 64],
        blocks: vec![1, 32],
        scale: ElementType::F16,
        zero: true,
        min: false,
    };
    let source = QuantSource {
        codes: constant(0..at_scale, false),
        codes_unpacked: unpacked,
        scale: constant(at_scale..at_zero, false),
        zero: Some((constant(at_zero..file.len() as u64, false), false)),
        min: None,
    };
    let buffer = Buffer {
        role: Role::Quant(source),
        kind: Kind::F32,
        storage: Storage::Quant(Arc::new(format)),
        elements: Expr::from((rows * 64) as i64),
    };
    (buffer, file)
}

fn format_of(buffer: &Buffer) -> QuantFormat {
    match &buffer.storage {
        Storage::Quant(format) => QuantFormat::clone(format),
        other => panic!("{other:?}"),
    }
}

#[test]
fn compressed_weights_are_cut_into_bindable_segments() {
    let Some(device) = device() else { return };
    for (rows, unpacked) in [(3, false), (3, true), (250_001, false), (250_001, true)] {
        let (buffer, file) = weight(rows, unpacked);
        let format = format_of(&buffer);
        let mut constants = GpuConstants::new(device.clone());
        let source = Remote(MemorySource(file));
        // The same weight twice: a tied table is stored once.
        let plan = reading(vec![buffer.clone(), buffer.clone()]);
        constants.load_blocking(&plan, &source).unwrap();
        let total = segmented_bytes(&format, BINDING_LIMIT);
        assert_eq!(device.device_bytes().weights, total.next_multiple_of(16));
        assert!(total as f64 <= 1.1 * format.device_bytes() as f64);
        let found = on_device(&device, &constants, &buffer);
        let all: Vec<_> = segments(&format, BINDING_LIMIT).collect();
        assert_eq!(all.len() > 1, rows > 100_000);
        assert_eq!(all.iter().map(|s| s.rows).sum::<u64>(), rows);
        for (i, segment) in all.iter().enumerate() {
            assert_eq!(segment.offset, i as u64 * segment_stride(&format, BINDING_LIMIT));
            assert!(segment.parts.bytes <= BINDING_LIMIT && segment.offset % 256 == 0);
            let part = &found[segment.offset as usize..];
            for i in (0..segment.rows * 64).step_by(61) {
                let code = part[i as usize / 2] >> (i % 2 * 4) & 15;
                assert_eq!(u64::from(code), (segment.first_row * 64 + i) * 7 % 16);
            }
            for i in (0..segment.rows * 2).step_by(13) {
                let at = segment.parts.scale as usize + 2 * i as usize;
                let block = segment.first_row * 2 + i;
                assert_eq!(u16::from_le_bytes([part[at], part[at + 1]]), block as u16);
                let zero = part[segment.parts.zero as usize + i as usize];
                assert_eq!(zero.cast_signed(), ((block % 16) as u8).cast_signed() << 4 >> 4);
            }
        }
        drop(constants);
        assert_eq!(device.device_bytes().weights, 0);
    }
}

/// A file of 96 MiB that exists only while it is read.
struct Endless;

impl ByteSource for Endless {
    fn len(&self) -> u64 {
        96 << 20
    }

    fn read(&self, range: Range<u64>) -> ReadFuture<'_> {
        let bytes = (range.start..range.end).map(|i| i as u8).collect::<Vec<_>>();
        Box::pin(std::future::ready(Ok(bytes.into())))
    }
}

#[test]
fn loading_needs_little_host_memory() {
    let Some(device) = device() else { return };
    let elements = 48 << 20;
    let plan = reading(vec![
        plain(0..48 << 20, false, Kind::I32, bytes_of(false), elements),
        plain(48 << 20..96 << 20, false, Kind::I32, bytes_of(false), elements),
    ]);
    let mut constants = GpuConstants::new(device.clone());
    let (loaded, peak) = peak(|| constants.load_blocking(&plan, &Endless));
    loaded.unwrap();
    assert!(peak < 16 << 20, "{peak} bytes");
    let counters = device.counters();
    assert_eq!(counters.bytes_written, 96 << 20);
    assert!(counters.submits >= 3, "staging memory is returned every 32 MiB");
    let last = on_device(&device, &constants, plan.buffers.last().unwrap());
    assert!(last.iter().enumerate().all(|(i, b)| *b == i as u8));
}

#[test]
fn states_grow_along_one_axis_and_fork() {
    let Some(device) = device() else { return };
    let new = |storage, n| pollster::block_on(GpuState::new(&device, storage, n)).unwrap();
    let read = |s: &GpuState| s.read_blocking().unwrap();
    let grow = |s: &GpuState, old: &[u64], new: &[u64]| pollster::block_on(s.grow(old, new));

    let state = new(Storage::Word, 6);
    assert_eq!(read(&state), [0; 6]);
    state.write(0, &[1, 2, 3, 4, 5, 6]).unwrap();
    let fork = pollster::block_on(state.fork()).unwrap();
    state.write(5, &[9]).unwrap();
    assert_eq!((read(&fork)[5], read(&state)[5]), (6, 9));
    assert!(state.write(5, &[1, 2]).is_err());
    assert_eq!(read(&grow(&state, &[2, 3], &[2, 5]).unwrap()), [1, 2, 3, 0, 0, 4, 5, 9, 0, 0]);
    assert_eq!(read(&grow(&state, &[2, 3], &[3, 3]).unwrap()), [1, 2, 3, 4, 5, 9, 0, 0, 0]);
    assert!(grow(&state, &[2, 3], &[3, 4]).is_err() && grow(&state, &[2, 3], &[2, 2]).is_err());

    // Three halves per row end inside a word: through the host.
    let halves = new(Storage::F16, 6);
    halves.write(0, &[0x0002_0001, 0x0004_0003, 0x0006_0005]).unwrap();
    let grown = grow(&halves, &[2, 3], &[2, 4]).unwrap();
    assert_eq!(read(&grown), [0x0002_0001, 0x0000_0003, 0x0005_0004, 0x0000_0006]);
    assert_eq!(device.device_bytes().states, 32 + 32 + 16 + 16);
}
