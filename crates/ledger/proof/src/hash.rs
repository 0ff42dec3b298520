//! Hashes of RFC 6962, one at a time and many.

use sha2::{Digest, Sha256};

use crate::Hash;

#[cfg(target_arch = "x86_64")]
mod lanes;

/// What the hash of a leaf begins with, so that it is never that of a node.
const LEAF: u8 = 0;

/// What the hash of an interior node begins with.
const NODE: u8 = 1;

/// Messages that are hashed together.
const LANES: usize = 16;

/// From so many on, hashing them together is faster.
#[cfg(target_arch = "x86_64")]
const TOGETHER_MIN: usize = 7;

/// The hash of a leaf: of a zero byte, the bytes, and what extends them.
pub fn leaf_hash(bytes: &[u8], extension: &[u8]) -> Hash {
    Sha256::new_with_prefix([LEAF]).chain_update(bytes).chain_update(extension).finalize().into()
}

/// The hash of an interior node: of a one byte and the hashes of its two children.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([NODE]).chain_update(left).chain_update(right).finalize().into()
}

/// Replaces `out` by the hashes of `leaves`, of which some are extended: `extensions` names their
/// places. Leaves have 55 to 118 bytes. Much faster than [`leaf_hash`] for each.
///
/// # Panics
/// When there is no leaf at such a place.
pub fn leaf_hashes<'a, const N: usize>(
    leaves: &[[u8; N]],
    extensions: impl IntoIterator<Item = (usize, &'a [u8])>,
    out: &mut Vec<Hash>,
) {
    out.clear();
    for group in leaves.chunks(LANES) {
        out.extend_from_slice(&digest(LEAF, group)[..group.len()]);
    }
    for (place, extension) in extensions {
        out[place] = leaf_hash(&leaves[place], extension);
    }
}

/// Hashes pairs of nodes, the first at `from`. Their parents replace them from `to` on, which is
/// not after `from + 1`.
pub(crate) fn parents(nodes: &mut [Hash], from: usize, pairs: usize, to: usize) {
    for done in (0..pairs).step_by(LANES) {
        let count = LANES.min(pairs - done);
        let children = nodes[from + 2 * done..][..2 * count].as_flattened();
        let hashes = digest(NODE, children.as_chunks::<64>().0);
        nodes[to + done..][..count].copy_from_slice(&hashes[..count]);
    }
}

/// The hashes of up to [`LANES`] messages, each the prefix and `N` bytes.
fn digest<const N: usize>(prefix: u8, messages: &[[u8; N]]) -> [Hash; LANES] {
    #[cfg(target_arch = "x86_64")]
    if messages.len() >= TOGETHER_MIN
        && let Some(hashes) = lanes::digest(prefix, messages)
    {
        return hashes;
    }
    one_by_one(prefix, messages)
}

fn one_by_one<const N: usize>(prefix: u8, messages: &[[u8; N]]) -> [Hash; LANES] {
    let mut hashes = [[0; 32]; LANES];
    for (hash, message) in hashes.iter_mut().zip(messages) {
        *hash = Sha256::new_with_prefix([prefix]).chain_update(message).finalize().into();
    }
    hashes
}
