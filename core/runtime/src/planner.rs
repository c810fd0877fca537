//! Plans of one function: guarded variants over its symbols.

use std::sync::{Arc, Mutex};

use crate::error::Error;
use crate::expr::Expr;
use crate::graph::Fixed;
use crate::plan::{Plan, SymbolSource};
use crate::report::ReportEntry;

/// What a plan was made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Symbols that are constants of the plan.
    pub fixed: Fixed,
    /// Output reduced to its last rows: (output, rows).
    pub rows: Option<(usize, usize)>,
}

/// A plan as it was made.
pub struct Made {
    /// The plan.
    pub plan: Plan,
    /// Elements of the values that the host computes for later stages.
    pub contents: Vec<Arc<Vec<Expr>>>,
    /// Choices and fallbacks.
    pub entries: Vec<ReportEntry>,
}

/// A plan with the variant it serves.
#[derive(Clone)]
pub struct Planned {
    /// Variant.
    pub variant: Variant,
    /// Plan.
    pub plan: Arc<Plan>,
    /// Elements of the values that the host computes for later stages.
    pub contents: Arc<Vec<Arc<Vec<Expr>>>>,
}

impl Planned {
    /// Whether the plan may run with these symbol values. Does not allocate.
    pub fn accepts(&self, values: &[i64], rows: Option<(usize, usize)>) -> bool {
        self.variant.rows == rows
            && self.variant.fixed.symbols.iter().zip(values).all(|(f, v)| f.is_none_or(|f| f == *v))
            && self.plan.guards.iter().all(|g| {
                let x = g.expr.eval(values);
                if g.equal { x == 0 } else { x >= 0 }
            })
    }
}

/// All plans made so far for one function.
pub struct FunctionPlans {
    /// The function.
    pub name: String,
    /// Valid for every value of the symbols that its guards accept; its symbols define the numbering.
    pub generic: Arc<Plan>,
    variants: Mutex<Vec<Planned>>,
}

impl FunctionPlans {
    /// Starts with the generic plan.
    pub fn new(name: String, generic: Made) -> FunctionPlans {
        let (generic, contents) = (Arc::new(generic.plan), Arc::new(generic.contents));
        let symbols = vec![None; generic.symbols.len()];
        let variant = Variant { fixed: Fixed { symbols }, rows: None };
        let variants = Mutex::new(vec![Planned { variant, plan: generic.clone(), contents }]);
        FunctionPlans { name, generic, variants }
    }

    /// The plan for these values, planned now if need be. The second value says it is new.
    ///
    /// Extents of inputs that are 1 are constants of their variant (one row: matrix–vector
    /// kernels). Values that the symbolic plan's guards reject get a plan of their own with
    /// every symbol constant.
    pub fn find(
        &self,
        values: &[i64],
        rows: Option<(usize, usize)>,
        make: &dyn Fn(&Variant) -> Result<Made, Error>,
    ) -> Result<Planned, Error> {
        let unit = |i: usize| {
            let dim = matches!(self.generic.symbols[i].source, SymbolSource::InputDim { .. });
            (dim && values[i] == 1).then_some(1)
        };
        let symbolic: Vec<Option<i64>> = (0..values.len()).map(unit).collect();
        let concrete: Vec<Option<i64>> = values.iter().copied().map(Some).collect();
        for symbols in [symbolic, concrete] {
            let variant = Variant { fixed: Fixed { symbols }, rows };
            let known = self.lock().iter().find(|p| p.variant == variant).cloned();
            let planned = match known {
                Some(p) => p,
                None => {
                    let made = make(&variant)?;
                    let (plan, contents) = (Arc::new(made.plan), Arc::new(made.contents));
                    let planned = Planned { variant, plan, contents };
                    self.lock().push(planned.clone());
                    planned
                }
            };
            if planned.accepts(values, rows) {
                return Ok(planned);
            }
            if planned.plan.guards.is_empty() {
                break;
            }
        }
        let guard = self.generic.guards.iter().find(|g| {
            let x = g.expr.eval(values);
            if g.equal { x != 0 } else { x < 0 }
        });
        let reason = guard.map_or_else(|| "the shapes do not fit".to_string(), |g| g.reason.clone());
        Err(Error::Program {
            function: self.name.clone(),
            op: "dataflow.graph_v1".into(),
            source_line: None,
            reason,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Planned>> {
        self.variants.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Upper bound of the bucket a symbol value falls in: arenas and bind groups are made for it.
/// `size`: the symbol decides how large a buffer is. Elements do so four at a time, as the shape of a
/// result, so each would be rounded up: they are exact.
pub fn bucket(source: SymbolSource, fixed: bool, size: bool, value: i64) -> i64 {
    match source {
        SymbolSource::StateDim { .. } | SymbolSource::Later => value,
        _ if fixed => value,
        SymbolSource::InputElement { .. } if size => value,
        SymbolSource::InputElement { .. } => i64::from(i32::MAX),
        _ if value <= 8 => 8,
        _ => {
            let v = u64::try_from(value).unwrap_or(0).max(16);
            i64::try_from(v.next_power_of_two()).unwrap_or(i64::MAX)
        }
    }
}
