use super::bench::AMPLE;
use super::*;
use crate::expr::Expr;
use crate::gpu::dispatch::Caps;
use crate::map::{Instr, MapFn, MapOp, MapProg};
use crate::step::{Kernel, Kind, Meaning, QuantFormat, ReduceOp, Round, Storage};
use coreai_asset::ElementType;

#[test]
fn convolutions() {
    let mut n = 0;
    for groups in [1u32, 2, 4] {
        for (stride, dilation) in [(1u32, 1u32), (2, 1), (1, 2), (3, 2)] {
            for compressed in [false, true] {
                n += 1;
                let mut b = Bench::new(300 + n);
                b.tolerance = 1e-5;
                let (h, w, kh, kw) = (11i64, 9i64, 3i64, 2i64);
                let x = b.input(Kind::F32, &fixed(&[2, 4, h, w]));
                let g = i64::from(groups);
                let dims = [8, 4 / g, kh, kw];
                let weight = if compressed {
                    let dims: Vec<u64> = dims.iter().map(|d| *d as u64).collect();
                    let blocks = vec![1, dims[1], dims[2], dims[3]];
                    b.quant(QuantFormat {
                        code: ElementType::SI8,
                        meaning: Meaning::Plain,
                        dims,
                        blocks,
                        scale: ElementType::F16,
                        zero: true,
                        min: false,
                    })
                } else {
                    b.weight(Kind::F32, Storage::F16, &dims)
                };
                let size = |n: i64, k: i64| (n - i64::from(dilation) * (k - 1) - 1) / i64::from(stride) + 1;
                let out_dims = fixed(&[2, 8, size(h, kh), size(w, kw)]);
                let bias = b.weight(Kind::F32, Storage::Word, &[1, 8, 1, 1]).broadcast(&out_dims);
                let out = b.output(Kind::F32, &out_dims);
                let i = |op, args| Instr { op, args, kind: Kind::F32 };
                let instrs = vec![
                    i(MapOp::Load(0), [0; 3]),
                    i(MapOp::Load(1), [0; 3]),
                    i(MapOp::Fn(MapFn::Add), [0, 1, 0]),
                    i(MapOp::Fn(MapFn::Relu), [2, 0, 0]),
                ];
                let kernel = Kernel::Conv {
                    stride: vec![stride; 2],
                    dilation: vec![dilation; 2],
                    padding: vec![],
                    groups,
                    transposed: false,
                    epilogue: Some(MapProg { instrs, scalars: vec![] }),
                };
                b.step(kernel, vec![x, weight, bias], out, Round::None);
                b.compare_on(&format!("conv groups {groups} stride {stride} dilation {dilation}"), false);
            }
        }
    }
    for (groups, stride, dilation, padding, extra) in
        [(1u32, 1u32, 1u32, 0u32, 0i64), (2, 2, 1, 1, 1), (1, 3, 2, 2, 0)]
    {
        let mut b = Bench::new(330);
        b.tolerance = 1e-5;
        let x = b.input(Kind::F32, &fixed(&[2, 4, 5, 6]));
        let weight = b.weight(Kind::F32, Storage::Word, &[4, 3, 3, 2]);
        let size = |n: i64, k: i64| {
            (n - 1) * i64::from(stride) - 2 * i64::from(padding) + i64::from(dilation) * (k - 1) + extra + 1
        };
        let out = b.output(Kind::F32, &fixed(&[2, 3 * i64::from(groups), size(5, 3), size(6, 2)]));
        let kernel = Kernel::Conv {
            stride: vec![stride; 2],
            dilation: vec![dilation; 2],
            padding: vec![padding; 2],
            groups,
            transposed: true,
            epilogue: None,
        };
        b.step(kernel, vec![x, weight], out, Round::None);
        b.compare_on(&format!("transposed conv groups {groups} stride {stride}"), false);
    }
    // One and three axes.
    let mut b = Bench::new(331);
    b.tolerance = 1e-5;
    let x = b.input(Kind::F32, &fixed(&[1, 2, 4, 5, 6]));
    let weight = b.weight(Kind::F32, Storage::Word, &[3, 2, 2, 2, 3]);
    let out = b.output(Kind::F32, &fixed(&[1, 3, 3, 4, 4]));
    let kernel = Kernel::Conv {
        stride: vec![1; 3],
        dilation: vec![1; 3],
        padding: vec![],
        groups: 1,
        transposed: false,
        epilogue: None,
    };
    b.step(kernel, vec![x, weight], out, Round::None);
    b.compare_on("three axes", false);
}

