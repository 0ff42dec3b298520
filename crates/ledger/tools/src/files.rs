//! A ledger as its files tell it, every block verified.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use journal::{Copied, Disk, JournalError, ReadError, Reader, RealDisk, Scan};
use proof::{Block, Entry, Hash, Header, Kind, PublicKey, SignedHead, Tail, Tiled, Tiles, peek};

/// A key of a ledger, and the first block that is signed with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyFrom {
    /// The key.
    pub key: PublicKey,
    /// Sequence of that block.
    pub from: u64,
}

/// What is known of a ledger after all of it was read.
pub(crate) struct Files {
    pub(crate) reader: Reader,
    nodes: Tiles,
    /// Of all blocks, in order; of the next one too.
    pub(crate) keys: Vec<KeyFrom>,
    /// Of the last block.
    pub(crate) head: Header,
    pub(crate) copied: Copied,
}

/// What takes blocks one by one. What it says is wrong with one ends the reading.
pub(crate) type OnBlock<'a> = dyn FnMut(&Block<'_>) -> Result<(), String> + 'a;

/// The ledger in a folder.
pub(crate) fn find(folder: &Path) -> Result<Scan> {
    Scan::open(&disk(folder)).map_err(explain)
}

pub(crate) fn disk(folder: &Path) -> Arc<dyn Disk> {
    Arc::new(RealDisk::new(folder))
}

/// Says of a journal that is not there, or not free, what somebody at a terminal can do.
pub(crate) fn explain(error: JournalError) -> anyhow::Error {
    match error {
        JournalError::Missing(folder) => {
            anyhow!("there is no ledger in {folder}: it has no file that ends with .segment")
        }
        JournalError::Locked(folder) => {
            anyhow!("the ledger in {folder} is run by another process: stop that one first")
        }
        error => error.into(),
    }
}

/// Reads and verifies all of a ledger; `expected` as of [`Scan::run`].
pub(crate) fn read(scan: Scan, expected: Tail, on_block: &mut OnBlock<'_>) -> Result<Files> {
    let reader = scan.reader();
    let (nodes, mut keys) = (Tiles::default(), Vec::new());
    let mut on_node = |level, index, hash| nodes.put(level, index, hash);
    let copied = scan.run(expected, &mut on_node, &mut |block| {
        note_keys(block, &mut keys)?;
        on_block(block)
    });
    let copied = copied.map_err(explain)?;
    let Some(head) = copied.head.clone() else { bail!("the ledger has no block yet") };
    Ok(Files { reader, nodes, keys, head, copied })
}

/// Takes note of the keys that a block names.
fn note_keys(block: &Block<'_>, keys: &mut Vec<KeyFrom>) -> Result<(), String> {
    let Header { ledger, sequence, .. } = block.header;
    let named = block.entries.iter().filter(|entry| peek::kind(entry) == Some(Kind::Key));
    for entry in named {
        let Ok(Entry::Key(named)) = Entry::decode(entry) else { continue };
        let key = PublicKey::new(ledger, &named.public).map_err(|fault| fault.to_string())?;
        // The first one signs the block that names it.
        let from = if keys.is_empty() { sequence } else { sequence + 1 };
        // Of those that one block names, the last one signs.
        keys.pop_if(|last| last.from == from);
        if keys.last().is_none_or(|last| last.key != key) {
            keys.push(KeyFrom { key, from });
        }
    }
    Ok(())
}

impl Files {
    /// The tree over all entries.
    pub(crate) fn tree(&self) -> Tiled<'_, impl Fn(u64) -> Result<Hash, ReadError>> {
        self.nodes.over(|number| self.reader.leaf(number))
    }

    /// The newest head, as it was signed.
    pub(crate) fn signed_head(&self) -> Result<SignedHead> {
        self.sign(&self.head)
    }

    /// The head of a block, as it was signed.
    pub(crate) fn sign(&self, header: &Header) -> Result<SignedHead> {
        Ok(header.signed_head(self.key_of(header.sequence)?))
    }

    /// The key that signed a block.
    pub(crate) fn key_of(&self, sequence: u64) -> Result<&PublicKey> {
        let of_block = self.keys.iter().rfind(|key| key.from <= sequence);
        of_block.map(|key| &key.key).ok_or_else(|| anyhow!("no key signs block {sequence}"))
    }
}
