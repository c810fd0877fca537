//! `coreai-run ops`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use coreai::gpu::GpuDevice;
use coreai::{ComputeUnitKind, Support};
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
  coreai-run ops                                          names, element types on each unit, kernels
  coreai-run ops --json                                   for programs
  coreai-run ops --cases conformance --compute-unit cpu   and the types that recorded cases pass with

CPU, GPU: element types for which the op is planned for a unit, as a view, a fused expression or a kernel;
=: the same as on the CPU unit. host: further types, evaluated op by op on the processor between plans.
Types are those of an op's data. fused: a composite that a kernel replaces where its declaration allows;
its body runs otherwise. i, u, f, bf, c: signed, unsigned, float, bfloat, complex; i2-32: all from 2 to 32
bits.
With --cases the recorded cases run on the unit, without rules; the last column lists the element types of
an op's first operand in cases that passed.";

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
                    value["recorded"] = json!(of(&row.name));
                    value
                })
                .collect();
            return print(&format!("{:#}\n", json!({ "schema_version": SCHEMA_VERSION, "ops": ops })));
        }
        let mut table = Table::new("");
        table.row([
            "op",
            "family",
            "CPU",
            "GPU",
            "host",
            "kernels",
            if types.is_some() { "recorded" } else { "" },
        ]);
        for row in &rows {
            let recorded =
                of(&row.name).map_or(String::new(), |t| short(&t.iter().copied().collect::<Vec<_>>()));
            let Support { cpu, gpu, host_only, kernels } = &row.support;
            let kernels = if row.fused { "fused".into() } else { kernels.join(" ") };
            let gpu = if gpu == cpu && !cpu.is_empty() { "=".into() } else { short(gpu) };
            let cells = [short(cpu), gpu, short(host_only), kernels, recorded];
            let [cpu, gpu, host, kernels, recorded] = cells;
            table.row([row.name.clone(), row.family.clone(), cpu, gpu, host, kernels, recorded]);
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
        let outcomes = with_progress(&cases, &Settings { options, device, expected, results: None });
        Ok(coverage(&cases, &outcomes))
    }
}

/// Names for element types that occur together; those of 64 bits are the host's alone.
const GROUPS: [(&str, &[&str]); 4] = [
    (
        "f4-32",
        &[
            "float32",
            "tfloat32",
            "float16",
            "bfloat16",
            "float8E5M2",
            "float8E4M3FN",
            "float8E8M0FN",
            "float4E2M1FN",
        ],
    ),
    ("i2-32", &["sint32", "sint16", "sint8", "sint4", "sint2"]),
    ("u1-32", &["uint32", "uint16", "uint8", "uint6", "uint4", "uint3", "uint2", "uint1"]),
    (
        "complex",
        &[
            "complex_float64",
            "complex_float32",
            "complex_float16",
            "complex_bfloat16",
            "complex_float8E5M2",
            "complex_float8E4M3FN",
        ],
    ),
];

/// Names of element types as a table has room for: `f16`, `bf16`, `i32`, `u8`, `cf32`, and groups.
fn short(names: &[&str]) -> String {
    let mut left = names.to_vec();
    let mut groups = vec![];
    for (group, members) in GROUPS {
        if members.iter().all(|m| left.contains(m)) {
            left.retain(|name| !members.contains(name));
            groups.push(group.to_string());
        }
    }
    let one = |name: &&str| {
        let (complex, name) = match name.strip_prefix("complex_") {
            Some(part) => ("c", part),
            None => ("", *name),
        };
        let name = name.replace("float", "f").replace("sint", "i").replace("uint", "u");
        format!("{complex}{name}")
    };
    groups.extend(left.iter().map(one));
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn short_names() {
        let names = ["bool", "bfloat16", "tfloat32", "sint4", "uint8", "complex_float32"];
        assert_eq!(super::short(&names), "bool bf16 tf32 i4 u8 cf32");
        let names = ["bool", "sint32", "sint16", "sint8", "sint4", "sint2", "sint64"];
        assert_eq!(super::short(&names), "i2-32 bool i64");
    }
}
