//! Plans built by hand, compared with naive formulas.

mod attention;
mod elementwise;
mod matmul;
mod movement;
mod rows;
mod windows;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use coreai_asset::{ConstantRef, ElementType};

use super::CpuExecutor;
use super::constants::Constants;
use crate::error::Error;
use crate::expr::Expr;
use crate::plan::{Plan, Port};
use crate::step::{
    Buffer, BufferId, Kernel, Kind, Meaning, Origin, QuantFormat, QuantSource, Role, Round, Step, Storage,
    View,
};

/// Constants in a vector.
struct Bytes(Vec<u8>);

impl Constants for Bytes {
    fn bytes(&self, range: &Range<u64>) -> Option<&[u8]> {
        self.0.get(range.start as usize..range.end as usize)
    }
}

/// One step and its buffers.
#[derive(Default)]
struct Case {
    buffers: Vec<Buffer>,
    inputs: Vec<Vec<u32>>,
    states: Vec<Vec<u32>>,
    bytes: Vec<u8>,
    wide: bool,
    round: Option<Round>,
}

impl Case {
    fn buffer(&mut self, role: Role, kind: Kind, storage: Storage, elements: usize) -> BufferId {
        self.buffers.push(Buffer { role, kind, storage, elements: Expr::from(elements) });
        BufferId(self.buffers.len() as u32 - 1)
    }

    fn words(&mut self, kind: Kind, words: Vec<u32>) -> BufferId {
        let n = words.len();
        self.inputs.push(words);
        self.buffer(Role::Input(self.inputs.len() - 1), kind, Storage::Word, n)
    }

    fn floats(&mut self, values: &[f32]) -> BufferId {
        self.words(Kind::F32, values.iter().map(|x| x.to_bits()).collect())
    }

    fn ints(&mut self, values: &[i32]) -> BufferId {
        self.words(Kind::I32, values.iter().map(|&x| x as u32).collect())
    }

    fn part(&mut self, bytes: &[u8], splat: bool) -> ConstantRef {
        let start = self.bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        // The next part begins at an odd address.
        let range = start..self.bytes.len() as u64;
        self.bytes.resize(self.bytes.len() | 1, 0);
        ConstantRef { splat, range, resource: None }
    }

    /// A float constant in some storage.
    fn constant(&mut self, values: &[f32], element: ElementType) -> BufferId {
        let bytes = encode(values, element);
        let constant = self.part(&bytes, false);
        let storage = match element {
            ElementType::F16 => Storage::F16,
            ElementType::BF16 => Storage::BF16,
            _ => Storage::Word,
        };
        self.buffer(Role::Constant(constant), Kind::F32, storage, values.len())
    }

    fn run(
        &mut self,
        kernel: Kernel,
        reads: Vec<View>,
        dims: &[usize],
        kind: Kind,
    ) -> Result<Vec<u32>, Error> {
        let id = self.buffer(Role::Output(0), kind, Storage::Word, dims.iter().product());
        self.run_into(kernel, reads, view(id, dims), dims)
    }

    fn run_into(
        &mut self,
        kernel: Kernel,
        reads: Vec<View>,
        write: View,
        dims: &[usize],
    ) -> Result<Vec<u32>, Error> {
        let step = Step {
            kernel,
            reads,
            writes: vec![write.clone()],
            round: self.round.unwrap_or(Round::None),
            origin: Origin { op: "op".into(), node: 0, source: None },
        };
        let port = Port {
            name: "y".into(),
            element: ElementType::F32,
            dims: dims.iter().map(|&d| Expr::from(d)).collect(),
            buffer: Some(write.buffer),
            part: None,
        };
        let plan = Plan {
            function: "main".into(),
            buffers: self.buffers.clone(),
            steps: vec![step],
            symbols: vec![],
            guards: vec![],
            inputs: vec![],
            outputs: vec![port],
            states: vec![],
        };
        let constants = Box::new(Bytes(self.bytes.clone()));
        let mut executor = CpuExecutor::with_constants(Arc::new(plan), constants, self.wide);
        let inputs: Vec<&[u32]> = self.inputs.iter().map(Vec::as_slice).collect();
        let cancel = AtomicBool::new(false);
        executor.run(&[], &inputs, &mut self.states, &cancel)?;
        // A second run must find its memory as good as the first.
        if self.states.is_empty() {
            executor.run(&[], &inputs, &mut self.states, &cancel)?;
        }
        Ok(executor.output(0).to_vec())
    }

    fn run_f32(&mut self, kernel: Kernel, reads: Vec<View>, dims: &[usize]) -> Vec<f32> {
        let words = self.run(kernel, reads, dims, Kind::F32).unwrap();
        words.into_iter().map(f32::from_bits).collect()
    }
}

/// A compressed weight and its values.
struct Weight {
    buffer: BufferId,
    values: Vec<f32>,
}

/// How a test weight is compressed.
struct Scheme<'a> {
    code: ElementType,
    meaning: &'a Meaning,
    bits: usize,
    dims: &'a [usize],
    blocks: &'a [usize],
    scale: ElementType,
    zero: bool,
    min: bool,
    unpacked: bool,
    splat_scale: bool,
    splat_min: bool,
}

