//! The opened asset.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::decode::{Decoder, decode_types};
use crate::error::AssetError;
use crate::file::{Blob, Container, Tables, parse_blob};
use crate::function::functions;
use crate::hash::{HashStatus, digest};
use crate::ir::{Attribute, Function, Op, Region};
use crate::limits::{FEATURE_VERSION, MAX_ALIGNMENT};
use crate::location::{self, SourceLocation};
use crate::metadata::Metadata;
use crate::source::{ByteSource, read_exact, ready};
use crate::types::{AttrId, TensorType, Type, TypeId};

/// An asset that was read and checked. Weights stay in the source.
pub struct Asset {
    /// All functions: entry points, callees and bodies of composites.
    pub functions: Vec<Function>,
    /// What `metadata.json` says.
    pub metadata: Metadata,
    /// The newest feature (yyyymmdd) the program uses; 0 when it does not say.
    pub feature_version: u32,
    /// What is odd about the asset without making it unusable.
    pub warnings: Vec<String>,
    pub(crate) hash: Option<[u8; 32]>,
    /// `main.hash` exists, but is not a hash.
    pub(crate) hash_malformed: bool,
    /// The `serialization.asset` operation without its functions, see `Contents`.
    pub(crate) frame: Op,
    pub(crate) tables: Tables,
}

impl std::fmt::Debug for Asset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.functions.iter().map(|function| &function.name);
        f.debug_tuple("Asset").field(&names.collect::<Vec<_>>()).finish()
    }
}

impl Asset {
    /// Reads an asset from the bytes of `main.mlirb`, and those of `metadata.json` and `main.hash`
    /// where they exist. Weights are not read.
    pub async fn read(
        source: Arc<dyn ByteSource>,
        metadata_json: Option<&[u8]>,
        hash: Option<[u8; 32]>,
    ) -> Result<Self, AssetError> {
        let metadata = metadata_json.map(Metadata::parse).transpose()?.unwrap_or_default();
        let mut tables = Tables::read(Container::open(source).await?)?;
        tables.types = decode_types(&tables)?;
        let mut program = Decoder::new(&tables).program()?;
        if !program.unclear.is_empty() {
            let handles = std::mem::take(&mut program.unclear);
            for handle in handles {
                read_blob_header(&mut tables, handle).await?;
            }
            program = Decoder::new(&tables).program()?;
        }
        for (handle, range) in program.located {
            if let Some(resource) = tables.resources.get_mut(handle as usize) {
                resource.blob = Blob::Bytes(Some(range));
            }
        }
        let mut contents = functions(program.root, &tables.types)?;
        if contents.feature_version > FEATURE_VERSION {
            contents.warnings.push(format!(
                "feature version {} is newer than {FEATURE_VERSION}; some operations may be unknown",
                contents.feature_version
            ));
        }
        Ok(Self {
            functions: contents.functions,
            metadata,
            feature_version: contents.feature_version,
            warnings: contents.warnings,
            hash,
            hash_malformed: false,
            frame: contents.frame,
            tables,
        })
    }

    /// As [`Asset::read`], for sources whose futures are ready at once, such as memory.
    pub fn read_blocking(
        source: Arc<dyn ByteSource>,
        metadata_json: Option<&[u8]>,
        hash: Option<[u8; 32]>,
    ) -> Result<Self, AssetError> {
        ready(Self::read(source, metadata_json, hash))
    }

    /// A type of the type table.
    pub fn ty(&self, id: TypeId) -> &Type {
        // ids are checked when they are read; one of another asset is met with a harmless type
        self.tables.types.get(id.0 as usize).unwrap_or(&Type::Token)
    }

    /// All types, by [`TypeId`].
    pub fn types(&self) -> &[Type] {
        &self.tables.types
    }

