//! `coreai-run`: use a model.

#[path = "../environment.rs"]
mod environment;
#[path = "../run/mod.rs"]
mod run;
#[path = "../table.rs"]
mod table;

fn main() -> std::process::ExitCode {
    environment::prepare();
    run::main()
}
