//! Where in the author's program an operation comes from (codes 30, 31, 40–42 of §4).

use std::fmt;

use crate::error::AssetError;
use crate::file::Cursor;
use crate::file::Tables;
use crate::types::AttrId;

/// Locations fuse and inline others; a few levels find the source line.
const MAX_DEPTH: usize = 8;
/// Attributes looked at for one location.
const MAX_STEPS: usize = 256;

/// A position in a source file.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct SourceLocation {
    /// Path, as the converter wrote it.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Column.
    pub column: u64,
    /// Stable id of the operation, for debuggers and profilers.
    pub op_id: Option<u64>,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.op_id {
            _ if !self.file.is_empty() => {
                write!(f, "{}:{}:{}", self.file, self.line, self.column)
            }
            Some(id) => write!(f, "op {id}"),
            None => f.write_str("unknown"),
        }
    }
}

/// Best effort: `None` where nothing useful is recorded or the entry is damaged.
pub(crate) fn decode(tables: &Tables, id: AttrId) -> Option<SourceLocation> {
    let mut search = Search { tables, steps: MAX_STEPS, found: SourceLocation::default() };
    search.location(u64::from(id.0), MAX_DEPTH).ok()?;
    let mut found = search.found;
    if found.file == "-" && found.line == 0 {
        found.file.clear(); // the converter's word for unknown
    }
    let useful = !found.file.is_empty() || found.line > 0 || found.op_id.is_some();
    useful.then_some(found)
}

struct Search<'a> {
    tables: &'a Tables,
    steps: usize,
    /// Filled by the first that is found: the outermost, which is the operation's own.
    found: SourceLocation,
}

impl<'a> Search<'a> {
    fn open(&mut self, id: u64) -> Result<(u64, Cursor<'a>), AssetError> {
        let missing = || AssetError::malformed("location", 0, "not found");
        self.steps = self.steps.checked_sub(1).ok_or_else(missing)?;
        let index = usize::try_from(id).map_err(|_| missing())?;
        let entry = self.tables.attrs.get(index).filter(|e| e.known).ok_or_else(missing)?;
        let mut cursor = self.tables.entry(*entry, "location")?;
        Ok((cursor.vi()?, cursor))
    }

    fn text(&self, id: u64) -> &'a str {
        let index = usize::try_from(id).unwrap_or(usize::MAX);
        self.tables.strings.get(index).map_or("", |text| text)
    }

    fn location(&mut self, id: u64, depth: usize) -> Result<(), AssetError> {
        let Some(depth) = depth.checked_sub(1) else {
            return Ok(());
        };
        let (code, mut c) = self.open(id)?;
        match code {
            30 => {
                let (name, folder) = (c.vi()?, c.vi()?);
                let (name, folder) = (self.text(name), self.text(folder));
                if self.found.file.is_empty() {
                    self.found.file = match folder {
                        "" => name.to_owned(),
                        _ if name.starts_with('/') => name.to_owned(),
                        _ => format!("{}/{name}", folder.trim_end_matches('/')),
                    };
                }
            }
            31 => {
                let file = c.vi()?;
                let (line, column) = (c.vi()?, c.vi()?);
                if self.found.line == 0 {
                    (self.found.line, self.found.column) = (line, column);
                    self.location(file, depth)?;
                }
            }
            40 | 41 => {
                let (range, _scope) = (c.vi()?, c.vi()?);
                if code == 41 {
                    c.vi()?; // inlined at
                }
                self.location(range, depth)?;
                for _ in 0..c.count("fused locations", 1)? {
                    let fused = c.vi()?;
                    self.location(fused, depth)?;
                }
                self.metadata(&mut c, depth)?;
            }
            42 => self.metadata(&mut c, depth)?,
            47 => {
                let inner = c.vi()?;
                self.location(inner, depth)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn metadata(&mut self, c: &mut Cursor<'a>, depth: usize) -> Result<(), AssetError> {
        for _ in 0..c.count("metadata", 1)? {
            let id = c.vi()?;
            self.op_id(id, depth, false)?;
        }
        Ok(())
    }

    /// `op_id = {type: "coreai", value: N}`, in whatever nesting of named and opaque attributes.
    fn op_id(&mut self, id: u64, depth: usize, named: bool) -> Result<(), AssetError> {
        let Some(depth) = depth.checked_sub(1) else {
            return Ok(());
        };
        if self.found.op_id.is_some() {
            return Ok(());
        }
        let (code, mut c) = self.open(id)?;
        match code {
            33 => {
                let inner = c.vi()?;
                self.op_id(inner, depth, named)?;
            }
            35 => {
                let name = c.vi()?;
                let inner = c.vi()?;
                let named = named || self.text(name) == "op_id";
                self.op_id(inner, depth, named)?;
            }
            9 => {
                let name = c.vi()?;
                let name = self.text(name);
                let named = named || name == "op_id";
                if named && name == "type" {
                    return Ok(());
                }
                for _ in 0..c.count("parameters", 1)? {
                    let inner = c.vi()?;
                    self.op_id(inner, depth, named)?;
                }
            }
            5 | 45 => {
                for _ in 0..c.count("entries", 1)? {
                    let inner = c.vi()?;
                    self.op_id(inner, depth, named)?;
                }
            }
            2 if named => {
                let (width, _unsigned) = (c.vi()?, c.u8()?);
                let value = if width <= 8 { u64::from(c.u8()?) } else { c.svi()? as u64 };
                self.found.op_id = Some(value);
            }
            _ => {}
        }
        Ok(())
    }
}