    /// The tensor type of a tensor, or of the tensor that a state holds.
    pub fn tensor_type(&self, id: TypeId) -> Option<&TensorType> {
        match self.ty(id) {
            Type::Tensor(tensor) => Some(tensor),
            Type::Handle(inner) => match self.ty(*inner) {
                Type::Tensor(tensor) => Some(tensor),
                _ => None,
            },
            _ => None,
        }
    }

    /// A function by its name.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name)
    }

    /// The functions a caller may run.
    pub fn entry_points(&self) -> impl Iterator<Item = &Function> {
        self.functions.iter().filter(|function| !function.private)
    }

    /// The file.
    pub fn source(&self) -> &Arc<dyn ByteSource> {
        &self.tables.container.source
    }

    /// Where the constants of the file lie that have a place of their own, with their headers; ascending.
    pub fn constant_ranges(&self) -> Vec<Range<u64>> {
        let mut ranges: Vec<_> =
            self.tables.resources.iter().map(|resource| resource.entry.clone()).collect();
        ranges.sort_by_key(|range| (range.start, range.end));
        ranges.dedup();
        ranges
    }

    /// What is between the [constants](Asset::constant_ranges): the program, with small constants in it.
    pub fn program_ranges(&self) -> Vec<Range<u64>> {
        let mut ranges = vec![];
        let mut at = 0;
        let end = self.source().len();
        for constant in self.constant_ranges().into_iter().chain(std::iter::once(end..end)) {
            if at < constant.start {
                ranges.push(at..constant.start);
            }
            at = at.max(constant.end);
        }
        ranges
    }

    /// The writer of the bytecode, e.g. `MLIR22.0.0git`.
    pub fn bytecode_producer(&self) -> &str {
        &self.tables.container.producer
    }

    /// Decodes an attribute by its index.
    pub fn attribute(&self, id: AttrId) -> Result<Attribute, AssetError> {
        Decoder::new(&self.tables).attribute(id)
    }

    /// Where in its author's program an operation comes from, as far as that is recorded.
    pub fn location(&self, id: AttrId) -> Option<SourceLocation> {
        location::decode(&self.tables, id)
    }

    /// Compares the file with `main.hash`; reads all of it. For native sources.
    pub fn verify_hash(&self) -> Result<HashStatus, AssetError> {
        ready(self.verify_hash_async())
    }

    /// Compares the file with `main.hash`; reads all of it.
    pub async fn verify_hash_async(&self) -> Result<HashStatus, AssetError> {
        match self.hash {
            _ if self.hash_malformed => Ok(HashStatus::Malformed),
            None => Ok(HashStatus::Absent),
            Some(expected) if digest(&**self.source()).await? == expected => Ok(HashStatus::Match),
            Some(_) => Ok(HashStatus::Mismatch),
        }
    }

    /// What is known about the hash without reading the file.
    pub fn hash_status(&self) -> HashStatus {
        match self.hash {
            _ if self.hash_malformed => HashStatus::Malformed,
            None => HashStatus::Absent,
            Some(_) => HashStatus::Unchecked,
        }
    }

    /// How often each operation occurs, with those in decomposition bodies or without.
    pub fn op_counts(&self, bodies: bool) -> BTreeMap<Arc<str>, usize> {
        let mut counts = BTreeMap::new();
        for function in &self.functions {
            count_ops(&function.body, bodies, &mut counts);
        }
        counts
    }
}

/// Counts the operations of a region and of the regions in it.
pub(crate) fn count_ops(region: &Region, bodies: bool, counts: &mut BTreeMap<Arc<str>, usize>) {
    for op in &region.ops {
        match counts.get_mut(&op.name) {
            Some(count) => *count += 1,
            None => {
                counts.insert(op.name.clone(), 1);
            }
        }
        for inner in shown_regions(op, bodies) {
            count_ops(inner, bodies, counts);
        }
    }
}

/// Regions to look into.
pub(crate) fn shown_regions(op: &Op, bodies: bool) -> &[Region] {
    if bodies { &op.regions } else { op.semantic_regions() }
}

