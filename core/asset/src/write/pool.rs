//! Tables in which equal entries are one.

use std::collections::HashMap;

/// Entries by their bytes, numbered in the order in which they first came.
#[derive(Default)]
pub(super) struct Pool {
    ids: HashMap<Box<[u8]>, u32>,
    /// The entries, one after the other.
    pub data: Vec<u8>,
    /// Bytes of each.
    pub sizes: Vec<usize>,
}

impl Pool {
    /// The number of an entry. Entries take memory, so there are fewer than 2^32.
    pub fn intern(&mut self, bytes: &[u8]) -> u32 {
        if let Some(id) = self.ids.get(bytes) {
            return *id;
        }
        let id = self.sizes.len() as u32;
        self.ids.insert(bytes.into(), id);
        self.data.extend_from_slice(bytes);
        self.sizes.push(bytes.len());
        id
    }

    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// The entries in order.
    pub fn entries(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.data.as_slice();
        self.sizes.iter().map(move |size| {
            let (entry, after) = rest.split_at_checked(*size).unwrap_or((rest, &[]));
            rest = after;
            entry
        })
    }
}
