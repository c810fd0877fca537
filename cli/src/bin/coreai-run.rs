//! `coreai-run`: use a model.

#[path = "../run/mod.rs"]
mod run;

fn main() -> std::process::ExitCode {
    run::main()
}
