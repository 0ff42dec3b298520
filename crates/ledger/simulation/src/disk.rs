//! What should be on the disk, what is, and how it gets there again.

use journal::SimulatedDisk;
use proof::{Header, PublicKey};

/// A complete block.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) header: Header,
    /// All of it, header included.
    pub(crate) bytes: Vec<u8>,
    /// The key that signed it.
    pub(crate) key: PublicKey,
    /// Where it is, once it was written.
    pub(crate) place: Place,
}

/// Where a block is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) offset: u64,
}

impl Place {
    /// Where the block of that sequence was written after `last`, as the journal documents it.
    pub(crate) fn after(last: Option<&Written>, sequence: u64, disk: &SimulatedDisk) -> Self {
        let own = format!("{sequence:020}.segment");
        match last {
            Some(last) if disk.contents(&own).is_none() => {
                let offset = last.place.offset + last.bytes.len() as u64;
                Self { file: last.place.file.clone(), offset }
            }
            _ => Self { file: own, offset: 0 },
        }
    }
}

/// Which of the blocks are not on the disk as they were written.
pub(crate) fn damaged(disk: &SimulatedDisk, written: &[Written]) -> Vec<usize> {
    let mut damaged = Vec::new();
    let mut place = 0;
    for blocks in written.chunk_by(|one, other| one.place.file == other.place.file) {
        let file = disk.contents(&blocks[0].place.file).unwrap_or_default();
        for block in blocks {
            let from = usize::try_from(block.place.offset).expect("segments are small");
            if file.get(from..from + block.bytes.len()) != Some(&block.bytes) {
                damaged.push(place);
            }
            place += 1;
        }
    }
    damaged
}

/// Brings all blocks back, as from a backup, and nothing after them.
pub(crate) fn repair(disk: &SimulatedDisk, written: &[Written]) {
    let mut files = written.chunk_by(|one, other| one.place.file == other.place.file).peekable();
    while let Some(blocks) = files.next() {
        let name = &blocks[0].place.file;
        let mut bytes: Vec<u8> = blocks.iter().flat_map(|block| &block.bytes).copied().collect();
        if files.peek().is_none() {
            let length = disk.contents(name).map_or(0, |old| old.len());
            bytes.resize(bytes.len().max(length), 0);
        }
        disk.put(name, &bytes);
    }
    let last = written.last().map(|block| block.header.sequence);
    let next = format!("{:020}.segment", last.unwrap_or(0) + 1);
    // What the journal remembers of blocks after that is no longer so.
    for name in [next.as_str(), "floor"] {
        if disk.contents(name).is_some() {
            disk.put(name, &[]);
        }
    }
}
