//! The `.aimodel` folder.

use std::path::Path;

use super::layout::{Layout, write_error};
use super::program::Program;
use super::staged::StagedFolder;
use super::{Progress, WriteOptions};
use crate::asset::Asset;
use crate::error::AssetError;
use crate::metadata::Metadata;

impl Asset {
    /// Writes an `.aimodel` folder and returns the hash: all of it or nothing, see [`StagedFolder`].
    pub fn save(
        &self,
        folder: &Path,
        options: &WriteOptions,
        progress: &mut Progress<'_>,
    ) -> Result<[u8; 32], AssetError> {
        let layout = Program::of(self).layout(options)?;
        save(layout, &self.metadata, folder, options, progress)
    }
}

pub(super) fn save(
    layout: Layout,
    metadata: &Metadata,
    folder: &Path,
    options: &WriteOptions,
    progress: &mut Progress<'_>,
) -> Result<[u8; 32], AssetError> {
    let staged = StagedFolder::create(folder, options.replace.then_some("main.mlirb"))?;
    let (path, mut file) = staged.create_file("main.mlirb")?;
    let hash = layout.write(&mut file, progress).map_err(|error| at_path(error, folder))?;
    file.sync_all().map_err(|error| write_error(&path.display().to_string(), &error))?;
    staged.write_file("metadata.json", metadata.to_json().as_bytes())?;
    staged.write_file("main.hash", &hash)?;
    staged.commit()?;
    Ok(hash)
}

/// The error of a sink with the path that was asked for.
fn at_path(error: AssetError, folder: &Path) -> AssetError {
    let path = folder.display().to_string();
    match error {
        AssetError::DiskFull { .. } => AssetError::DiskFull { path },
        AssetError::Write { reason, .. } => AssetError::Write { path, reason },
        other => other,
    }
}
