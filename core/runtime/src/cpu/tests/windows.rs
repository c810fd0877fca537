use super::*;
use crate::map::{Instr, MapFn, MapOp, MapProg};
use crate::step::ReduceOp;

/// Extents of a convolution: spatial axes are three.
struct Shape {
    n: usize,
    ci: usize,
    co: usize,
    groups: usize,
    input: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    dilation: [usize; 3],
    padding: [usize; 3],
}

impl Shape {
    fn output(&self, transposed: bool) -> [usize; 3] {
        std::array::from_fn(|i| {
            let span = self.dilation[i] * (self.kernel[i] - 1);
            if transposed {
                (self.input[i] - 1) * self.stride[i] + span + 1 - 2 * self.padding[i]
            } else {
                (self.input[i] - span - 1) / self.stride[i] + 1
            }
        })
    }

    fn naive(&self, transposed: bool, x: &[f32], w: &[f32]) -> Vec<f32> {
        let out = self.output(transposed);
        let (gi, go) = (self.ci / self.groups, self.co / self.groups);
        let flat = |p: [usize; 3], dims: [usize; 3]| (p[0] * dims[1] + p[1]) * dims[2] + p[2];
        let unflat =
            |i: usize, dims: [usize; 3]| [i / (dims[1] * dims[2]), i / dims[2] % dims[1], i % dims[2]];
        let size = |dims: [usize; 3]| dims.iter().product::<usize>();
        let mut sums = vec![0f64; self.n * self.co * size(out)];
        for n in 0..self.n {
            for (co, i) in (0..self.co).flat_map(|co| (0..gi).map(move |i| (co, i))) {
                let g = co / go;
                let ci = g * gi + i;
                for tap in 0..size(self.kernel) {
                    let k = unflat(tap, self.kernel);
                    let (from, to) = if transposed { (self.input, out) } else { (out, self.input) };
                    let at = if transposed { ci * go + co % go } else { co * gi + i };
                    let weight = f64::from(w[at * size(self.kernel) + tap]);
                    // `p` runs over the smaller side of the stride, `q` over the larger.
                    for p in (0..size(from)).map(|p| unflat(p, from)) {
                        let q: [usize; 3] = std::array::from_fn(|a| {
                            (p[a] * self.stride[a] + k[a] * self.dilation[a]).wrapping_sub(self.padding[a])
                        });
                        if (0..3).any(|a| q[a] >= to[a]) {
                            continue;
                        }
                        let (x_at, y_at) = if transposed { (p, q) } else { (q, p) };
                        let x = x[(n * self.ci + ci) * size(self.input) + flat(x_at, self.input)];
                        sums[(n * self.co + co) * size(out) + flat(y_at, out)] += weight * f64::from(x);
                    }
                }
            }
        }
        sums.into_iter().map(|x| x as f32).collect()
    }

