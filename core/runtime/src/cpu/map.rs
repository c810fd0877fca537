//! Elementwise programs, in blocks of [`BLOCK`] elements.

use crate::map::{Instr, MapFn, MapOp, MapProg};
use crate::step::{Kind, Round};

use super::memory::Operand;
use super::simd::Binary;
use super::{Env, Fault, cast, simd, threads};

/// Elements evaluated at once: a dozen registers of this size stay in the first cache.
pub(super) const BLOCK: usize = 512;

/// A program bound to its operands.
pub(super) struct Program<'a> {
    prog: &'a MapProg,
    values: &'a [i64],
    /// Extents that [`MapOp::Index`] counts over.
    dims: &'a [usize],
    /// Loads from number `given` on.
    loads: &'a [Operand<'a>],
    /// Leading loads whose values are handed to [`Program::block`].
    given: usize,
    round: Round,
    /// Use the table's functions rather than vectorized approximations.
    wide: bool,
    /// Constants and loads that only vectorized functions use, as their second argument: one bit per
    /// instruction. Where such a value is the same for a whole block it is not written out.
    immediate: u64,
    /// What the program ends with, when it is one of the usual activations.
    clamp: Option<Clamp>,
}

/// The end of a program that only limits the value of an instruction.
struct Clamp {
    of: usize,
    low: f32,
    high: f32,
}

impl Clamp {
    fn of(prog: &MapProg, wide: bool) -> Option<Clamp> {
        let mut clamp = Clamp { of: prog.instrs.len() - 1, low: f32::NEG_INFINITY, high: f32::INFINITY };
        if wide || prog.instrs.len() > 64 {
            return None;
        }
        // From the end: an earlier limit acts before the later ones.
        loop {
            let instr = &prog.instrs[clamp.of];
            let limit = match instr.op {
                MapOp::Fn(MapFn::Relu) if instr.kind == Kind::F32 => (MapFn::Max, 0.0),
                MapOp::Fn(f @ (MapFn::Max | MapFn::Min)) if instr.kind == Kind::F32 => {
                    match prog.instrs[usize::from(instr.args[1])].op {
                        MapOp::Const(bits) if !f32::from_bits(bits).is_nan() => (f, f32::from_bits(bits)),
                        _ => break,
                    }
                }
                _ => break,
            };
            match limit {
                (MapFn::Max, low) => clamp.low = low.clamp(clamp.low, clamp.high),
                (_, high) => clamp.high = high.clamp(clamp.low, clamp.high),
            }
            clamp.of = usize::from(instr.args[0]);
        }
        // What lies between is not evaluated: it must be these limits and their constants.
        let skipped = &prog.instrs[clamp.of + 1..];
        let limits = skipped.iter().filter(|i| !matches!(i.op, MapOp::Const(_))).count();
        let chain = skipped
            .iter()
            .all(|i| matches!(i.op, MapOp::Const(_) | MapOp::Fn(MapFn::Relu | MapFn::Max | MapFn::Min)));
        (limits > 0 && chain).then_some(clamp)
    }
}

/// Bits of [`Program::immediate`].
fn immediate(prog: &MapProg, wide: bool) -> u64 {
    let count = prog.instrs.len();
    if wide || count > 64 {
        return 0;
    }
    let value = |at: u16| matches!(prog.instrs[usize::from(at)].op, MapOp::Const(_) | MapOp::Load(_));
    let mut bits = 0u64;
    for (at, instr) in prog.instrs.iter().enumerate() {
        bits |= u64::from(value(at as u16) && at + 1 < count) << at;
        let args = &instr.args[..instr.op.arity()];
        for &arg in if binary(prog, instr).is_some() { &args[..1] } else { args } {
            bits &= !(1 << arg);
        }
    }
    bits
}

/// The vectorized function that an instruction is, if any.
fn binary(prog: &MapProg, instr: &Instr) -> Option<Binary> {
    let MapOp::Fn(f) = instr.op else { return None };
    if prog.instrs[usize::from(instr.args[0])].kind != Kind::F32 {
        return None;
    }
    match f {
        MapFn::Add => Some(Binary::Add),
        MapFn::Sub => Some(Binary::Sub),
        MapFn::Mul => Some(Binary::Mul),
        MapFn::Div => Some(Binary::Div),
        MapFn::Max => Some(Binary::Max),
        MapFn::Min => Some(Binary::Min),
        _ => None,
    }
}

