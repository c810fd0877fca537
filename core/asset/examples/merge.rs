//! Puts the functions of several assets into one: `merge OUT IN [IN …]`. The entry points of the
//! second and later ones get the number of their asset as a suffix.

use std::path::Path;
use std::process::ExitCode;

use coreai_asset::{Asset, AssetError, WriteOptions, merge};

fn main() -> ExitCode {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [out, inputs @ ..] = paths.as_slice() else {
        eprintln!("usage: merge OUT IN [IN …]");
        return ExitCode::from(2);
    };
    match run(out, inputs) {
        Ok(shared) => {
            println!("{shared} bytes of weights are shared");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(out: &str, inputs: &[String]) -> Result<u64, AssetError> {
    let assets = inputs.iter().map(|path| Asset::open(Path::new(path))).collect::<Result<Vec<_>, _>>()?;
    let named = assets.iter().enumerate().map(|(index, asset)| {
        let suffix = |name: &str| (name.to_owned(), format!("{name}_{}", index + 1));
        let names = asset.entry_points().filter(|_| index > 0).map(|function| suffix(&function.name));
        (asset, names.collect())
    });
    let merged = merge(&named.collect::<Vec<_>>())?;
    let options = WriteOptions { replace: true, ..WriteOptions::default() };
    merged.save(Path::new(out), &options, &mut |_, _| {})?;
    Ok(merged.shared_bytes)
}