/// What the choice of kernel depends on: channels, groups, size.
#[test]
fn blocked_convolutions() {
    struct Shape {
        channels: (i64, i64),
        groups: i64,
        input: [i64; 2],
        kernel: [i64; 2],
        stride: u32,
        dilation: u32,
        transposed: bool,
        used: &'static str,
    }
    let base = Shape {
        channels: (5, 40),
        groups: 1,
        input: [9, 11],
        kernel: [3, 2],
        stride: 1,
        dilation: 1,
        transposed: false,
        used: "conv_tiled_32",
    };
    let shapes = [
        Shape { ..base },
        Shape { stride: 2, dilation: 2, ..base },
        Shape { channels: (34, 70), groups: 2, ..base },
        Shape { channels: (33, 17), kernel: [1, 1], ..base },
        Shape { channels: (3, 130), input: [50, 40], used: "conv_tiled_64", ..base },
        Shape {
            transposed: true,
            channels: (6, 40),
            groups: 2,
            stride: 2,
            used: "conv_transposed_tiled_32",
            ..base
        },
        Shape { transposed: true, dilation: 2, used: "conv_transposed_tiled_32", ..base },
        Shape { channels: (8, 8), groups: 8, input: [40, 35], used: "conv_columns", ..base },
        Shape {
            channels: (8, 16),
            groups: 4,
            input: [70, 65],
            stride: 2,
            dilation: 3,
            used: "conv_columns",
            ..base
        },
        Shape { channels: (8, 8), groups: 8, used: "conv", ..base },
    ];
    for (number, shape) in shapes.iter().enumerate() {
        let &Shape { channels: (ins, outs), groups, stride, dilation, transposed, .. } = shape;
        for packed in [false, true] {
            let mut b = Bench::new(400 + number as u64);
            b.tolerance = 1e-5;
            let [h, w] = shape.input;
            // The image lies with its channels last.
            let x = b.input(Kind::F32, &fixed(&[2, h, w, ins])).permute(&[0, 3, 1, 2]);
            let storage = if packed { Storage::F16 } else { Storage::Word };
            let [kh, kw] = shape.kernel;
            let dims = if transposed { [ins, outs / groups, kh, kw] } else { [outs, ins / groups, kh, kw] };
            let weight = b.weight(Kind::F32, storage, &dims);
            let (s, d) = (i64::from(stride), i64::from(dilation));
            let size = |n: i64, k: i64| match transposed {
                true => (n - 1) * s - 2 + d * (k - 1) + 1,
                false => (n - d * (k - 1) - 1) / s + 1,
            };
            let out_dims = fixed(&[2, outs, size(h, kh), size(w, kw)]);
            let bias = b.weight(Kind::F32, Storage::Word, &[1, outs, 1, 1]).broadcast(&out_dims);
            let other = b.input(Kind::F32, &out_dims);
            let out = b.output(Kind::F32, &out_dims);
            let i = |op, args| Instr { op, args, kind: Kind::F32 };
            let instrs = vec![
                i(MapOp::Load(0), [0; 3]),
                i(MapOp::Load(1), [0; 3]),
                i(MapOp::Fn(MapFn::Add), [0, 1, 0]),
                i(MapOp::Load(2), [0; 3]),
                i(MapOp::Fn(MapFn::Mul), [2, 3, 0]),
            ];
            let kernel = Kernel::Conv {
                stride: vec![stride; 2],
                dilation: vec![dilation; 2],
                padding: if transposed { vec![1; 2] } else { vec![] },
                groups: groups as u32,
                transposed,
                epilogue: Some(MapProg { instrs, scalars: vec![] }),
            };
            b.step(kernel, vec![x, weight, bias, other], out, Round::None);
            let used = b.compare_on(&format!("blocked convolution {number}"), false);
            assert_eq!(used, [shape.used]);
            let plain = b.kernels(&Caps { plain_only: true, ..AMPLE });
            assert_eq!(plain, [if transposed { "conv_transposed" } else { "conv" }]);
        }
    }
}

