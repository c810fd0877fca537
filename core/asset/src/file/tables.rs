//! The tables of a file: strings, operation names, attribute and type entries, properties.

use std::sync::Arc;

use super::container::{Container, Section};
use super::cursor::{Cursor, check_index};
use super::resources::{Resource, read_resources};
use crate::error::AssetError;
use crate::limits::DIALECT_VERSION;
use crate::types::Type;

/// The only dialect of a saved asset.
const DIALECT: &str = "aicode";

/// Where an attribute, type or property blob lies.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// File offset.
    pub start: u64,
    /// Bytes.
    pub size: u32,
    /// Encoded by `aicode`, not as text or by another dialect.
    pub known: bool,
}

/// Everything needed to decode the program, and attributes later.
pub(crate) struct Tables {
    pub container: Container,
    pub strings: Vec<Arc<str>>,
    /// Operation names: string and whether the dialect is `aicode`.
    pub op_names: Vec<(Arc<str>, bool)>,
    pub attrs: Vec<Entry>,
    pub types: Vec<Type>,
    pub type_entries: Vec<Entry>,
    pub properties: Vec<Entry>,
    pub resources: Vec<Resource>,
}

impl Tables {
    /// Reads all tables; `types` stays empty for the type decoder.
    pub fn read(container: Container) -> Result<Self, AssetError> {
        let strings = read_strings(container.section(Section::Strings)?)?;
        let (dialects, op_names) = read_dialects(container.section(Section::Dialects)?, &strings)?;
        let (attrs, type_entries) = read_entries(&container, &dialects)?;
        let properties = match container.optional(Section::Properties)? {
            Some(cursor) => read_properties(cursor)?,
            None => Vec::new(),
        };
        let resources = read_resources(&container, strings.len())?;
        let types = Vec::new();
        Ok(Self { container, strings, op_names, attrs, types, type_entries, properties, resources })
    }

    /// Of an asset that was built: types and nothing else.
    pub fn built(container: Container, types: Vec<Type>) -> Self {
        Self {
            container,
            strings: Vec::new(),
            op_names: Vec::new(),
            attrs: Vec::new(),
            types,
            type_entries: Vec::new(),
            properties: Vec::new(),
            resources: Vec::new(),
        }
    }

    /// A cursor over an attribute or type entry.
    pub fn entry(&self, entry: Entry, what: &'static str) -> Result<Cursor<'_>, AssetError> {
        self.within(Section::AttrTypeData, entry, what)
    }

    /// A cursor over a property blob.
    pub fn property(&self, index: u64, offset: u64) -> Result<Cursor<'_>, AssetError> {
        let index = check_index("property", index, self.properties.len(), offset)?;
        match self.properties.get(index as usize) {
            Some(entry) => self.within(Section::Properties, *entry, "property"),
            None => Err(AssetError::malformed("property", offset, "no such entry")),
        }
    }

