//! A keyed hash of ids.
//!
//! Callers choose their ids. With a key that they do not know they cannot choose ids that fall
//! into one place of a table.

use std::hash::{BuildHasher, RandomState};

/// Bits of a hash that name a segment of a table.
const SEGMENT_BITS: u32 = 12;

/// Bits of a hash that are kept in a slot.
pub(crate) const TAG_BITS: u32 = 28;

/// The key of SipHash-1-3.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct HashKey(pub(crate) [u64; 2]);

impl HashKey {
    /// A random key.
    pub(crate) fn random() -> Self {
        // The keys of a `RandomState` come from the operating system.
        Self([RandomState::new().hash_one(1), RandomState::new().hash_one(2)])
    }

    /// Hashes an id of a tenant: the SipHash-1-3 of its 20 bytes.
    pub(crate) fn hash(self, tenant: u32, id: u128) -> IdHash {
        let [k0, k1] = self.0;
        let mut state = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        #[expect(clippy::cast_possible_truncation, reason = "its two halves")]
        for word in [id as u64, (id >> 64) as u64, 20 << 56 | u64::from(tenant)] {
            state[3] ^= word;
            round(&mut state);
            state[0] ^= word;
        }
        state[2] ^= 0xff;
        round(&mut state);
        round(&mut state);
        round(&mut state);
        IdHash(state[0] ^ state[1] ^ state[2] ^ state[3])
    }
}

fn round([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *c = c.wrapping_add(*d);
    *b = b.rotate_left(13) ^ *a;
    *d = d.rotate_left(16) ^ *c;
    *a = a.rotate_left(32).wrapping_add(*d);
    *c = c.wrapping_add(*b);
    *b = b.rotate_left(17) ^ *c;
    *d = d.rotate_left(21) ^ *a;
    *c = c.rotate_left(32);
}

/// The hash of an id of a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct IdHash(u64);

impl IdHash {
    /// Segments that a hash tells apart.
    pub(crate) const SEGMENTS: usize = 1 << SEGMENT_BITS;

    /// Which segment of a table it falls into.
    pub(crate) const fn segment(self) -> usize {
        (self.0 >> (64 - SEGMENT_BITS)) as usize
    }

    /// What tells ids of a segment apart, most of the time.
    pub(crate) const fn tag(self) -> u64 {
        self.0 >> (64 - SEGMENT_BITS - TAG_BITS) & ((1 << TAG_BITS) - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hasher};

    use super::*;

    /// The standard library's hash without a key is SipHash-1-3, too.
    #[test]
    fn it_is_siphash_1_3() {
        for (tenant, id) in [(0, 0), (1, 2), (u32::MAX, u128::MAX), (7, 1 << 64 | 5)] {
            let mut hasher = DefaultHasher::new();
            let mut bytes = id.to_le_bytes().to_vec();
            bytes.extend(tenant.to_le_bytes());
            hasher.write(&bytes);
            assert_eq!(HashKey([0, 0]).hash(tenant, id).0, hasher.finish());
        }
    }

    #[test]
    fn keys_differ_and_change_everything() {
        let (one, other) = (HashKey::random(), HashKey::random());
        assert_ne!(one, other);
        assert_ne!(one.hash(1, 2).0, other.hash(1, 2).0);
    }
}
