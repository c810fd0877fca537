//! `coreai-build`: makes, changes and inspects assets.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[path = "../build/bundle.rs"]
mod bundle;
#[path = "../build/compress.rs"]
mod compress;
#[path = "../build/diff.rs"]
mod diff;
#[path = "../build/import.rs"]
mod import;
#[path = "../build/inspect.rs"]
mod inspect;
#[path = "../build/merge.rs"]
mod merge;
#[path = "../build/output.rs"]
mod output;
#[path = "../build/progress.rs"]
mod progress;
#[path = "../build/quantity.rs"]
mod quantity;
#[path = "../build/selection.rs"]
mod selection;
#[path = "../build/source.rs"]
mod source;
#[path = "../build/strip.rs"]
mod strip;
#[path = "../table.rs"]
mod table;

#[derive(Parser)]
#[command(
    name = "coreai-build",
    version,
    about = "Makes, changes and inspects Core AI model assets (.aimodel)"
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Import(import::Import),
    Compress(compress::Compress),
    Strip(strip::Strip),
    Merge(merge::Merge),
    Diff(diff::Diff),
    Inspect(inspect::Inspect),
}

fn main() -> ExitCode {
    let Arguments { verb } = Arguments::parse();
    // Ctrl-C leaves nothing half-written behind; after a harder end the next run removes it
    let _ = ctrlc::set_handler(|| {
        coreai_asset::discard_staged();
        eprintln!();
        std::process::exit(130);
    });
    let answer = match verb {
        Verb::Import(import) => import.run(),
        Verb::Compress(compress) => compress.run(),
        Verb::Strip(strip) => strip.run(),
        Verb::Merge(merge) => merge.run(),
        Verb::Diff(diff) => diff.run(),
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