impl<'a> Program<'a> {
    /// Checks that instructions refer to what exists.
    pub fn new(
        prog: &'a MapProg,
        dims: &'a [usize],
        loads: &'a [Operand<'a>],
        given: usize,
        env: &Env<'a>,
    ) -> Result<Program<'a>, Fault> {
        let round = if env.kind == Kind::F32 { env.round } else { Round::None };
        if prog.instrs.is_empty() {
            return Err(Fault::program("an elementwise program has no instructions".into()));
        }
        for (at, instr) in prog.instrs.iter().enumerate() {
            let known = match instr.op {
                MapOp::Load(n) => usize::from(n) < given + loads.len(),
                MapOp::Scalar(n) => usize::from(n) < prog.scalars.len(),
                MapOp::Index(axis) => usize::from(axis) < dims.len(),
                _ => true,
            };
            if !known || instr.args.iter().take(instr.op.arity()).any(|&arg| usize::from(arg) >= at) {
                return Err(Fault::program(format!("instruction {at} ({:?}) refers to nothing", instr.op)));
            }
        }
        if let Some(load) = loads.iter().find(|load| load.dims() != dims) {
            return Err(Fault::program(format!("operand extents {:?} differ from {dims:?}", load.dims())));
        }
        let immediate = immediate(prog, env.wide);
        let clamp = Clamp::of(prog, env.wide);
        let wide = env.wide;
        Ok(Program { prog, values: env.values, dims, loads, given, round, wide, immediate, clamp })
    }

    /// Words that [`Program::run`] needs for its registers.
    pub fn registers(&self) -> usize {
        self.prog.instrs.len() * BLOCK
    }

    /// Rough operations per element.
    pub fn cost(&self) -> usize {
        self.prog
            .instrs
            .iter()
            .map(|i| match i.op {
                MapOp::Fn(f) if f.arity() == 1 => 8,
                MapOp::Fn(MapFn::Pow | MapFn::Mod | MapFn::FloorDiv) => 16,
                _ => 1,
            })
            .sum()
    }

    /// Evaluates the elements `start..start + out.len()`; `given` are the leading loads' values
    /// for the same elements.
    pub fn run(&self, start: usize, given: &[&[u32]], registers: &mut [u32], out: &mut [u32]) {
        let mut pieces = [&[] as &[u32]; 4];
        for (i, out) in out.chunks_mut(BLOCK).enumerate() {
            let at = i * BLOCK;
            for (piece, values) in pieces.iter_mut().zip(given) {
                *piece = &values[at..at + out.len()];
            }
            self.block(start + at, &pieces, registers, out);
            cast::round(out, self.round);
        }
    }

    fn block(&self, start: usize, given: &[&[u32]], registers: &mut [u32], out: &mut [u32]) {
        let n = out.len();
        let last = self.clamp.as_ref().map_or(self.prog.instrs.len() - 1, |clamp| clamp.of);
        // Instructions whose value is the first word of their register.
        let mut single = 0u64;
        for (at, instr) in self.prog.instrs.iter().enumerate().take(last + 1) {
            let (before, rest) = registers.split_at_mut(at * BLOCK);
            let result = if at == last { &mut *out } else { &mut rest[..n] };
            let arg = |i: usize| {
                let from = usize::from(instr.args[i]);
                self.direct(from, start, n, given).unwrap_or(&before[from * BLOCK..from * BLOCK + n])
            };
            let immediate = at < 64 && self.immediate >> at & 1 == 1;
            match instr.op {
                MapOp::Load(number) => match self.direct(at, start, n, given) {
                    Some(values) if at == last => result.copy_from_slice(values),
                    // Read in place by the instructions that use it.
                    Some(_) => {}
                    None => {
                        let load = &self.loads[usize::from(number) - self.given];
                        match immediate.then(|| load.single(start, n)).flatten() {
                            Some(value) => {
                                result[0] = value;
                                single |= 1 << at;
                            }
                            None => load.load(start, result),
                        }
                    }
                },
                MapOp::Const(bits) if immediate => {
                    result[0] = bits;
                    single |= 1 << at;
                }
                MapOp::Const(bits) => result.fill(bits),
                MapOp::Scalar(number) => {
                    result.fill(self.prog.scalars[usize::from(number)].eval(self.values) as i32 as u32);
                }
                MapOp::Index(axis) => self.index(usize::from(axis), start, result),
                MapOp::Cast(to) => {
                    let from = self.prog.instrs[usize::from(instr.args[0])].kind;
                    cast::cast(from, to, arg(0), result);
                }
                MapOp::Wrap(to) => cast::wrap(to, arg(0), result),
                MapOp::Fn(f) => {
                    let kind = self.prog.instrs[usize::from(instr.args[0])].kind;
                    let a = arg(0);
                    if !self.wide
                        && let Some(binary) = binary(self.prog, instr)
                    {
                        let (a, out) = (bytemuck::cast_slice(a), bytemuck::cast_slice_mut(result));
                        let b = usize::from(instr.args[1]);
                        if b < 64 && single >> b & 1 == 1 {
                            if let (Some(clamp), true, Binary::Add) = (&self.clamp, at == last, binary) {
                                let b = f32::from_bits(before[b * BLOCK]);
                                return simd::add_clamp(a, b, clamp.low, clamp.high, out);
                            }
                            simd::binary_scalar(binary, a, f32::from_bits(before[b * BLOCK]), out);
                        } else {
                            simd::binary(binary, a, bytemuck::cast_slice(arg(1)), out);
                        }
                        continue;
                    }
                    if !self.wide && kind == Kind::F32 && fast(f, a, result) {
                        continue;
                    }
                    let b = if f.arity() > 1 { arg(1) } else { a };
                    let c = if f.arity() > 2 { arg(2) } else { a };
                    // A choice copies bits, whatever their kind.
                    let kind = if f == MapFn::Select { Kind::U32 } else { kind };
                    f.apply(kind, a, b, c, result);
                }
            }
        }
        if let Some(clamp) = &self.clamp {
            simd::clamp(bytemuck::cast_slice_mut(out), clamp.low, clamp.high);
        }
    }

    /// Values of a load that can be read where they lie.
    fn direct<'b>(&'b self, at: usize, start: usize, n: usize, given: &[&'b [u32]]) -> Option<&'b [u32]> {
        let MapOp::Load(number) = self.prog.instrs[at].op else { return None };
        let number = usize::from(number);
        match number.checked_sub(self.given) {
            None => Some(given[number]),
            Some(load) => self.loads[load].words().map(|words| &words[start..start + n]),
        }
    }

    fn index(&self, axis: usize, start: usize, out: &mut [u32]) {
        let inner = self.dims[axis + 1..].iter().product::<usize>().max(1);
        let extent = self.dims[axis].max(1);
        let (mut within, mut value) = (start % inner, start / inner % extent);
        for o in out {
            *o = value as u32;
            within += 1;
            if within == inner {
                within = 0;
                value = if value + 1 == extent { 0 } else { value + 1 };
            }
        }
    }
}

