//! Blocks: what becomes durable together.
//!
//! # Format, version 2
//!
//! A block is a header of 248 bytes and its payload. Integers are little-endian, hashes are
//! SHA-256, checksums are XXH3-64.
//!
//! | offset | bytes | header field |
//! |---|---|---|
//! | 0 | 8 | magic, `MALHABLK` |
//! | 8 | 4 | version, 2 |
//! | 12 | 4 | zeros |
//! | 16 | 8 | sequence: 1 for the first block, then one more each |
//! | 24 | 8 | time at which the block began |
//! | 32 | 8 | number of its first entry: how many there were before |
//! | 40 | 4 | entries, at least 1 |
//! | 44 | 4 | entries with an extension |
//! | 48 | 4 | bytes of all extensions |
//! | 52 | 4 | zeros |
//! | 56 | 16 | id of the ledger, the same in all its blocks |
//! | 72 | 32 | hash of the block before; zeros in the first |
//! | 104 | 32 | RFC 6962 root over all entries so far, this block's included |
//! | 136 | 8 | checksum of the payload |
//! | 144 | 32 | hash of the bytes 0 to 143: the hash of the block |
//! | 176 | 64 | Ed25519 signature of the head, see [`crate::Head`] |
//! | 240 | 8 | checksum of the bytes 0 to 239 |
//!
//! Later versions keep the magic, the version and the checksum where they are, so that a header of
//! another version is told from a damaged one.
//!
//! The payload is the entries, each [`ENTRY_BYTES`] long; then for each entry with an extension, in
//! their order, its place in the block (4 bytes) and where its extension begins among all of them
//! (4 bytes); then the extensions.

use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_64;

use crate::{ENTRY_BYTES, Hash, Head, Metadata, PublicKey, SignedHead, Timestamp};

/// Bytes of a header.
pub const HEADER_BYTES: usize = 248;

/// What every header begins with.
pub const MAGIC: [u8; 8] = *b"MALHABLK";

/// The version of the format.
pub const VERSION: u32 = 2;

/// Most entries of a block.
pub const ENTRIES_MAX: usize = 1 << 15;

/// Most bytes of a payload.
pub const PAYLOAD_BYTES_MAX: usize = 24 << 20;

/// The header of a block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// 1 for the first block, then one more each.
    pub sequence: u64,
    /// When the block began.
    pub timestamp: Timestamp,
    /// Number of its first entry.
    pub first: u64,
    /// How many entries it has.
    pub entries: u32,
    /// How many of them have an extension.
    pub extended: u32,
    /// Bytes of all extensions.
    pub heap: u32,
    /// Id of the ledger.
    pub ledger: [u8; 16],
    /// Hash of the block before.
    pub previous: Hash,
    /// Root over all entries so far.
    pub root: Hash,
    /// Checksum of the payload.
    pub checksum: u64,
    /// Hash of the block.
    pub hash: Hash,
    /// Signature of the head.
    pub signature: [u8; 64],
}

impl Header {
    /// How many entries there are after this block.
    pub const fn end(&self) -> u64 {
        self.first + self.entries as u64
    }

    /// When its last entry was created.
    pub const fn last_created_at(&self) -> Timestamp {
        Timestamp::from_nanos(self.timestamp.nanos() + self.entries as u64 - 1)
    }

    /// Bytes of the payload.
    pub const fn payload_bytes(&self) -> usize {
        self.entries as usize * ENTRY_BYTES + self.extended as usize * 8 + self.heap as usize
    }

    /// What its signature signs.
    pub const fn head(&self) -> Head {
        Head {
            ledger: self.ledger,
            size: self.end(),
            root: self.root,
            sequence: self.sequence,
            block: self.hash,
            timestamp: self.timestamp,
        }
    }

    /// Its head and signature, for others to verify. `key` is the one that signed it.
    pub fn signed_head(&self, key: &PublicKey) -> SignedHead {
        SignedHead::new(self.head(), key, self.signature)
    }

    /// Its bytes on disk.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, value: &[u8]| {
            bytes[at..at + value.len()].copy_from_slice(value);
        };
        put(0, &MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(16, &self.sequence.to_le_bytes());
        put(24, &self.timestamp.nanos().to_le_bytes());
        put(32, &self.first.to_le_bytes());
        put(40, &self.entries.to_le_bytes());
        put(44, &self.extended.to_le_bytes());
        put(48, &self.heap.to_le_bytes());
        put(56, &self.ledger);
        put(72, &self.previous);
        put(104, &self.root);
        put(136, &self.checksum.to_le_bytes());
        put(144, &self.hash);
        put(176, &self.signature);
        let checksum = xxh3_64(&bytes[..240]);
        bytes[240..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The header of these bytes, if it can be one: bounds and hash are checked too.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, HeaderFault> {
        if bytes[..8] != MAGIC || get(bytes, 240) != xxh3_64(&bytes[..240]).to_le_bytes() {
            return Err(HeaderFault::Damaged);
        }
        let version = u32::from_le_bytes(get(bytes, 8));
        if version != VERSION {
            return Err(HeaderFault::Version(version));
        }
        let header = Self {
            sequence: u64::from_le_bytes(get(bytes, 16)),
            timestamp: Timestamp::from_nanos(u64::from_le_bytes(get(bytes, 24))),
            first: u64::from_le_bytes(get(bytes, 32)),
            entries: u32::from_le_bytes(get(bytes, 40)),
            extended: u32::from_le_bytes(get(bytes, 44)),
            heap: u32::from_le_bytes(get(bytes, 48)),
            ledger: get(bytes, 56),
            previous: get(bytes, 72),
            root: get(bytes, 104),
            checksum: u64::from_le_bytes(get(bytes, 136)),
            hash: get(bytes, 144),
            signature: get(bytes, 176),
        };
        header.check(bytes)?;
        Ok(header)
    }

    fn check(&self, bytes: &[u8; HEADER_BYTES]) -> Result<(), HeaderFault> {
        let (entries, extended, heap) =
            (self.entries as usize, self.extended as usize, self.heap as usize);
        let field = if self.sequence == 0 {
            "sequence"
        } else if !(1..=ENTRIES_MAX).contains(&entries) {
            "number of entries"
        } else if extended > entries {
            "number of extensions"
        } else if heap < extended || heap > extended * Metadata::BYTES_MAX {
            "length of the extensions"
        } else if self.payload_bytes() > PAYLOAD_BYTES_MAX {
            "length"
        } else if self.timestamp.nanos().checked_add(entries as u64).is_none() {
            "time"
        } else if self.first.checked_add(entries as u64).is_none() {
            "first entry"
        } else if bytes[12..16] != [0; 4] || bytes[52..56] != [0; 4] {
            "unused part"
        } else if self.hash != hash(bytes) {
            "hash"
        } else {
            return Ok(());
        };
        Err(HeaderFault::Field(field))
    }

    /// What its hash has to be.
    pub(crate) fn computed_hash(&self) -> Hash {
        hash(&self.encode())
    }
}

/// The hash of the block with a header of these bytes.
fn hash(bytes: &[u8; HEADER_BYTES]) -> Hash {
    Sha256::digest(&bytes[..144]).into()
}

fn get<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[at..at + N]);
    value
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeaderFault {
    /// The bytes are not those that were written.
    #[error("its header is damaged")]
    Damaged,
    /// It is of another version of the format.
    #[error("its header is of version {0}, but this program reads version 2")]
    Version(u32),
    /// It was written so, but no ledger writes such a header.
    #[error("its {0} cannot be what its header says")]
    Field(&'static str),
}
