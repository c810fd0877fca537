//! Matrix products with plain or compressed weights, prologue norm and epilogue.

use crate::map::MapProg;
use crate::step::{Kind, Norm, Round};

use super::gemm::{Arithmetic, Gemm, Part, Runs};
use super::map::Program;
use super::matvec::{self, MAX_ROWS, Rows};
use super::memory::{Data, Operand, grow};
use super::simd::COLUMNS;
use super::{Env, Fault, cast, norm, threads};

/// B `[batch.., k, n]` taken apart.
pub(super) struct Columns<'a> {
    pub operand: Operand<'a>,
    rank: usize,
    /// Element strides of k and n.
    pub stride: [isize; 2],
}

impl<'a> Columns<'a> {
    fn new(operand: &Operand<'a>) -> Columns<'a> {
        let strides = operand.layout.strides();
        let rank = strides.len();
        Columns { operand: *operand, rank, stride: [strides[rank - 2], strides[rank - 1]] }
    }

    /// Offset of element (k, n) of a batch.
    pub fn at(&self, batch: usize, k: usize, n: usize) -> usize {
        let layout = &self.operand.layout;
        let base = layout.at(&layout.dims()[..self.rank - 2], batch) as isize;
        (base + k as isize * self.stride[0] + n as isize * self.stride[1]) as usize
    }

    /// Packs a part of a panel.
    fn pack(&self, part: Part, panel: &mut [f32]) {
        let Part { batch, column, columns, from, to, .. } = part;
        let depth = to - from;
        if columns < COLUMNS {
            panel.fill(0.0);
        }
        if self.stride[1] == 1 && self.stride[0] != 1 {
            for (p, line) in panel.chunks_exact_mut(COLUMNS).enumerate() {
                self.operand.load_run(self.at(batch, from + p, column), 1, &mut line[..columns]);
            }
            return;
        }
        // Sixteen columns are loaded along k, or read in place, then interleaved.
        const GROUP: usize = 16;
        if self.stride[0] == 1
            && let Data::Word(bytes) = self.operand.data
            && let Ok(words) = bytemuck::try_cast_slice::<u8, f32>(bytes)
        {
            for first in (0..columns).step_by(GROUP) {
                let mut lines = [&[] as &[f32]; GROUP];
                let count = GROUP.min(columns - first);
                for (j, line) in lines.iter_mut().enumerate().take(count) {
                    let at = self.at(batch, from, column + first + j);
                    *line = &words[at..at + depth];
                }
                interleave(&lines[..count], depth, first, panel);
            }
            return;
        }
        threads::scratch(GROUP * depth, |lines| {
            for first in (0..columns).step_by(GROUP) {
                let count = GROUP.min(columns - first);
                for (j, line) in lines.chunks_exact_mut(depth).take(count).enumerate() {
                    let at = self.at(batch, from, column + first + j);
                    self.operand.load_run(at, self.stride[0], line);
                }
                let mut all = [&[] as &[f32]; GROUP];
                all.iter_mut().zip(lines.chunks_exact(depth)).for_each(|(slot, line)| *slot = line);
                interleave(&all[..count], depth, first, panel);
            }
        });
    }
}

/// Writes at most sixteen lines of `depth` elements as columns `first..` of a panel.
fn interleave(lines: &[&[f32]], depth: usize, first: usize, panel: &mut [f32]) {
    // Some elements of every line at a time, so that the panel's lines are still cached.
    const STEP: usize = 64;
    for from in (0..depth).step_by(STEP) {
        let to = depth.min(from + STEP);
        let part = &mut panel[from * COLUMNS..to * COLUMNS];
        for (j, line) in lines.iter().enumerate() {
            for (row, &value) in part.chunks_exact_mut(COLUMNS).zip(&line[from..to]) {
                row[first + j] = value;
            }
        }
    }
}

/// The `MatMul` kernel.
pub(super) fn matmul(
    weights: usize,
    prologue: Option<&Norm>,
    epilogue: Option<&MapProg>,
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let operands = 1 + weights + usize::from(prologue.is_some());
    if !(1..=2).contains(&weights) || reads.len() < operands || dims.len() < 2 {
        return Err(Fault::program(format!("a product of {weights} weights has {} operands", reads.len())));
    }
    let (a, rest) = (&reads[0], &reads[operands..]);
    let rank = dims.len();
    let (m, n) = (dims[rank - 2], dims[rank - 1]);
    let k = a.dim(rank - 1);
    let fits = |operand: &Operand, rows: usize, columns: usize| {
        let have = operand.dims();
        have.len() == rank && have[..rank - 2] == dims[..rank - 2] && have[rank - 2..] == [rows, columns]
    };
    if !fits(a, m, k) || !reads[1..=weights].iter().all(|b| fits(b, k, n) && b.kind == a.kind) {
        return Err(Fault::program(format!(
            "{:?} by {:?} does not give {dims:?}",
            a.dims(),
            reads[1].dims()
        )));
    }
    let program = epilogue.map(|prog| Program::new(prog, dims, rest, weights, env)).transpose()?;

    let columns = [Columns::new(&reads[1]), Columns::new(&reads[weights])];
    let mut batches: usize = dims[..rank - 2].iter().product();
    let mut m = m;
    // One B for all batches: their rows are rows of one product.
    let shared = |b: &Columns| {
        b.operand.layout.strides()[..rank - 2].iter().zip(dims).all(|(&s, &d)| s == 0 || d == 1)
    };
    if columns.iter().all(shared) {
        (batches, m) = (1, batches * m);
    }

    let scratch = &mut *env.scratch;
    let a = match prologue {
        Some(parameters) => {
            let scale = &reads[1 + weights];
            if scale.layout.count() != k || a.kind != Kind::F32 {
                return Err(Fault::program(format!("a norm over {k} has a scale of {:?}", scale.dims())));
            }
            let count = a.layout.count();
            grow(&mut scratch.a, count)?;
            let normal = &mut scratch.a[..count];
            norm::normalize(parameters, a, &|_, out| scale.load_f32(0, out), None, k, normal, env.wide);
            &scratch.a[..count]
        }
        None => a.dense(&mut scratch.a)?,
    };
    let arithmetic = match (reads[0].kind, env.wide) {
        (Kind::F32, false) => Arithmetic::F32,
        (Kind::F32, true) => Arithmetic::Wide,
        _ => Arithmetic::Integer,
    };

    let round = if env.kind == Kind::F32 { env.round } else { Round::None };
    let finish = |start: usize, given: &[&[u32]], out: &mut [u32]| {
        let Some(program) = &program else {
            out.copy_from_slice(given[0]);
            return cast::round(out, round);
        };
        threads::scratch(program.registers(), |registers| {
            program.run(start, given, bytemuck::cast_slice_mut(registers), out);
        });
    };

    if arithmetic == Arithmetic::F32 && m <= MAX_ROWS && k > 0 {
        let rows = Rows { batches, m, n, k, weights: &columns[..weights] };
        let x = bytemuck::cast_slice(a);
        return matvec::matvec(&rows, x, &finish, out, &mut scratch.b, &mut scratch.c);
    }
    let gemm = Gemm { batches, a_batches: batches.max(1), m, k, columns: Runs::all(n), weights, arithmetic };
    let pack = |part: Part, panel: &mut [f32]| columns[part.weight].pack(part, panel);
    gemm.pack(a, &mut scratch.b)?;
    gemm.run(&scratch.b[..a.len()], &pack, &finish, out, &mut scratch.c)
}
