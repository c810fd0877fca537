//! Blocked matrix product: A packed by tiles of rows, B packed on the fly by panels of columns.
//!
//! A task computes one block of rows by a group of panels into its own piece of scratch memory, so
//! that tasks write disjoint slices; a second pass moves rows to the result through the epilogue.

use super::memory::grow;
use super::simd::{self, COLUMNS, ROWS};
use super::{Fault, threads};

/// Rows of a block at most; a multiple of [`ROWS`].
const BLOCK_ROWS: usize = 341 * ROWS;

/// Elements of k times panels packed at once: 256 KiB stay in the second cache.
const DEPTH: usize = 2048;

/// Most panels of a group.
const GROUP: usize = 16;

/// Words of scratch memory for results waiting for the second pass: they stay in the third cache.
const PENDING: usize = 1 << 19;

/// Columns moved at once in the second pass.
const MOVE: usize = GROUP * COLUMNS;

/// How products are summed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arithmetic {
    F32,
    /// Sums in f64.
    Wide,
    /// Wrapping 32-bit integers.
    Integer,
}

/// Extents of a product `[batches, m, k] · [batches, k, n]`, for several B at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gemm {
    pub batches: usize,
    /// Batch `b` uses A number `b % a_batches`.
    pub a_batches: usize,
    pub m: usize,
    pub k: usize,
    pub columns: Runs,
    pub weights: usize,
    pub arithmetic: Arithmetic,
}

/// Which columns of a product are results: `planes` times `lines` runs of `width` columns. Columns
/// between them are computed, because that is cheaper than to skip them, and dropped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runs {
    pub width: usize,
    /// From one run to the next.
    pub pitch: usize,
    pub lines: usize,
    /// From one plane to the next; at least `lines * pitch`.
    pub plane: usize,
    pub planes: usize,
}

impl Runs {
    /// All of `n` columns.
    pub fn all(n: usize) -> Runs {
        Runs { width: n, pitch: n, lines: 1, plane: n, planes: 1 }
    }

    /// The same columns in as few runs as possible.
    pub fn joined(mut self) -> Runs {
        if self.pitch == self.width {
            (self.width, self.pitch, self.lines) = (self.width * self.lines, self.pitch * self.lines, 1);
        }
        if self.lines == 1 && self.plane == self.width {
            (self.width, self.planes) = (self.width * self.planes, 1);
            (self.pitch, self.plane) = (self.width, self.width);
        }
        self
    }

    /// Number of results.
    pub fn count(&self) -> usize {
        self.width * self.lines * self.planes
    }

    /// Columns up to the last result.
    pub fn span(&self) -> usize {
        match self.count() {
            0 => 0,
            _ => (self.planes - 1) * self.plane + (self.lines - 1) * self.pitch + self.width,
        }
    }

    /// Number of results before a column.
    fn before(&self, column: usize) -> usize {
        if self.lines == 1 && self.planes == 1 {
            return column.min(self.width);
        }
        let (plane, rest) = (column / self.plane, column % self.plane);
        if plane >= self.planes {
            return self.count();
        }
        let line = rest / self.pitch;
        let within = if line < self.lines { (rest % self.pitch).min(self.width) } else { 0 };
        (plane * self.lines + line.min(self.lines)) * self.width + within
    }

    /// Moves the results among the columns from `first` on to the front of `out`; returns their number.
    fn pick(&self, first: usize, columns: &[u32], out: &mut [u32]) -> usize {
        let (mut at, end) = (self.before(first), self.before(first + columns.len()));
        let count = end - at;
        let mut rest = &mut out[..count];
        while at < end {
            let (line, within) = (at / self.width, at % self.width);
            let column = line / self.lines * self.plane + line % self.lines * self.pitch + within;
            let len = (self.width - within).min(end - at);
            let (now, later) = rest.split_at_mut(len);
            now.copy_from_slice(&columns[column - first..column - first + len]);
            rest = later;
            at += len;
        }
        count
    }
}

/// Where a part of B is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub weight: usize,
    pub batch: usize,
    pub column: usize,
    /// At most [`COLUMNS`].
    pub columns: usize,
    pub from: usize,
    pub to: usize,
}

/// Fills `[to - from][COLUMNS]` with a part of B; columns beyond `columns` may hold anything.
pub(super) type Pack<'a> = dyn Fn(Part, &mut [f32]) + Send + Sync + 'a;

