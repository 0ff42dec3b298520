//! Writing a chain of blocks.

use std::fmt::Write;

use xxhash_rust::xxh3::xxh3_64;

use crate::{Block, HEADER_BYTES, Hash, Header, KeyFault, PublicKey, SigningKey, Tail, Timestamp};

/// How the payload of a block is made up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Parts {
    /// How many entries it has, at least 1.
    pub entries: u32,
    /// How many of them have an extension.
    pub extended: u32,
    /// Bytes of all extensions.
    pub heap: u32,
}

/// Completes blocks: hashes them, chains them and signs them.
#[derive(Debug)]
pub struct Sealer {
    tail: Tail,
    key: SigningKey,
    public: PublicKey,
    leaves: Vec<Hash>,
    text: String,
}

impl Sealer {
    /// Continues after `tail`, with the key that signs the next block.
    pub fn new(tail: Tail, key: SigningKey) -> Result<Self, KeyFault> {
        let public = key.public(tail.ledger);
        if tail.key.as_ref().is_some_and(|named| *named != public) {
            return Err(KeyFault::Other);
        }
        Ok(Self { tail, key, public, leaves: Vec::new(), text: String::new() })
    }

    /// Where the chain ends.
    pub const fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The key that verifies the next block.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs the blocks from now on with the key that the last block named.
    ///
    /// # Panics
    /// When the last block named another.
    pub fn rotate(&mut self, key: SigningKey) {
        let public = key.public(self.tail.ledger);
        assert_eq!(self.tail.key.as_ref(), Some(&public), "the ledger named the key");
        (self.key, self.public) = (key, public);
    }

    /// Completes the next block. `bytes` are [`HEADER_BYTES`] that are filled in, and the payload.
    /// `on_node` is told what [`crate::Tree::push`] tells.
    ///
    /// # Panics
    /// When the payload is not made up of `parts`, the time is not later than the last entry, the
    /// first entry of the first block does not name the key, or the last block named another one
    /// that [`Self::rotate`] was not given.
    pub fn seal(
        &mut self,
        timestamp: Timestamp,
        bytes: &mut [u8],
        parts: Parts,
        on_node: &mut impl FnMut(u8, u64, Hash),
    ) -> Header {
        assert!(timestamp > self.tail.last, "time went back");
        let (front, payload) = bytes.split_at_mut(HEADER_BYTES);
        let header = self.draft(timestamp, payload, parts);
        let block = Block::new(header, payload).expect("its payload is made up as it was told");
        debug_assert_eq!(block.check(), Ok(()));
        block.leaf_hashes(&mut self.leaves);
        self.tail.tree.push(&self.leaves, on_node);
        let mut header = Header { root: self.tail.tree.root(), ..block.header.clone() };
        header.hash = header.computed_hash();
        let key = self.key_after(&block);
        header.signature = self.sign(&header);
        let encoded = header.encode();
        debug_assert_eq!(Header::decode(&encoded).as_ref(), Ok(&header));
        front.copy_from_slice(&encoded);
        self.tail.pass(&header, key);
        header
    }

    /// The header without what the entries add to it.
    fn draft(&self, timestamp: Timestamp, payload: &[u8], parts: Parts) -> Header {
        Header {
            sequence: self.tail.sequence + 1,
            timestamp,
            first: self.tail.entries(),
            entries: parts.entries,
            extended: parts.extended,
            heap: parts.heap,
            ledger: self.tail.ledger,
            previous: self.tail.hash,
            root: [0; 32],
            checksum: xxh3_64(payload),
            hash: [0; 32],
            signature: [0; 64],
        }
    }

    fn sign(&mut self, header: &Header) -> [u8; 64] {
        self.text.clear();
        write!(self.text, "{}", header.head()).expect("a string takes all");
        self.key.sign(self.text.as_bytes())
    }

    /// The key that signs after this block.
    fn key_after(&self, block: &Block<'_>) -> PublicKey {
        let ledger = block.header.ledger;
        let key = self.key.public(ledger);
        if self.tail.sequence == 0 {
            let first = block.keys().next();
            assert_eq!(first, Some((0, key.bytes())), "the first entry names the key");
        } else {
            assert_eq!(self.tail.key.as_ref(), Some(&key), "the key is the one that was named");
        }
        block.keys().last().map_or(key, |(_, named)| {
            PublicKey::new(ledger, &named).expect("a key that a ledger names is a key")
        })
    }
}
