//! `coreai-run ops`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use coreai::ComputeUnitKind;
use coreai::gpu::GpuDevice;
use coreai_tasks::verify::{Expected, Settings, coverage, find_cases};
use serde_json::{Value, json};

use super::device::Device;
use super::failure::Failure;
use super::figures::SCHEMA_VERSION;
use super::prompt::print;
use super::verify::with_progress;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  coreai-run ops                                          names, and how each is executed
  coreai-run ops --cases conformance --compute-unit cpu   and the types that recorded cases pass with
  coreai-run ops --json                                   for programs

planned: views, fused expressions or kernels on both units; host: evaluated one by one on the processor;
fused: a composite that a kernel replaces. With --cases the recorded cases run on the unit, without
rules; the last column lists the element types of an op's first operand in cases that passed.";

/// Arguments of `ops`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Ops {
    /// Run these recorded cases and list the element types of those that pass
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: Device,
}

impl Ops {
    /// Prints the op table.
    pub fn run(self) -> Result<(), Failure> {
        let types = self.cases.as_deref().map(|folder| self.types(folder)).transpose()?;
        let none = BTreeSet::new();
        let of = |name: &str| types.as_ref().map(|types| types.get(name).unwrap_or(&none));
        let rows = coreai::ops_table();
        if self.json {
            let ops: Vec<Value> = rows
                .iter()
                .map(|row| {
                    let mut value = json!(row);
                    value["dtypes"] = json!(of(&row.name));
                    value
                })
                .collect();
            return print(&format!("{:#}\n", json!({ "schema_version": SCHEMA_VERSION, "ops": ops })));
        }
        let mut table = Table::new("");
        table.row(["op", "family", "planned", "host", "fused", if types.is_some() { "types" } else { "" }]);
        let tick = |yes: bool| if yes { "yes" } else { "" }.to_string();
        for row in &rows {
            let types =
                of(&row.name).map_or(String::new(), |t| t.iter().copied().collect::<Vec<_>>().join(" "));
            let (planned, host, fused) = (tick(row.planned), tick(row.host), tick(row.fused));
            table.row([row.name.clone(), row.family.clone(), planned, host, fused, types]);
        }
        let mut text = vec![];
        table.write(&mut text)?;
        print(&format!("{}{} ops\n", String::from_utf8_lossy(&text), rows.len()))
    }

    fn types(&self, folder: &Path) -> Result<BTreeMap<String, BTreeSet<&'static str>>, Failure> {
        let say = |e: coreai_tasks::verify::VerifyError| Failure::new(e.to_string());
        let cases = find_cases(folder).map_err(say)?;
        let mut options = self.device.options()?;
        options.rules = false;
        let device = match options.compute_unit {
            ComputeUnitKind::Cpu => None,
            ComputeUnitKind::Gpu => Some(GpuDevice::open_blocking(&options)?),
        };
        let expected = Arc::new(Expected::own().map_err(say)?);
        let outcomes = with_progress(&cases, &Settings { options, device, expected });
        Ok(coverage(&cases, &outcomes))
    }
}