    fn within(&self, section: Section, entry: Entry, what: &'static str) -> Result<Cursor<'_>, AssetError> {
        let mut cursor = self.container.section(section)?;
        cursor.take(entry.start.saturating_sub(cursor.offset()))?;
        cursor.sub(u64::from(entry.size), what)
    }
}

fn read_strings(mut cursor: Cursor<'_>) -> Result<Vec<Arc<str>>, AssetError> {
    let count = cursor.count("strings", 2)?;
    let mut lengths = Vec::with_capacity(count);
    for _ in 0..count {
        lengths.push(cursor.vi()?);
    }
    let mut strings = Vec::with_capacity(count);
    for length in lengths.into_iter().rev() {
        let at = cursor.offset();
        let Some((0, bytes)) = cursor.take(length)?.split_last() else {
            return Err(AssetError::malformed("string", at, "not terminated by NUL"));
        };
        let text =
            std::str::from_utf8(bytes).map_err(|_| AssetError::malformed("string", at, "not UTF-8"))?;
        strings.push(Arc::from(text));
    }
    cursor.finish()?;
    Ok(strings)
}

fn string(strings: &[Arc<str>], index: u64, offset: u64) -> Result<Arc<str>, AssetError> {
    let index = check_index("string", index, strings.len(), offset)?;
    let found = strings.get(index as usize).cloned();
    found.ok_or_else(|| AssetError::malformed("string", offset, "no such entry"))
}

/// Names by dialect index: whether each dialect is `aicode`; and the operation names.
type Dialects = (Vec<bool>, Vec<(Arc<str>, bool)>);

fn read_dialects(mut cursor: Cursor<'_>, strings: &[Arc<str>]) -> Result<Dialects, AssetError> {
    let count = cursor.count("dialects", 1)?;
    let mut dialects = Vec::with_capacity(count);
    for _ in 0..count {
        let at = cursor.offset();
        let (name, versioned) = cursor.flagged()?;
        let ours = &*string(strings, name, at)? == DIALECT;
        if versioned {
            let id = cursor.u8()?;
            if id != 7 {
                return Err(cursor.malformed(format!("expected section 7, found {id}")));
            }
            let size = cursor.vi()?;
            let mut version = cursor.sub(size, "dialect version")?;
            if ours {
                let found = version.vi()?;
                if found != DIALECT_VERSION {
                    return Err(AssetError::DialectVersion { found, expected: DIALECT_VERSION });
                }
                version.finish()?;
            }
        }
        dialects.push(ours);
    }
    let mut names = Vec::new();
    if !dialects.is_empty() {
        let total = cursor.count("operation names", 1)?;
        while !cursor.is_done() {
            let ours = dialect(&mut cursor, &dialects)?;
            let count = cursor.count("operation names", 1)?;
            for _ in 0..count {
                let at = cursor.offset();
                let (name, _registered) = cursor.flagged()?;
                names.push((string(strings, name, at)?, ours));
            }
        }
        if names.len() != total {
            let reason = format!("{total} operation names announced, {} present", names.len());
            return Err(cursor.malformed(reason));
        }
    }
    Ok((dialects, names))
}

fn dialect(cursor: &mut Cursor<'_>, dialects: &[bool]) -> Result<bool, AssetError> {
    let index = cursor.index("dialect", dialects.len())?;
    Ok(dialects.get(index as usize).copied().unwrap_or(false))
}

/// Attribute entries, then type entries: sizes are tabulated, positions are running sums.
fn read_entries(container: &Container, dialects: &[bool]) -> Result<(Vec<Entry>, Vec<Entry>), AssetError> {
    let mut cursor = container.section(Section::AttrTypeOffsets)?;
    let data = container.section(Section::AttrTypeData)?;
    let end = data.offset().saturating_add(data.remaining() as u64);
    let mut at = data.offset();
    let attr_count = cursor.count("attributes", 1)?;
    let type_count = cursor.count("types", 1)?;
    let mut tables = [Vec::with_capacity(attr_count), Vec::with_capacity(type_count)];
    for (table, total) in tables.iter_mut().zip([attr_count, type_count]) {
        while table.len() < total {
            let ours = dialect(&mut cursor, dialects)?;
            let count = cursor.count("entries", 1)?;
            if count > total - table.len() {
                return Err(cursor.malformed("a group has more entries than announced"));
            }
            for _ in 0..count {
                let offset = cursor.offset();
                let (size, custom) = cursor.flagged()?;
                let available = end.saturating_sub(at);
                let Some(small) = u32::try_from(size).ok().filter(|_| size <= available) else {
                    let what = "attribute or type";
                    return Err(AssetError::Truncated { what, offset, needed: size, available });
                };
                table.push(Entry { start: at, size: small, known: ours && custom });
                at += size;
            }
        }
    }
    cursor.finish()?;
    if at != end {
        let reason = format!("{} bytes too many", end.saturating_sub(at));
        return Err(AssetError::malformed("attribute data", at, reason));
    }
    let [attrs, types] = tables;
    Ok((attrs, types))
}

fn read_properties(mut cursor: Cursor<'_>) -> Result<Vec<Entry>, AssetError> {
    let count = cursor.count("properties", 1)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let size = cursor.vi()?;
        let start = cursor.offset();
        cursor.take(size)?;
        let Ok(size) = u32::try_from(size) else {
            return Err(cursor.malformed("a property of more than 4 GiB"));
        };
        entries.push(Entry { start, size, known: true });
    }
    cursor.finish()?;
    Ok(entries)
}
