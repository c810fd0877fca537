use std::sync::Arc;

use super::bench::AMPLE;
use super::*;
use crate::expr::Expr;
use crate::gpu::dispatch::Caps;
use crate::map::{Instr, MapFn, MapOp, MapProg};
use crate::step::{Kernel, Kind, Meaning, Norm, QuantFormat, Round, Storage, View};
use coreai_asset::ElementType;

fn format(
    code: ElementType,
    dims: &[u64],
    blocks: &[u64],
    scale: ElementType,
    zero: bool,
    min: bool,
) -> QuantFormat {
    QuantFormat {
        code,
        meaning: Meaning::Plain,
        dims: dims.to_vec(),
        blocks: blocks.to_vec(),
        scale,
        zero,
        min,
    }
}

fn plain(weights: usize) -> Kernel {
    Kernel::MatMul { weights, norm: None, epilogue: None }
}

/// A product of rows `[m, k]` with a weight stored `[n, k]`.
fn with_stored_rows(b: &mut Bench, m: Expr, n: i64, k: i64, weight: View) -> &'static str {
    let a = b.input(Kind::F32, &[m.clone(), Expr::from(k)]);
    let out = b.output(Kind::F32, &[m, Expr::from(n)]);
    b.step(plain(1), vec![a, weight.permute(&[1, 0])], out, Round::None);
    b.tolerance = 1e-5;
    b.compare("stored rows")[0]
}

#[test]
fn few_rows_with_every_storage() {
    for m in [1i64, 2, 3, 8] {
        for storage in [Storage::Word, Storage::F16, Storage::BF16, Storage::Word] {
            let mut b = Bench::new(20 + m as u64);
            let rows = b.symbol(1, m, m);
            let w = b.weight(Kind::F32, storage, &[37, 96]);
            assert!(with_stored_rows(&mut b, rows, 37, 96, w).starts_with("matvec_"));
        }
    }
    // k is not a whole number of words: columns.
    let mut b = Bench::new(30);
    let w = b.weight(Kind::F32, Storage::F16, &[20, 33]);
    assert_eq!(with_stored_rows(&mut b, Expr::from(2i64), 20, 33, w), "matvec_columns");
    // [k, n] as it lies.
    let mut b = Bench::new(31);
    let a = b.input(Kind::F32, &fixed(&[3, 70]));
    let w = b.weight(Kind::F32, Storage::F16, &[70, 90]);
    let out = b.output(Kind::F32, &fixed(&[3, 90]));
    b.step(plain(1), vec![a, w], out, Round::F16);
    b.tolerance = 1e-3;
    assert_eq!(b.compare_on("columns", false)[0], "matvec_columns");
}

#[test]
fn compressed_weights() {
    use ElementType::*;
    let formats = [
        (format(SI4, &[70, 64], &[1, 32], F16, false, false), "matvec_quant"),
        (format(UI4, &[70, 64], &[1, 16], BF16, true, false), "matvec_quant"),
        (format(SI8, &[33, 64], &[1, 64], F32, false, false), "matvec_quant"),
        (format(UI8, &[33, 64], &[1, 32], F16, true, true), "matvec_quant"),
        (format(SI2, &[16, 64], &[1, 32], F16, false, true), "matvec_quant"),
        (format(UI3, &[16, 64], &[1, 32], F16, true, false), "matvec_quant"),
        (format(UI6, &[16, 64], &[1, 32], F16, true, true), "matvec_quant"),
        (format(UI1, &[16, 64], &[2, 32], F16, true, false), "matvec_quant"),
        (format(SI4, &[64, 64], &[4, 16], F16, true, false), "matvec_quant"),
        (format(SI8, &[16, 60], &[16, 60], F32, false, false), "matvec_quant"),
        (format(UI8, &[16, 60], &[1, 20], F32, true, false), "matvec_quant"),
        // A block shorter than a word.
        (format(SI4, &[16, 64], &[1, 2], F16, false, false), "matvec_columns"),
    ];
    let meant = |meaning, format| QuantFormat { meaning, ..format };
    let curve = |n: i16| Meaning::Table((0..n).map(|i| i * i % 97 - 31).collect());
    let meanings = [
        meant(Meaning::Less(32), format(UI6, &[16, 64], &[1, 16], F16, false, false)),
        meant(Meaning::Less(8), format(UI4, &[70, 64], &[1, 32], F16, false, true)),
        meant(Meaning::Less(-3), format(SI8, &[16, 64], &[1, 32], F16, false, false)),
        meant(Meaning::Less(4), format(UI3, &[16, 64], &[1, 16], F16, false, false)),
        meant(curve(64), format(UI6, &[16, 64], &[1, 16], F16, false, true)),
        meant(curve(16), format(UI4, &[16, 64], &[1, 32], F16, false, false)),
        meant(curve(8), format(UI3, &[16, 64], &[1, 16], BF16, false, false)),
        meant(curve(16), format(F4E2M1FN, &[16, 64], &[1, 32], F8E8M0FN, false, false)),
        format(UI4, &[70, 64], &[1, 32], F16, false, true),
        format(UI2, &[16, 64], &[1, 16], F16, false, true),
    ];
    let meanings = meanings.into_iter().map(|format| (format, "matvec_quant"));
    for (i, (format, kernel)) in formats.into_iter().chain(meanings).enumerate() {
        for m in [1i64, 2, 7, 40] {
            let mut b = Bench::new(40 + i as u64);
            let (n, k) = (format.dims[0] as i64, format.dims[1] as i64);
            let w = b.quant(format.clone());
            let used = with_stored_rows(&mut b, Expr::from(m), n, k, w);
            assert_eq!(used, if m > 8 { "matmul_tiled_64" } else { kernel }, "{format:?}");
        }
    }
    // Many segments.
    for m in [1i64, 9] {
        let mut b = Bench::new(60);
        let w = b.quant(format(SI4, &[600, 128], &[1, 32], F16, true, false));
        with_stored_rows(&mut b, Expr::from(m), 600, 128, w);
    }
}

