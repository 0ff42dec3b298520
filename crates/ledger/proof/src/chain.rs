//! Reading a chain of blocks.

use crate::{Block, BlockFault, Hash, PublicKey, Tail};

/// Whether a chain compares signatures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signatures {
    /// Each block has to be signed with the key that the blocks before named.
    Check,
    /// Signatures are not looked at: whoever wrote the blocks is trusted, the disk is not.
    Trust,
}

/// Verifies blocks one after the other.
#[derive(Clone, Debug)]
pub struct Chain {
    tail: Tail,
    signatures: Signatures,
    leaves: Vec<Hash>,
}

impl Chain {
    /// Verifies what comes after `tail`.
    pub const fn new(tail: Tail, signatures: Signatures) -> Self {
        Self { tail, signatures, leaves: Vec::new() }
    }

    /// Where it ends.
    pub const fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Where it ended.
    pub fn into_tail(self) -> Tail {
        self.tail
    }

    /// Verifies the next block in full. After a fault the chain ends where it did before.
    pub fn push<'a>(&mut self, bytes: &'a [u8]) -> Result<Block<'a>, BlockFault> {
        self.push_with(bytes, &mut |_, _, _| ())
    }

    /// As [`Self::push`], and tells `on_node` the nodes that [`crate::Tree::push`] does: also those
    /// of a block that turns out not to be the next one.
    pub fn push_with<'a>(
        &mut self,
        bytes: &'a [u8],
        on_node: &mut impl FnMut(u8, u64, Hash),
    ) -> Result<Block<'a>, BlockFault> {
        let block = Block::read(bytes)?;
        self.check_place(&block)?;
        block.check()?;
        let key = self.signing_key(&block)?;
        let mut tree = self.tail.tree.clone();
        block.leaf_hashes(&mut self.leaves);
        tree.push(&self.leaves, on_node);
        let header = &block.header;
        if tree.root() != header.root {
            return Err(BlockFault::Root);
        }
        if self.signatures == Signatures::Check
            && !key.verifies(header.head().text().as_bytes(), &header.signature)
        {
            return Err(BlockFault::Signature);
        }
        let next_key = match block.keys().last() {
            Some((_, key)) => PublicKey::new(header.ledger, &key).map_err(|_| BlockFault::Key)?,
            None => key,
        };
        self.tail.tree = tree;
        self.tail.pass(header, next_key);
        Ok(block)
    }

    /// Whether the block follows the last one.
    fn check_place(&self, block: &Block<'_>) -> Result<(), BlockFault> {
        let (header, tail) = (&block.header, &self.tail);
        let may_be_any = tail.sequence == 0 && tail.ledger == [0; 16];
        if header.ledger != tail.ledger && !may_be_any {
            return Err(BlockFault::Ledger);
        }
        let (expected, found) = (tail.sequence.saturating_add(1), header.sequence);
        if expected != found {
            return Err(BlockFault::Sequence { expected, found });
        }
        if header.previous != tail.hash {
            return Err(BlockFault::Previous);
        }
        let (expected, found) = (tail.entries(), header.first);
        if expected != found {
            return Err(BlockFault::First { expected, found });
        }
        if header.timestamp <= tail.last { Err(BlockFault::Time) } else { Ok(()) }
    }

    /// The key that has to have signed the block.
    fn signing_key(&self, block: &Block<'_>) -> Result<PublicKey, BlockFault> {
        let key = &self.tail.key;
        if self.tail.sequence > 0 {
            return key.clone().ok_or(BlockFault::Signature);
        }
        let Some((0, named)) = block.keys().next() else {
            return Err(BlockFault::FirstKey);
        };
        let named = PublicKey::new(block.header.ledger, &named).map_err(|_| BlockFault::Key)?;
        match key {
            Some(key) if *key != named => Err(BlockFault::FirstKey),
            _ => Ok(named),
        }
    }
}