/// Reads the header of a blob that its constants do not locate.
async fn read_blob_header(tables: &mut Tables, handle: u32) -> Result<(), AssetError> {
    let source = tables.container.source.clone();
    if let Some(resource) = tables.resources.get_mut(handle as usize) {
        let entry = resource.entry.clone();
        // two varints and the longest padding
        let end = entry.end.min(entry.start.saturating_add(18 + MAX_ALIGNMENT));
        let bytes = read_exact(&*source, entry.start..end).await?;
        resource.blob = Blob::Bytes(Some(parse_blob(&bytes, &entry)?));
    }
    Ok(())
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::fs;
    use std::io::ErrorKind;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::limits::MAX_METADATA_BYTES;
    use crate::source::MappedFile;

    /// The program of an asset.
    const PROGRAM: &str = "main.mlirb";

    impl Asset {
        /// Opens an `.aimodel` directory, or the `main.mlirb` in one. The file is mapped.
        pub fn open(path: &Path) -> Result<Self, AssetError> {
            let (program, folder) = locate(path)?;
            let metadata = optional(folder.as_deref(), "metadata.json", MAX_METADATA_BYTES)?;
            let hash = optional(folder.as_deref(), "main.hash", 1 << 10)?;
            let digest = hash.as_deref().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            let source = Arc::new(MappedFile::open(&program)?);
            let mut asset = Self::read_blocking(source, metadata.as_deref(), digest)?;
            asset.hash_malformed = hash.is_some() && digest.is_none();
            if asset.hash_malformed {
                let length = hash.map_or(0, |bytes| bytes.len());
                asset.warnings.push(format!("main.hash has {length} bytes instead of 32"));
            }
            Ok(asset)
        }
    }

    fn io(path: &Path, error: &std::io::Error) -> AssetError {
        let path = path.display().to_string();
        match error.kind() {
            ErrorKind::NotFound => AssetError::NotFound { path },
            _ => AssetError::Io { path, reason: error.to_string() },
        }
    }

    /// The program file, and the folder with its companions.
    fn locate(path: &Path) -> Result<(PathBuf, Option<PathBuf>), AssetError> {
        let kind = fs::metadata(path).map_err(|error| io(path, &error))?;
        if !kind.is_dir() {
            let named = path.file_name().is_some_and(|name| name == PROGRAM);
            let folder = path.parent().filter(|_| named).map(Path::to_owned);
            return Ok((path.to_owned(), folder));
        }
        let program = path.join(PROGRAM);
        if program.is_file() {
            return Ok((program, Some(path.to_owned())));
        }
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let reason = match extension {
            "aimodelc" | "aimodelx" => {
                "a compiled model; compile-time output is not portable, use the .aimodel".to_owned()
            }
            _ => match inner_asset(path) {
                Some(name) => format!("no {PROGRAM} in this folder, but in {name}"),
                None => format!("the folder has no {PROGRAM}"),
            },
        };
        Err(AssetError::NotAnAsset { path: path.display().to_string(), reason })
    }

    /// The first `.aimodel` directly inside a folder.
    fn inner_asset(folder: &Path) -> Option<String> {
        let entries = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
        let mut assets: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|e| e == "aimodel")).collect();
        assets.sort();
        assets.first().map(|path| path.display().to_string())
    }

    /// A companion file, if it exists.
    fn optional(folder: Option<&Path>, name: &str, limit: u64) -> Result<Option<Vec<u8>>, AssetError> {
        let Some(path) = folder.map(|folder| folder.join(name)) else {
            return Ok(None);
        };
        let length = match fs::metadata(&path) {
            Ok(kind) => kind.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(&path, &error)),
        };
        if length > limit {
            let reason = format!("{length} bytes exceed the limit {limit}");
            return Err(AssetError::Io { path: path.display().to_string(), reason });
        }
        fs::read(&path).map(Some).map_err(|error| io(&path, &error))
    }
}
