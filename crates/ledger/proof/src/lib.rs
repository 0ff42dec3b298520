//! What the ledger says, and how anybody can prove it.
//!
//! A ledger is a chain of blocks ([`Header`] says what stands where), each with the root of a
//! Merkle tree over all entries so far, and signed. This crate writes the chain ([`Sealer`]),
//! verifies it ([`Chain`]), and verifies what is proved from it: that a transfer is in the ledger
//! ([`TransferProof`]), what state an account was in ([`AccountProof`]), and that the ledger only
//! grew ([`ConsistencyProof`]). It does no input or output and needs no C compiler, so that
//! whoever has a proof and the key of the ledger can verify it in a program of their own:
//!
//! ```
//! # let vkey = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/ledger.pub")).trim_end();
//! # let json = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/transfer_proof.json"));
//! use proof::{PublicKey, TransferProof};
//!
//! let key: PublicKey = vkey.parse()?; // malha.ledger/<id of the ledger>+<id of the key>+<key>
//! let proof: TransferProof = serde_json::from_str(json)?;
//! proof.verify(&key)?;
//!
//! let transfer = proof.transfer;
//! assert_eq!((transfer.amount, transfer.ledger), (1_050, 986));
//! assert_eq!(proof.metadata.get("order"), Some("42"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A key verifies the heads of its own time only: when it is replaced, the last entry that the old
//! key signed names the new one. Whoever has the old key follows with a [`KeyProof`].

mod block;
mod chain;
mod codec;
mod entry;
mod hash;
mod head;
mod ids;
mod json;
mod keys;
mod metadata;
mod path;
mod proofs;
mod seal;
mod state;
mod tail;
mod tiles;
mod tree;
mod view;

#[cfg(test)]
mod tests;

pub use block::{
    ENTRIES_MAX, HEADER_BYTES, Header, HeaderFault, MAGIC, PAYLOAD_BYTES_MAX, VERSION,
};
pub use chain::{Chain, Signatures};
pub use codec::peek;
pub use entry::{
    Account, Amendment, Checkpoint, ENTRY_BYTES, Entry, EntryBytes, EntryFault, Expiry, Key, Kind,
    Refusal, Tenant, Transfer, flag,
};
pub use hash::{leaf_hash, leaf_hashes, node_hash};
pub use head::{Head, HeadFault, SignedHead};
pub use ids::{AccountId, ExternalId, TenantId, Timestamp, TransferId};
pub use keys::{KeyFault, PublicKey, SigningKey};
pub use metadata::{Metadata, MetadataFault};
pub use path::{
    Leaves, Nodes, PathFault, consistency_proof, inclusion_proof, verify_consistency,
    verify_inclusion,
};
pub use proofs::{AccountProof, ConsistencyProof, KeyProof, ProofFault, TransferProof};
pub use seal::{Parts, Sealer};
pub use state::{AccountState, STATE_BYTES};
pub use tail::Tail;
pub use tiles::{Tiled, Tiles};
pub use tree::{TILE_LEVEL, Tree};
pub use view::{Block, BlockFault};

/// A SHA-256 hash.
pub type Hash = [u8; 32];