#[test]
fn many_rows_batches_and_strides() {
    for (m, n, k) in [(65, 70, 50), (9, 64, 16), (33, 1, 17), (130, 130, 3)] {
        let mut b = Bench::new(70);
        let rows = b.symbol(9, m, m);
        let w = b.weight(Kind::F32, Storage::Word, &[n, k]);
        assert!(with_stored_rows(&mut b, rows, n, k, w).starts_with("matmul_tiled"));
    }
    for m in [1i64, 20] {
        // [b, h, m, k] · [1, h, k, n] with a transposed A and a broadcast B.
        let mut b = Bench::new(71);
        b.tolerance = 1e-5;
        let s = b.symbol(1, 40, 23);
        let a = b.input(Kind::F32, &fixed(&[2, m, 3, 32])).permute(&[0, 2, 1, 3]);
        let w = b.input(Kind::F32, &[Expr::from(1i64), Expr::from(3i64), s.clone(), Expr::from(32i64)]);
        let dims = [Expr::from(2i64), Expr::from(3i64), Expr::from(m), s.clone()];
        let w = w.permute(&[0, 1, 3, 2]);
        let w = w.broadcast(&[Expr::from(2i64), Expr::from(3i64), Expr::from(32i64), s]);
        let out = b.output(Kind::F32, &dims);
        b.step(plain(1), vec![a, w], out, Round::None);
        b.compare_on("batches", false);
        // Rows of a batch become rows: [2, m, k] · [k, n].
        let mut b = Bench::new(72);
        b.tolerance = 1e-5;
        let a = b.input(Kind::F32, &fixed(&[2, m, 32]));
        let w =
            b.weight(Kind::F32, Storage::BF16, &[40, 32]).permute(&[1, 0]).broadcast(&fixed(&[2, 32, 40]));
        let out = b.output(Kind::F32, &fixed(&[2, m, 40]));
        b.step(plain(1), vec![a, w], out, Round::None);
        b.compare("folded batch");
    }
    // Integers wrap.
    let mut b = Bench::new(73);
    let a = b.input(Kind::I32, &fixed(&[2, 5, 7]));
    let w = b.input(Kind::I32, &fixed(&[2, 7, 6]));
    let out = b.output(Kind::I32, &fixed(&[2, 5, 6]));
    b.step(plain(1), vec![a, w], out, Round::None);
    assert_eq!(b.compare("integers")[0], "matmul_simple");
}

