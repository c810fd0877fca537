//! Builds plans of one step with random data, runs them on both units and compares.

use std::collections::BTreeSet;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use coreai_asset::{ConstantRef, ElementType, MemorySource};
use half::{bf16, f16};

use crate::cpu::CpuExecutor;
use crate::expr::{Bounds, Expr, Sym};
use crate::facts::product;
use crate::gpu::dispatch::Caps;
use crate::gpu::kernels::{LowerCx, lower, supports};
use crate::gpu::{GpuConstants, GpuDevice, GpuLayout, GpuState, OutputWant};
use crate::options::SpecializationOptions;
use crate::plan::{Plan, Port, Symbol, SymbolSource};
use crate::step::{
    Buffer, BufferId, Kernel, Kind, Origin, QuantFormat, QuantSource, Role, Round, Step, Storage, View,
};

/// Binding limit of the device on which operands are cut into windows, bytes.
const SMALL: u64 = 4096;

/// A device that offers no more than every device does, and subgroups.
pub const AMPLE: Caps = Caps {
    max_binding_bytes: 128 << 20,
    max_storage_buffers: 8,
    max_invocations: 256,
    workgroup_bytes: 16384,
    subgroups: true,
    shader_f16: false,
    tiled_only: false,
    plain_only: false,
    subgroup_size: 0,
};

/// Deterministic random numbers (SplitMix64).
pub struct Rng(pub u64);

impl Rng {
    pub fn word(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) as u32
    }

    /// In -1..1.
    pub fn float(&mut self) -> f32 {
        (self.word() >> 8) as f32 / 8_388_608.0 - 1.0
    }

    pub fn below(&mut self, n: u32) -> u32 {
        self.word() % n
    }

    fn bits(&mut self, kind: Kind) -> u32 {
        match kind {
            Kind::F32 => self.float().to_bits(),
            Kind::I32 => (self.below(41) as i32 - 20) as u32,
            Kind::U32 => self.below(40),
            Kind::Bool => self.below(2),
        }
    }
}

pub fn fixed(dims: &[i64]) -> Vec<Expr> {
    dims.iter().map(|d| Expr::from(*d)).collect()
}

/// Words of the outputs, then of the states.
type Results = (Vec<Vec<u32>>, Vec<Vec<u32>>);

/// A plan in the making, with its data.
pub struct Bench {
    pub plan: Plan,
    pub rng: Rng,
    pub inputs: Vec<Vec<u32>>,
    pub states: Vec<Vec<u32>>,
    pub values: Vec<i64>,
    /// Relative to the largest magnitude of an output.
    pub tolerance: f32,
    file: Vec<u8>,
    /// Dequantized weights for the reference.
    expanded: Vec<(BufferId, Vec<f32>)>,
}

impl Bench {
    pub fn new(seed: u64) -> Bench {
        let plan = Plan {
            function: "test".into(),
            buffers: vec![],
            steps: vec![],
            symbols: vec![],
            guards: vec![],
            inputs: vec![],
            outputs: vec![],
            states: vec![],
        };
        Bench {
            plan,
            rng: Rng(seed),
            inputs: vec![],
            states: vec![],
            values: vec![],
            tolerance: 2e-6,
            file: vec![0; 4],
            expanded: vec![],
        }
    }

    pub fn symbol(&mut self, min: i64, max: i64, value: i64) -> Expr {
        let source = SymbolSource::InputDim { input: 0, axis: 0 };
        self.plan.symbols.push(Symbol { source, bounds: Bounds { min, max } });
        self.values.push(value);
        Expr::from(Sym(self.plan.symbols.len() as u32 - 1))
    }

    fn buffer(&mut self, role: Role, kind: Kind, storage: Storage, elements: Expr) -> BufferId {
        self.plan.buffers.push(Buffer { role, kind, storage, elements });
        BufferId(self.plan.buffers.len() as u32 - 1)
    }