#[test]
fn tiles_of_one_and_three_axes() {
    for (spatial, transposed, used) in
        [(1usize, false, "conv_tiled_32"), (3, false, "conv_tiled_32"), (3, true, "conv_transposed_tiled_32")]
    {
        let mut b = Bench::new(450);
        b.tolerance = 1e-5;
        let (input, kernel) = (&[5i64, 6, 7][3 - spatial..], &[2i64, 3, 2][3 - spatial..]);
        let (input, extra) = if spatial == 1 { (&[70i64][..], 4) } else { (input, 0) };
        let size: Vec<i64> = (input.iter().zip(kernel))
            .map(|(n, k)| if transposed { (n - 1) * 2 + k } else { (n - k) / 2 + 1 })
            .collect();
        let channels = if transposed { [4 + extra, 18] } else { [18, 4 + extra] };
        let x = b.input(Kind::F32, &fixed(&[&[2, 4 + extra], input].concat()));
        let weight = b.weight(Kind::F32, Storage::BF16, &[&channels[..], kernel].concat());
        let out = b.output(Kind::F32, &fixed(&[&[2, 18], &size[..]].concat()));
        let kernel = Kernel::Conv {
            stride: vec![2; spatial],
            dilation: vec![1; spatial],
            padding: if transposed { vec![0; spatial] } else { vec![] },
            groups: 1,
            transposed,
            epilogue: None,
        };
        b.step(kernel, vec![x, weight], out, Round::F16);
        b.tolerance = 1e-3;
        assert_eq!(b.compare_on(&format!("{spatial} axes, transposed {transposed}"), false), [used]);
    }
}

/// Images and output channels are cut where an operand exceeds a binding.
#[test]
fn windows_in_parts() {
    for (transposed, groups) in [(false, 1u32), (false, 2), (true, 1)] {
        let mut b = Bench::new(460);
        b.tolerance = 1e-5;
        let (ins, outs) = (8 / i64::from(groups), 44i64);
        let x = b.input(Kind::F32, &fixed(&[6, 8, 6, 5]));
        let weight = if transposed { [8, outs, 2, 2] } else { [outs, ins, 2, 2] };
        let storage = if transposed || groups > 1 { Storage::F16 } else { Storage::Word };
        let weight = b.weight(Kind::F32, storage, &weight);
        let dims = fixed(&[6, outs, if transposed { 7 } else { 5 }, if transposed { 6 } else { 4 }]);
        let out = b.output(Kind::F32, &dims);
        let i = |op, args, kind| Instr { op, args, kind };
        // Where a channel begins shows in the result.
        let instrs = vec![
            i(MapOp::Load(0), [0; 3], Kind::F32),
            i(MapOp::Index(1), [0; 3], Kind::I32),
            i(MapOp::Cast(ElementType::F32), [1, 0, 0], Kind::F32),
            i(MapOp::Fn(MapFn::Add), [0, 2, 0], Kind::F32),
        ];
        let kernel = Kernel::Conv {
            stride: vec![1; 2],
            dilation: vec![1; 2],
            padding: if transposed { vec![0; 2] } else { vec![] },
            groups,
            transposed,
            epilogue: Some(MapProg { instrs, scalars: vec![] }),
        };
        b.step(kernel, vec![x, weight], out, Round::None);
        b.compare(&format!("parts, {groups} groups, transposed {transposed}"));
        assert!(b.kernels(&Caps { max_binding_bytes: 4096, ..AMPLE }).len() > 1);
    }
    let mut b = Bench::new(461);
    let x = b.input(Kind::F32, &fixed(&[3, 20, 6, 5]));
    let out = b.output(Kind::F32, &fixed(&[3, 20, 5, 4]));
    let kernel =
        Kernel::Pool { op: ReduceOp::Max, kernel: vec![2; 2], stride: vec![1; 2], dilation: vec![1; 2] };
    b.step(kernel, vec![x], out, Round::None);
    b.compare("parts of a pooling");
}

