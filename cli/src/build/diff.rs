//! `coreai-build diff`: what differs between two assets.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use coreai_asset::Asset;
use coreai_convert::difference::{
    ConstantDifference, Difference, FunctionDifference, OperationChange, OperationDifference, OperationPlace,
    difference,
};

use crate::bundle::{Named, asset_path};
use crate::output::{json, print};
use crate::progress::Bytes;
use crate::quantity::grouped;
use crate::table::Table;

/// Rows of a list without --all.
const SHOWN: usize = 10;
/// Exit codes, those of `diff`.
const DIFFERENT: u8 = 1;
const TROUBLE: u8 = 2;

const EXAMPLES: &str = "\
Weights are compared as numbers and after unpacking: an asset and its compressed form show what was lost. PSNR is
in decibels, relative to the largest weight of A; 20 is coarse, 40 good, 90 a rounding error of float16.
Of model bundles the main assets are compared.

Exit codes: 0 the programs and all weights are equal (metadata and debug locations may differ), 1 they differ,
2 they could not be compared.

Examples:
  coreai-build diff model.aimodel small.aimodel            functions, operations, weights
  coreai-build diff smollm2/ smollm2-w4/ --all             every weight
  coreai-build diff a.aimodel b.aimodel --json | jq '.changed[].constants[].numbers.psnr'
  coreai-build diff a.aimodel b.aimodel > /dev/null && echo equal";

/// Compare two assets: functions, operations, weights
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Diff {
    /// An .aimodel folder, a main.mlirb file, or the folder of a model bundle
    a: PathBuf,
    /// What it is compared with
    b: PathBuf,
    /// List all weights that differ, and the first hundred operations of each function
    #[arg(long)]
    all: bool,
    /// Print JSON (with a schema_version)
    #[arg(long, conflicts_with = "all")]
    json: bool,
}

impl Diff {
    /// Prints the differences; the exit code tells whether there are any.
    pub fn run(&self) -> Result<ExitCode, Box<dyn Error>> {
        match self.compare() {
            Ok(true) => Ok(ExitCode::SUCCESS),
            Ok(false) => Ok(ExitCode::from(DIFFERENT)),
            Err(error) => {
                eprintln!("error: {error}");
                Ok(ExitCode::from(TROUBLE))
            }
        }
    }

    /// Whether they are equal.
    fn compare(&self) -> Result<bool, Box<dyn Error>> {
        let (a, b) = (open(&self.a)?, open(&self.b)?);
        let bar = Bytes::new("comparing", Some(0));
        let found = difference(&a, &b, &mut |done, total| bar.set(done, total));
        let found = found.map_err(|error| {
            format!("{} and {} cannot be compared: {error}", self.a.display(), self.b.display())
        })?;
        drop(bar);
        print(|out| if self.json { json(&found, out) } else { self.text(&found, out) })?;
        Ok(found.same_program)
    }

    fn text(&self, found: &Difference, out: &mut dyn Write) -> io::Result<()> {
        let mut head = Table::new("");
        head.row(["A", &self.a.display().to_string()]);
        head.row(["B", &self.b.display().to_string()]);
        let verdict = match (found.same_program, found.metadata.is_empty()) {
            (true, true) => "programs and weights are equal",
            (true, false) => "programs and weights are equal, the metadata differ",
            (false, _) => "they differ",
        };
        head.row(["result", verdict]);
        if let Some(change) = &found.feature_version {
            head.row(["features", &format!("version {} → {}", change.before, change.after)]);
        }
        head.write(out)?;

        let mut metadata = Table::new("metadata");
        for (key, change) in &found.metadata {
            metadata.row([key.clone(), format!("{} → {}", change.before, change.after)]);
        }
        metadata.write(out)?;

        let mut functions = Table::new("functions");
        let lists = [("only in A", &found.removed), ("only in B", &found.added), ("equal", &found.same)];
        for (what, names) in lists {
            self.rows(names, &mut functions, |name| vec![name.clone(), what.to_owned()]);
        }
        for function in &found.changed {
            functions.row([function.name.as_str(), "differs"]);
        }
        functions.write(out)?;
        found.changed.iter().try_for_each(|function| self.function(function, out))
    }

    fn function(&self, function: &FunctionDifference, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "\nfunction {}", function.name)?;
        let none = || "none".to_owned();
        let mut signature = Table::new("");
        if let Some(change) = &function.signature {
            signature.row(["signature", "A", &change.before]);
            signature.row(["", "B", &change.after]);
        }
        if let Some(change) = &function.composite {
            signature.row(["composite".into(), "A".into(), change.before.clone().unwrap_or_else(none)]);
            signature.row([String::new(), "B".into(), change.after.clone().unwrap_or_else(none)]);
        }
        signature.write(out)?;

