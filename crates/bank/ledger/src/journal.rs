//! The journal: every block, in order, each chained to the one before by its hash.
//!
//! # Format, version 1
//!
//! A journal is a sequence of blocks with nothing before, between or after them. A block is a
//! header of 144 bytes and its payload. Integers are little-endian, UUIDs are their 16 bytes in
//! order, times are nanoseconds since the Unix epoch, hashes are SHA-256.
//!
//! | offset | bytes | header field |
//! |---|---|---|
//! | 0 | 8 | magic, `MALHABLK` |
//! | 8 | 4 | version of the block, 1; a later one may add a Merkle root and a signature |
//! | 12 | 4 | length of the payload, at most 4 MiB |
//! | 16 | 8 | sequence: 1 for the first block, then one more each |
//! | 24 | 8 | time at which the block began |
//! | 32 | 32 | hash of the block before; zeros in the first |
//! | 64 | 4 | accounts created |
//! | 68 | 4 | transfers created |
//! | 72 | 4 | transfers refused for good |
//! | 76 | 4 | holds that ended by then, which were released first |
//! | 80 | 32 | hash of the payload |
//! | 112 | 32 | hash of the bytes 0 to 111: the hash of the block |
//!
//! The payload holds a record for everything that happened, in order of execution. The first
//! byte of a record says which:
//!
//! | record | bytes |
//! |---|---|
//! | 1, account created | tenant 16, id 16, external id 16, created at 8, ledger 4, code 2, limit 1 |
//! | 2, transfer created | tenant 16, id 16, debit account 16, credit account 16, hold 16, external id 16, amount 8, created at 8, ledger 4, timeout in seconds 4, code 2, kind 1 |
//! | 3, transfer refused for good | tenant 16, id 16, status 1 |
//!
//! Limits, kinds and statuses are the numbers of `malha.ledger.v1`; none is zeros. A transfer
//! names all that it inherited from its hold. Members of a linked group follow each other and
//! are not marked: the group was accepted. Holds that end by themselves have no record: which
//! ones do follows from the times of the blocks.
//!
//! # What a crash leaves
//!
//! A block is written by one call and synced before the next one begins, so only the last one
//! can be incomplete. A block that fails and reaches the end of the file is therefore cut off
//! (nobody was answered for it); whatever else is wrong is refused. A damaged disk looks the same,
//! so the bytes are kept beside the journal, in `ledger.journal.torn-<sequence>`.

mod file;
mod format;

use std::io;
use std::path::PathBuf;

pub(crate) use file::FileJournal;

use crate::domain::Block;

/// Greatest payload of a block, in bytes.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 4 << 20;

/// Bytes of the largest record.
pub(crate) const RECORD_BYTES_MAX: usize = 124;

/// Keeps blocks durably and in order.
pub(crate) trait Journal: Send {
    /// Reads every block in order, then is ready to append. `apply` may refuse a block.
    fn replay(
        &mut self,
        apply: &mut dyn FnMut(&Block) -> Result<(), String>,
    ) -> Result<Replayed, JournalError>;

    /// Writes a block, which is durable when this returns.
    ///
    /// After an error nothing can be known of what is on disk: every later call fails.
    fn append(&mut self, block: &Block) -> Result<(), JournalError>;
}

/// What a replay found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Replayed {
    pub(crate) blocks: u64,
    pub(crate) transfers: u64,
}

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is none, and none may be created.
    #[error(
        "there is no journal {}: a ledger that holds money would start empty. Is its volume \
         mounted? For the first start of a new ledger, set ledger.create = true",
        .0.display()
    )]
    Missing(PathBuf),
    /// Another process writes it.
    #[error("the journal {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// What it says is not what was written, or cannot be understood.
    #[error("the journal is broken at block {sequence}, byte {offset}: {problem}")]
    Broken {
        /// The block, counted from 1.
        sequence: u64,
        /// Where the block begins in the file.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The operating system refused.
    #[error("the journal could not be {doing}: {source}")]
    Io {
        /// What was being done to it, such as `synced`.
        doing: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// It failed before, or was never replayed.
    #[error("the journal is closed")]
    Closed,
}
