//! Entries of earlier blocks.

use std::error::Error;

use proof::EntryBytes;

/// Reads what was recorded before the block that is being built.
pub trait Past {
    /// The entry of that number. `extension` becomes its extension.
    fn entry(&self, number: u64, extension: &mut Vec<u8>) -> Result<EntryBytes, PastError>;
}

/// An entry that was recorded cannot be read. Whoever gets it must not use the book any more: the
/// batch has been applied in part.
#[derive(Debug, thiserror::Error)]
#[error("an earlier entry cannot be read: {0}")]
pub struct PastError(#[from] pub Box<dyn Error + Send + Sync>);