/// Turns the accumulators of the result elements from the given number on into results.
pub(super) type Finish<'a> = dyn Fn(usize, &[&[u32]], &mut [u32]) + Send + Sync + 'a;

impl Gemm {
    /// Packs A `[a_batches, m, k]` as [`Gemm::run`] wants it.
    pub fn pack(&self, a: &[u32], packed: &mut Vec<u32>) -> Result<(), Fault> {
        let Gemm { m, k, .. } = *self;
        grow(packed, a.len())?;
        if m > 0 && k > 0 {
            for (packed, a) in packed.chunks_mut(m * k).zip(a.chunks(m * k)) {
                threads::chunks(packed, ROWS * k, 2, |at, tile| pack_rows(&a[at..at + tile.len()], k, tile));
            }
        }
        Ok(())
    }

    /// `packed` was made by [`Gemm::pack`], `out` is dense `[batches, m, columns.count()]`.
    pub fn run(
        &self,
        packed: &[u32],
        pack: &Pack,
        finish: &Finish,
        out: &mut [u32],
        pending: &mut Vec<u32>,
    ) -> Result<(), Fault> {
        let Gemm { m, k, columns, weights, .. } = *self;
        if out.is_empty() {
            return Ok(());
        }
        let (n, width) = (columns.span(), columns.count());
        let panels = n.div_ceil(COLUMNS);
        let wanted = 4 * threads::width();
        // Every block of rows packs B again, which takes little time beside 8 tiles of rows.
        let most = m.div_ceil(8 * ROWS);
        let group = panels.div_ceil(wanted.div_ceil(self.batches * most)).clamp(1, GROUP.min(panels));
        let groups = panels.div_ceil(group);
        let split = wanted.div_ceil(groups * self.batches).clamp(1, most);
        let rows = (m.div_ceil(split).next_multiple_of(ROWS)).min(BLOCK_ROWS);
        let blocks = m.div_ceil(rows);
        let tasks = self.batches * blocks * groups;
        let pitch = group * COLUMNS;
        let size = rows * pitch;
        let at_once = (PENDING / (size * weights)).clamp(wanted, tasks.max(wanted)).min(tasks);
        grow(pending, at_once * size * weights)?;
        for first in (0..tasks).step_by(at_once) {
            let count = at_once.min(tasks - first);
            let pending = &mut pending[..count * weights * size];
            // Pieces are ordered by task, then weight.
            threads::chunks(pending, size, k + 1, |at, piece| {
                let (task, weight) = (first + at / size / weights, at / size % weights);
                let (block, column) = (task / groups, task % groups * pitch);
                let (batch, row) = (block / blocks, block % blocks * rows);
                let tile = &packed[(batch % self.a_batches * m + row) * k..][..rows.min(m - row) * k];
                let part = Part { weight, batch, column, columns: pitch.min(n - column), from: 0, to: k };
                self.task(tile, part, pitch, pack, piece);
            });
            let pending = &*pending;
            for block in first / groups..=(first + count - 1) / groups {
                let (batch, row) = (block / blocks, block % blocks * rows);
                let from = first.max(block * groups);
                let to = (first + count).min((block + 1) * groups);
                let column = |task: usize| (task - block * groups) * pitch;
                let start = (batch * m + row) * width;
                let lines = &mut out[start..start + rows.min(m - row) * width];
                let piece = |line: usize, task: usize, weight: usize| {
                    let at = ((task - first) * weights + weight) * size + line * pitch;
                    &pending[at..at + pitch.min(n - column(task))]
                };
                // Short lines that follow each other in the result are finished together.
                let whole = to - from == groups;
                let together = if whole { (MOVE / width).max(1) } else { 1 };
                let gaps = columns.lines * columns.planes > 1;
                threads::rows(lines, together * width, together * (to - from) * pitch, |number, out| {
                    if !gaps && together == 1 {
                        for task in from..to {
                            let given = [piece(number, task, 0), piece(number, task, weights - 1)];
                            let out = &mut out[column(task)..column(task) + given[0].len()];
                            finish(start + number * width + column(task), &given[..weights], out);
                        }
                        return;
                    }
                    threads::scratch(2 * MOVE, |moved| {
                        let mut moved = bytemuck::cast_slice_mut(moved).split_at_mut(MOVE).into();
                        let moved: &mut [&mut [u32]; 2] = &mut moved;
                        if together > 1 {
                            for (weight, moved) in moved.iter_mut().enumerate().take(weights) {
                                for (i, moved) in moved.chunks_mut(width).take(out.len() / width).enumerate()
                                {
                                    (from..to).fold(0, |done, task| {
                                        let piece = piece(number * together + i, task, weight);
                                        done + columns.pick(column(task), piece, &mut moved[done..])
                                    });
                                }
                            }
                            let given = [&moved[0][..out.len()], &moved[1][..out.len()]];
                            return finish(start + number * together * width, &given[..weights], out);
                        }
                        for task in from..to {
                            let (at, mut count) = (columns.before(column(task)), 0);
                            for (weight, moved) in moved.iter_mut().enumerate().take(weights) {
                                count = columns.pick(column(task), piece(number, task, weight), moved);
                            }
                            let given = [&moved[0][..count], &moved[1][..count]];
                            let out = &mut out[at..at + count];
                            finish(start + number * width + at, &given[..weights], out);
                        }
                    });
                });
            }
        }
        Ok(())
    }

