//! Magic, version, producer and the index of sections (§2.2).

use std::ops::Range;
use std::sync::Arc;

use super::cursor::Cursor;
use crate::error::AssetError;
use crate::limits::{BYTECODE_VERSION, MAX_ALIGNMENT, MAX_TABLE_BYTES};
use crate::source::{ByteSource, read_exact};

/// Sections by their id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Strings = 0,
    Dialects = 1,
    AttrTypeData = 2,
    AttrTypeOffsets = 3,
    Ir = 4,
    Resources = 5,
    ResourceOffsets = 6,
    Properties = 8,
}

/// What Apple's writer names as the producer of the bytecode.
const PRODUCER: &str = "MLIR22.0.0git";

/// Ids are 0 to 8; 7 occurs only inside section 1.
const IDS: usize = 9;
/// Read at once while walking the section headers of a source without slices: more than a header
/// with the longest permitted padding.
const WINDOW: u64 = MAX_ALIGNMENT * 2;

impl Section {
    fn name(self) -> &'static str {
        match self {
            Self::Strings => "string",
            Self::Dialects => "dialect",
            Self::AttrTypeData => "attribute data",
            Self::AttrTypeOffsets => "attribute offset",
            Self::Ir => "program",
            Self::Resources => "resource",
            Self::ResourceOffsets => "resource offset",
            Self::Properties => "property",
        }
    }
}

struct Extent {
    range: Range<u64>,
    /// A copy of the bytes, where the source gives no slices. Never the resources.
    held: Option<Vec<u8>>,
}

/// An opened file: its source and where its sections lie.
pub(crate) struct Container {
    pub source: Arc<dyn ByteSource>,
    /// E.g. `MLIR22.0.0git`.
    pub producer: String,
    sections: [Option<Extent>; IDS],
}

impl Container {
    /// Of an asset that was built: constants, but no sections.
    pub fn built(source: Arc<dyn ByteSource>) -> Self {
        Self { source, producer: PRODUCER.to_owned(), sections: Default::default() }
    }

    pub async fn open(source: Arc<dyn ByteSource>) -> Result<Self, AssetError> {
        let length = source.len();
        let mut window = Window { source: &*source, start: 0, held: Vec::new() };
        let mut cursor = window.at(0).await?;
        check_magic(&cursor)?;
        cursor.take(4)?;
        let version = cursor.vi()?;
        if version != BYTECODE_VERSION {
            return Err(AssetError::BytecodeVersion { found: version, expected: BYTECODE_VERSION });
        }
        let at = cursor.offset();
        let producer = std::str::from_utf8(cursor.c_string()?)
            .map_err(|_| AssetError::malformed("producer", at, "not UTF-8"))?
            .to_owned();

        let mut sections: [Option<Extent>; IDS] = Default::default();
        let mut at = cursor.offset();
        while at < length {
            let mut cursor = window.at(at).await?;
            let head = cursor.u8()?;
            let size = cursor.vi()?;
            if head & 0x80 != 0 {
                let alignment = cursor.vi()?;
                cursor.padding(alignment)?;
            }
            let start = cursor.offset();
            let end = start.checked_add(size).filter(|end| *end <= length).ok_or(AssetError::Truncated {
                what: "section",
                offset: at,
                needed: size,
                available: length.saturating_sub(start),
            })?;
            let id = head & 0x7f;
            let Some(slot) = sections.get_mut(usize::from(id)).filter(|_| id != 7) else {
                return Err(AssetError::UnknownCode { what: "section", offset: at, code: u64::from(id) });
            };
            if slot.is_some() {
                return Err(AssetError::malformed("section", at, format!("id {id} occurs twice")));
            }
            *slot = Some(Extent { range: start..end, held: None });
            at = end;
        }
        drop(window);
        let mut container = Self { source, producer, sections };
        container.check_size()?;
        container.hold_tables().await?;
        Ok(container)
    }

    /// Bytes of everything but the resources.
    pub fn table_bytes(&self) -> u64 {
        let resources = Section::Resources as usize;
        let tables = self.sections.iter().enumerate().filter(|(id, _)| *id != resources);
        tables.filter_map(|(_, extent)| extent.as_ref()).map(|e| e.range.end - e.range.start).sum()
    }