    fn count(&self, dims: &[Expr]) -> usize {
        product(dims).eval(&self.values) as usize
    }

    fn port(&self, dims: &[Expr], buffer: BufferId) -> Port {
        Port {
            name: "port".into(),
            element: ElementType::F32,
            dims: dims.to_vec(),
            buffer: Some(buffer),
            part: None,
        }
    }

    /// An input of given words.
    pub fn input_of(&mut self, kind: Kind, dims: &[Expr], words: Vec<u32>) -> View {
        assert_eq!(words.len(), self.count(dims));
        let id = self.buffer(Role::Input(self.inputs.len()), kind, Storage::Word, product(dims));
        let port = self.port(dims, id);
        self.plan.inputs.push(port);
        self.inputs.push(words);
        View::whole(id, dims.to_vec())
    }

    /// A random input.
    pub fn input(&mut self, kind: Kind, dims: &[Expr]) -> View {
        let words = (0..self.count(dims)).map(|_| self.rng.bits(kind)).collect();
        self.input_of(kind, dims, words)
    }

    /// Random constant data in a storage.
    pub fn weight(&mut self, kind: Kind, storage: Storage, dims: &[i64]) -> View {
        let dims = fixed(dims);
        let count = self.count(&dims);
        let mut bytes: Vec<u8> = vec![];
        for _ in 0..count {
            let bits = self.rng.bits(kind);
            match &storage {
                Storage::Word => bytes.extend(bits.to_le_bytes()),
                Storage::F16 => bytes.extend(f16::from_f32(f32::from_bits(bits)).to_le_bytes()),
                Storage::BF16 => bytes.extend(bf16::from_f32(f32::from_bits(bits)).to_le_bytes()),
                Storage::Byte { .. } => bytes.push(bits as u8),
                Storage::Quant(_) => unreachable!(),
            }
        }
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let id = self.buffer(Role::Host(Arc::new(bytes)), kind, storage, product(&dims));
        View::whole(id, dims)
    }

    fn constant(&mut self, bytes: &[u8]) -> ConstantRef {
        let start = self.file.len() as u64;
        self.file.extend(bytes);
        let range = start..self.file.len() as u64;
        self.file.resize(self.file.len().next_multiple_of(4), 0);
        ConstantRef { splat: false, range, resource: None }
    }

