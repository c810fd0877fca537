use super::*;
use crate::map::*;
use std::time::Instant;

impl Case {
    fn time(&mut self, name: &str, kernel: Kernel, reads: Vec<View>, dims: &[usize], amount: f64, unit: &str) {
        let id = self.buffer(Role::Output(0), Kind::F32, Storage::Word, dims.iter().product());
        let step = Step { kernel, reads, writes: vec![view(id, dims)], round: Round::None, origin: Origin { op: "op".into(), node: 0, source: None } };
        let plan = Plan { function: "main".into(), buffers: self.buffers.clone(), steps: vec![step], symbols: vec![], guards: vec![], inputs: vec![], outputs: vec![], states: vec![] };
        let mut executor = CpuExecutor::with_constants(Arc::new(plan), Box::new(Bytes(self.bytes.clone())), self.wide);
        let inputs: Vec<&[u32]> = self.inputs.iter().map(Vec::as_slice).collect();
        let cancel = AtomicBool::new(false);
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                executor.run(&[], &inputs, &mut self.states, &cancel).unwrap();
                let mut best = f64::MAX;
                let begin = Instant::now();
                while begin.elapsed().as_secs_f64() < 0.5 {
                    let t = Instant::now();
                    executor.run(&[], &inputs, &mut self.states, &cancel).unwrap();
                    best = best.min(t.elapsed().as_secs_f64());
                }
                println!("{name:40} {threads}t {:9.1} us {:8.2} {unit}", best * 1e6, amount / best / 1e9);
            });
        }
    }
}
fn scheme<'a>(dims: &'a [usize], blocks: &'a [usize], bits: usize) -> Scheme<'a> {
    Scheme { code: if bits == 4 { ElementType::SI4 } else { ElementType::SI8 }, bits, dims, blocks, scale: ElementType::F16, zero: false, min: false, unpacked: false, splat_scale: false }
}
fn mm() -> Kernel { Kernel::MatMul { weights: 1, norm: None, epilogue: None } }

#[test]
#[ignore]
fn bench() {
    for (m, n, k) in [(1, 49152, 576), (1, 1536, 576), (1, 576, 1536), (1, 576, 576), (4, 1536, 576), (8, 1536, 576), (16, 1536, 576), (512, 1536, 576), (512, 576, 1536)] {
        for bits in [4, 8] {
            let mut case = Case::default();
            let block = if bits == 4 { 32 } else { k };
            let w = case.weight(&scheme(&[n, k], &[1, block], bits), 1);
            let x = case.floats(&random(m * k, 2));
            let reads = vec![view(x, &[m, k]), strided(w.buffer, 0, &[k, n], &[1, k as i64])];
            let bytes = (n * k * bits / 8 + n * k / block * 2) as f64;
            if m < 16 { case.time(&format!("int{bits} {m}x{n}x{k}"), mm(), reads, &[m, n], bytes, "GB/s"); }
            else { case.time(&format!("int{bits} {m}x{n}x{k}"), mm(), reads, &[m, n], (2 * m * n * k) as f64, "GFLOP/s"); }
        }
        for e in [ElementType::F16, ElementType::BF16, ElementType::F32] {
            let mut case = Case::default();
            let w = case.constant(&random(n * k, 1), e);
            let x = case.floats(&random(m * k, 2));
            let reads = vec![view(x, &[m, k]), strided(w, 0, &[k, n], &[1, k as i64])];
            let bytes = (n * k * if e == ElementType::F32 { 4 } else { 2 }) as f64;
            if m < 16 { case.time(&format!("{e:?} {m}x{n}x{k}"), mm(), reads, &[m, n], bytes, "GB/s"); }
            else { case.time(&format!("{e:?} {m}x{n}x{k}"), mm(), reads, &[m, n], (2 * m * n * k) as f64, "GFLOP/s"); }
        }
    }
    for (t, s) in [(1, 512), (1, 2048), (512, 512)] {
        let mut case = Case::default();
        let q = case.floats(&random(9 * t * 64, 1));
        let k = case.constant(&random(3 * s * 64, 2), ElementType::F16);
        let v = case.constant(&random(3 * s * 64, 3), ElementType::F16);
        let reads = vec![view(q, &[1, 9, t, 64]), view(k, &[1, 3, s, 64]), view(v, &[1, 3, s, 64])];
        let kernel = Kernel::Attention { scale: 0.125, causal: true, window: 0, mask: false, sinks: false };
        case.time(&format!("attention t {t} s {s}"), kernel, reads, &[1, 9, t, 64], (4 * 9 * t * s * 64) as f64, "GFLOP/s (full)");
    }
    for (ci, co, h, kk, st, groups) in [(3, 32, 225, 3, 2, 1), (32, 32, 114, 3, 1, 32), (96, 96, 113, 3, 2, 96), (960, 960, 9, 3, 1, 960), (32, 192, 56, 1, 1, 1), (160, 960, 7, 1, 1, 1), (64, 64, 58, 3, 1, 1), (512, 512, 9, 3, 1, 1)] {
        let mut case = Case::default();
        let o = (h - kk) / st + 1;
        let x = case.floats(&random(ci * h * h, 1));
        let w = case.constant(&random(co * ci / groups * kk * kk, 2), ElementType::F32);
        let kernel = Kernel::Conv { stride: vec![st as u32; 2], dilation: vec![1; 2], padding: vec![], groups: groups as u32, transposed: false, epilogue: None };
        case.time(&format!("conv {ci}->{co} {h} k{kk} s{st} g{groups}"), kernel, vec![view(x, &[1, ci, h, h]), view(w, &[co, ci / groups, kk, kk])], &[1, co, o, o], (2 * o * o * co * ci / groups * kk * kk) as f64, "GFLOP/s");
    }
    let mut case = Case::default();
    let x = case.floats(&random(1 << 20, 1));
    case.time("silu 1M", Kernel::Map(MapProg { instrs: vec![Instr { op: MapOp::Load(0), args: [0; 3], kind: Kind::F32 }, Instr { op: MapOp::Fn(MapFn::Silu), args: [0; 3], kind: Kind::F32 }], scalars: vec![] }), vec![view(x, &[1 << 20])], &[1 << 20], (1 << 20) as f64, "Gelem/s");
    case.time("copy 1M", Kernel::Map(MapProg::copy(Kind::F32)), vec![view(x, &[1 << 20])], &[1 << 20], (1 << 20) as f64, "Gelem/s");
    case.time("transpose 1M", Kernel::Map(MapProg::copy(Kind::F32)), vec![strided(x, 0, &[1024, 1024], &[1, 1024])], &[1024, 1024], (1 << 20) as f64, "Gelem/s");
    case.time("softmax 1M", Kernel::Softmax, vec![view(x, &[1024, 1024])], &[1024, 1024], (1 << 20) as f64, "Gelem/s");
    case.time("reduce strided 1M", Kernel::Reduce { op: crate::step::ReduceOp::Sum, axes: 1 }, vec![strided(x, 0, &[1024, 1024], &[1, 1024])], &[1024], (1 << 20) as f64, "Gelem/s");
}
