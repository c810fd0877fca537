//! A planned function: steps over buffers, symbols with their sources, guards.

use std::collections::BTreeSet;

use coreai_asset::ElementType;

use crate::expr::{Bounds, Expr, Sym};
use crate::step::{Buffer, BufferId, Kernel, Step, Storage, View};

/// Where the value of a symbol comes from when a run is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SymbolSource {
    /// Extent of an input (inputs are numbered without states).
    InputDim {
        /// Input number.
        input: usize,
        /// Axis.
        axis: usize,
    },
    /// Extent of a state.
    StateDim {
        /// State number.
        state: usize,
        /// Axis.
        axis: usize,
    },
    /// Known only in a later part of the program; plans have none of these.
    Later,
    /// Element of a small integer input.
    InputElement {
        /// Input number.
        input: usize,
        /// Flat element index.
        element: usize,
    },
}

/// A symbol of the plan. [`Sym`] indexes [`Plan::symbols`].
#[derive(Clone, Debug, PartialEq)]
pub struct Symbol {
    /// Source.
    pub source: SymbolSource,
    /// Values the plan is valid for.
    pub bounds: Bounds,
}

/// A condition every run must meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// Must be ≥ 0 (or = 0 with `equal`).
    pub expr: Expr,
    /// The condition is `expr = 0`.
    pub equal: bool,
    /// What it protects: op and reason.
    pub reason: String,
}

/// Name, dtype and extents of an input, output or state.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// I/O name.
    pub name: String,
    /// Declared element type.
    pub element: ElementType,
    /// Extents.
    pub dims: Vec<Expr>,
    /// The plan's buffer; `None` for an input that no step reads.
    pub buffer: Option<BufferId>,
    /// Of an input: first element and number of elements that steps read, when all of them read the
    /// same part; only that part needs to reach the device.
    pub part: Option<(Expr, Expr)>,
}

/// A planned function for one variant. Immutable; shared by sessions.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Function name.
    pub function: String,
    /// Buffers.
    pub buffers: Vec<Buffer>,
    /// Steps in execution order.
    pub steps: Vec<Step>,
    /// Symbols.
    pub symbols: Vec<Symbol>,
    /// Conditions checked when a run is bound.
    pub guards: Vec<Guard>,
    /// Inputs, states excluded.
    pub inputs: Vec<Port>,
    /// Outputs, tokens excluded.
    pub outputs: Vec<Port>,
    /// States.
    pub states: Vec<Port>,
}

impl Plan {
    /// The buffer of a view.
    pub fn buffer(&self, view: &View) -> &Buffer {
        &self.buffers[view.buffer.0 as usize]
    }

    /// Which buffers a run touches.
    pub fn used(&self) -> Vec<bool> {
        let mut used = vec![false; self.buffers.len()];
        let views = self.steps.iter().flat_map(|s| s.reads.iter().chain(&s.writes)).map(|v| v.buffer);
        let ports = self.outputs.iter().filter_map(|p| p.buffer);
        for id in views.chain(ports) {
            if let Some(flag) = used.get_mut(id.0 as usize) {
                *flag = true;
            }
        }
        used
    }

    /// Bounds of an expression under the plan's symbol bounds.
    pub fn bounds(&self, expr: &Expr) -> Bounds {
        expr.bounds(&|Sym(s)| {
            self.symbols.get(s as usize).map_or(Bounds { min: 0, max: i64::from(i32::MAX) }, |s| s.bounds)
        })
    }

    /// Symbols that decide how large a buffer is.
    pub fn size_symbols(&self) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for buffer in &self.buffers {
            buffer.elements.symbols(&mut |Sym(s)| {
                found.insert(s as usize);
            });
        }
        found
    }

    /// Bytes that the steps' operands occupy in memory, each operand of each step counted once: what
    /// a run must at least read. Weights and states dominate it.
    pub fn bytes_read(&self, values: &[i64]) -> u64 {
        let extent = |e: &Expr| u64::try_from(e.eval(values)).unwrap_or(0);
        let mut bytes = 0u64;
        for step in &self.steps {
            for (i, view) in step.reads.iter().enumerate() {
                let buffer = self.buffer(view);
                let axes = view.dims.iter().zip(&view.strides).filter(|(_, s)| !s.is(0));
                let mut elements: u64 = axes.map(|(d, _)| extent(d)).product();
                // A gather reads what it writes, not the whole table.
                if i == 0 && matches!(step.kernel, Kernel::GatherNd | Kernel::GatherAlong { .. }) {
                    elements = step.writes.iter().flat_map(|w| &w.dims).map(extent).product();
                }
                let all = extent(&buffer.elements).max(1);
                bytes += match &buffer.storage {
                    Storage::Quant(format) => {
                        (format.device_bytes() as u128 * u128::from(elements.min(all)) / u128::from(all))
                            as u64
                    }
                    storage => Plan::storage_bytes(storage, elements.min(all)),
                };
            }
        }
        bytes
    }

    /// Bytes that `elements` elements take in `storage`; quantized weights are sized by their format.
    pub fn storage_bytes(storage: &Storage, elements: u64) -> u64 {
        match storage {
            Storage::Word => elements * 4,
            Storage::F16 | Storage::BF16 => elements.div_ceil(2) * 4,
            Storage::Byte { .. } => elements.div_ceil(4) * 4,
            Storage::Quant(format) => format.device_bytes(),
        }
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "plan {}: {} steps, {} buffers", self.function, self.steps.len(), self.buffers.len())?;
        for (i, s) in self.symbols.iter().enumerate() {
            writeln!(f, "  s{i}: {:?}", s.source)?;
        }
        for g in &self.guards {
            writeln!(f, "  guard {} {} 0: {}", g.expr, if g.equal { "=" } else { "≥" }, g.reason)?;
        }
        for (i, step) in self.steps.iter().enumerate() {
            let views = |list: &[View]| {
                let text =
                    list.iter().map(|v| format!("b{}+{}{:?}/{:?}", v.buffer.0, v.offset, v.dims, v.strides));
                text.collect::<Vec<_>>().join(" ")
            };
            writeln!(
                f,
                "  {i:4} {} ← {}: {:?} ({})",
                views(&step.writes),
                views(&step.reads),
                step.kernel,
                step.origin.op
            )?;
        }
        Ok(())
    }
}