#[test]
fn pooling() {
    for op in [ReduceOp::Max, ReduceOp::Sum] {
        for kind in [Kind::F32, Kind::I32, Kind::U32] {
            let mut b = Bench::new(340);
            let x = b.input(kind, &fixed(&[2, 3, 8, 7]));
            if kind == Kind::F32 {
                b.inputs[0][9] = f32::NAN.to_bits();
            }
            // Ceil mode: the last window of the second axis is clipped.
            let out = b.output(kind, &fixed(&[2, 3, 3, 4]));
            let kernel = Kernel::Pool { op, kernel: vec![2, 2], stride: vec![2, 2], dilation: vec![2, 1] };
            b.step(kernel, vec![x], out, Round::None);
            b.compare(&format!("{op:?} {kind:?}"));
        }
    }
}

#[test]
fn interpolation() {
    for nearest in [false, true] {
        for (from, to) in [((3i64, 4i64), (6i64, 8i64)), ((7, 5), (4, 3)), ((4, 4), (10, 4))] {
            // With scales that are known when the plan is made, and computed ones.
            for sampled in [vec![false, false, true, true], vec![true; 4]] {
                for kind in [Kind::F32, Kind::I32] {
                    let mut b = Bench::new(350);
                    b.tolerance = 2e-6;
                    let x = b.input(kind, &fixed(&[2, 3, from.0, from.1]));
                    let out = b.output(kind, &fixed(&[2, 3, to.0, to.1]));
                    let factors = |of: [f32; 4]| of.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
                    let scale = factors([1.0, 1.0, to.0 as f32 / from.0 as f32, to.1 as f32 / from.1 as f32]);
                    let offset = factors([0.0, 0.0, 0.0, if to.0 == 10 { 0.25 } else { 0.0 }]);
                    let scale = b.input_of(Kind::F32, &fixed(&[4]), scale);
                    let offset = b.input_of(Kind::F32, &fixed(&[4]), offset);
                    let kernel = Kernel::Resize { nearest, sampled: sampled.clone() };
                    // Sums of integers that are almost whole would truncate either way.
                    if kind == Kind::I32 && !nearest && from.0 != 3 {
                        continue;
                    }
                    b.step(kernel, vec![x, scale, offset], out, Round::None);
                    b.compare(&format!("nearest {nearest} {from:?} {to:?} {kind:?}"));
                }
            }
        }
    }
}

#[test]
fn sampling() {
    for nearest in [false, true] {
        for kind in [Kind::F32, Kind::U32] {
            if kind == Kind::U32 && !nearest {
                continue;
            }
            let mut b = Bench::new(360);
            let n = b.symbol(1, 40, 33);
            let x = b.input(kind, &fixed(&[4, 5, 3])).permute(&[2, 0, 1]);
            // Beyond both edges, between elements and on them.
            let points = (0..99).map(|i| if i < 9 { i as f32 - 2.0 } else { b.rng.float() * 3.0 + 1.5 });
            let points: Vec<u32> = points.map(f32::to_bits).collect();
            let points = b.input_of(Kind::F32, &[n.clone(), Expr::from(3i64)], points);
            let out = b.output(kind, &[n]);
            b.step(Kernel::Sample { nearest }, vec![x, points], out, Round::None);
            b.compare(&format!("sampling, nearest {nearest} {kind:?}"));
        }
    }
}
