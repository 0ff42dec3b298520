//! The tree over all entries, for proofs: large subtrees are kept, small ones computed again.

use journal::{ReadError, Reader};
use proof::{Hash, TILE_LEVEL, leaf_hash, node_hash};

/// Hashes of complete subtrees of `2^TILE_LEVEL` entries and more, by level and index.
#[derive(Debug, Default)]
pub(crate) struct Nodes(Vec<Vec<Hash>>);

impl Nodes {
    /// Keeps one. They come in order, but may come again.
    pub(crate) fn put(&mut self, level: u8, index: u64, hash: Hash) {
        let place = usize::from(level - TILE_LEVEL);
        if self.0.len() <= place {
            self.0.resize_with(place + 1, Vec::new);
        }
        let nodes = &mut self.0[place];
        nodes.truncate(usize::try_from(index).unwrap_or(usize::MAX));
        nodes.push(hash);
    }

    fn get(&self, level: u8, index: u64) -> Option<Hash> {
        let nodes = self.0.get(usize::from(level - TILE_LEVEL))?;
        nodes.get(usize::try_from(index).ok()?).copied()
    }
}

/// All complete subtrees.
pub(crate) struct Tree<'a> {
    pub(crate) nodes: &'a Nodes,
    pub(crate) reader: &'a Reader,
}

impl proof::Nodes for Tree<'_> {
    type Error = ReadError;

    fn node(&self, level: u8, index: u64) -> Result<Hash, ReadError> {
        if level >= TILE_LEVEL {
            let missing = ReadError::Missing { what: "node of the tree", number: index };
            return self.nodes.get(level, index).ok_or(missing);
        }
        if level > 0 {
            let (left, right) = (2 * index, 2 * index + 1);
            return Ok(node_hash(&self.node(level - 1, left)?, &self.node(level - 1, right)?));
        }
        let mut extension = Vec::new();
        let entry = self.reader.entry(index, &mut extension)?;
        Ok(leaf_hash(&entry, &extension))
    }
}
