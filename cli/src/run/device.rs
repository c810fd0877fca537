//! Where a model runs.

use clap::{Args, ValueEnum};
use coreai::{ComputeUnitKind, ForcedKernel, Precision, SpecializationOptions};

use super::failure::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Unit {
    Gpu,
    Cpu,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// float32 intermediates
    Exact,
    /// Rounded to the declared type where a value is stored
    Fast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Forced {
    /// Tiled matrix products for few rows too
    Tiled,
    /// No subgroup operations
    Plain,
}

/// Options of specialization.
#[derive(Debug, Args)]
pub struct Device {
    /// Unit that runs the model [default: gpu; never a software adapter unless named]
    #[arg(long, value_enum, help_heading = "Device")]
    compute_unit: Option<Unit>,
    /// Part of an adapter's name; see `coreai-run adapters`
    #[arg(long, value_name = "NAME", help_heading = "Device")]
    adapter: Option<String>,
    /// Precision of intermediates
    #[arg(long, value_enum, default_value = "fast", help_heading = "Device")]
    precision: Mode,
    /// Make every fallback an error
    #[arg(long, help_heading = "Debugging")]
    strict: bool,
    /// Run composites as written, without fused kernels
    #[arg(long, help_heading = "Debugging")]
    no_rules: bool,
    /// Use a kernel variant wherever it applies
    #[arg(long, value_enum, value_name = "NAME", help_heading = "Debugging")]
    force_kernel: Option<Forced>,
}

impl Device {
    /// For the runtime.
    pub fn options(&self) -> Result<SpecializationOptions, Failure> {
        let compute_unit = match self.compute_unit {
            Some(Unit::Cpu) if self.adapter.is_some() => {
                return Err(Failure::new(
                    "--adapter names a GPU adapter and does not go with --compute-unit cpu",
                ));
            }
            Some(Unit::Cpu) => ComputeUnitKind::Cpu,
            Some(Unit::Gpu) | None => ComputeUnitKind::Gpu,
        };
        Ok(SpecializationOptions {
            compute_unit,
            adapter: self.adapter.clone(),
            precision: match self.precision {
                Mode::Exact => Precision::Exact,
                Mode::Fast => Precision::Fast,
            },
            rules: !self.no_rules,
            strict: self.strict,
            force_kernel: self.force_kernel.map(|forced| match forced {
                Forced::Tiled => ForcedKernel::Tiled,
                Forced::Plain => ForcedKernel::Plain,
            }),
            ..Default::default()
        })
    }
}
