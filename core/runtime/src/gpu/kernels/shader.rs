//! One shader module being written: parameter words, bindings, declarations.

use std::fmt::Write as _;
use std::sync::Arc;

use super::space::Space;
use super::storage::load_function;
use super::window::{Window, window};
use super::{Fault, LowerCx};
use crate::expr::{Expr, Func};
use crate::gpu::dispatch::{Binding, Dispatch, Target};
use crate::plan::Plan;
use crate::step::{Kind, Round, Step, Storage, View};

/// Parameter words a dispatch can have.
const MAX_PARAMS: usize = 64;
/// Storage bindings a portable kernel can have.
const MAX_BINDINGS: usize = 8;

/// A bound operand.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    /// Name of the module's array.
    pub array: String,
    /// WGSL function `fn(e: i32) -> kind` that loads an element.
    pub load: String,
    /// Window; its offset is relative to the binding.
    pub window: Window,
    pub kind: Kind,
    pub storage: Storage,
}

/// How a module uses a binding.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    Atomic,
}

/// A shader module for one dispatch of one step.
pub(super) struct Shader<'a> {
    pub plan: &'a Plan,
    pub cx: &'a LowerCx<'a>,
    pub step: &'a Step,
    number: usize,
    params: Vec<Expr>,
    bindings: Vec<Binding>,
    declarations: String,
    loads: usize,
}

/// WGSL type of a kind.
pub(super) fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::F32 => "f32",
        Kind::I32 => "i32",
        Kind::U32 | Kind::Bool => "u32",
    }
}

/// `ceil(n / by)`.
pub(super) fn div_ceil(n: &Expr, by: i64) -> Expr {
    Expr::func(Func::FloorDiv, &(n + &Expr::from(by - 1)), &Expr::from(by))
}

