//! Constants and values that only the host knows, as buffers of the plan.

use std::sync::Arc;

use coreai_asset::ElementType;

use super::{Lower, Repr};
use crate::expr::Expr;
use crate::facts::{Fact, kind_of, product};
use crate::graph::Val;
use crate::map::{Instr, MapOp, MapProg};
use crate::ndarray::NDArray;
use crate::ops::{Fault, constant};
use crate::step::{Buffer, BufferId, Kernel, Kind, QuantFormat, QuantSource, Role, Round, Storage, View};

/// Most elements that depend on sizes in one step: each is a scalar and a select.
const EXTENTS: usize = 16;

impl Lower<'_> {
    /// A view of a constant or of a value that only the host knows.
    pub(super) fn host_view(&mut self, v: Val) -> Result<View, Fault> {
        let fact = self.fact(v).clone();
        let kind = self.kind(fact.element)?;
        if let Some(id) = self.constants.get(&v) {
            return Ok(View::whole(*id, fact.dims));
        }
        if let Some(array) = self.graph.folded.get(&v) {
            let id = self.folded_buffer(array, kind)?;
            self.constants.insert(v, id);
            return Ok(View::whole(id, fact.dims));
        }
        if fact.constant.is_some() {
            let id = self.constant_buffer(&fact, kind)?;
            self.constants.insert(v, id);
            return Ok(View::whole(id, fact.dims));
        }
        let Some(content) = fact.content.clone() else {
            return Err(Fault::program("a value is used before it is defined"));
        };
        if let Some(ints) = fact.const_ints() {
            let words: Vec<u32> = ints.iter().map(|v| *v as u32).collect();
            let bytes = Arc::new(bytemuck::cast_slice(&words).to_vec());
            let id = self.buffer(Role::Host(bytes), kind, Storage::Word, Expr::from(words.len()));
            return Ok(View::whole(id, fact.dims));
        }
        // A vector of expressions: pick by the flat index, in parts of as many as a step takes.
        let flat = self.temp_of(kind, vec![Expr::from(content.len())]);
        for (part, values) in content.chunks(EXTENTS).enumerate() {
            let mut instrs = vec![Instr { op: MapOp::Index(0), args: [0; 3], kind: Kind::I32 }];
            let push = |instrs: &mut Vec<Instr>, op, args, kind| {
                instrs.push(Instr { op, args, kind });
                (instrs.len() - 1) as u16
            };
            let mut last = push(&mut instrs, MapOp::Scalar(0), [0; 3], kind);
            for i in 1..values.len() {
                let at = push(&mut instrs, MapOp::Const(i as u32), [0; 3], Kind::I32);
                let here = push(&mut instrs, MapOp::Fn(crate::map::MapFn::Equal), [0, at, 0], Kind::Bool);
                let value = push(&mut instrs, MapOp::Scalar(i as u16), [0; 3], kind);
                last = push(&mut instrs, MapOp::Fn(crate::map::MapFn::Select), [here, value, last], kind);
            }
            let prog = MapProg { instrs, scalars: values.to_vec() };
            let there = flat.slice(0, &Expr::from(part * EXTENTS), &Expr::from(values.len()), 1);
            self.push(Kernel::Map(prog), vec![], there, Round::None, None);
        }
        Ok(View::whole(flat.buffer, fact.dims))
    }

    /// A constant that was computed on the host, in the storage of its dtype.
    fn folded_buffer(&mut self, array: &NDArray, kind: Kind) -> Result<BufferId, Fault> {
        use ElementType::*;
        let storage = match array.element {
            F16 => Storage::F16,
            BF16 => Storage::BF16,
            SI8 => Storage::Byte { signed: true },
            UI8 | Bool => Storage::Byte { signed: false },
            _ => Storage::Word,
        };
        let mut bytes = match storage {
            Storage::Word => {
                let mut words = vec![];
                crate::words::from_bytes(array.element, &array.data, &mut words)
                    .map_err(|e| Fault::unsupported(e.to_string()))?;
                bytemuck::cast_slice(&words).to_vec()
            }
            _ => array.data.clone(),
        };
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        self.note("expanded_weight", format!("{} weights are expanded on the host", array.element.name()));
        Ok(self.buffer(Role::Host(Arc::new(bytes)), kind, storage, Expr::from(array.len())))
    }

    fn constant_buffer(&mut self, fact: &Fact, kind: Kind) -> Result<BufferId, Fault> {
        use ElementType::*;
        let Some(data) = fact.constant.clone() else {
            return Err(Fault::program("not a constant"));
        };
        let elements = fact.elements();
        if let Some(ints) = fact.const_ints() {
            let words: Vec<u32> = ints.iter().map(|v| *v as u32).collect();
            let bytes = Arc::new(bytemuck::cast_slice(&words).to_vec());
            return Ok(self.buffer(Role::Host(bytes), kind, Storage::Word, elements));
        }
        let storage = match fact.element {
            F32 | SI32 | UI32 => Some(Storage::Word),
            F16 => Some(Storage::F16),
            BF16 => Some(Storage::BF16),
            SI8 => Some(Storage::Byte { signed: true }),
            UI8 | Bool => Some(Storage::Byte { signed: false }),
            _ => None,
        };
        if let Some(storage) = storage {
            return Ok(self.buffer(Role::Constant(data), kind, storage, elements));
        }
        let storage = expanded_storage(fact.element);
        let bytes = if kind == Kind::F32 {
            self.note(
                "expanded_weight",
                format!("a {} constant is expanded to {}", fact.element.name(), storage_name(&storage)),
            );
            encode(&constant::floats(self.asset, fact, &data)?, &storage)
        } else {
            let count = elements.as_const().and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
            if count > constant::MAX_EXPANDED_BYTES / 8 {
                return Err(Fault::unsupported("a constant too large to expand"));
            }
            let ints = constant::integers(self.asset, fact, &data, count)?;
            encode_integers(&ints, &storage)
        };
        Ok(self.buffer(Role::Host(Arc::new(bytes)), kind, storage, elements))
    }

    /// A buffer of float32 values made on the host; equal values share one.
    pub fn host_floats(&mut self, values: &[f32], dims: Vec<Expr>) -> View {
        let bytes: Arc<Vec<u8>> = Arc::new(bytemuck::cast_slice(values).to_vec());
        let role = Role::Host(bytes.clone());
        let same = |b: &Buffer| b.kind == Kind::F32 && b.storage == Storage::Word;
        if let Some(at) = self.plan.buffers.iter().position(|b| b.role == role && same(b)) {
            return View::whole(BufferId(at as u32), dims);
        }
        let id = self.buffer(Role::Host(bytes), Kind::F32, Storage::Word, Expr::from(values.len()));
        View::whole(id, dims)
    }

    /// Defines `v` as a compressed weight that kernels dequantize on load.
    pub fn define_quant(&mut self, v: Val, format: QuantFormat, source: QuantSource) {
        let dims = self.fact(v).dims.clone();
        let key = (source.clone(), format.clone());
        let id = match self.quants.get(&key) {
            Some(id) => *id,
            None => {
                let storage = Storage::Quant(Arc::new(format));
                let id = self.buffer(Role::Quant(source), Kind::F32, storage, product(&dims));
                self.quants.insert(key, id);
                id
            }
        };
        self.define(v, View::whole(id, dims));
    }

    /// Defines `v` as a compressed weight whose parts were made on the host: the bytes of one segment,
    /// laid out as [`QuantFormat::parts`] says.
    pub fn define_host_quant(&mut self, v: Val, format: QuantFormat, bytes: Vec<u8>) {
        let dims = self.fact(v).dims.clone();
        let storage = Storage::Quant(Arc::new(format));
        let id = self.buffer(Role::Host(Arc::new(bytes)), Kind::F32, storage, product(&dims));
        self.define(v, View::whole(id, dims));
    }

    /// Defines `v` as data made on the host, in the storage of its declared dtype.
    pub fn define_host(&mut self, v: Val, values: &[f32]) -> Result<(), Fault> {
        let fact = self.fact(v);
        let (element, dims) = (fact.element, fact.dims.clone());
        let kind = self.kind(element)?;
        let storage = expanded_storage(element);
        let bytes = match kind {
            Kind::F32 => encode(values, &storage),
            _ => {
                let ints: Vec<i64> = values.iter().map(|v| *v as i64).collect();
                encode_integers(&ints, &storage)
            }
        };
        let id = self.buffer(Role::Host(Arc::new(bytes)), kind, storage, Expr::from(values.len()));
        self.define(v, View::whole(id, dims));
        Ok(())
    }

    /// Values that [`Self::define_host`] gave to `v`.
    pub fn host_values(&self, v: Val) -> Option<Vec<f32>> {
        let Some(Repr::View(view)) = &self.reprs[v.0 as usize] else { return None };
        let buffer = self.plan.buffer(view);
        let Role::Host(bytes) = &buffer.role else { return None };
        if !view.is_whole(&buffer.elements) {
            return None;
        }
        let two = |b: &[u8]| u16::from_le_bytes([b[0], b[1]]);
        Some(match (&buffer.storage, buffer.kind) {
            (Storage::Word, Kind::F32) => {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            (Storage::F16, _) => {
                bytes.chunks_exact(2).map(|b| half::f16::from_bits(two(b)).to_f32()).collect()
            }
            (Storage::BF16, _) => {
                bytes.chunks_exact(2).map(|b| half::bf16::from_bits(two(b)).to_f32()).collect()
            }
            (Storage::Byte { signed: true }, _) => bytes.iter().map(|b| f32::from(*b as i8)).collect(),
            (Storage::Byte { signed: false }, _) => bytes.iter().map(|b| f32::from(*b)).collect(),
            _ => return None,
        })
    }

    /// Elements of a value that the host knows as floats: a constant, or data made from constants.
    pub fn known_floats(&self, v: Val) -> Result<Option<Vec<f32>>, Fault> {
        if let Some(values) = self.host_values(v) {
            return Ok(Some(values));
        }
        let fact = self.fact(v);
        fact.constant.as_ref().map(|data| constant::floats(self.asset, fact, data)).transpose()
    }

    /// Frees host-made data that no step reads: what weights were on the way to their final form.
    pub(super) fn drop_unread_constants(&mut self) {
        let mut read = vec![false; self.plan.buffers.len()];
        for view in self.plan.steps.iter().flat_map(|s| &s.reads) {
            if let Some(seen) = read.get_mut(view.buffer.0 as usize) {
                *seen = true;
            }
        }
        for (buffer, _) in self.plan.buffers.iter_mut().zip(read).filter(|(_, read)| !read) {
            if let Role::Host(bytes) = &mut buffer.role {
                *bytes = Arc::new(vec![]);
            }
        }
    }

    /// A single constant element, as bits of its kind.
    pub(super) fn scalar_bits(&self, v: Val) -> Option<u32> {
        let fact = self.fact(v);
        if let Some(ints) = fact.const_ints() {
            return match ints.as_slice() {
                [one] => Some(*one as u32),
                [first, rest @ ..] if rest.iter().all(|x| x == first) => Some(*first as u32),
                _ => None,
            };
        }
        if kind_of(fact.element)? != Kind::F32 {
            return None;
        }
        if let Some(array) = self.graph.folded.get(&v).filter(|a| a.len() == 1) {
            let mut words = vec![];
            crate::words::from_bytes(array.element, &array.data, &mut words).ok()?;
            return words.first().copied();
        }
        let data = fact.constant.as_ref()?;
        if !(data.splat || fact.elements().is(1)) {
            return None;
        }
        let one = Fact::new(fact.element, vec![]);
        Some(constant::floats(self.asset, &one, data).ok()?.first()?.to_bits())
    }

    /// Constant float elements of a small operand.
    pub fn const_floats(&self, v: Val) -> Result<Vec<f32>, Fault> {
        let fact = self.fact(v);
        let Some(data) = &fact.constant else {
            return Err(Fault::unsupported("an operand that must be a constant"));
        };
        if fact.elements().as_const().is_none_or(|n| n > 4096) {
            return Err(Fault::unsupported("a parameter operand with too many elements"));
        }
        constant::floats(self.asset, fact, data)
    }

    /// Bits of a single-element constant operand.
    pub fn const_bits(&self, v: Val) -> Result<u32, Fault> {
        self.scalar_bits(v).ok_or_else(|| Fault::unsupported("an operand that must be a constant scalar"))
    }
}

