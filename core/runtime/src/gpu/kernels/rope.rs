//! Rotary embedding: one invocation per pair, and per copied element behind the rotated ones.

use super::Fault;
use super::map::INVOCATIONS;
use super::shader::{Shader, div_ceil};
use super::space::Space;
use crate::expr::Expr;
use crate::gpu::dispatch::Dispatch;

pub(super) fn build(
    mut shader: Shader<'_>,
    rotated: usize,
    interleaved: bool,
    tables: bool,
) -> Result<Dispatch, Fault> {
    let step = shader.step;
    let [b, h, t, d] = step.writes[0].dims.as_slice() else {
        return Err(Fault::broken("rotary embedding needs [b, h, t, d]".into()));
    };
    let half = Expr::from(rotated / 2);
    // Pairs first, then the elements that are copied.
    let items = &(d - &Expr::from(rotated)) + &half;
    let dims = [b.clone(), h.clone(), t.clone(), items];
    let x = shader.read(0)?;
    let first = shader.read(1)?;
    let second = shader.read(2)?;
    let out = shader.write()?;
    let zero = Expr::zero();
    let outer = |i: usize, rank: usize| {
        let strides = &step.reads[i].strides;
        let mut s: Vec<Expr> = strides.iter().take(rank).cloned().collect();
        s.resize(3, Expr::zero());
        s.push(zero.clone());
        s
    };
    let of_views = |v: &crate::step::View| {
        let mut s: Vec<Expr> = v.strides[..3].to_vec();
        s.push(zero.clone());
        s
    };
    let s_out = of_views(&step.writes[0]);
    let s_x = of_views(&step.reads[0]);
    let s_first = outer(1, 3);
    let s_second = if tables { outer(2, 3) } else { vec![zero.clone(); 4] };
    let space = Space::new(&dims, &[&s_out, &s_x, &s_first, &s_second], &[3]);
    let coordinates = shader.coordinates("t", &space, "c");
    let item = space.axis_of[3].map_or_else(|| "0".to_owned(), |a| format!("c{a}"));
    let base = |shader: &mut Shader<'_>, n: usize, offset: &Expr| {
        let at = shader.word(offset);
        shader.element(&at, &space, n, "c")
    };
    let (x_at, out_at) = (base(&mut shader, 1, &x.window.offset), base(&mut shader, 0, &out.window.offset));
    let (a_at, b_at) =
        (base(&mut shader, 2, &first.window.offset), base(&mut shader, 3, &second.window.offset));
    let last = |shader: &mut Shader<'_>, v: &crate::step::View| {
        v.strides.last().map_or_else(|| "0".to_owned(), |s| shader.word(s))
    };
    let (sx, so) = (last(&mut shader, &step.reads[0]), last(&mut shader, &step.writes[0]));
    let angle = if tables {
        let (sc, ss) = (last(&mut shader, &step.reads[1]), last(&mut shader, &step.reads[2]));
        format!(
            "let cs = {}({a_at} + item * {sc});\n  let sn = {}({b_at} + item * {ss});",
            first.load, second.load
        )
    } else {
        let sf = last(&mut shader, &step.reads[2]);
        format!(
            "let turn = sin_cos(f32({}({a_at})) * {}({b_at} + item * {sf}));\n  \
             let sn = turn.x;\n  let cs = turn.y;",
            first.load, second.load
        )
    };
    let pair = if interleaved {
        "let i0 = 2 * item; let i1 = i0 + 1;"
    } else {
        "let i0 = item; let i1 = item + pairs;"
    };
    let total = space.elements();
    let (count, pairs) = (shader.uword(&total), shader.word(&half));
    let body = format!(
        "  let t = group * WG + lid;\n  if (t >= {count}) {{ return; }}\n{coordinates}  let item = {item};\n  \
         let pairs = {pairs};\n  let x0 = {x_at};\n  let o0 = {out_at};\n  \
         if (item >= pairs) {{\n    let e = item + pairs;\n    st(o0 + e * {so}, {ld}(x0 + e * {sx}));\n    \
         return;\n  }}\n  {pair}\n  {angle}\n  let a = {ld}(x0 + i0 * {sx});\n  let b = {ld}(x0 + i1 * {sx});\n  \
         st(o0 + i0 * {so}, a * cs - b * sn);\n  st(o0 + i1 * {so}, b * cs + a * sn);\n",
        ld = x.load
    );
    shader.finish("rope", INVOCATIONS, div_ceil(&total, i64::from(INVOCATIONS)), &body)
}