/// Vectorized functions within a few units in the last place; false when there is none.
fn fast(f: MapFn, x: &[u32], out: &mut [u32]) -> bool {
    let (x, out) = (bytemuck::cast_slice(x), bytemuck::cast_slice_mut(out));
    match f {
        MapFn::Exp => simd::exp_all(x, out),
        MapFn::Sigmoid => simd::sigmoid_all(x, out),
        MapFn::Silu => simd::silu_all(x, out),
        MapFn::GeluTanh => simd::gelu_tanh_all(x, out),
        MapFn::Relu => simd::relu_all(x, out),
        MapFn::Erf => simd::erf_all(x, out),
        MapFn::Gelu => simd::gelu_all(x, out),
        _ => return false,
    }
    true
}

/// The `Map` kernel.
pub(super) fn map(
    prog: &MapProg,
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let program = Program::new(prog, dims, reads, 0, env)?;
    if let ([Instr { op: MapOp::Load(0), .. }], [x]) = (prog.instrs.as_slice(), reads)
        && x.turn(out)
    {
        threads::chunks(out, 4096, 2, |_, piece| cast::round(piece, program.round));
        return Ok(());
    }
    threads::chunks(out, 4 * BLOCK, program.cost() + 1, |start, piece| {
        threads::scratch(program.registers(), |registers| {
            program.run(start, &[], bytemuck::cast_slice_mut(registers), piece);
        });
    });
    Ok(())
}
