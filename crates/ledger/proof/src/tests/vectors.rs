//! Published vectors of RFC 6962 trees, those of the Certificate Transparency project.

use crate::{
    Hash, Leaves, Tree, consistency_proof, inclusion_proof, leaf_hash, verify_consistency,
    verify_inclusion,
};

const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];

const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

const LEAF_1: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const LEAF_4: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const LEAF_6: &str = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f";
const NODE_2_3: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const NODE_4_5: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";
const NODE_6_7: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const NODE_4_7: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";

/// Leaf, size, path.
const INCLUSIONS: [(u64, u64, &[&str]); 5] = [
    (0, 1, &[]),
    (0, 8, &[LEAF_1, NODE_2_3, NODE_4_7]),
    (5, 8, &[LEAF_4, NODE_6_7, ROOTS[4]]),
    (2, 3, &[ROOTS[2]]),
    (1, 5, &[ROOTS[1], NODE_2_3, LEAF_4]),
];

/// Old size, new size, path.
const CONSISTENCIES: [(u64, u64, &[&str]); 6] = [
    (1, 1, &[]),
    (1, 8, &[LEAF_1, NODE_2_3, NODE_4_7]),
    (6, 8, &[NODE_4_5, NODE_6_7, ROOTS[4]]),
    (2, 5, &[NODE_2_3, LEAF_4]),
    (6, 7, &[NODE_4_5, LEAF_6, ROOTS[4]]),
    (2, 8, &[NODE_2_3, NODE_4_7]),
];

fn hash(text: &str) -> Hash {
    hex::decode(text).unwrap().try_into().unwrap()
}

fn leaves() -> Vec<Hash> {
    LEAVES.iter().map(|leaf| leaf_hash(&hex::decode(leaf).unwrap(), &[])).collect()
}

fn root(size: u64) -> Hash {
    hash(ROOTS[usize::try_from(size).unwrap()])
}

/// B-29, L-80.
#[test]
fn trees_have_the_published_roots() {
    let mut tree = Tree::default();
    assert_eq!(tree.root(), root(0));
    for leaf in leaves() {
        tree.push(&[leaf], &mut |_, _, _| ());
        assert_eq!(tree.root(), root(tree.size()), "of {} leaves", tree.size());
    }
}

/// B-29, L-80.
#[test]
fn inclusion_proofs_are_the_published_ones() {
    let leaves = leaves();
    for (leaf, size, path) in INCLUSIONS {
        let path: Vec<_> = path.iter().map(|node| hash(node)).collect();
        assert_eq!(inclusion_proof(&Leaves(&leaves), leaf, size), Ok(path.clone()));
        let leaf_hash = leaves[usize::try_from(leaf).unwrap()];
        assert_eq!(verify_inclusion(leaf, &leaf_hash, size, &root(size), &path), Ok(()));
    }
}

/// B-30, L-80.
#[test]
fn consistency_proofs_are_the_published_ones() {
    let leaves = leaves();
    for (old, new, path) in CONSISTENCIES {
        let path: Vec<_> = path.iter().map(|node| hash(node)).collect();
        assert_eq!(consistency_proof(&Leaves(&leaves), old, new), Ok(path.clone()));
        assert_eq!(verify_consistency(old, &root(old), new, &root(new), &path), Ok(()));
    }
}