    /// A random compressed weight.
    pub fn quant(&mut self, format: QuantFormat) -> View {
        let count: u64 = format.dims.iter().product();
        let scale_dims = format.scale_dims();
        let scales: u64 = scale_dims.iter().product();
        let bits = format.stored_bits();
        let code = |rng: &mut Rng| {
            let raw = rng.below(1 << bits) as i32;
            if format.signed() { raw << (32 - bits) >> (32 - bits) } else { raw }
        };
        let codes: Vec<i32> = (0..count).map(|_| code(&mut self.rng)).collect();
        let mut stream = vec![0u8; (count * bits).div_ceil(8) as usize];
        for (i, c) in codes.iter().enumerate() {
            let at = i * bits as usize;
            let placed = ((*c as u32) & ((1u32 << bits) - 1)) << (at % 8);
            stream[at / 8] |= placed as u8;
            if placed > 255 {
                stream[at / 8 + 1] |= (placed >> 8) as u8;
            }
        }
        let scalars = |rng: &mut Rng| -> (Vec<u8>, Vec<f32>) {
            let mut bytes = vec![];
            let mut values = vec![];
            for _ in 0..scales {
                let v = rng.float() * 0.1;
                let v = match format.scale {
                    ElementType::F32 => {
                        bytes.extend(v.to_le_bytes());
                        v
                    }
                    ElementType::F8E8M0FN => {
                        bytes.push((v.abs() * 80.0) as u8 + 120);
                        f32::from_bits(u32::from(bytes[bytes.len() - 1]) << 23)
                    }
                    ElementType::BF16 => {
                        bytes.extend(bf16::from_f32(v).to_le_bytes());
                        bf16::from_f32(v).to_f32()
                    }
                    _ => {
                        bytes.extend(f16::from_f32(v).to_le_bytes());
                        f16::from_f32(v).to_f32()
                    }
                };
                values.push(v);
            }
            (bytes, values)
        };
        let (scale_bytes, scale) = scalars(&mut self.rng);
        let zeros: Vec<i32> =
            (0..scales).map(|_| if format.zero { code(&mut self.rng) } else { 0 }).collect();
        let min = format.min.then(|| scalars(&mut self.rng));
        let source = QuantSource {
            codes: self.constant(&stream),
            codes_unpacked: false,
            scale: self.constant(&scale_bytes),
            zero: format.zero.then(|| {
                let bytes: Vec<u8> = zeros.iter().map(|z| *z as u8).collect();
                (self.constant(&bytes), true)
            }),
            min: min.as_ref().map(|(bytes, _)| self.constant(bytes)),
        };
        let dims: Vec<Expr> = format.dims.iter().map(|d| Expr::from(*d as i64)).collect();
        let dense = codes
            .iter()
            .enumerate()
            .map(|(at, c)| {
                let (mut rest, mut block, mut stride) = (at as u64, 0, 1);
                for axis in (0..format.dims.len()).rev() {
                    block += rest % format.dims[axis] / format.blocks[axis] * stride;
                    stride *= scale_dims[axis];
                    rest /= format.dims[axis];
                }
                let b = block as usize;
                scale[b] * (format.meaning.value(*c) - zeros[b] as f32) + min.as_ref().map_or(0.0, |m| m.1[b])
            })
            .collect();
        let storage = Storage::Quant(Arc::new(format));
        let id = self.buffer(Role::Quant(source), Kind::F32, storage, product(&dims));
        self.expanded.push((id, dense));
        View::whole(id, dims)
    }

    /// A state of random elements.
    pub fn state(&mut self, storage: Storage, dims: &[Expr]) -> View {
        let count = self.count(dims);
        let words = Plan::storage_bytes(&storage, count as u64) as usize / 4;
        let half = |rng: &mut Rng| match storage {
            Storage::BF16 => u32::from(bf16::from_f32(rng.float()).to_bits()),
            _ => u32::from(f16::from_f32(rng.float()).to_bits()),
        };
        let data = (0..words)
            .map(|_| match storage {
                Storage::Word => self.rng.float().to_bits(),
                _ => half(&mut self.rng) | half(&mut self.rng) << 16,
            })
            .collect();
        let id = self.buffer(Role::State(self.states.len()), Kind::F32, storage, product(dims));
        let port = self.port(dims, id);
        self.plan.states.push(port);
        self.states.push(data);
        View::whole(id, dims.to_vec())
    }

    pub fn output(&mut self, kind: Kind, dims: &[Expr]) -> View {
        let id = self.buffer(Role::Output(self.plan.outputs.len()), kind, Storage::Word, product(dims));
        let port = self.port(dims, id);
        self.plan.outputs.push(port);
        View::whole(id, dims.to_vec())
    }

    pub fn step(&mut self, kernel: Kernel, reads: Vec<View>, write: View, round: Round) {
        let origin = Origin { op: "test".into(), node: self.plan.steps.len() as u32, source: None };
        self.plan.steps.push(Step { kernel, reads, writes: vec![write], round, origin });
    }

    fn bounds(&self) -> (Vec<i64>, Vec<i64>) {
        let symbols = self.plan.symbols.iter();
        (symbols.clone().map(|s| s.bounds.max).collect(), symbols.map(|s| s.bounds.min).collect())
    }

