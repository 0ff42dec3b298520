//! Proofs that stand alone: whoever has the key of a ledger can verify them.
//!
//! In JSON, ids are UUIDs, hashes base64, heads signed notes; times (in nanoseconds since the Unix
//! epoch) and other numbers of 64 bits are decimal text, which no reader rounds.

use serde::{Deserialize, Serialize};

use crate::hash::leaf_hash;
use crate::{
    AccountState, Checkpoint, Entry, Hash, Head, HeadFault, Key, KeyFault, Metadata, PathFault,
    PublicKey, SignedHead, Transfer, verify_consistency, verify_inclusion,
};

/// Proves that a ledger recorded a transfer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TransferProof {
    /// Number of its entry.
    #[serde(with = "crate::json::decimal")]
    pub number: u64,
    /// The transfer.
    pub transfer: Transfer,
    /// What its caller noted on it.
    pub metadata: Metadata,
    /// Hashes that lead from the entry to the root of the head.
    #[serde(with = "crate::json::hashes")]
    pub path: Vec<Hash>,
    /// A head after the entry.
    pub head: SignedHead,
}

impl TransferProof {
    /// Whether the ledger of this key recorded the transfer, just as it stands here.
    pub fn verify(&self, key: &PublicKey) -> Result<(), ProofFault> {
        let head = self.head.verify(key)?;
        let extension = self.metadata.bytes();
        let is_extended = usize::from(self.transfer.extension) == extension.len();
        if !self.transfer.kind.is_transfer() || !is_extended {
            return Err(ProofFault::Entry);
        }
        let entry = Entry::Transfer(self.transfer);
        let bytes = entry.encode();
        // What is not part of the bytes is not proved.
        if Entry::decode(&bytes) != Ok(entry) {
            return Err(ProofFault::Entry);
        }
        let leaf = leaf_hash(&bytes, extension);
        Ok(verify_inclusion(self.number, &leaf, head.size, &head.root, &self.path)?)
    }
}

/// Proves the state of an account.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AccountProof {
    /// The account and its balances after the first `checkpoint.entries` entries.
    pub state: AccountState,
    /// How many accounts were created before it.
    pub row: u32,
    /// Hashes that lead from the state to the root of the checkpoint.
    #[serde(with = "crate::json::hashes")]
    pub state_path: Vec<Hash>,
    /// The entry with the root over the states of all accounts.
    pub checkpoint: Checkpoint,
    /// Number of that entry.
    #[serde(with = "crate::json::decimal")]
    pub number: u64,
    /// Hashes that lead from that entry to the root of the head.
    #[serde(with = "crate::json::hashes")]
    pub path: Vec<Hash>,
    /// A head after that entry.
    pub head: SignedHead,
}

impl AccountProof {
    /// Whether the ledger of this key recorded that the account was in this state.
    pub fn verify(&self, key: &PublicKey) -> Result<(), ProofFault> {
        let head = self.head.verify(key)?;
        let Checkpoint { accounts, root, .. } = self.checkpoint;
        let state = leaf_hash(&self.state.leaf(), &[]);
        verify_inclusion(self.row.into(), &state, accounts, &root, &self.state_path)?;
        let leaf = leaf_hash(&Entry::Checkpoint(self.checkpoint).encode(), &[]);
        Ok(verify_inclusion(self.number, &leaf, head.size, &head.root, &self.path)?)
    }
}

/// Proves that a ledger only added to what it had signed before.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyProof {
    /// How many entries there were at the older head.
    #[serde(with = "crate::json::decimal")]
    pub from: u64,
    /// Hashes that lead from the older root to that of the head.
    #[serde(with = "crate::json::hashes")]
    pub path: Vec<Hash>,
    /// The newer head.
    pub head: SignedHead,
}

impl ConsistencyProof {
    /// Whether the ledger of this key still has all entries of `old`: a head that the caller
    /// verified earlier and kept.
    pub fn verify(&self, old: &Head, key: &PublicKey) -> Result<(), ProofFault> {
        let new = self.head.verify(key)?;
        if old.ledger != new.ledger {
            return Err(HeadFault::Ledger.into());
        }
        if old.size != self.from {
            return Err(PathFault.into());
        }
        Ok(verify_consistency(old.size, &old.root, new.size, &new.root, &self.path)?)
    }
}

/// Proves which key a ledger signs with after the one that is known.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyProof {
    /// The entry that names it: the last one that the key before signed.
    pub key: Key,
    /// Number of that entry.
    #[serde(with = "crate::json::decimal")]
    pub number: u64,
    /// Hashes that lead from that entry to the root of the head.
    #[serde(with = "crate::json::hashes")]
    pub path: Vec<Hash>,
    /// The head that the entry completes.
    pub head: SignedHead,
}

impl KeyProof {
    /// The key that the ledger signs with after `old`, if the ledger of that key says so.
    pub fn verify(&self, old: &PublicKey) -> Result<PublicKey, ProofFault> {
        let head = self.head.verify(old)?;
        // An entry further back may have been followed by another one that names another key.
        if self.number.checked_add(1) != Some(head.size) {
            return Err(PathFault.into());
        }
        let leaf = leaf_hash(&Entry::Key(self.key).encode(), &[]);
        verify_inclusion(self.number, &leaf, head.size, &head.root, &self.path)?;
        Ok(PublicKey::new(old.ledger(), &self.key.public)?)
    }
}

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProofFault {
    /// The head is not to be trusted.
    #[error("its head is not to be trusted: {0}")]
    Head(#[from] HeadFault),
    /// A path does not lead to a root.
    #[error(transparent)]
    Path(#[from] PathFault),
    /// No ledger records such a transfer.
    #[error("it is of no transfer that a ledger can record")]
    Entry,
    /// The key that it names is none.
    #[error("the key that it names: {0}")]
    Key(#[from] KeyFault),
}
