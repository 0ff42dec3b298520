//! What can go wrong.

use std::io;

/// Why the journal cannot be opened, written or copied.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is none, and none may be created.
    #[error(
        "there is no journal in {0}: a ledger that holds money would start empty. Is its volume \
         mounted? For the first start of a new ledger, set ledger.create = true"
    )]
    Missing(String),
    /// Another process writes it.
    #[error("the journal in {0} is in use by another process")]
    Locked(String),
    /// An earlier version of the program wrote it.
    #[error(
        "the journal in {0} is of version 1 (ledger.journal), which this program does not read: \
         keep it elsewhere and begin a new ledger in an empty folder"
    )]
    Outdated(String),
    /// What it says is not what was written, or cannot be understood.
    #[error("the journal is broken at block {sequence}, {file}, byte {offset}: {problem}")]
    Broken {
        /// The block, counted from 1.
        sequence: u64,
        /// The file where it is, or should be.
        file: String,
        /// Where the block begins in the file.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The folder to copy to has something else than a part of what is copied.
    #[error("the copy {0}")]
    Copy(String),
    /// The operating system refused.
    #[error("the journal could not be {doing}: {source}")]
    Io {
        /// What was being done to it, such as `synced`.
        doing: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// It failed before.
    #[error("the journal is closed")]
    Closed,
}

/// Why an entry or a header cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is none, or it is not durable yet.
    #[error("there is no durable {what} {number}")]
    Missing {
        /// What was asked for, such as `entry`.
        what: &'static str,
        /// Its number.
        number: u64,
    },
    /// The file changed under us: it does not have what it had when it was opened or written.
    #[error("{file} is damaged at byte {offset}")]
    Damaged {
        /// The file.
        file: String,
        /// Where the damaged part begins.
        offset: u64,
    },
    /// The operating system refused.
    #[error("the journal could not be read: {0}")]
    Io(#[from] io::Error),
}

/// Says what was being done when the operating system refused.
pub(crate) fn io_error(doing: &'static str) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError::Io { doing, source }
}
