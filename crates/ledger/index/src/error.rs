//! Why the index cannot do what it is asked.

use std::io;
use std::path::Path;

/// Why the index cannot do what it is asked. It can be rebuilt from the journal.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A file cannot be read or written.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// A page of a run is not what was written.
    #[error("run {file} is damaged in page {page}")]
    Damaged {
        /// Number of the run.
        file: u64,
        /// Number of the page.
        page: usize,
    },
    /// Entries before these were never added.
    #[error("entries from {first} on were added, but those from {covers} on are missing")]
    Gap {
        /// Entries that are indexed.
        covers: u64,
        /// Number of the first that was added.
        first: u64,
    },
    /// Runs can be merged no more.
    #[error("the index has stopped: {0}")]
    Stopped(String),
}

impl IndexError {
    /// The system's refusal to work on a file.
    pub(crate) fn io(file: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { file: file.display().to_string(), source }
    }
}