    /// Names of the kernels the plan's steps become on a device, all of whose sources are checked.
    pub fn kernels(&self, caps: &Caps) -> Vec<&'static str> {
        let (max, min) = self.bounds();
        vet(&self.plan, &LowerCx { caps, max: &max, min: &min })
    }

    /// Checks the sources with and without subgroups; the kernels with them and ample bindings.
    pub fn check(&self) -> Vec<&'static str> {
        self.kernels(&Caps { subgroups: false, ..AMPLE });
        self.kernels(&AMPLE)
    }

    fn reference(&self) -> Results {
        let mut plan = self.plan.clone();
        for (id, dense) in &self.expanded {
            let bytes = bytemuck::cast_slice(dense).to_vec();
            let buffer = &mut plan.buffers[id.0 as usize];
            buffer.role = Role::Host(Arc::new(bytes));
            buffer.storage = Storage::Word;
        }
        let outputs = plan.outputs.len();
        let mut executor = CpuExecutor::without_asset(Arc::new(plan));
        let inputs: Vec<&[u32]> = self.inputs.iter().map(Vec::as_slice).collect();
        let mut states = self.states.clone();
        executor.run(&self.values, &inputs, &mut states, &AtomicBool::new(false)).unwrap();
        ((0..outputs).map(|i| executor.output(i).to_vec()).collect(), states)
    }

    fn on_device(&self, device: &Arc<GpuDevice>) -> Result<Results, crate::Error> {
        static RUNNING: Mutex<()> = Mutex::new(());
        let _one = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let (max, min) = self.bounds();
        let plan = Arc::new(self.plan.clone());
        let mut constants = GpuConstants::new(device.clone());
        constants.load_blocking(&plan, &MemorySource(self.file.clone()))?;
        let mut states = vec![];
        for (port, data) in plan.states.iter().zip(&self.states) {
            let buffer = &plan.buffers[port.buffer.unwrap().0 as usize];
            let elements = buffer.elements.eval(&max) as u64;
            let state = pollster::block_on(GpuState::new(device, buffer.storage.clone(), elements))?;
            state.write(0, data)?;
            states.push(state);
        }
        let mut layout = GpuLayout::new_blocking(device, &constants, plan.clone(), &states, &max, &min)?;
        let inputs: Vec<&[u32]> = self.inputs.iter().map(Vec::as_slice).collect();
        let wants: Vec<OutputWant> = (0..plan.outputs.len()).map(OutputWant::all).collect();
        layout.run_blocking(&self.values, &inputs, &wants)?;
        let outputs = (0..wants.len()).map(|i| layout.output(i).to_vec()).collect();
        let states = states.iter().map(|s| s.read_blocking()).collect::<Result<_, _>>()?;
        Ok((outputs, states))
    }

    /// First outputs of the CPU and of the first device, if there is one.
    pub fn both(&self) -> Option<(Vec<u32>, Vec<u32>)> {
        let device = devices().iter().flatten().next()?;
        self.kernels(&device.caps());
        let (mut got, _) = self.on_device(device).unwrap();
        Some((self.reference().0.swap_remove(0), got.swap_remove(0)))
    }

    /// The error of a run on the device, if there is a device.
    pub fn failure(&self) -> Option<crate::Error> {
        let device = devices().iter().flatten().next()?;
        Some(self.on_device(device).expect_err("the run should fail"))
    }

    /// Runs on the CPU and on every device, and compares. Returns the kernels used with subgroups
    /// and ample bindings.
    pub fn compare(&self, name: &str) -> Vec<&'static str> {
        self.compare_on(name, true)
    }

    /// As [`Bench::compare`]; `small` says whether the operands may be cut into windows.
    pub fn compare_on(&self, name: &str, small: bool) -> Vec<&'static str> {
        let kernels = self.check();
        if small {
            self.kernels(&Caps { max_binding_bytes: SMALL, ..AMPLE });
        }
        let (outputs, states) = self.reference();
        for device in devices().iter().flatten() {
            if device.caps().max_binding_bytes == SMALL && !small {
                continue;
            }
            let on = format!(
                "{name} (subgroups {}, bindings {})",
                device.caps().subgroups,
                device.caps().max_binding_bytes
            );
            let (got, got_states) = self.on_device(device).unwrap_or_else(|e| panic!("{on}: {e}"));
            for (i, (want, got)) in outputs.iter().zip(&got).enumerate() {
                let kind = self.plan.buffers[self.plan.outputs[i].buffer.unwrap().0 as usize].kind;
                self.same(&format!("{on} {kernels:?} output {i}"), kind, want, got);
            }
            for (i, (want, got)) in states.iter().zip(&got_states).enumerate() {
                for (word, (w, g)) in want.iter().zip(got).enumerate() {
                    assert_eq!(w, g, "{on} {kernels:?} state {i} word {word}");
                }
            }
        }
        kernels
    }

    fn same(&self, what: &str, kind: Kind, want: &[u32], got: &[u32]) {
        assert!(got.len() >= want.len(), "{what}: {} words instead of {}", got.len(), want.len());
        let f = f32::from_bits;
        let largest = want.iter().map(|w| f(*w).abs()).filter(|x| x.is_finite()).fold(0.0, f32::max);
        for (at, (w, g)) in want.iter().zip(got).enumerate() {
            let ok = match kind {
                Kind::F32 if f(*w).is_finite() => (f(*w) - f(*g)).abs() <= self.tolerance * largest,
                Kind::F32 if f(*w).is_nan() => f(*g).is_nan(),
                _ => w == g,
            };
            assert!(ok, "{what}: element {at}: {} instead of {} ({g:#x}, {w:#x})", f(*g), f(*w));
        }
    }
}

