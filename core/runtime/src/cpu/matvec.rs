//! Products with few rows: every row of the weight is read once, where it lies.

use coreai_asset::ElementType;

use super::gemm::Finish;
use super::matmul::Columns;
use super::memory::{Data, grow};
use super::quantized::{Quantized, scale_bytes};
use super::simd::{self, Form, Minimums, Scales};
use super::{Fault, threads};

/// Most rows of A; with more, packing B pays.
pub(super) const MAX_ROWS: usize = 12;

/// Elements of a result computed by one task, at most.
const TASK: usize = 128;

/// Most rows of codes multiplied by one call.
const TOGETHER: usize = 16;

/// Extents and operands.
pub(super) struct Rows<'a> {
    pub batches: usize,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub weights: &'a [Columns<'a>],
}

/// How rows of a weight (columns of B) are multiplied.
#[derive(Clone, Copy)]
enum Method<'a> {
    /// Contiguous along k.
    Plain(&'a [u8], ElementType),
    /// Whole rows of the compressed weight; with `paired`, two codes per byte by [`simd::dot4`].
    Codes { q: Quantized<'a>, form: Form, paired: bool },
    /// Loaded into scratch memory first.
    Load,
}

impl<'a> Method<'a> {
    fn new(weight: &Columns<'a>, k: usize) -> Method<'a> {
        let along = weight.stride[0] == 1 || k == 1;
        match weight.operand.data {
            Data::Word(bytes) if along => Method::Plain(bytes, ElementType::F32),
            Data::F16(bytes) if along => Method::Plain(bytes, ElementType::F16),
            Data::BF16(bytes) if along => Method::Plain(bytes, ElementType::BF16),
            Data::Quant(q) if along && !q.codes.splat && q.row() == k && aligned(weight, k) => {
                let block = if q.scale.splat { k } else { q.block() };
                let Some(form) = q.form() else { return Method::Load };
                let paired = q.bits == 4 && form.is_fast() && simd::dot4_takes(k, block);
                if paired || simd::dot_codes_takes(k, block) {
                    Method::Codes { q, form, paired }
                } else {
                    Method::Load
                }
            }
            _ => Method::Load,
        }
    }
}

/// Whether every column begins at the start of a row of the weight.
fn aligned(weight: &Columns, k: usize) -> bool {
    let layout = &weight.operand.layout;
    let strides = layout.strides();
    let outer = &strides[..strides.len() - 2];
    layout.offset.is_multiple_of(k)
        && weight.stride[1] % k as isize == 0
        && outer.iter().all(|s| s % k as isize == 0)
}

/// Activations in the forms that the methods need.
struct Activations<'a> {
    /// `[batches, m, k]`
    x: &'a [f32],
    /// `[batches, m, padded]`, reordered for 4-bit codes.
    reordered: &'a [f32],
    padded: usize,
    /// `[batches, m, k / block]`: sums over the blocks of a weight with zero points or minimums.
    sums: &'a [f32],
}

/// `x` is `[batches, m, k]`.
pub(super) fn matvec(
    rows: &Rows,
    x: &[f32],
    finish: &Finish,
    out: &mut [u32],
    prepared: &mut Vec<u32>,
    sums: &mut Vec<u32>,
) -> Result<(), Fault> {
    let Rows { batches, m, n, k, weights } = *rows;
    if out.is_empty() {
        return Ok(());
    }
    let methods = [Method::new(&weights[0], k), Method::new(&weights[weights.len() - 1], k)];
    let paired = methods.iter().any(|method| matches!(method, Method::Codes { paired: true, .. }));
    let padded = if paired { k.next_multiple_of(simd::dot4_order().0) } else { 0 };
    // All weights have one format; blocks matter only where each has a zero point or minimum.
    let block = match methods[0] {
        Method::Codes { q, .. } if q.zero.is_some() || q.min.is_some() => q.block(),
        _ => 0,
    };
    let blocks = k.checked_div(block).unwrap_or(0);
    let lines = batches * m;
    grow(prepared, lines * (padded + blocks))?;
    let (reordered, block_sums) = prepared[..lines * (padded + blocks)].split_at_mut(lines * padded);
    let reordered: &mut [f32] = bytemuck::cast_slice_mut(reordered);
    let block_sums: &mut [f32] = bytemuck::cast_slice_mut(block_sums);
    for line in 0..lines {
        let x = &x[line * k..(line + 1) * k];
        if paired {
            reorder(x, &mut reordered[line * padded..(line + 1) * padded]);
        }
        for (sum, x) in block_sums[line * blocks..].iter_mut().zip(x.chunks(block.max(1))).take(blocks) {
            *sum = simd::sum(x);
        }
    }
    let activations = Activations { x, reordered, padded, sums: block_sums };

    // Results as [weights][batches][n][m]: a task owns whole columns.
    let plane = batches * n * m;
    grow(sums, plane * weights.len())?;
    let sums = &mut sums[..plane * weights.len()];
    let share = (batches * n * weights.len()).div_ceil(4 * threads::width());
    // Whole words of cache lines, so that neighbours do not share one.
    let columns = share.next_multiple_of(16).min(TASK.div_ceil(m)).min(n.next_multiple_of(16));
    for (w, sums) in sums.chunks_mut(plane).enumerate() {
        threads::chunks(sums, columns * m, k / 4 + 1, |start, piece| {
            let mut column = start / m;
            let mut rest = piece;
            while !rest.is_empty() {
                // Columns of one batch are equally far apart.
                let (batch, first) = (column / n, column % n);
                let count = (n - first).min(rest.len() / m);
                let (now, later) = rest.split_at_mut(count * m);
                activations.columns(&weights[w], &methods[w], k, batch * m, [batch, first], m, now);
                column += count;
                rest = later;
            }
        });
    }

    let sums = &*sums;
    if m == 1 {
        threads::chunks(out, 2048, 16, |start, piece| {
            let given = [
                &sums[start..start + piece.len()],
                &sums[plane * (weights.len() - 1) + start..][..piece.len()],
            ];
            finish(start, &given[..weights.len()], piece);
        });
        return Ok(());
    }
    threads::rows(out, n, n * 8, |line, out| {
        let (batch, row) = (line / m, line % m);
        let mut moved = [[0u32; 512]; 2];
        for (i, out) in out.chunks_mut(512).enumerate() {
            for (w, moved) in moved.iter_mut().enumerate().take(weights.len()) {
                let from = w * plane + (batch * n + i * 512) * m + row;
                for (slot, &sum) in moved.iter_mut().zip(sums[from..].iter().step_by(m)).take(out.len()) {
                    *slot = sum;
                }
            }
            let given = [&moved[0][..out.len()], &moved[1][..out.len()]];
            finish(line * n + i * 512, &given[..weights.len()], out);
        }
    });
    Ok(())
}

impl Activations<'_> {
    /// Consecutive columns of B, from `[batch, column]` on, with the `m` lines of A from `line` on.
    /// `out` is `[columns][m]`.
    #[allow(clippy::too_many_arguments)]
    fn columns(
        &self,
        weight: &Columns,
        method: &Method,
        k: usize,
        line: usize,
        [batch, column]: [usize; 2],
        m: usize,
        out: &mut [u32],
    ) {
        let first = weight.at(batch, 0, column) as isize;
        let at = |i: usize| (first + i as isize * weight.stride[1]) as usize;
        let x = |i: usize| &self.x[(line + i) * k..(line + i + 1) * k];
        let columns = out.chunks_exact_mut(m).enumerate();
        match method {
            Method::Plain(bytes, element) => {
                let size = if *element == ElementType::F32 { 4 } else { 2 };
                for (j, out) in columns {
                    let bytes = &bytes[at(j) * size..(at(j) + k) * size];
                    for (i, o) in out.iter_mut().enumerate() {
                        *o = simd::dot(x(i), bytes, *element).to_bits();
                    }
                }
            }
            Method::Codes { q, form, paired } => {
                let rows = RowScales::new(q, k);
                // Rows that follow each other, with their scales, are multiplied together.
                let together =
                    if rows.own && !q.scale.splat && weight.stride[1] == k as isize { TOGETHER } else { 1 };
                let mut sums = [0f32; TOGETHER];
                for (group, out) in out.chunks_mut(together * m).enumerate() {
                    let (count, at) = (out.len() / m, at(group * together));
                    let first = rows.first(at);
                    let codes = &q.codes.bytes[at * q.bits / 8..(at + count * k) * q.bits / 8];
                    let scales = rows.scales(first, count);
                    for i in 0..m {
                        let sums = &mut sums[..count];
                        let mut whole = false;
                        if *paired {
                            let x = &self.reordered[(line + i) * self.padded..(line + i + 1) * self.padded];
                            let minimums = self.minimums(q, &scales, first, count, k, line + i);
                            whole = minimums.is_some();
                            simd::dot4(x, codes, form, &scales, minimums, k, sums);
                        } else {
                            simd::dot_codes(x(i), codes, form, &scales, k, sums);
                        }
                        for (j, sum) in sums.iter().enumerate() {
                            let first = first + j * (k / q.block());
                            let rest = if whole { 0.0 } else { self.correction(q, first, k, line + i) };
                            out[j * m + i] = (sum + rest).to_bits();
                        }
                    }
                }
            }
            Method::Load => threads::scratch(k, |row| {
                for (j, out) in columns {
                    weight.operand.load_run(at(j), weight.stride[0], row);
                    for (i, o) in out.iter_mut().enumerate() {
                        *o = simd::dot(x(i), bytemuck::cast_slice(row), ElementType::F32).to_bits();
                    }
                }
            }),
        }
    }

    /// The minimums of `count` rows from block `first` on, where they can be added while multiplying.
    fn minimums<'b>(
        &'b self,
        q: &Quantized<'b>,
        scales: &Scales,
        first: usize,
        count: usize,
        k: usize,
        line: usize,
    ) -> Option<Minimums<'b>> {
        let part = q.min.filter(|part| !part.splat && q.zero.is_none() && simd::dot4_adds(scales))?;
        let blocks = k / q.block();
        let bytes = part.bytes.get(first * 2..(first + count * blocks) * 2)?;
        Some(Minimums { bytes, sums: &self.sums[line * blocks..(line + 1) * blocks] })
    }

    /// What zero points and minimums add: `(min − scale·zero)` times the sum of each block of x.
    fn correction(&self, q: &Quantized, first: usize, k: usize, line: usize) -> f32 {
        if q.zero.is_none() && q.min.is_none() {
            return 0.0;
        }
        let blocks = k / q.block();
        let sums = &self.sums[line * blocks..(line + 1) * blocks];
        if let (Some(min), None) = (q.min, q.zero)
            && !min.splat
        {
            return simd::dot(sums, &min.bytes[first * scale_bytes(q.format.scale)..], q.format.scale);
        }
        sums.iter()
            .enumerate()
            .map(|(i, sum)| {
                let (scale, zero, min) = q.params(first + i);
                (min - scale * zero) * sum
            })
            .sum()
    }
}

