//! `coreai-run`: use a model.

#[path = "../environment.rs"]
mod environment;
#[path = "../run/mod.rs"]
mod run;

fn main() -> std::process::ExitCode {
    environment::prepare();
    run::main()
}
