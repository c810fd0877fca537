//! Attention with online softmax: keys pass in blocks, and only a block of scores exists.

use crate::step::Kind;

use super::memory::{Data, Operand};
use super::simd::{self, COLUMNS, ROWS};
use super::{Env, Fault, threads};

/// Keys per block.
const KEYS: usize = 2 * COLUMNS;

/// Up to this many query rows, scores are dot products with the keys as they lie.
const FEW: usize = 3;

/// Parameters of the `Attention` kernel.
pub(super) struct Attention {
    pub scale: f32,
    pub causal: bool,
    pub window: u32,
    pub mask: bool,
    pub hidden: f32,
    pub sinks: bool,
}

/// Operands and extents.
struct Bound<'a> {
    parameters: &'a Attention,
    query: &'a Operand<'a>,
    key: &'a Operand<'a>,
    value: &'a Operand<'a>,
    mask: Option<&'a Operand<'a>>,
    sinks: Option<&'a Operand<'a>>,
    /// Query heads per key head.
    group: usize,
    t: usize,
    s: usize,
    d: usize,
    dv: usize,
}

/// The `Attention` kernel.
pub(super) fn attention(
    parameters: &Attention,
    reads: &[Operand],
    dims: &[usize],
    out: &mut [u32],
    env: &mut Env,
) -> Result<(), Fault> {
    let wanted = 3 + usize::from(parameters.mask) + usize::from(parameters.sinks);
    if reads.len() != wanted || reads.iter().take(3).any(|r| r.dims().len() != 4 || r.kind != Kind::F32) {
        return Err(Fault::program(format!("attention has {} operands", reads.len())));
    }
    let (query, key, value) = (&reads[0], &reads[1], &reads[2]);
    let mask = parameters.mask.then(|| &reads[3]);
    let sinks = parameters.sinks.then(|| &reads[wanted - 1]);
    let (b, hq, t, d) = (query.dim(0), query.dim(1), query.dim(2), query.dim(3));
    let (hk, s, dv) = (key.dim(1), key.dim(2), value.dim(3));
    let fits = dims == [b, hq, t, dv]
        && key.dims() == [b, hk, s, d]
        && value.dims() == [b, hk, s, dv]
        && mask.is_none_or(|m| m.dims() == [b, hq, t, s])
        && sinks.is_none_or(|m| m.dims() == [hq] && m.kind == Kind::F32)
        && hk > 0
        && hq % hk == 0;
    if !fits {
        return Err(Fault::program(format!(
            "attention of {:?} over {:?} and {:?} does not give {dims:?}",
            query.dims(),
            key.dims(),
            value.dims()
        )));
    }
    if out.is_empty() {
        return Ok(());
    }
    let bound = Bound { parameters, query, key, value, mask, sinks, group: hq / hk, t, s, d, dv };
    if env.wide {
        threads::rows(out, dv, s * (d + dv), |row, out| bound.wide(row, out));
        return Ok(());
    }
    // Rows of the result are numbered (b, key head, head in group, query): a task takes up to ROWS
    // rows, which share keys as far as they have one key head.
    let total = out.len() / dv;
    let share = total.div_ceil(2 * threads::width()).clamp(1, ROWS);
    let plane = bound.group * t;
    threads::chunks(out, share * dv, s * 2, |start, out| {
        let mut row = start / dv;
        let end = row + out.len() / dv;
        let mut rest = out;
        while row < end {
            let count = (plane - row % plane).min(end - row);
            let (now, later) = rest.split_at_mut(count * dv);
            bound.rows(row, count, bytemuck::cast_slice_mut(now));
            rest = later;
            row += count;
        }
    });
    Ok(())
}