/// Names of the kernels that a plan's steps become; each source is checked and written for `make tint`.
pub fn vet(plan: &Plan, cx: &LowerCx) -> Vec<&'static str> {
    static SEEN: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());
    let mut names = vec![];
    for step in 0..plan.steps.len() {
        supports(plan, &plan.steps[step]).unwrap();
        for dispatch in lower(plan, step, cx).unwrap() {
            let mut hasher = DefaultHasher::new();
            (&dispatch.source, cx.caps.subgroups).hash(&mut hasher);
            if SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(hasher.finish()) {
                if let Err(e) = coreai_shaders::check::check(&dispatch.source, cx.caps.subgroups) {
                    panic!("{}: {e}\n{}", dispatch.kernel, dispatch.source);
                }
                dump(dispatch.kernel, &dispatch.source);
            }
            assert!(dispatch.params.len() <= 64);
            names.push(dispatch.kernel);
        }
    }
    names
}

/// Writes a source that was not seen yet, as browsers get it, into the folder that `COREAI_WGSL_DUMP`
/// names. `make tint` compiles them.
fn dump(kernel: &str, source: &str) {
    let Some(folder) = std::env::var_os("COREAI_WGSL_DUMP") else { return };
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    let path = Path::new(&folder).join(format!("{:016x}.wgsl", hasher.finish()));
    match File::create_new(&path) {
        Ok(mut file) => write!(file, "// {kernel}\n{}", coreai_shaders::for_browsers(source)).unwrap(),
        Err(e) => assert_eq!(e.kind(), ErrorKind::AlreadyExists, "{}: {e}", path.display()),
    }
}

/// With subgroups; without; with small bindings. `None` where there is no adapter.
fn devices() -> &'static [Option<Arc<GpuDevice>>] {
    static DEVICES: OnceLock<Vec<Option<Arc<GpuDevice>>>> = OnceLock::new();
    static OPENING: Mutex<()> = Mutex::new(());
    let _one = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    DEVICES.get_or_init(|| {
        [(true, None), (false, None), (true, Some(SMALL))]
            .into_iter()
            .map(|(subgroups, max_binding_bytes)| {
                let options = SpecializationOptions {
                    allow_software_adapter: true,
                    subgroups,
                    max_binding_bytes,
                    ..Default::default()
                };
                GpuDevice::open_blocking(&options).inspect_err(|e| println!("skipped: {e}")).ok()
            })
            .collect()
    })
}