    /// One block of rows (packed) by one group of panels: `out` is `[rows][pitch]`.
    fn task(&self, a: &[u32], group: Part, pitch: usize, pack: &Pack, out: &mut [u32]) {
        let k = self.k;
        if k == 0 {
            return out.fill(0);
        }
        let rows = a.len() / k;
        let panels = group.columns.div_ceil(COLUMNS);
        let depth = if self.arithmetic == Arithmetic::F32 { (DEPTH / panels).min(k) } else { k };
        threads::scratch(panels * depth * COLUMNS, |packed| {
            for from in (0..k).step_by(depth) {
                let to = k.min(from + depth);
                let size = (to - from) * COLUMNS;
                for (i, panel) in packed.chunks_exact_mut(size).take(panels).enumerate() {
                    let column = group.column + i * COLUMNS;
                    let columns = COLUMNS.min(group.columns - i * COLUMNS);
                    pack(Part { from, to, column, columns, ..group }, panel);
                }
                for first in (0..rows).step_by(ROWS) {
                    let count = ROWS.min(rows - first);
                    let tile = &a[first * k..(first + count) * k];
                    for (i, panel) in packed.chunks_exact(size).take(panels).enumerate() {
                        let c = &mut out[first * pitch + i * COLUMNS..];
                        match self.arithmetic {
                            Arithmetic::F32 => {
                                let tile = &bytemuck::cast_slice(tile)[from * count..to * count];
                                let c = bytemuck::cast_slice_mut(c);
                                simd::panel(count, to - from, tile, panel, COLUMNS, c, pitch, from > 0);
                            }
                            Arithmetic::Wide => wide_panel(count, tile, panel, c, pitch),
                            Arithmetic::Integer => {
                                integer_panel(count, tile, bytemuck::cast_slice(panel), c, pitch);
                            }
                        }
                    }
                }
            }
        });
    }
}

/// `[rows][k]` to `[k][rows]`.
fn pack_rows(a: &[u32], k: usize, out: &mut [u32]) {
    // Sixteen elements of every row at a time, so that lines of the result are still cached.
    const STEP: usize = 16;
    let rows = a.len() / k;
    for from in (0..k).step_by(STEP) {
        let to = k.min(from + STEP);
        let out = &mut out[from * rows..to * rows];
        for (row, values) in a.chunks_exact(k).enumerate() {
            for (line, &value) in out.chunks_exact_mut(rows).zip(&values[from..to]) {
                line[row] = value;
            }
        }
    }
}

fn wide_panel(m: usize, a: &[u32], b: &[f32], c: &mut [u32], ldc: usize) {
    for row in 0..m {
        let mut sums = [0f64; COLUMNS];
        for (a, b) in a.chunks_exact(m).zip(b.chunks_exact(COLUMNS)) {
            let x = f64::from(f32::from_bits(a[row]));
            for (sum, &b) in sums.iter_mut().zip(b) {
                *sum += x * f64::from(b);
            }
        }
        for (c, sum) in c[row * ldc..].iter_mut().zip(sums) {
            *c = (sum as f32).to_bits();
        }
    }
}

fn integer_panel(m: usize, a: &[u32], b: &[u32], c: &mut [u32], ldc: usize) {
    for row in 0..m {
        let mut sums = [0u32; COLUMNS];
        for (a, b) in a.chunks_exact(m).zip(b.chunks_exact(COLUMNS)) {
            for (sum, &b) in sums.iter_mut().zip(b) {
                *sum = sum.wrapping_add(a[row].wrapping_mul(b));
            }
        }
        c[row * ldc..row * ldc + COLUMNS].copy_from_slice(&sums);
    }
}