/// Storage of data made on the host: as small as the declared dtype where a storage holds it exactly.
fn expanded_storage(element: ElementType) -> Storage {
    use ElementType::*;
    match element {
        F16 | F8E4M3FN | F8E5M2 | F4E2M1FN => Storage::F16,
        BF16 | F8E8M0FN => Storage::BF16,
        SI8 | SI4 | SI2 => Storage::Byte { signed: true },
        UI8 | UI6 | UI4 | UI3 | UI2 | UI1 | Bool => Storage::Byte { signed: false },
        _ => Storage::Word,
    }
}

/// A storage's name for the report.
pub fn storage_name(storage: &Storage) -> &'static str {
    match storage {
        Storage::Word => "32 bits",
        Storage::F16 => "float16",
        Storage::BF16 => "bfloat16",
        Storage::Byte { .. } => "8 bits",
        Storage::Quant(_) => "packed codes",
    }
}

fn encode(values: &[f32], storage: &Storage) -> Vec<u8> {
    match storage {
        Storage::F16 => values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect(),
        Storage::BF16 => values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect(),
        _ => bytemuck::cast_slice(values).to_vec(),
    }
}

fn encode_integers(values: &[i64], storage: &Storage) -> Vec<u8> {
    match storage {
        Storage::Byte { .. } => values.iter().map(|v| *v as u8).collect(),
        _ => values.iter().flat_map(|v| (*v as u32).to_le_bytes()).collect(),
    }
}
