//! Trees of any size.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::hash::{node_hash, parents};
use crate::{
    Hash, Leaves, TILE_LEVEL, Tree, consistency_proof, inclusion_proof, leaf_hash, leaf_hashes,
    verify_consistency, verify_inclusion,
};

/// The root as RFC 6962, 2.1 defines it.
fn defined_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new()).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().div_ceil(2).next_power_of_two());
            node_hash(&defined_root(left), &defined_root(right))
        }
    }
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|number| leaf_hash(&number.to_le_bytes(), &[])).collect()
}

fn flipped(hash: &Hash, bit: usize) -> Hash {
    let mut hash = *hash;
    hash[bit / 8 % 32] ^= 1 << (bit % 8);
    hash
}

proptest! {
    /// L-80: however many leaves come at a time, the root is the one of the definition, and each
    /// node from [`TILE_LEVEL`] on is told once.
    #[test]
    fn a_tree_grows_as_it_is_defined(sizes in prop::collection::vec(0_usize..1_500, 1..8)) {
        let leaves = leaves(sizes.iter().sum());
        let (mut tree, mut nodes, mut done) = (Tree::default(), BTreeMap::new(), 0);
        for size in sizes {
            tree.push(&leaves[done..done + size], &mut |level, index, hash| {
                assert!(nodes.insert((level, index), hash).is_none());
            });
            done += size;
            prop_assert_eq!(tree.root(), defined_root(&leaves[..done]));
        }
        let mut expected = BTreeMap::new();
        for level in TILE_LEVEL..16 {
            for (index, part) in (0..).zip(leaves.chunks_exact(1 << level)) {
                expected.insert((level, index), defined_root(part));
            }
        }
        prop_assert_eq!(nodes, expected);
    }

    /// B-29, L-80: every leaf is proved, and nothing else is.
    #[test]
    fn inclusion_is_proved_of_what_is_there_alone(size in 1_usize..140, bit in 0_usize..256) {
        let leaves = leaves(size);
        let (root, count) = (defined_root(&leaves), size as u64);
        for (number, leaf) in (0..).zip(&leaves) {
            let path = inclusion_proof(&Leaves(&leaves), number, count).unwrap();
            let verify = |number, leaf: &Hash, count, root: &Hash, path: &[Hash]| {
                verify_inclusion(number, leaf, count, root, path).is_ok()
            };
            prop_assert!(verify(number, leaf, count, &root, &path));
            prop_assert!(!verify(number, &flipped(leaf, bit), count, &root, &path));
            prop_assert!(!verify(number, leaf, count, &flipped(&root, bit), &path));
            for other in (0..count + 2).filter(|other| *other != number) {
                prop_assert!(!verify(other, leaf, count, &root, &path));
            }
            for place in 0..path.len() {
                let mut path = path.clone();
                path[place] = flipped(&path[place], bit);
                prop_assert!(!verify(number, leaf, count, &root, &path));
                path.remove(place);
                prop_assert!(!verify(number, leaf, count, &root, &path));
            }
            prop_assert!(!verify(number, leaf, count, &root, &[&path[..], &[root]].concat()));
        }
    }

    /// B-30, L-80: of a tree that only grew it is proved, of another never.
    #[test]
    fn consistency_is_proved_of_what_grew_alone(size in 1_usize..140, bit in 0_usize..256) {
        let leaves = leaves(size);
        let (root, count) = (defined_root(&leaves), size as u64);
        for old in 1..=count {
            let old_root = defined_root(&leaves[..usize::try_from(old).unwrap()]);
            let path = consistency_proof(&Leaves(&leaves), old, count).unwrap();
            let verify = |old, old_root: &Hash, root: &Hash, path: &[Hash]| {
                verify_consistency(old, old_root, count, root, path).is_ok()
            };
            prop_assert!(verify(old, &old_root, &root, &path));
            prop_assert!(!verify(old, &flipped(&old_root, bit), &root, &path));
            prop_assert!(!verify(old, &old_root, &flipped(&root, bit), &path));
            for other in (0..count + 2).filter(|other| *other != old) {
                prop_assert!(!verify(other, &old_root, &root, &path));
            }
            for place in 0..path.len() {
                let mut path = path.clone();
                path[place] = flipped(&path[place], bit);
                prop_assert!(!verify(old, &old_root, &root, &path));
                path.remove(place);
                prop_assert!(!verify(old, &old_root, &root, &path));
            }
            prop_assert!(!verify(old, &old_root, &root, &[&path[..], &[root]].concat()));
        }
    }

    /// B-55: hashes that are made together are those that are made one by one.
    #[test]
    fn hashes_made_together_are_those_made_alone(
        entries in prop::collection::vec(any::<[u8; 118]>(), 0..70),
        states in prop::collection::vec(any::<[u8; 68]>(), 0..70),
        mut nodes in prop::collection::vec(any::<Hash>(), 2..140),
        (from, to) in (0_usize..2, 0_usize..2),
    ) {
        let mut hashes = vec![[0; 32]; 3];
        let extensions = (0..entries.len()).step_by(5).map(|place| (place, &entries[place][..7]));
        leaf_hashes(&entries, extensions, &mut hashes);
        for (place, entry) in entries.iter().enumerate() {
            let extension = if place % 5 == 0 { &entry[..7] } else { &[] };
            prop_assert_eq!(hashes[place], leaf_hash(entry, extension));
        }
        leaf_hashes(&states, [], &mut hashes);
        let alone: Vec<_> = states.iter().map(|state| leaf_hash(state, &[])).collect();
        prop_assert_eq!(hashes, alone);

        let children = nodes.clone();
        let pairs = (nodes.len() - from) / 2;
        parents(&mut nodes, from, pairs, to);
        for pair in 0..pairs {
            let (left, right) = (children[from + 2 * pair], children[from + 2 * pair + 1]);
            prop_assert_eq!(nodes[to + pair], node_hash(&left, &right));
        }
    }
}
