//! A block that is being built.

use proof::{
    ENTRIES_MAX, ENTRY_BYTES, Entry, EntryBytes, HEADER_BYTES, PAYLOAD_BYTES_MAX, Parts, Timestamp,
    Transfer,
};

use crate::rows::Side;

/// Changes that become durable together, in order of execution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// When it began, and when its first entry was created. Each next one is a nanosecond later.
    pub timestamp: Timestamp,
    /// Number of its first entry.
    pub first: u64,
    /// Room for a header, then the entries.
    pub bytes: Vec<u8>,
    /// For each entry with an extension its place in the block, and where its extension begins.
    pub extended: Vec<(u32, u32)>,
    /// The extensions.
    pub heap: Vec<u8>,
    /// What its entries did to accounts.
    pub effects: Effects,
}

impl Block {
    /// An empty block.
    pub(crate) fn new(timestamp: Timestamp, first: u64) -> Self {
        Self { timestamp, first, bytes: vec![0; HEADER_BYTES], ..Self::default() }
    }

    /// Appends the places of extensions and the extensions to the bytes: it is to be sealed.
    pub fn finish(&mut self) -> Parts {
        let parts = Parts {
            entries: small(self.len()),
            extended: small(self.extended.len()),
            heap: small(self.heap.len()),
        };
        for (place, offset) in self.extended.drain(..) {
            self.bytes.extend_from_slice(&place.to_le_bytes());
            self.bytes.extend_from_slice(&offset.to_le_bytes());
        }
        self.bytes.append(&mut self.heap);
        parts
    }

    /// Makes room for so many transfers, so that it need not be made for each.
    pub(crate) fn reserve(&mut self, transfers: usize) {
        self.bytes.reserve(transfers * ENTRY_BYTES);
        self.effects.postings.reserve(2 * transfers);
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER_BYTES
    }

    /// Its entries.
    pub fn entries(&self) -> &[EntryBytes] {
        self.bytes[HEADER_BYTES..].as_chunks::<ENTRY_BYTES>().0
    }

    /// Extension of the entry in that place.
    pub fn extension(&self, place: usize) -> &[u8] {
        let Ok(index) = self.extended.binary_search_by_key(&place, |(of, _)| *of as usize) else {
            return &[];
        };
        let end = self.extended.get(index + 1).map_or(self.heap.len(), |(_, end)| *end as usize);
        &self.heap[self.extended[index].1 as usize..end]
    }

    /// Whether a batch that takes up so much fits in as well. An empty block has room for any
    /// batch of 8,189 items.
    pub fn has_room(&self, room: Room) -> bool {
        let entries = self.len() + room.entries;
        let extended = self.extended.len() + room.extended;
        let heap = self.heap.len() + room.heap;
        entries <= ENTRIES_MAX && entries * ENTRY_BYTES + extended * 8 + heap <= PAYLOAD_BYTES_MAX
    }

    /// Number of the next entry.
    pub(crate) fn next_number(&self) -> u64 {
        self.first + self.len() as u64
    }

    /// When the next entry will have been created.
    pub(crate) fn next_time(&self) -> Timestamp {
        Timestamp::from_nanos(self.timestamp.nanos() + self.len() as u64)
    }

    /// When the last entry was created.
    pub(crate) fn last_time(&self) -> Timestamp {
        Timestamp::from_nanos(self.next_time().nanos() - 1)
    }

    pub(crate) fn push(&mut self, entry: &Entry, extension: &[u8]) {
        self.push_bytes(&entry.encode(), extension);
    }

    pub(crate) fn push_transfer(&mut self, transfer: &Transfer, extension: &[u8]) {
        let mut bytes = [0; ENTRY_BYTES];
        transfer.encode(&mut bytes);
        self.push_bytes(&bytes, extension);
    }

    fn push_bytes(&mut self, entry: &EntryBytes, extension: &[u8]) {
        if !extension.is_empty() {
            self.extended.push((small(self.len()), small(self.heap.len())));
            self.heap.extend_from_slice(extension);
        }
        self.bytes.extend_from_slice(entry);
    }

    /// Where it ends now.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            bytes: self.bytes.len(),
            extended: self.extended.len(),
            heap: self.heap.len(),
            postings: self.effects.postings.len(),
            backdated: self.effects.backdated.len(),
        }
    }

    /// Takes back what was added since.
    pub(crate) fn go_back(&mut self, mark: &Mark) {
        self.bytes.truncate(mark.bytes);
        self.extended.truncate(mark.extended);
        self.heap.truncate(mark.heap);
        self.effects.postings.truncate(mark.postings);
        self.effects.backdated.truncate(mark.backdated);
    }
}

/// A number or length of something in a block.
fn small(value: usize) -> u32 {
    u32::try_from(value).expect("a block has at most 24 MiB")
}

/// Where a block ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    bytes: usize,
    extended: usize,
    heap: usize,
    postings: usize,
    backdated: usize,
}

/// What something takes up in a block, at most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Room {
    /// Entries.
    pub entries: usize,
    /// Entries with an extension.
    pub extended: usize,
    /// Bytes of extensions.
    pub heap: usize,
}

impl Room {
    /// Of so many entries without extensions.
    pub const fn entries(entries: usize) -> Self {
        Self { entries, extended: 0, heap: 0 }
    }
}

/// What the entries of a block did to accounts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// Two for each transfer and expiry.
    pub postings: Vec<Posting>,
    /// Two for each transfer that changed what is posted and counts from before it was created.
    pub backdated: Vec<Backdated>,
    /// One for each amendment.
    pub amendments: Vec<AmendmentAt>,
}

/// A side of an account after an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Posting {
    /// Row of the account, 27 bits; 0 for debits or 1 for credits, 1 bit; number of the entry, 36
    /// bits.
    pub key: u64,
    /// Minor units posted on that side after it.
    pub posted: u64,
    /// Minor units on hold on that side after it.
    pub pending: u64,
}

impl Posting {
    pub(crate) fn new(row: u32, side: u8, number: u64, after: Side) -> Self {
        let key = u64::from(row) << 37 | u64::from(side) << 36 | number;
        Self { key, posted: after.posted, pending: after.pending }
    }
}

/// A posting that counts from before it was created.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backdated {
    /// Row of the account.
    pub row: u32,
    /// 0 for debits, 1 for credits.
    pub side: u8,
    /// From when on it counts.
    pub effective_at: Timestamp,
    /// Number of the transfer.
    pub number: u64,
    /// Minor units that it added to what is posted.
    pub amount: u64,
}

/// A change of an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AmendmentAt {
    /// Row of the account.
    pub row: u32,
    /// Number of the amendment.
    pub number: u64,
    /// Whether the account is closed from now on.
    pub is_closed: bool,
    /// Its overdraft from now on.
    pub overdraft: u64,
}