impl<'a> Shader<'a> {
    pub fn new(plan: &'a Plan, cx: &'a LowerCx<'a>, step: &'a Step, number: usize) -> Shader<'a> {
        let (params, bindings, declarations) = (vec![], vec![], String::new());
        Shader { plan, cx, step, number, params, bindings, declarations, loads: 0 }
    }

    /// An i32 expression with the value of `e`: a parameter word, or a literal for 0 and 1, which
    /// are structure (broadcast, contiguous) rather than shape.
    pub fn word(&mut self, e: &Expr) -> String {
        match e.as_const() {
            Some(c @ (0 | 1)) => c.to_string(),
            _ => self.param(e),
        }
    }

    /// An i32 expression that is always a parameter word. Equal symbolic expressions share one;
    /// equal numbers do not while there is room, since that they are equal is a matter of shape.
    pub fn param(&mut self, e: &Expr) -> String {
        let may_share = e.as_const().is_none() || self.params.len() >= MAX_PARAMS / 2;
        let at = match self.params.iter().position(|p| may_share && p == e) {
            Some(at) => at,
            None => {
                self.params.push(e.clone());
                self.params.len() - 1
            }
        };
        format!("i32(p[{}].{})", at / 4, ["x", "y", "z", "w"][at % 4])
    }

    /// The same as u32.
    pub fn uword(&mut self, e: &Expr) -> String {
        match e.as_const() {
            Some(c @ (0 | 1)) => format!("{c}u"),
            _ => format!("u32({})", self.param(e)),
        }
    }

    /// Binds read number `n` of the step.
    pub fn read(&mut self, n: usize) -> Result<Operand, Fault> {
        let view = self.view(n)?;
        let window = window(self.plan, self.cx, view, n)?;
        self.read_through(n, window)
    }

    /// Binds read number `n` through a given window.
    pub fn read_through(&mut self, n: usize, window: Window) -> Result<Operand, Fault> {
        let view = self.view(n)?;
        let buffer = self.plan.buffer(view);
        let (kind, storage) = (buffer.kind, buffer.storage.clone());
        // An operand that is also the result shares its binding: each invocation reads what it writes.
        let own = self.step.writes.first().is_some_and(|w| w.buffer == view.buffer);
        let access = if own { Access::Write } else { Access::Read };
        let at = self.bind(Target::Buffer(view.buffer), access, window.bytes);
        let array = format!("b{at}");
        let load = format!("ld{}", self.loads);
        self.loads += 1;
        let text = load_function(self, &load, &array, kind, &storage, window.segment.as_ref());
        self.declarations.push_str(&text);
        Ok(Operand { array, load, window, kind, storage })
    }

    /// View of read number `n`.
    pub fn view(&self, n: usize) -> Result<&'a View, Fault> {
        let step = self.step;
        step.reads.get(n).ok_or_else(|| Fault::broken(format!("operand {n} is missing")))
    }

    /// Binds the result. A word-sized result is stored by `st(e, value)` with the step's rounding.
    pub fn write(&mut self) -> Result<Operand, Fault> {
        let step = self.step;
        let view = step.writes.first().ok_or_else(|| Fault::broken("no result".into()))?;
        let window = window(self.plan, self.cx, view, step.reads.len())?;
        let buffer = self.plan.buffer(view);
        let at = self.bind(Target::Buffer(view.buffer), Access::Write, window.bytes);
        let array = format!("b{at}");
        if buffer.storage == Storage::Word {
            let ty = type_of(buffer.kind);
            let value = match (buffer.kind, step.round) {
                (Kind::F32, Round::F16) => "bitcast<u32>(round_f16(v))",
                (Kind::F32, Round::BF16) => "bitcast<u32>(round_bf16(v))",
                (Kind::F32, Round::None) => "bitcast<u32>(v)",
                _ => "u32(v)",
            };
            let _ = writeln!(self.declarations, "fn st(e: i32, v: {ty}) {{ {array}[e] = {value}; }}");
        }
        Ok(Operand { array, load: String::new(), window, kind: buffer.kind, storage: buffer.storage.clone() })
    }

    /// Binds the result as an array of atomic words.
    pub fn write_atomic(&mut self) -> Result<Operand, Fault> {
        let step = self.step;
        let view = step.writes.first().ok_or_else(|| Fault::broken("no result".into()))?;
        let window = window(self.plan, self.cx, view, step.reads.len())?;
        let buffer = self.plan.buffer(view);
        let at = self.bind(Target::Buffer(view.buffer), Access::Atomic, window.bytes);
        let (array, load) = (format!("b{at}"), String::new());
        Ok(Operand { array, load, window, kind: buffer.kind, storage: buffer.storage.clone() })
    }

    /// Binds the status words as `status`.
    pub fn status(&mut self) {
        let at = self.bindings.len() + 1;
        self.bindings.push(Binding { target: Target::Status, write: true, window: None });
        let _ = writeln!(
            self.declarations,
            "@group(0) @binding({at}) var<storage, read_write> status: array<atomic<u32>>;"
        );
    }

    fn bind(&mut self, target: Target, access: Access, bytes: Option<(u64, u64)>) -> usize {
        let binding = Binding { target, write: access != Access::Read, window: bytes };
        if let Some(at) = self.bindings.iter().position(|b| *b == binding) {
            return at;
        }
        let at = self.bindings.len();
        self.bindings.push(binding);
        let (mode, word) = match access {
            Access::Read => ("read", "u32"),
            Access::Write => ("read_write", "u32"),
            Access::Atomic => ("read_write", "atomic<u32>"),
        };
        let _ = writeln!(
            self.declarations,
            "@group(0) @binding({}) var<storage, {mode}> b{at}: array<{word}>;",
            at + 1
        );
        at
    }

    /// Adds text before the entry point.
    pub fn declare(&mut self, text: &str) {
        self.declarations.push_str(text);
        self.declarations.push('\n');
    }

    /// `offset + Σ coordinate · stride` of operand `n` of a space, whose coordinates are the i32
    /// variables `{prefix}0`, `{prefix}1` …
    pub fn element(&mut self, base: &str, space: &Space, n: usize, prefix: &str) -> String {
        let mut text = base.to_owned();
        for (axis, stride) in space.strides[n].iter().enumerate() {
            match stride.as_const() {
                Some(0) => {}
                Some(1) => {
                    let _ = write!(text, " + {prefix}{axis}");
                }
                _ => {
                    let _ = write!(text, " + {prefix}{axis} * {}", self.word(stride));
                }
            }
        }
        text
    }

    /// Statements that define the coordinates of the row-major index `index` (a u32 expression).
    pub fn coordinates(&mut self, index: &str, space: &Space, prefix: &str) -> String {
        let mut text = String::new();
        let rank = space.dims.len();
        if rank == 0 {
            return text;
        }
        let _ = writeln!(text, "  var {prefix}_rest = {index};");
        for axis in (1..rank).rev() {
            // Nothing is there to run where an extent is 0, but WGSL refuses to divide by it.
            let dim = match space.dims[axis].is(0) {
                true => "1u".to_owned(),
                false => self.uword(&space.dims[axis]),
            };
            let _ = writeln!(text, "  let {prefix}{axis} = i32({prefix}_rest % {dim});");
            let _ = writeln!(text, "  {prefix}_rest = {prefix}_rest / {dim};");
        }
        let _ = writeln!(text, "  let {prefix}0 = i32({prefix}_rest);");
        text
    }

    /// Finishes the module. `body` is the text of `main`; it sees `group` (linear workgroup index)
    /// and `lid` (invocation index), both u32.
    pub fn finish(
        self,
        kernel: &'static str,
        invocations: u32,
        workgroups: Expr,
        body: &str,
    ) -> Result<Dispatch, Fault> {
        let arguments = if body.contains("subgroup") || self.declarations.contains("subgroup") {
            ", @builtin(subgroup_id) sgid: u32, @builtin(num_subgroups) sgn: u32, @builtin(subgroup_invocation_id) lane: u32"
        } else {
            ""
        };
        if self.params.len() > MAX_PARAMS {
            return Err(Fault::broken(format!("{kernel} needs {} parameter words", self.params.len())));
        }
        if self.bindings.len() > MAX_BINDINGS {
            return Err(Fault::broken(format!("{kernel} needs {} storage buffers", self.bindings.len())));
        }
        let module = format!(
            "const WG: u32 = {invocations}u;\n\
             @group(0) @binding(0) var<uniform> p: array<vec4<u32>, 16>;\n{}\
             @compute @workgroup_size(WG)\nfn main(@builtin(workgroup_id) wid: vec3<u32>, \
             @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32{arguments}) {{\n  \
             let group = wid.x + (wid.y + wid.z * nwg.y) * nwg.x;\n{body}}}\n",
            self.declarations
        );
        Ok(Dispatch {
            kernel,
            source: Arc::from(coreai_shaders::with_library(&module)),
            bindings: self.bindings,
            params: self.params,
            workgroups,
            step: u32::try_from(self.number).unwrap_or(u32::MAX),
        })
    }
}