        let mut counts = Table::new("operations of which there are more or fewer").right(&[0, 2]);
        for (name, change) in &function.op_counts {
            let count = |count: usize| grouped(count as u64);
            counts.row([&count(change.before), "→", &count(change.after), name]);
        }
        counts.write(out)?;

        let mut operations = Table::new("operations that differ");
        self.rows(&function.operations, &mut operations, operation);
        let unlisted = function.operations_total.saturating_sub(function.operations.len());
        if self.all && unlisted > 0 {
            operations.row([format!("… and {} more", grouped(unlisted as u64))]);
        } else if function.operations_total > SHOWN {
            operations.row([format!("{} in all", grouped(function.operations_total as u64))]);
        }
        operations.write(out)?;

        let mut weights = Table::new("weights that differ");
        self.rows(&function.constants, &mut weights, weight);
        weights.write(out)?;
        let mut totals = Table::new("");
        let equal = grouped(function.constants_equal as u64);
        totals
            .row(["weights", &format!("{equal} equal, {} differ", grouped(function.constants.len() as u64))]);
        let numbers = || function.constants.iter().filter_map(|weight| weight.numbers.as_ref());
        let decibels = numbers().filter_map(|numbers| numbers.psnr);
        if let Some(least) = decibels.reduce(f64::min) {
            totals.row(["lowest PSNR", &format!("{least:.1} dB")]);
        }
        if let Some(most) = numbers().map(|numbers| numbers.max_abs).reduce(f64::max) {
            totals.row(["largest difference", &format!("{most:.3e}")]);
        }
        totals.write(out)
    }

    /// The first rows of a list, or all.
    fn rows<T>(&self, list: &[T], table: &mut Table, row: impl Fn(&T) -> Vec<String>) {
        let shown = if self.all { list.len() } else { SHOWN };
        list.iter().take(shown).for_each(|item| table.row(row(item)));
        if list.len() > shown {
            table.row([format!("… and {} more (--all)", list.len() - shown)]);
        }
    }
}

fn open(path: &Path) -> Result<Asset, Named> {
    let path = asset_path(path)?;
    Asset::open(&path).map_err(|error| Named::new(&path, error))
}

fn operation(operation: &OperationDifference) -> Vec<String> {
    let (sign, what) = match operation.change {
        OperationChange::Added => ("+", "only in B".to_owned()),
        OperationChange::Removed => ("-", "only in A".to_owned()),
        OperationChange::Types => ("~", changed(operation, |place| place.types.join(", "))),
        OperationChange::Attributes => ("~", changed(operation, |place| place.attributes.join(", "))),
        OperationChange::Operands => ("~", "uses other values".to_owned()),
    };
    let place = operation.before.as_ref().or(operation.after.as_ref());
    let (name, location) = place.map_or_else(Default::default, |place| {
        (format!("{}: {}", place.index, place.op), place.location.clone().unwrap_or_default())
    });
    vec![sign.to_owned(), name, location, what]
}

fn changed(operation: &OperationDifference, text: impl Fn(&OperationPlace) -> String) -> String {
    let side = |place: &Option<OperationPlace>| place.as_ref().map_or_else(String::new, &text);
    format!("{} → {}", side(&operation.before), side(&operation.after))
}

fn weight(weight: &ConstantDifference) -> Vec<String> {
    // of the same type, but unpacked, the second one goes on where the first one ends
    let types = match weight.after_type.strip_prefix(&weight.before_type) {
        Some("") => weight.before_type.clone(),
        Some(rest) => format!("{} →{rest}", weight.before_type),
        None => format!("{} → {}", weight.before_type, weight.after_type),
    };
    let (psnr, largest) = match &weight.numbers {
        None => ("not comparable".to_owned(), String::new()),
        Some(numbers) if numbers.different == 0 => ("equal numbers".to_owned(), String::new()),
        Some(numbers) => {
            let psnr = numbers.psnr.map_or_else(String::new, |psnr| format!("{psnr:.1} dB"));
            (psnr, format!("at most {:.3e}", numbers.max_abs))
        }
    };
    let user = match (&weight.used_by, &weight.location) {
        (Some(op), Some(location)) => format!("for {op}, {location}"),
        (Some(op), None) => format!("for {op}"),
        _ => String::new(),
    };
    vec![weight.before.to_string(), psnr, largest, types, user]
}
