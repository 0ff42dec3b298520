//! A past in memory, for tests and simulations.

use std::collections::HashMap;

use proof::EntryBytes;

use crate::block::Block;
use crate::past::{Past, PastError};

/// The entries of blocks.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    entries: Vec<EntryBytes>,
    extensions: HashMap<u64, Vec<u8>>,
}

impl Entries {
    /// Adds those of the next block, before it is finished.
    ///
    /// # Panics
    /// When it is not the next block.
    pub fn add(&mut self, block: &Block) {
        assert_eq!(block.first, self.entries.len() as u64, "blocks follow one another");
        for (place, _) in &block.extended {
            let extension = block.extension(*place as usize).to_vec();
            self.extensions.insert(block.first + u64::from(*place), extension);
        }
        self.entries.extend_from_slice(block.entries());
    }

    /// All of them.
    pub fn all(&self) -> &[EntryBytes] {
        &self.entries
    }
}

impl Past for Entries {
    fn entry(&self, number: u64, extension: &mut Vec<u8>) -> Result<EntryBytes, PastError> {
        let entry = usize::try_from(number).ok().and_then(|number| self.entries.get(number));
        let entry = entry.ok_or_else(|| PastError("there is no such entry".into()))?;
        extension.clear();
        extension.extend(self.extensions.get(&number).into_iter().flatten());
        Ok(*entry)
    }
}