    fn check(&self, transposed: bool, axes: usize, wide: bool) {
        let out = self.output(transposed);
        let taps: usize = self.kernel.iter().product();
        let x = random(self.n * self.ci * self.input.iter().product::<usize>(), 1);
        let w = random(self.ci / self.groups * self.co * taps, 2);
        let bias = random(self.co, 3);
        let plane: usize = out.iter().product();
        let want: Vec<f32> = self
            .naive(transposed, &x, &w)
            .iter()
            .enumerate()
            .map(|(i, y)| (y + bias[i / plane % self.co]).max(0.0))
            .collect();
        let mut case = Case { wide, ..Case::default() };
        let (x, b) = (case.floats(&x), case.floats(&bias));
        // Weights that never change are packed in the first run only.
        let w = if wide { case.floats(&w) } else { case.constant(&w, ElementType::F32) };
        let tail = |dims: [usize; 3]| dims[3 - axes..].to_vec();
        let dims = [vec![self.n, self.co], tail(out)].concat();
        let wd = if transposed { [self.ci, self.co / self.groups] } else { [self.co, self.ci / self.groups] };
        let instr = |op, args| Instr { op, args, kind: Kind::F32 };
        let epilogue = MapProg {
            instrs: vec![
                instr(MapOp::Load(0), [0; 3]),
                instr(MapOp::Load(1), [0; 3]),
                instr(MapOp::Fn(MapFn::Add), [0, 1, 0]),
                instr(MapOp::Fn(MapFn::Relu), [2, 0, 0]),
            ],
            scalars: vec![],
        };
        let words = |values: [usize; 3]| tail(values).iter().map(|&x| x as u32).collect::<Vec<u32>>();
        let kernel = Kernel::Conv {
            stride: words(self.stride),
            dilation: words(self.dilation),
            padding: if transposed { words(self.padding) } else { vec![] },
            groups: self.groups as u32,
            transposed,
            epilogue: Some(epilogue),
        };
        let mut channel = vec![0i64; dims.len()];
        channel[1] = 1;
        let reads = vec![
            view(x, &[vec![self.n, self.ci], tail(self.input)].concat()),
            view(w, &[wd.to_vec(), tail(self.kernel)].concat()),
            strided(b, 0, &dims, &channel),
        ];
        assert_close(&case.run_f32(kernel, reads, &dims), &want, 2e-6);
    }
}

#[test]
fn convolutions() {
    let base = Shape {
        n: 1,
        ci: 6,
        co: 8,
        groups: 1,
        input: [1, 13, 11],
        kernel: [1, 3, 3],
        stride: [1; 3],
        dilation: [1; 3],
        padding: [0; 3],
    };
    let shapes = [
        (2, Shape { n: 2, ..base }),
        (2, Shape { kernel: [1, 1, 1], ..base }),
        (2, Shape { stride: [1, 2, 2], ..base }),
        (2, Shape { dilation: [1, 2, 3], ..base }),
        (2, Shape { groups: 2, co: 10, n: 2, ..base }),
        (2, Shape { groups: 6, co: 6, ..base }),
        (2, Shape { groups: 6, co: 12, stride: [1, 2, 2], kernel: [1, 3, 5], ..base }),
        (2, Shape { groups: 6, co: 6, dilation: [1, 2, 2], ..base }),
        (1, Shape { input: [1, 1, 50], kernel: [1, 1, 7], stride: [1, 1, 3], ..base }),
        (3, Shape { input: [5, 6, 7], kernel: [2, 3, 2], stride: [2, 1, 1], ..base }),
        // Dilations that share a factor with the stride reach some phases only.
        (2, Shape { stride: [1, 2, 4], dilation: [1, 2, 2], ..base }),
        (2, Shape { groups: 6, co: 6, stride: [1, 3, 2], dilation: [1, 2, 2], n: 2, ..base }),
        (3, Shape { input: [7, 9, 8], kernel: [3, 2, 3], stride: [3, 2, 2], dilation: [2, 1, 2], ..base }),
        // Several groups of panels, whole lines and lines with gaps.
        (2, Shape { input: [1, 45, 41], co: 30, ..base }),
        (2, Shape { input: [1, 40, 44], kernel: [1, 1, 1], stride: [1, 2, 1], co: 13, ..base }),
        (2, Shape { input: [1, 12, 300], kernel: [1, 9, 7], co: 3, ci: 2, ..base }),
    ];
    for (axes, shape) in &shapes {
        shape.check(false, *axes, false);
        shape.check(false, *axes, true);
    }
}

#[test]
fn transposed_convolutions() {
    let base = Shape {
        n: 2,
        ci: 4,
        co: 6,
        groups: 1,
        input: [1, 5, 4],
        kernel: [1, 3, 4],
        stride: [1, 2, 2],
        dilation: [1; 3],
        padding: [0; 3],
    };
    let shapes = [
        (2, Shape { padding: [0, 1, 1], ..base }),
        (2, Shape { groups: 2, padding: [0, 2, 3], ..base }),
        (2, Shape { dilation: [1, 2, 1], stride: [1, 3, 1], ..base }),
        (1, Shape { input: [1, 1, 9], kernel: [1, 1, 4], padding: [0, 0, 3], ..base }),
        (3, Shape { input: [3, 2, 4], kernel: [2, 2, 2], stride: [2; 3], ..base }),
        (2, Shape { ..base }),
    ];
    for (axes, shape) in &shapes {
        shape.check(true, *axes, false);
        shape.check(true, *axes, true);
    }
}

