//! Blocks as they are read.

use xxhash_rust::xxh3::xxh3_64;

use crate::hash::leaf_hashes;
use crate::{
    Entry, EntryBytes, EntryFault, HEADER_BYTES, Hash, Header, HeaderFault, Kind, MetadataFault,
    metadata, peek,
};

/// A block in memory.
#[derive(Clone, Debug)]
pub struct Block<'a> {
    /// Its header.
    pub header: Header,
    /// Its entries, without their extensions.
    pub entries: &'a [EntryBytes],
    /// Places and offsets of extensions.
    table: &'a [[u8; 8]],
    heap: &'a [u8],
}

impl<'a> Block<'a> {
    /// Reads a block and compares its checksums. Whether it belongs where it was found, and is
    /// what the ledger signed, is for [`crate::Chain`] to say.
    pub fn read(bytes: &'a [u8]) -> Result<Self, BlockFault> {
        let (header, payload) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(BlockFault::Length { expected: HEADER_BYTES, found: bytes.len() })?;
        let block = Self::new(Header::decode(header)?, payload)?;
        if xxh3_64(payload) == block.header.checksum {
            Ok(block)
        } else {
            Err(BlockFault::Checksum)
        }
    }

    /// A block of a header and payload that were checked before.
    pub fn new(header: Header, payload: &'a [u8]) -> Result<Self, BlockFault> {
        let (expected, found) = (header.payload_bytes(), payload.len());
        if expected != found {
            let header = HEADER_BYTES;
            return Err(BlockFault::Length { expected: header + expected, found: header + found });
        }
        let (entries, rest) = payload.split_at(header.entries as usize * size_of::<EntryBytes>());
        let (table, heap) = rest.split_at(header.extended as usize * 8);
        Ok(Self { header, entries: entries.as_chunks().0, table: table.as_chunks().0, heap })
    }

    /// What extends the entry at this place of the block: its metadata, or nothing.
    pub fn extension(&self, place: usize) -> &'a [u8] {
        let found = self.table.binary_search_by_key(&place, |row| located(*row).0);
        found.map_or(&[], |row| self.located(self.table[row]).1)
    }

    /// All entries and what extends them.
    pub fn iter(&self) -> impl Iterator<Item = (&'a EntryBytes, &'a [u8])> {
        let mut extensions = self.extensions().peekable();
        self.entries.iter().enumerate().map(move |(place, entry)| {
            let extension = extensions.next_if(|extension| extension.0 == place);
            (entry, extension.map_or(&[][..], |extension| extension.1))
        })
    }

    /// Places of extended entries, and the extensions.
    fn extensions(&self) -> impl Iterator<Item = (usize, &'a [u8])> {
        self.table.iter().map(|row| self.located(*row))
    }

    /// The place that a row of the table names, and the extension. Nothing where there is none.
    fn located(&self, row: [u8; 8]) -> (usize, &'a [u8]) {
        let (place, offset) = located(row);
        let length = self.entries.get(place).map_or(0, peek::extension);
        let extension = self.heap.get(offset..).and_then(|rest| rest.get(..usize::from(length)));
        (place, extension.unwrap_or_default())
    }

    /// Replaces `out` by the leaf hashes of its entries.
    pub(crate) fn leaf_hashes(&self, out: &mut Vec<Hash>) {
        leaf_hashes(self.entries, self.extensions(), out);
    }

    /// Keys that its entries name, and the places of those entries.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (usize, [u8; 32])> {
        let entries = self.entries.iter().enumerate();
        let keys = entries.filter(|(_, bytes)| peek::kind(bytes) == Some(Kind::Key));
        keys.filter_map(|(place, bytes)| match Entry::decode(bytes) {
            Ok(Entry::Key(key)) => Some((place, key.public)),
            _ => None,
        })
    }

    /// Whether its entries are entries, created one nanosecond after the other, and extended as
    /// they say.
    pub(crate) fn check(&self) -> Result<(), BlockFault> {
        let mut created_at = self.header.timestamp;
        let (mut rows, mut offset) = (self.table.iter(), 0);
        for (place, bytes) in self.entries.iter().enumerate() {
            let entry = Entry::decode(bytes).map_err(|fault| BlockFault::Entry { place, fault })?;
            if entry.created_at() != created_at {
                return Err(BlockFault::CreatedAt { place });
            }
            created_at = created_at.next();
            let length = usize::from(peek::extension(bytes));
            if length == 0 {
                continue;
            }
            if rows.next().map(|row| located(*row)) != Some((place, offset)) {
                return Err(BlockFault::Extensions);
            }
            let extension = self.heap.get(offset..offset + length);
            metadata::check(extension.ok_or(BlockFault::Extensions)?)
                .map_err(|fault| BlockFault::Metadata { place, fault })?;
            offset += length;
        }
        let all = rows.next().is_none() && offset == self.heap.len();
        if all { Ok(()) } else { Err(BlockFault::Extensions) }
    }
}

/// What stands in a row of the table: the place of an entry, and where its extension begins.
fn located(row: [u8; 8]) -> (usize, usize) {
    let words = row.as_chunks().0;
    (u32::from_le_bytes(words[0]) as usize, u32::from_le_bytes(words[1]) as usize)
}

/// Why bytes are not the next block of a ledger.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BlockFault {
    /// The header cannot be read.
    #[error(transparent)]
    Header(#[from] HeaderFault),
    /// There are more or fewer bytes than a block of this header has.
    #[error("it has {found} bytes, not {expected}")]
    Length {
        /// Bytes that it should have.
        expected: usize,
        /// Bytes that it has.
        found: usize,
    },
    /// The payload is not the one that was written.
    #[error("its payload does not match its checksum")]
    Checksum,
    /// It is of another ledger.
    #[error("it belongs to another ledger")]
    Ledger,
    /// Blocks are missing before it, or it is there twice.
    #[error("it is block {found} where block {expected} belongs")]
    Sequence {
        /// Sequence of the next block.
        expected: u64,
        /// Its sequence.
        found: u64,
    },
    /// The block before it is another than the one it was written after.
    #[error("it is not chained to the block before")]
    Previous,
    /// Its entries are not numbered on from those before.
    #[error("its first entry is number {found}, not {expected}")]
    First {
        /// How many entries there are before it.
        expected: u64,
        /// Number of its first entry.
        found: u64,
    },
    /// It began before the last entry of the block before was created.
    #[error("it is not later than the block before")]
    Time,
    /// One of its entries is none.
    #[error("entry {place} of it is no entry: {fault}")]
    Entry {
        /// Place of the entry in the block.
        place: usize,
        /// Why.
        fault: EntryFault,
    },
    /// One of its entries was not created when its place says.
    #[error("entry {place} of it was not created when its place says")]
    CreatedAt {
        /// Place of the entry in the block.
        place: usize,
    },
    /// The extensions do not follow one another as its entries say.
    #[error("its extensions are not those that its entries say")]
    Extensions,
    /// What extends an entry is no metadata.
    #[error("the metadata of entry {place} of it cannot be read: {fault}")]
    Metadata {
        /// Place of the entry in the block.
        place: usize,
        /// Why.
        fault: MetadataFault,
    },
    /// It is the first, and its first entry does not name the key that signs it.
    #[error("it is the first, but does not begin with the key of the ledger")]
    FirstKey,
    /// A key that it names is no Ed25519 public key.
    #[error("it names a key that is none")]
    Key,
    /// Its root is not the one over the entries so far and its own.
    #[error("its root is not that of its entries and those before")]
    Root,
    /// It was not signed with the key of the ledger.
    #[error("its signature is not that of the ledger")]
    Signature,
}
