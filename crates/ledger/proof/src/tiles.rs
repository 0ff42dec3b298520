//! The nodes of a large tree, for proofs: those of large subtrees are kept, those of small ones
//! computed from their leaves.

use std::sync::{Arc, PoisonError, RwLock};

use crate::hash::node_hash;
use crate::{Hash, Nodes, TILE_LEVEL};

/// Roots of complete subtrees of `2^TILE_LEVEL` leaves and more: 64 bytes for 1,024 leaves. Clones
/// share all.
#[derive(Clone, Debug, Default)]
pub struct Tiles(Arc<RwLock<Vec<Vec<Hash>>>>);

impl Tiles {
    /// Keeps what [`crate::Tree::push`] tells. It comes in order; what was told of a block that
    /// turned out not to be the next one comes again.
    pub fn put(&self, level: u8, index: u64, hash: Hash) {
        let mut levels = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let place = usize::from(level - TILE_LEVEL);
        if levels.len() <= place {
            levels.resize_with(place + 1, Vec::new);
        }
        levels[place].truncate(usize::try_from(index).unwrap_or(usize::MAX));
        levels[place].push(hash);
    }

    fn get(&self, level: u8, index: u64) -> Option<Hash> {
        let levels = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let nodes = levels.get(usize::from(level.checked_sub(TILE_LEVEL)?))?;
        nodes.get(usize::try_from(index).ok()?).copied()
    }

    /// All complete subtrees of the tree, when `leaf` tells the hash of a leaf by its number.
    pub const fn over<L>(&self, leaf: L) -> Tiled<'_, L> {
        Tiled { tiles: self, leaf }
    }

    /// Those of a tree of so many leaves, lowest level first, each level with its length before.
    pub fn encode(&self, leaves: u64) -> Vec<u8> {
        let levels = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::new();
        for (place, level) in (TILE_LEVEL..).zip(levels.iter()) {
            let complete = usize::try_from(leaves >> place).unwrap_or(usize::MAX);
            let kept = &level[..complete.min(level.len())];
            bytes.extend_from_slice(&(kept.len() as u64).to_le_bytes());
            bytes.extend_from_slice(kept.as_flattened());
        }
        bytes
    }

    /// What [`Self::encode`] gave, or none.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
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

/// All complete subtrees of a tree.
pub struct Tiled<'a, L> {
    tiles: &'a Tiles,
    leaf: L,
}

impl<E, L: Fn(u64) -> Result<Hash, E>> Nodes for Tiled<'_, L> {
    type Error = E;

    fn node(&self, level: u8, index: u64) -> Result<Hash, E> {
        match (self.tiles.get(level, index), level) {
            (Some(hash), _) => Ok(hash),
            (None, 0) => (self.leaf)(index),
            (None, _) => {
                let (left, right) = (2 * index, 2 * index + 1);
                Ok(node_hash(&self.node(level - 1, left)?, &self.node(level - 1, right)?))
            }
        }
    }
}