impl Case {
    fn weight(&mut self, scheme: &Scheme, seed: u32) -> Weight {
        let mut random = Random(seed);
        let signed = matches!(scheme.code, ElementType::SI8 | ElementType::SI4 | ElementType::SI2);
        let low = if signed { -(1i32 << (scheme.bits - 1)) } else { 0 };
        let count: usize = scheme.dims.iter().product();
        let blocks: usize = scheme.dims.iter().zip(scheme.blocks).map(|(d, b)| d / b).product();
        let mut code = |_| low + (random.next() % (1 << scheme.bits)) as i32;
        let codes: Vec<i32> = (0..count).map(&mut code).collect();
        let zeros: Vec<i32> = (0..blocks).map(&mut code).collect();
        let float = |random: &mut Random| encode_one(random.float() * 0.1, scheme.scale);
        let mut scales: Vec<f32> = (0..blocks).map(|_| float(&mut random)).collect();
        let mut mins: Vec<f32> = (0..blocks).map(|_| float(&mut random)).collect();
        if scheme.splat_scale {
            scales = vec![scales[0]; blocks];
        }
        if scheme.splat_min {
            mins = vec![mins[0]; blocks];
        }
        let values = (0..count)
            .map(|i| {
                let (mut rest, mut block, mut stride) = (i, 0, 1);
                for (&d, &b) in scheme.dims.iter().zip(scheme.blocks).rev() {
                    block += rest % d / b * stride;
                    stride *= d / b;
                    rest /= d;
                }
                let zero = if scheme.zero { zeros[block] } else { 0 };
                let min = if scheme.min { mins[block] } else { 0.0 };
                scales[block] * (scheme.meaning.value(codes[i]) - zero as f32) + min
            })
            .collect();
        let bits = if scheme.unpacked { 8 } else { scheme.bits };
        let codes = self.part(&pack(&codes, bits), false);
        let stored = if scheme.splat_scale { &scales[..1] } else { &scales[..] };
        let scale = self.part(&encode(stored, scheme.scale), scheme.splat_scale);
        let zero = scheme.zero.then(|| (self.part(&pack(&zeros, bits), false), scheme.unpacked));
        let mins = if scheme.splat_min { &mins[..1] } else { &mins[..] };
        let min = scheme.min.then(|| self.part(&encode(mins, scheme.scale), scheme.splat_min));
        let format = QuantFormat {
            code: scheme.code,
            meaning: scheme.meaning.clone(),
            dims: scheme.dims.iter().map(|&d| d as u64).collect(),
            blocks: scheme.blocks.iter().map(|&d| d as u64).collect(),
            scale: scheme.scale,
            zero: scheme.zero,
            min: scheme.min,
        };
        let source = QuantSource { codes, codes_unpacked: scheme.unpacked, scale, zero, min };
        let storage = Storage::Quant(Arc::new(format));
        Weight { buffer: self.buffer(Role::Quant(source), Kind::F32, storage, count), values }
    }
}

/// Codes as a dense stream of bits.
fn pack(codes: &[i32], bits: usize) -> Vec<u8> {
    let mut bytes = vec![0u8; (codes.len() * bits).div_ceil(8)];
    for (i, &code) in codes.iter().enumerate() {
        for bit in 0..bits {
            let at = i * bits + bit;
            bytes[at / 8] |= ((code >> bit & 1) as u8) << (at % 8);
        }
    }
    bytes
}

fn encode_one(x: f32, element: ElementType) -> f32 {
    match element {
        ElementType::F16 => half::f16::from_f32(x).to_f32(),
        ElementType::BF16 => half::bf16::from_f32(x).to_f32(),
        // A power of two of about that size.
        ElementType::F8E8M0FN => x.abs().max(1e-3).log2().round().exp2(),
        _ => x,
    }
}

fn encode(values: &[f32], element: ElementType) -> Vec<u8> {
    let mut bytes = vec![];
    for &x in values {
        match element {
            ElementType::F16 => bytes.extend(half::f16::from_f32(x).to_le_bytes()),
            ElementType::BF16 => bytes.extend(half::bf16::from_f32(x).to_le_bytes()),
            ElementType::F8E8M0FN => bytes.push((x.log2() + 127.0) as u8),
            _ => bytes.extend(x.to_le_bytes()),
        }
    }
    bytes
}

/// Row-major view of a whole buffer.
fn view(buffer: BufferId, dims: &[usize]) -> View {
    let mut strides = vec![1i64; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis] as i64;
    }
    strided(buffer, 0, dims, &strides)
}

fn strided(buffer: BufferId, offset: i64, dims: &[usize], strides: &[i64]) -> View {
    View {
        buffer,
        offset: offset.into(),
        dims: dims.iter().map(|&d| d.into()).collect(),
        strides: strides.iter().map(|&s| s.into()).collect(),
    }
}

/// A small generator with a fixed sequence.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 8
    }

    /// In [-1, 1).
    fn float(&mut self) -> f32 {
        self.next() as f32 / (1 << 23) as f32 - 1.0
    }
}

fn random(count: usize, seed: u32) -> Vec<f32> {
    let mut random = Random(seed.wrapping_mul(7919).wrapping_add(1));
    (0..count).map(|_| random.float()).collect()
}

/// Largest difference relative to the largest expected magnitude.
fn assert_close(got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len());
    let scale = want.iter().fold(1e-6f32, |m, x| m.max(x.abs()));
    for (i, (a, b)) in got.iter().zip(want).enumerate() {
        assert!((a - b).abs() <= tolerance * scale, "element {i}: {a} instead of {b}");
    }
}
