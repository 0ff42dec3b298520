//! Proofs of inclusion and consistency, RFC 6962 and RFC 9162, 2.1.3 and 2.1.4.

use std::convert::Infallible;

use crate::hash::node_hash;
use crate::{Hash, Tree};

/// The complete subtrees of a tree.
pub trait Nodes {
    /// Why a node could not be read.
    type Error;

    /// Root of the subtree over the leaves from `index << level`, `1 << level` of them.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// The hashes of all leaves of a tree: each node is computed when it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Leaves<'a>(pub &'a [Hash]);

impl Nodes for Leaves<'_> {
    type Error = Infallible;

    /// # Panics
    /// When the subtree is not complete.
    #[expect(clippy::cast_possible_truncation, reason = "the leaves are in memory")]
    fn node(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        let from = (index << level) as usize;
        let mut tree = Tree::default();
        tree.push(&self.0[from..from + (1 << level)], &mut |_, _, _| ());
        Ok(tree.root())
    }
}

/// Hashes that lead from a leaf to the root of the tree of `size` leaves.
///
/// # Panics
/// When there is no such leaf.
pub fn inclusion_proof<N: Nodes>(nodes: &N, leaf: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    assert!(leaf < size, "leaf {leaf} of a tree of {size}");
    let (mut start, mut size) = (0, size);
    let mut path = Vec::new();
    while size > 1 {
        let left = split(size);
        if leaf - start < left {
            path.push(root(nodes, start + left, size - left)?);
            size = left;
        } else {
            path.push(root(nodes, start, left)?);
            start += left;
            size -= left;
        }
    }
    path.reverse();
    Ok(path)
}

/// Hashes that show that the tree of `new` leaves begins with the tree of `old` leaves.
///
/// # Panics
/// When `old` is 0 or more than `new`.
pub fn consistency_proof<N: Nodes>(nodes: &N, old: u64, new: u64) -> Result<Vec<Hash>, N::Error> {
    assert!(0 < old && old <= new, "from a tree of {old} leaves to one of {new}");
    let (mut start, mut size) = (0, new);
    let mut path = Vec::new();
    while old - start < size {
        let left = split(size);
        if old - start <= left {
            path.push(root(nodes, start + left, size - left)?);
            size = left;
        } else {
            path.push(root(nodes, start, left)?);
            start += left;
            size -= left;
        }
    }
    // From the start it is the old root, which the verifier has.
    if start > 0 {
        path.push(root(nodes, start, size)?);
    }
    path.reverse();
    Ok(path)
}

/// Root over the leaves from `start`, `size` of them.
fn root<N: Nodes>(nodes: &N, start: u64, size: u64) -> Result<Hash, N::Error> {
    if size.is_power_of_two() {
        #[expect(clippy::cast_possible_truncation, reason = "at most 63")]
        let level = size.trailing_zeros() as u8;
        return nodes.node(level, start >> level);
    }
    let left = split(size);
    Ok(node_hash(&root(nodes, start, left)?, &root(nodes, start + left, size - left)?))
}

/// Leaves of the left subtree of a tree of `size > 1` leaves: the largest power of two below it.
const fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// Whether `path` leads from the leaf of this number and hash to the root of the tree of `size`
/// leaves.
pub fn verify_inclusion(
    leaf: u64,
    hash: &Hash,
    size: u64,
    root: &Hash,
    path: &[Hash],
) -> Result<(), PathFault> {
    if leaf >= size {
        return Err(PathFault);
    }
    // `last` is the index of the last node of the level.
    let (mut index, mut last, mut hash) = (leaf, size - 1, *hash);
    for sibling in path {
        if last == 0 {
            return Err(PathFault);
        }
        if index % 2 == 1 || index == last {
            hash = node_hash(sibling, &hash);
            rise_to_right_child(&mut index, &mut last);
        } else {
            hash = node_hash(&hash, sibling);
        }
        index >>= 1;
        last >>= 1;
    }
    if last == 0 && hash == *root { Ok(()) } else { Err(PathFault) }
}

/// A last node without a sibling stands for itself on the next level.
const fn rise_to_right_child(index: &mut u64, last: &mut u64) {
    while index.is_multiple_of(2) && *index != 0 {
        *index >>= 1;
        *last >>= 1;
    }
}

/// Whether `path` shows that the tree of `new` leaves with `new_root` begins with the tree of
/// `old` leaves with `old_root`.
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    path: &[Hash],
) -> Result<(), PathFault> {
    if old == 0 || old > new {
        return Err(PathFault);
    }
    if old == new {
        return if path.is_empty() && old_root == new_root { Ok(()) } else { Err(PathFault) };
    }
    let (first, path) = if old.is_power_of_two() {
        (old_root, path)
    } else {
        path.split_first().ok_or(PathFault)?
    };
    // Up from the last complete subtree of the old tree.
    let level = old.trailing_zeros();
    let (mut index, mut last) = ((old - 1) >> level, (new - 1) >> level);
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in path {
        if last == 0 {
            return Err(PathFault);
        }
        if index % 2 == 1 || index == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            rise_to_right_child(&mut index, &mut last);
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        index >>= 1;
        last >>= 1;
    }
    let proved = last == 0 && old_hash == *old_root && new_hash == *new_root;
    if proved { Ok(()) } else { Err(PathFault) }
}

/// The hashes do not lead to the root.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("its path does not lead to the root")]
pub struct PathFault;