impl Bound<'_> {
    /// Keys that query `i` sees.
    fn visible(&self, i: usize) -> std::ops::Range<usize> {
        let last = (i + self.s) as i64 - self.t as i64;
        let end = if self.parameters.causal { (last + 1).clamp(0, self.s as i64) } else { self.s as i64 };
        let start = match self.parameters.window {
            0 => 0,
            window => (last - i64::from(window) + 1).clamp(0, end),
        };
        start as usize..end as usize
    }

    fn sink(&self, row: usize) -> Option<f32> {
        let heads = self.query.dim(1);
        self.sinks.map(|sinks| {
            let mut one = [0.0];
            sinks.load_f32(row / self.t % heads, &mut one);
            one[0]
        })
    }

    /// Adds the mask to scores of keys `from..`, and hides what row `row` does not see.
    fn hide(&self, row: usize, from: usize, scores: &mut [f32]) {
        let n = scores.len();
        if let Some(mask) = self.mask {
            let mut words = [0u32; KEYS];
            mask.load(row * self.s + from, &mut words[..n]);
            for (score, &word) in scores.iter_mut().zip(&words) {
                match mask.kind {
                    Kind::F32 => *score += f32::from_bits(word),
                    _ if word == 0 => *score += self.parameters.hidden,
                    _ => {}
                }
            }
        }
        let seen = self.visible(row % self.t);
        scores[..seen.start.saturating_sub(from).min(n)].fill(f32::NEG_INFINITY);
        scores[seen.end.saturating_sub(from).min(n)..].fill(f32::NEG_INFINITY);
    }

    /// `count` ≤ [`ROWS`] rows with one key head.
    fn rows(&self, row: usize, count: usize, out: &mut [f32]) {
        let Bound { d, dv, t, s, .. } = *self;
        let padded = dv.next_multiple_of(COLUMNS);
        let plane = row / (self.group * t);
        let sizes = [count * d, KEYS * d, KEYS * d, KEYS * padded, ROWS * KEYS, KEYS * ROWS, ROWS * padded];
        let (mut low, mut high) = (s, 0);
        for r in row..row + count {
            let seen = self.visible(r % t);
            (low, high) = (low.min(seen.start), high.max(seen.end));
        }
        threads::scratch(sizes.iter().sum(), |buffer| {
            let mut rest = buffer;
            let [query, key, turned, value, scores, weights, sums] = sizes.map(|size| {
                let (now, later) = std::mem::take(&mut rest).split_at_mut(size);
                rest = later;
                now
            });
            let mut max = [f32::NEG_INFINITY; ROWS];
            let mut total = [0f32; ROWS];
            for i in 0..count {
                if let Some(sink) = self.sink(row + i) {
                    (max[i], total[i]) = (sink, 1.0);
                }
            }
            sums.fill(0.0);
            self.query.load_f32(row * d, query);
            query.iter_mut().for_each(|x| *x *= self.parameters.scale);
            if count > FEW {
                // [count][d] to [d][count]; `key` serves as a buffer.
                key[..count * d].copy_from_slice(query);
                for (i, line) in key.chunks_exact(d.max(1)).take(count).enumerate() {
                    query[i..].iter_mut().step_by(count).zip(line).for_each(|(q, &x)| *q = x);
                }
            }
            for from in (low..high).step_by(KEYS) {
                let keys = KEYS.min(high - from);
                let at = plane * s + from;
                if count > FEW {
                    self.key.load_f32(at * d, &mut key[..keys * d]);
                    turn(&key[..keys * d], d, turned);
                    for column in [0, COLUMNS] {
                        simd::panel(
                            count,
                            d,
                            query,
                            &turned[column.min(turned.len())..],
                            KEYS,
                            &mut scores[column..],
                            KEYS,
                            false,
                        );
                    }
                } else {
                    self.few(query, count, at, keys, key, scores);
                }
                for i in 0..count {
                    let line = &mut scores[i * KEYS..i * KEYS + keys];
                    self.hide(row + i, from, line);
                    let best = max[i].max(simd::max(line));
                    let nan = line.iter().any(|x| x.is_nan());
                    if best == f32::NEG_INFINITY && !nan {
                        line.fill(0.0);
                        continue;
                    }
                    let shrink = if max[i] == best { 1.0 } else { (max[i] - best).exp() };
                    total[i] = total[i] * shrink + simd::exp_sum(line, best);
                    max[i] = best;
                    if shrink != 1.0 {
                        sums[i * padded..(i + 1) * padded].iter_mut().for_each(|x| *x *= shrink);
                    }
                }
                for (key, weights) in weights.chunks_exact_mut(count).take(keys).enumerate() {
                    weights.iter_mut().enumerate().for_each(|(i, w)| *w = scores[i * KEYS + key]);
                }
                if dv == padded {
                    self.value.load_f32(at * dv, &mut value[..keys * dv]);
                } else {
                    for (i, line) in value.chunks_exact_mut(padded).take(keys).enumerate() {
                        self.value.load_f32((at + i) * dv, &mut line[..dv]);
                        line[dv..].fill(0.0);
                    }
                }
                for column in (0..padded).step_by(COLUMNS) {
                    simd::panel(
                        count,
                        keys,
                        weights,
                        &value[column..],
                        padded,
                        &mut sums[column..],
                        padded,
                        true,
                    );
                }
            }
            for (i, out) in out.chunks_exact_mut(dv).enumerate() {
                // A row that sees nothing is 0 / 0, as a softmax over −∞ is.
                let inverse = 1.0 / total[i];
                for (o, &sum) in out.iter_mut().zip(&sums[i * padded..]) {
                    *o = sum * inverse;
                }
            }
        });
    }

    /// Scores of few rows; `query` is `[count][d]`.
    fn few(
        &self,
        query: &[f32],
        count: usize,
        at: usize,
        keys: usize,
        buffer: &mut [f32],
        scores: &mut [f32],
    ) {
        let d = self.d;
        let strides = self.key.layout.strides();
        let direct = match self.key.data {
            Data::F16(bytes) => Some((bytes, coreai_asset::ElementType::F16, 2)),
            Data::BF16(bytes) => Some((bytes, coreai_asset::ElementType::BF16, 2)),
            Data::Word(bytes) => Some((bytes, coreai_asset::ElementType::F32, 4)),
            _ => None,
        };
        let Some((bytes, element, size)) = direct.filter(|_| strides[3] == 1 || d == 1) else {
            self.key.load_f32(at * d, &mut buffer[..keys * d]);
            for (j, key) in buffer.chunks_exact(d.max(1)).take(keys).enumerate() {
                for i in 0..count {
                    let key = bytemuck::cast_slice(key);
                    scores[i * KEYS + j] =
                        simd::dot(&query[i * d..(i + 1) * d], key, coreai_asset::ElementType::F32);
                }
            }
            return;
        };
        let base = self.key.layout.at(&self.key.dims()[..3], at) as isize;
        for j in 0..keys {
            let offset = (base + j as isize * strides[2]) as usize * size;
            let key = &bytes[offset..offset + d * size];
            for i in 0..count {
                scores[i * KEYS + j] = simd::dot(&query[i * d..(i + 1) * d], key, element);
            }
        }
    }

    /// One row in double precision.
    fn wide(&self, row: usize, out: &mut [u32]) {
        let Bound { d, dv, s, .. } = *self;
        let plane = row / (self.group * self.t);
        let mut query = vec![0f32; d];
        self.query.load_f32(row * d, &mut query);
        let mut line = vec![0f32; d.max(dv)];
        let mut mask = vec![0u32; if self.mask.is_some() { s } else { 0 }];
        if let Some(operand) = self.mask {
            operand.load(row * s, &mut mask);
        }
        let additive = self.mask.is_some_and(|m| m.kind == Kind::F32);
        let seen = self.visible(row % self.t);
        let mut scores = vec![f64::NEG_INFINITY; s];
        for j in seen {
            self.key.load_f32((plane * s + j) * d, &mut line[..d]);
            let dot: f64 = query.iter().zip(&line).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
            let dot = dot * f64::from(self.parameters.scale);
            scores[j] = match mask.get(j) {
                Some(&bits) if additive => dot + f64::from(f32::from_bits(bits)),
                // Rounded as a float's sum is: the number says how coarse hidden scores are.
                Some(0) => f64::from(dot as f32 + self.parameters.hidden),
                _ => dot,
            };
        }
        let sink = self.sink(row).map(f64::from);
        let max = scores.iter().copied().chain(sink).fold(f64::NEG_INFINITY, f64::max);
        let mut total = sink.map_or(0.0, |sink| (sink - max).exp());
        let mut sums = vec![0f64; dv];
        for (j, score) in scores.iter().enumerate() {
            let weight = (score - max).exp();
            total += weight;
            // An invisible key has weight 0, whatever its value.
            if weight != 0.0 {
                self.value.load_f32((plane * s + j) * dv, &mut line[..dv]);
                sums.iter_mut().zip(&line).for_each(|(sum, &v)| *sum += weight * f64::from(v));
            }
        }
        for (o, sum) in out.iter_mut().zip(sums) {
            *o = ((sum / total) as f32).to_bits();
        }
    }
}

/// `[keys][d]` to `[d][KEYS]`.
fn turn(lines: &[f32], d: usize, out: &mut [f32]) {
    // Sixteen elements of every key at a time, so that lines of the result are still cached.
    const STEP: usize = 16;
    for from in (0..d).step_by(STEP) {
        let to = d.min(from + STEP);
        let part = &mut out[from * KEYS..to * KEYS];
        for (j, line) in lines.chunks_exact(d).enumerate() {
            for (row, &value) in part.chunks_exact_mut(KEYS).zip(&line[from..to]) {
                row[j] = value;
            }
        }
    }
}