/// Finds the scales of rows of a weight.
struct RowScales<'a, 'b> {
    q: &'b Quantized<'a>,
    k: usize,
    /// Bytes of a scale.
    size: usize,
    /// Elements per stored scale; the whole row when one scale stands for all.
    block: usize,
    /// Every row has scales of its own.
    own: bool,
}

impl<'a, 'b> RowScales<'a, 'b> {
    fn new(q: &'b Quantized<'a>, k: usize) -> RowScales<'a, 'b> {
        let outer = q.format.blocks.len().saturating_sub(1);
        RowScales {
            q,
            k,
            size: scale_bytes(q.format.scale),
            block: if q.scale.splat { k } else { q.block() },
            own: q.format.blocks[..outer].iter().all(|&b| b == 1),
        }
    }

    /// Number of the first scale of the row that begins at element `at`.
    fn first(&self, at: usize) -> usize {
        let row = at / self.k;
        if self.own { row * (self.k / self.q.block()) } else { self.q.scale_row(row) }
    }

    /// Scales of `count` rows from scale `first` on.
    fn scales(&self, first: usize, count: usize) -> Scales<'a> {
        let first = if self.q.scale.splat { 0 } else { first };
        let end = first + count * (self.k / self.block);
        let bytes = &self.q.scale.bytes[first * self.size..end * self.size];
        Scales { bytes, element: self.q.format.scale, block: self.block }
    }
}

/// Reorders one line for [`simd::dot4`].
fn reorder(x: &[f32], out: &mut [f32]) {
    let (group, per) = simd::dot4_order();
    let lanes = group / per;
    for (out, x) in out.chunks_exact_mut(group).zip(x.chunks(group)) {
        if x.len() < group {
            out.fill(0.0);
        }
        for (i, &value) in x.iter().enumerate() {
            out[i % per * lanes + i / per] = value;
        }
    }
}
