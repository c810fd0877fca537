//! Reads assets and writes them again: `rewrite [--strip] IN OUT [IN OUT …]`.

use std::path::Path;
use std::process::ExitCode;

use coreai_asset::{Asset, AssetError, Locations, WriteOptions};

fn main() -> ExitCode {
    let mut paths: Vec<String> = std::env::args().skip(1).collect();
    let strip = paths.first().is_some_and(|first| first == "--strip");
    if strip {
        paths.remove(0);
    }
    if paths.is_empty() || paths.len() % 2 == 1 {
        eprintln!("usage: rewrite [--strip] IN OUT [IN OUT …]");
        return ExitCode::from(2);
    }
    let locations = if strip { Locations::Strip } else { Locations::Keep };
    let options = WriteOptions { locations, replace: true };
    for pair in paths.chunks(2) {
        let [from, to] = pair else { continue };
        if let Err(error) = rewrite(Path::new(from), Path::new(to), &options) {
            eprintln!("{from}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn rewrite(from: &Path, to: &Path, options: &WriteOptions) -> Result<(), AssetError> {
    Asset::open(from)?.save(to, options, &mut |_, _| {})?;
    Ok(())
}