/// Where a weight `[k, n]` exceeds a binding, its parts along k add up in the result.
#[test]
fn sums_of_parts() {
    for (m, storage) in [(1i64, Storage::Word), (9, Storage::Word), (2, Storage::F16), (33, Storage::BF16)] {
        for after in [false, true] {
            let mut b = Bench::new(90);
            b.tolerance = 1e-5;
            let rows = b.symbol(1, m, m);
            let a = b.input(Kind::F32, &[rows.clone(), Expr::from(150i64)]);
            let w = b.weight(Kind::F32, storage.clone(), &[150, 28]);
            let dims = [rows, Expr::from(28i64)];
            let mut reads = vec![a, w];
            if after {
                reads.push(b.input(Kind::F32, &dims));
            }
            let out = b.output(Kind::F32, &dims);
            let kernel = Kernel::MatMul { weights: 1, norm: None, epilogue: after.then(|| epilogue(1)) };
            b.step(kernel, reads, out, Round::None);
            assert_eq!(b.compare(&format!("parts of {storage:?} {m} {after}")).len(), 1);
            assert!(b.kernels(&Caps { max_binding_bytes: 4096, ..AMPLE }).len() > 1);
        }
    }
    let mut b = Bench::new(91);
    b.tolerance = 1e-5;
    let a = b.input(Kind::F32, &fixed(&[4, 192]));
    let w = b.quant(format(ElementType::SI4, &[192, 64], &[1, 32], ElementType::F16, true, false));
    let out = b.output(Kind::F32, &fixed(&[4, 64]));
    b.step(plain(1), vec![a, w], out, Round::None);
    assert_eq!(b.compare("parts of a compressed weight").len(), 1);
}

/// `silu(acc0) · acc1` or, with one weight, `acc0 + operand`.
fn epilogue(weights: usize) -> MapProg {
    let i = |op, args| Instr { op, args, kind: Kind::F32 };
    let load = |n| i(MapOp::Load(n), [0; 3]);
    let instrs = match weights {
        1 => vec![load(0), load(1), i(MapOp::Fn(MapFn::Add), [0, 1, 0])],
        2 => vec![load(0), i(MapOp::Fn(MapFn::Silu), [0; 3]), load(1), i(MapOp::Fn(MapFn::Mul), [1, 2, 0])],
        _ => vec![
            load(0),
            load(1),
            load(2),
            i(MapOp::Fn(MapFn::Add), [0, 1, 0]),
            i(MapOp::Fn(MapFn::Mul), [3, 2, 0]),
        ],
    };
    MapProg { instrs, scalars: vec![] }
}

#[test]
fn norm_prologue_several_weights_and_epilogue() {
    for weights in [1usize, 2, 3] {
        for norm in [None, Some(Norm { center: false, eps: 1e-5 })] {
            for m in [1i64, 4, 8, 50] {
                for stored_rows in [true, false] {
                    let mut b = Bench::new(80);
                    b.tolerance = 2e-5;
                    let a = b.input(Kind::F32, &fixed(&[m, 64]));
                    let mut reads = vec![a];
                    for _ in 0..weights {
                        let f = format(ElementType::SI4, &[48, 64], &[1, 32], ElementType::F16, false, false);
                        reads.push(if stored_rows {
                            b.quant(f).permute(&[1, 0])
                        } else {
                            b.weight(Kind::F32, Storage::F16, &[64, 48])
                        });
                    }
                    if norm.is_some() {
                        reads.push(b.weight(Kind::F32, Storage::F16, &[64]));
                    }
                    if weights == 1 {
                        reads.push(b.input(Kind::F32, &fixed(&[m, 48])));
                    }
                    let out = b.output(Kind::F32, &fixed(&[m, 48]));
                    let kernel = Kernel::MatMul { weights, norm, epilogue: Some(epilogue(weights)) };
                    b.step(kernel, reads, out, Round::None);
                    let what =
                        format!("{weights} weights, norm {}, m {m}, rows {stored_rows}", norm.is_some());
                    if weights <= 2 {
                        b.compare_on(&what, stored_rows);
                    } else {
                        // More than the CPU unit takes: the sources are checked.
                        b.check();
                    }
                }
            }
        }
    }
}

#[test]
fn large_results_are_cut() {
    for (m, storage) in [(1i64, Storage::F16), (40, Storage::F16), (40, Storage::Word)] {
        let mut b = Bench::new(90);
        b.tolerance = 1e-5;
        let rows = b.symbol(1, m, m);
        let w = b.weight(Kind::F32, storage, &[300, 32]);
        with_stored_rows(&mut b, rows, 300, 32, w);
    }
}

#[test]
fn sources_do_not_depend_on_extents() {
    use crate::gpu::kernels::{LowerCx, lower};
    let source = |n: i64, k: i64| -> Arc<str> {
        let mut b = Bench::new(1);
        let w = b.weight(Kind::F32, Storage::F16, &[n, k]).permute(&[1, 0]);
        let a = b.input(Kind::F32, &fixed(&[1, k]));
        let out = b.output(Kind::F32, &fixed(&[1, n]));
        b.step(plain(1), vec![a, w], out, Round::None);
        lower(&b.plan, 0, &LowerCx { caps: &bench::AMPLE, max: &[], min: &[] }).unwrap().remove(0).source
    };
    assert_eq!(source(4096, 1024), source(5120, 2048));
}
