//! Scaled dot-product attention.

use super::Fault;
use super::shader::Shader;
use crate::expr::{Expr, Func};
use crate::gpu::dispatch::Dispatch;
use crate::step::{Kind, Storage, View};

/// Invocations per query; also the keys of a chunk.
const INVOCATIONS: u32 = 128;
/// Most elements of a head: two value columns per invocation, and the query in workgroup memory.
pub(super) const MAX_HEAD: i64 = 256;

/// Attributes of the kernel.
pub(super) struct Options {
    pub scale: f32,
    pub causal: bool,
    pub window: u32,
    pub mask: bool,
    pub hidden: f32,
    pub sinks: bool,
}

fn rank4(view: &View) -> Result<(&[Expr; 4], &[Expr; 4]), Fault> {
    let wrong = || Fault::broken("attention needs operands of rank 4".into());
    let dims = view.dims.as_slice().try_into().map_err(|_| wrong())?;
    let strides = view.strides.as_slice().try_into().map_err(|_| wrong())?;
    Ok((dims, strides))
}

/// `offset + b · s0 + head · s1 (+ row · s2)`
fn base(shader: &mut Shader<'_>, offset: &Expr, terms: &[(&str, &Expr)]) -> String {
    let mut text = shader.word(offset);
    for (name, stride) in terms {
        if !stride.is(0) {
            let word = shader.word(stride);
            text = format!("{text} + {name} * {word}");
        }
    }
    text
}

pub(super) fn build(mut shader: Shader<'_>, options: &Options) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let needed = 3 + usize::from(options.mask) + usize::from(options.sinks);
    if step.reads.len() < needed {
        return Err(Fault::broken("attention lacks operands".into()));
    }
    let ([b, hq, t, d], qs) = rank4(&step.reads[0])?;
    let ([_, hk, s, _], ks) = rank4(&step.reads[1])?;
    let ([_, _, _, dv], vs) = rank4(&step.reads[2])?;
    let (_, os) = rank4(&step.writes[0])?;
    if shader.cx.bounds(d).max.max(shader.cx.bounds(dv).max) > MAX_HEAD {
        return Err(Fault::broken(format!("attention heads of more than {MAX_HEAD} elements")));
    }
    shader.declare(&format!(
        "var<workgroup> query: array<f32, {MAX_HEAD}>;\nvar<workgroup> weights: array<f32, {INVOCATIONS}>;"
    ));
    let q = shader.read(0)?;
    let k = shader.read(1)?;
    let v = shader.read(2)?;
    let q_base = base(&mut shader, &q.window.offset, &[("b", &qs[0]), ("h", &qs[1]), ("i", &qs[2])]);
    let k_base = base(&mut shader, &k.window.offset, &[("b", &ks[0]), ("hk", &ks[1])]);
    let v_base = base(&mut shader, &v.window.offset, &[("b", &vs[0]), ("hk", &vs[1])]);
    let mask = match options.mask {
        false => String::new(),
        true => {
            let mask = shader.read(3)?;
            let (_, ms) = rank4(&step.reads[3])?;
            let at = base(
                &mut shader,
                &mask.window.offset,
                &[("b", &ms[0]), ("h", &ms[1]), ("i", &ms[2]), ("j", &ms[3])],
            );
            match mask.kind {
                Kind::F32 => format!(
                    "      let bias = {}({at});\n      if (is_inf(bias) && bias < 0.0) {{ visible = false; \
                     score = -3.4028234663852886e38; }} else {{ score += bias; }}",
                    mask.load
                ),
                kind => {
                    let zero = if kind == Kind::I32 { "0" } else { "0u" };
                    format!("      if ({}({at}) == {zero}) {{ score += {:?}; }}", mask.load, options.hidden)
                }
            }
        }
    };
    let sink = match options.sinks {
        false => String::new(),
        true => {
            let n = 3 + usize::from(options.mask);
            let sinks = shader.read(n)?;
            let stride = step.reads[n].strides.last().cloned().unwrap_or_else(Expr::zero);
            let at = base(&mut shader, &sinks.window.offset, &[("h", &stride)]);
            format!(
                "  {{\n    let sink = {}({at});\n    let top = max(largest, sink);\n    \
                 let shrink = exp(largest - top);\n    total = total * shrink + exp(sink - top);\n    \
                 out0 *= shrink;\n    out1 *= shrink;\n  }}",
                sinks.load
            )
        }
    };
    let out = shader.write()?;
    let o_base = base(&mut shader, &out.window.offset, &[("b", &os[0]), ("h", &os[1]), ("i", &os[2])]);
    // Pairs of half-words are read together where every row provably starts at a word.
    let word = |e: &Expr| e.divisible_by(2);
    let pairs = k.storage == Storage::F16
        && ks[3].is(1)
        && ks[..3].iter().all(word)
        && word(d)
        && word(&k.window.offset);
    let k_e = shader.word(&ks[3]);
    let dot = if pairs {
        format!(
            "      for (var e = 0; e < d; e += 2) {{\n        let pair = unpack2x16float({}[u32(key + e) >> 1u]);\n        \
             sum += query[e] * pair.x + query[e + 1] * pair.y;\n      }}",
            k.array
        )
    } else {
        format!("      for (var e = 0; e < d; e++) {{ sum += query[e] * {}(key + e * {k_e}); }}", k.load)
    };
    let end = if options.causal { "min(s, i + s - t + 1)" } else { "s" };
    let window = i64::from(options.window);
    let first = if window > 0 {
        format!("max(0, i + s - t - {} + 1)", shader.param(&Expr::from(window)))
    } else {
        "0".to_owned()
    };
    // Value columns rounded up to a power of two, at most the workgroup. Constant in real models.
    let columns =
        shader.cx.bounds(dv).max.max(1).unsigned_abs().next_power_of_two().min(u64::from(INVOCATIONS));
    let lanes = shader.uword(&Expr::from(i64::try_from(columns).unwrap_or(1)));
    let sharing = Expr::func(Func::FloorDiv, hq, hk);
    let keys = [
        ("T", shader.word(t)),
        ("S", shader.word(s)),
        ("HQ", shader.word(hq)),
        ("B", shader.uword(b)),
        ("GROUP", shader.word(&sharing)),
        ("D", shader.word(d)),
        ("DV", shader.word(dv)),
        ("Q_BASE", q_base),
        ("K_BASE", k_base),
        ("V_BASE", v_base),
        ("Q_LOAD", q.load.clone()),
        ("Q_E", shader.word(&qs[3])),
        ("SCALE", shader.param(&Expr::from(i64::from(options.scale.to_bits())))),
        ("LANES", lanes),
        ("FIRST", first),
        ("END", end.to_owned()),
        ("K_J", shader.word(&ks[2])),
        ("DOT", dot),
        ("MASK", mask),
        ("V_J", shader.word(&vs[2])),
        ("V_LOAD", v.load.clone()),
        ("V_E", shader.word(&vs[3])),
        ("SINK", sink),
        ("O_BASE", o_base),
        ("O_E", shader.word(&os[3])),
    ];
    let keys: Vec<(&str, &str)> = keys.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let body =
        coreai_shaders::fill(coreai_shaders::ATTENTION, &keys).map_err(|e| Fault::broken(e.to_string()))?;
    let groups = &(b * hq) * t;
    shader.finish("attention", INVOCATIONS, groups, &body)
}