    fn check_size(&self) -> Result<(), AssetError> {
        match self.table_bytes() {
            value if value > MAX_TABLE_BYTES => Err(AssetError::LimitExceeded {
                what: "bytes of tables",
                offset: 0,
                value,
                limit: MAX_TABLE_BYTES,
            }),
            _ => Ok(()),
        }
    }

    /// Reads all tables of a source that gives no slices.
    async fn hold_tables(&mut self) -> Result<(), AssetError> {
        if self.source.slice(0..0).is_some() {
            return Ok(());
        }
        for (id, extent) in self.sections.iter_mut().enumerate() {
            if let Some(extent) = extent.as_mut().filter(|_| id != Section::Resources as usize) {
                let bytes = read_exact(&*self.source, extent.range.clone()).await?;
                extent.held = Some(bytes.into_owned());
            }
        }
        Ok(())
    }

    /// Where a section lies in the file.
    pub fn range(&self, section: Section) -> Option<Range<u64>> {
        self.sections.get(section as usize)?.as_ref().map(|extent| extent.range.clone())
    }

    /// A cursor over a section that may be absent.
    pub fn optional(&self, section: Section) -> Result<Option<Cursor<'_>>, AssetError> {
        let Some(extent) = self.sections.get(section as usize).and_then(Option::as_ref) else {
            return Ok(None);
        };
        let bytes = match &extent.held {
            Some(bytes) => bytes.as_slice(),
            None => self.source.slice(extent.range.clone()).ok_or(AssetError::Source {
                start: extent.range.start,
                end: extent.range.end,
                reason: "the source gave slices before, but none for this section".into(),
            })?,
        };
        Ok(Some(Cursor::new(bytes, extent.range.start, section.name())))
    }

    /// A cursor over a section that every file has.
    pub fn section(&self, section: Section) -> Result<Cursor<'_>, AssetError> {
        self.optional(section)?
            .ok_or(AssetError::MissingSection { what: section.name(), offset: self.source.len() })
    }
}

/// A part of the file that moves along with the section headers.
struct Window<'a> {
    source: &'a dyn ByteSource,
    start: u64,
    held: Vec<u8>,
}

impl Window<'_> {
    /// A cursor from `at` on that reaches to the end of the file or past the longest header.
    async fn at(&mut self, at: u64) -> Result<Cursor<'_>, AssetError> {
        let length = self.source.len();
        let end = length.min(at.saturating_add(WINDOW));
        if let Some(bytes) = self.source.slice(at..end) {
            return Ok(Cursor::new(bytes, at, "file header"));
        }
        let held_end = self.start.saturating_add(self.held.len() as u64);
        let reach = length.min(at.saturating_add(WINDOW / 2 + 64));
        if at < self.start || reach > held_end || self.held.is_empty() {
            self.held = read_exact(self.source, at..end).await?.into_owned();
            self.start = at;
        }
        let skip = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        Ok(Cursor::new(self.held.get(skip..).unwrap_or(&[]), at, "file header"))
    }
}

fn check_magic(cursor: &Cursor<'_>) -> Result<(), AssetError> {
    let mut cursor = cursor.clone();
    let head = cursor.take((cursor.remaining() as u64).min(16))?;
    if head.starts_with(b"ML\xefR") {
        return Ok(());
    }
    let found = match head {
        [] => "the file is empty".to_owned(),
        _ if head.starts_with(b"version https") => "a Git LFS pointer, not the file itself".into(),
        _ if head.starts_with(b"PK") => "a zip archive".into(),
        _ if head.iter().all(|b| (32..127).contains(b) || b"\n\r\t".contains(b)) => {
            format!("a text file that starts with {:?}", String::from_utf8_lossy(head))
        }
        _ => {
            let shown = head.iter().take(4).map(|b| format!("{b:02X}")).collect::<Vec<_>>();
            format!("it starts with {}", shown.join(" "))
        }
    };
    Err(AssetError::BadMagic { found })
}
