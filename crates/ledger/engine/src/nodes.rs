//! The tree over all entries, for proofs: hashes of large subtrees in memory, of small ones from
//! the entries themselves.

use std::sync::Arc;

use parking_lot::RwLock;
use proof::{Hash, TILE_LEVEL, node_hash};

use crate::view::QueryError;

/// Hashes of complete subtrees of `2^TILE_LEVEL` entries and more: 64 bytes for 1,024 entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes(Arc<RwLock<Vec<Vec<Hash>>>>);

impl Nodes {
    /// Keeps a completed subtree. They come in order; those of a block that turned out not to be
    /// the next one come again.
    pub(crate) fn put(&self, level: u8, index: u64, hash: Hash) {
        let mut levels = self.0.write();
        let place = usize::from(level - TILE_LEVEL);
        if levels.len() <= place {
            levels.resize_with(place + 1, Vec::new);
        }
        levels[place].truncate(usize::try_from(index).unwrap_or(usize::MAX));
        levels[place].push(hash);
    }

    fn get(&self, level: u8, index: u64) -> Option<Hash> {
        let levels = self.0.read();
        levels.get(usize::from(level - TILE_LEVEL))?.get(usize::try_from(index).ok()?).copied()
    }

    /// Those of a tree of so many entries, lowest level first, each level with its length before.
    pub(crate) fn encode(&self, entries: u64) -> Vec<u8> {
        let levels = self.0.read();
        let mut bytes = Vec::new();
        for (place, level) in (TILE_LEVEL..).zip(levels.iter()) {
            let complete = usize::try_from(entries >> place).unwrap_or(usize::MAX);
            let kept = &level[..complete.min(level.len())];
            bytes.extend_from_slice(&(kept.len() as u64).to_le_bytes());
            bytes.extend_from_slice(kept.as_flattened());
        }
        bytes
    }

    /// What [`Self::encode`] gave, or none.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut levels = Vec::new();
        while let Some((length, rest)) = bytes.split_first_chunk() {
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            let (hashes, rest) = rest.split_at_checked(length.checked_mul(size_of::<Hash>())?)?;
            levels.push(hashes.as_chunks().0.to_vec());
            bytes = rest;
        }
        bytes.is_empty().then(|| Self(Arc::new(RwLock::new(levels))))
    }
}

/// All complete subtrees: large ones are kept, small ones computed from the hashes of their leaves.
pub(crate) struct Tree<'a, L> {
    pub(crate) nodes: &'a Nodes,
    /// The hash of a leaf.
    pub(crate) leaf: L,
}

impl<L: Fn(u64) -> Result<Hash, QueryError>> proof::Nodes for Tree<'_, L> {
    type Error = QueryError;

    fn node(&self, level: u8, index: u64) -> Result<Hash, QueryError> {
        if level >= TILE_LEVEL {
            let missing = || QueryError::Unreadable(format!("no node {index} of level {level}"));
            return self.nodes.get(level, index).ok_or_else(missing);
        }
        let leaves = index << level..(index + 1) << level;
        let mut hashes = leaves.map(&self.leaf).collect::<Result<Vec<_>, _>>()?;
        while hashes.len() > 1 {
            hashes = hashes.chunks(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
        }
        Ok(hashes[0])
    }
}
