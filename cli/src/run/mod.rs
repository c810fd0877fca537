//! The verbs of `coreai-run`. Reading arguments and printing results; the work is in the crates.

mod adapters;
mod bench;
mod chat;
mod device;
mod failure;
mod figures;
mod function;
mod interrupt;
mod loading;
mod ops;
mod prompt;
mod talk;
mod trace;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  coreai-run smollm2-135m-int4                                 chat; /reset, /exit
  coreai-run smollm2-135m-int4 --prompt \"Name three rivers.\"   one answer
  coreai-run model.aimodel -p \"Hi\" --temperature 0.7 --seed 1  sampled, repeatable
  coreai-run model.aimodel -p \"Hi\" --compute-unit cpu          without a GPU
  coreai-run model.aimodel -p \"Hi\" --adapter llvmpipe          on a named adapter
  coreai-run adapters                                          what there is to run on
  coreai-run bench smollm2-135m-int4                           512 prompt, 128 generated tokens
  coreai-run run model.aimodel --input x=x.npy --output out    any function of any asset
  coreai-run verify conformance                                recorded cases, every op

Text goes to stdout; progress, figures and errors go to stderr.";

/// Run Core AI models: talk to a language model, call any function, verify recorded cases.
#[derive(Debug, Parser)]
#[command(
    name = "coreai-run",
    version,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    talk: talk::Talk,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the adapters of this machine, with limits and features
    Adapters(adapters::Adapters),
    /// Measure a model's speed
    Bench(bench::Bench),
    /// Run any function with inputs from files, numbers or a seed
    Run(function::Run),
    /// List the ops that are executed
    Ops(ops::Ops),
    /// Compare recorded cases with what this machine computes
    Verify(verify::Verify),
}

/// Entry point: one line on stderr for whatever goes wrong.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.verb {
        Some(Verb::Adapters(verb)) => verb.run(),
        Some(Verb::Bench(verb)) => verb.run(),
        Some(Verb::Ops(verb)) => verb.run(),
        Some(Verb::Run(verb)) => verb.run(),
        Some(Verb::Verify(verb)) => verb.run(),
        None => cli.talk.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_first_argument_that_is_no_verb_is_the_model() {
        let cli = Cli::try_parse_from(["coreai-run", "x.aimodel", "--prompt", "hi"]).unwrap();
        assert!(cli.verb.is_none() && cli.talk.has_model());
        let cli = Cli::try_parse_from(["coreai-run", "bench", "x.aimodel", "-g", "8"]).unwrap();
        assert!(matches!(cli.verb, Some(Verb::Bench(_))));
        assert!(Cli::try_parse_from(["coreai-run", "x", "--top-k", "many"]).is_err());
        assert!(Cli::try_parse_from(["coreai-run", "x", "--prompt", ""]).is_err());
        assert!(Cli::try_parse_from(["coreai-run", "--prompt", "hi"]).is_err());
    }
}