#[test]
fn a_window_outside_the_input_is_refused() {
    let mut case = Case::default();
    let (x, w) = (case.floats(&[0.0; 9]), case.floats(&[0.0; 4]));
    let kernel = Kernel::Conv {
        stride: vec![1, 1],
        dilation: vec![1, 1],
        padding: vec![],
        groups: 1,
        transposed: false,
        epilogue: None,
    };
    let reads = vec![view(x, &[1, 1, 3, 3]), view(w, &[1, 1, 2, 2])];
    assert!(case.run(kernel, reads, &[1, 1, 3, 3], Kind::F32).is_err());
}

#[test]
fn pools_clip_in_ceil_mode() {
    let mut case = Case::default();
    let x = case.floats(&(0..25).map(|x| x as f32).collect::<Vec<_>>());
    let pool = |op| Kernel::Pool { op, kernel: vec![2, 2], stride: vec![2, 2], dilation: vec![1, 1] };
    let read = vec![view(x, &[1, 1, 5, 5])];
    let got = case.run_f32(pool(ReduceOp::Max), read.clone(), &[1, 1, 3, 3]);
    assert_eq!(got, [6.0, 8.0, 9.0, 16.0, 18.0, 19.0, 21.0, 23.0, 24.0]);
    let got = case.run_f32(pool(ReduceOp::Sum), read.clone(), &[1, 1, 2, 2]);
    assert_eq!(got, [12.0, 20.0, 52.0, 60.0]);
    let dilated =
        Kernel::Pool { op: ReduceOp::Max, kernel: vec![2, 2], stride: vec![1, 1], dilation: vec![3, 3] };
    assert_eq!(case.run_f32(dilated, read, &[1, 1, 2, 2]), [18.0, 19.0, 23.0, 24.0]);
    let nan = case.floats(&[1.0, f32::NAN, 3.0, 4.0]);
    let one = Kernel::Pool { op: ReduceOp::Max, kernel: vec![3], stride: vec![1], dilation: vec![1] };
    let got = case.run_f32(one, vec![view(nan, &[1, 1, 4])], &[1, 1, 2]);
    assert!(got.iter().all(|x| x.is_nan()));
}

#[test]
fn pools_with_strides_over_several_planes() {
    let mut case = Case::default();
    let mut values = random(3 * 9 * 70, 4);
    values[100] = f32::NAN;
    let x = case.floats(&values);
    let read = vec![view(x, &[1, 3, 9, 70])];
    for (op, stride) in [(ReduceOp::Max, 1), (ReduceOp::Max, 2), (ReduceOp::Sum, 3)] {
        let (h, w) = ((9 - 3) / stride + 1, (70 - 2) / stride + 1);
        let kernel =
            Kernel::Pool { op, kernel: vec![3, 2], stride: vec![stride as u32; 2], dilation: vec![1, 1] };
        let got = case.run_f32(kernel, read.clone(), &[1, 3, h, w]);
        for (at, &got) in got.iter().enumerate() {
            let (c, i, j) = (at / (h * w), at / w % h * stride, at % w * stride);
            let window = (0..6).map(|t| values[(c * 9 + i + t / 2) * 70 + j + t % 2]);
            let want = if op == ReduceOp::Max {
                window.fold(f32::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a })
            } else {
                window.sum()
            };
            assert!((got - want).abs() < 1e-5 || got.is_nan() && want.is_nan(), "{at}: {got}, {want}");
        }
        case.buffers.pop();
    }
}
