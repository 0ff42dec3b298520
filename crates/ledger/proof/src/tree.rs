//! An append-only Merkle tree as of RFC 6962, of which only the frontier is kept.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::Hash;
use crate::hash::{node_hash, parents};

/// Nodes of this level and above are told to who pushes leaves: each stands for 1,024 leaves or
/// more, so that keeping them all costs little and those below are soon computed again.
pub const TILE_LEVEL: u8 = 10;

/// Leaves that are hashed up to a common node before the next are looked at: what they need stays
/// near the processor.
const CHUNK: usize = 256;

/// A tree that leaves can be added to.
#[derive(Clone, Eq, PartialEq)]
pub struct Tree {
    size: u64,
    /// Of each level whose bit is set in `size`: the node that waits for its right sibling. Zeros
    /// elsewhere.
    waiting: [Hash; 64],
}

impl Default for Tree {
    fn default() -> Self {
        Self { size: 0, waiting: [[0; 32]; 64] }
    }
}

impl Tree {
    /// How many leaves it has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Its root.
    pub fn root(&self) -> Hash {
        let root = self.levels().map(|level| self.waiting[level]);
        root.reduce(|right, left| node_hash(&left, &right))
            .unwrap_or_else(|| Sha256::digest([]).into())
    }

    /// Adds leaves. `on_node` is told each node of [`TILE_LEVEL`] and above that they complete:
    /// its level, its index among those of the level, its hash. On a level, in order.
    pub fn push(&mut self, mut leaves: &[Hash], on_node: &mut impl FnMut(u8, u64, Hash)) {
        while !leaves.is_empty() {
            #[expect(clippy::cast_possible_truncation, reason = "less than a chunk")]
            let used = (self.size % CHUNK as u64) as usize;
            let (chunk, rest) = leaves.split_at(leaves.len().min(CHUNK - used));
            self.push_chunk(chunk, on_node);
            leaves = rest;
        }
    }

    /// Adds leaves, none beyond a chunk.
    fn push_chunk(&mut self, leaves: &[Hash], on_node: &mut impl FnMut(u8, u64, Hash)) {
        // The nodes of the present level are `nodes[from..end]`. The first place is free for the
        // one that waits.
        let mut nodes = [[0; 32]; CHUNK + 1];
        let (mut from, mut end) = (1, 1 + leaves.len());
        nodes[from..end].copy_from_slice(leaves);
        let mut index = self.size;
        self.size += leaves.len() as u64;
        for level in 0.. {
            if level >= TILE_LEVEL {
                on_node(level, index, nodes[from]);
            }
            let waiting = &mut self.waiting[usize::from(level)];
            if index % 2 == 1 {
                from -= 1;
                nodes[from] = std::mem::take(waiting);
            }
            let pairs = (end - from) / 2;
            if (end - from) % 2 == 1 {
                *waiting = nodes[end - 1];
            }
            if pairs == 0 {
                return;
            }
            parents(&mut nodes, from, pairs, 1);
            (from, end) = (1, 1 + pairs);
            index /= 2;
        }
    }

    /// Levels with a node that waits, lowest first.
    fn levels(&self) -> impl Iterator<Item = usize> {
        (0..64).filter(|level| self.size >> level & 1 == 1)
    }

    /// Appends its size and the nodes that wait, lowest first.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend(self.levels().flat_map(|level| self.waiting[level]));
    }

    /// What [`Self::encode`] appended.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (size, nodes) = bytes.split_first_chunk()?;
        let mut tree = Self { size: u64::from_le_bytes(*size), ..Self::default() };
        let (nodes, rest) = nodes.as_chunks();
        let levels: Vec<_> = tree.levels().collect();
        if !rest.is_empty() || nodes.len() != levels.len() {
            return None;
        }
        for (level, node) in levels.into_iter().zip(nodes) {
            tree.waiting[level] = *node;
        }
        Some(tree)
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Tree({} leaves, root {})", self.size, hex::encode(self.root()))
    }
}
