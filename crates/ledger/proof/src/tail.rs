//! Where a chain of blocks ends, and the next block begins.
//!
//! # Format
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 16 | id of the ledger; zeros when it is not known yet |
//! | 16 | 8 | sequence of the last block |
//! | 24 | 32 | its hash |
//! | 56 | 8 | when the last entry was created |
//! | 64 | 1 | 1 when a key follows, or 0 |
//! | 65 | 0 or 32 | the key that signs the next block |
//! | | 8 | entries so far |
//! | | 32 each | for each bit that is set in that number, lowest first: the root of the complete subtree |

use crate::{Hash, Header, PublicKey, Timestamp, Tree};

/// What a chain of blocks is continued from.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tail {
    /// Id of the ledger. Zeros before the first block: any.
    pub ledger: [u8; 16],
    /// Sequence of the last block; 0 before the first.
    pub sequence: u64,
    /// Its hash.
    pub hash: Hash,
    /// When the last entry was created.
    pub last: Timestamp,
    /// The key that signs the next block. Before the first block: the one that it has to name, or
    /// none for any.
    pub key: Option<PublicKey>,
    /// The tree over all entries.
    pub tree: Tree,
}

impl Tail {
    /// Before the first block of a ledger.
    pub fn new(ledger: [u8; 16]) -> Self {
        Self { ledger, ..Self::default() }
    }

    /// Before the first block of the ledger of this key, which has to name it.
    pub fn expecting(key: PublicKey) -> Self {
        Self { key: Some(key.clone()), ..Self::new(key.ledger()) }
    }

    /// How many entries there are.
    pub const fn entries(&self) -> u64 {
        self.tree.size()
    }

    /// Moves past a block whose entries are in the tree.
    pub(crate) fn pass(&mut self, header: &Header, key: PublicKey) {
        self.ledger = header.ledger;
        self.sequence = header.sequence;
        self.hash = header.hash;
        self.last = header.last_created_at();
        self.key = Some(key);
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.ledger);
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.hash);
        bytes.extend_from_slice(&self.last.nanos().to_le_bytes());
        bytes.push(u8::from(self.key.is_some()));
        bytes.extend(self.key.iter().flat_map(PublicKey::bytes));
        self.tree.encode(&mut bytes);
        bytes
    }

    /// What [`Self::encode`] gave, or none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (ledger, bytes) = bytes.split_first_chunk()?;
        let (sequence, bytes) = bytes.split_first_chunk()?;
        let (hash, bytes) = bytes.split_first_chunk()?;
        let (last, bytes) = bytes.split_first_chunk()?;
        let (key, bytes) = match bytes.split_first()? {
            (0, bytes) => (None, bytes),
            (1, bytes) => {
                let (key, bytes) = bytes.split_first_chunk()?;
                (Some(PublicKey::new(*ledger, key).ok()?), bytes)
            }
            _ => return None,
        };
        Some(Self {
            ledger: *ledger,
            sequence: u64::from_le_bytes(*sequence),
            hash: *hash,
            last: Timestamp::from_nanos(u64::from_le_bytes(*last)),
            key,
            tree: Tree::decode(bytes)?,
        })
    }
}
