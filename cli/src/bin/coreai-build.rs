//! `coreai-build`: makes, compresses and inspects assets.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[path = "../build/bundle.rs"]
mod bundle;
#[path = "../build/compress.rs"]
mod compress;
#[path = "../build/import.rs"]
mod import;
#[path = "../build/inspect.rs"]
mod inspect;
#[path = "../build/progress.rs"]
mod progress;
#[path = "../build/quantity.rs"]
mod quantity;
#[path = "../build/source.rs"]
mod source;
#[path = "../table.rs"]
mod table;

#[derive(Parser)]
#[command(
    name = "coreai-build",
    version,
    about = "Makes, compresses and inspects Core AI model assets (.aimodel)"
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Compress(compress::Compress),
    Import(import::Import),
    Inspect(inspect::Inspect),
}

fn main() -> ExitCode {
    let Arguments { verb } = Arguments::parse();
    let answer = match verb {
        Verb::Compress(compress) => compress.run(),
        Verb::Import(import) => import.run(),
        Verb::Inspect(inspect) => inspect.run(),
    };
    match answer {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
