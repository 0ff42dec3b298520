//! Nodes of the tree over all entries, for proofs.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use proof::{Hash, TILE_LEVEL, leaf_hash, node_hash};

/// Complete subtrees of `2^TILE_LEVEL` entries and more, by level and index. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes(Arc<Mutex<BTreeMap<(u8, u64), Hash>>>);

impl Nodes {
    /// Keeps one.
    pub(crate) fn put(&self, level: u8, index: u64, hash: Hash) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((level, index), hash);
    }

    /// Those of a tree of so many entries.
    pub(crate) fn encode(&self, entries: u64) -> Vec<u8> {
        let nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let complete = nodes.iter().filter(|((level, index), _)| (index + 1) << level <= entries);
        let encode = |((level, index), hash): (&(u8, u64), &Hash)| {
            [&[*level][..], &index.to_le_bytes(), hash].concat()
        };
        complete.flat_map(encode).collect()
    }

    /// What [`Self::encode`] gave.
    pub(crate) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let nodes = Self::default();
        let (rows, rest) = bytes.as_chunks::<41>();
        if !rest.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        for row in rows {
            let (index, hash) = row[1..].split_at(8);
            let index = u64::from_le_bytes(index.try_into().expect("8 bytes"));
            nodes.put(row[0], index, hash.try_into().expect("32 bytes"));
        }
        Ok(nodes)
    }
}

/// The whole tree: small subtrees are computed from the entries.
pub(crate) struct Tree<'a> {
    /// The large ones.
    pub(crate) nodes: &'a Nodes,
    /// The entries.
    pub(crate) reader: &'a journal::Reader,
}

impl proof::Nodes for Tree<'_> {
    type Error = journal::ReadError;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        if level >= TILE_LEVEL {
            let nodes = self.nodes.0.lock().unwrap_or_else(PoisonError::into_inner);
            return Ok(nodes[&(level, index)]);
        }
        if level > 0 {
            let (left, right) =
                (self.node(level - 1, index * 2)?, self.node(level - 1, index * 2 + 1)?);
            return Ok(node_hash(&left, &right));
        }
        let mut extension = Vec::new();
        let entry = self.reader.entry(index, &mut extension)?;
        Ok(leaf_hash(&entry, &extension))
    }
}
