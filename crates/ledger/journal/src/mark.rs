//! Where blocks are: one mark for each 16 KiB of journal, not one for each block, which may have a
//! single entry.

use proof::{HEADER_BYTES, Header, MAGIC};

/// Blocks whose header ends within so many bytes of a mark are found from it.
pub(crate) const REGION: usize = 16 << 10;

/// A block that others are found from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) sequence: u64,
    /// Number of its first entry.
    pub(crate) first: u64,
    /// When it began, in nanoseconds.
    pub(crate) timestamp: u64,
    /// Which segment it is in.
    pub(crate) segment: u32,
    /// Where in the segment it begins.
    pub(crate) offset: u32,
}

impl Mark {
    /// Whether it is that block.
    pub(crate) const fn is_of(&self, place: &Place) -> bool {
        self.sequence == place.sequence
            && self.first == place.first
            && self.timestamp == place.timestamp
    }
}

/// All marks.
#[derive(Debug, Default)]
pub(crate) struct Marks(Vec<Mark>);

impl Marks {
    /// Adds the next block.
    pub(crate) fn add(&mut self, header: &Header, segment: u32, offset: u32) {
        let is_near = self.0.last().is_some_and(|last| {
            last.segment == segment && (offset - last.offset) as usize + HEADER_BYTES <= REGION
        });
        if !is_near {
            let (sequence, first) = (header.sequence, header.first);
            let timestamp = header.timestamp.nanos();
            self.0.push(Mark { sequence, first, timestamp, segment, offset });
        }
    }

    /// The last mark that is not after what is looked for, and the one after it.
    pub(crate) fn find(&self, key: impl Fn(&Mark) -> u64, wanted: u64) -> Option<Found> {
        let after = self.0.partition_point(|mark| key(mark) <= wanted);
        let mark = *self.0.get(after.checked_sub(1)?)?;
        Some(Found { mark, next: self.0.get(after).copied() })
    }
}

/// A mark and the one after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) mark: Mark,
    pub(crate) next: Option<Mark>,
}

impl Found {
    /// The number after the entries of the block at the mark, if the next mark is the next block.
    pub(crate) fn end(&self) -> Option<u64> {
        let next = self.next.filter(|next| next.sequence == self.mark.sequence + 1)?;
        Some(next.first)
    }
}

/// What of a header tells where things are. It was verified when the block was written or replayed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    /// Where the block begins.
    pub(crate) offset: u64,
    pub(crate) sequence: u64,
    pub(crate) timestamp: u64,
    pub(crate) first: u64,
    pub(crate) entries: u32,
    pub(crate) extended: u32,
    pub(crate) heap: u32,
}

impl Place {
    /// Reads it off the front of bytes that were at that place, unless no header is there.
    pub(crate) fn peek(bytes: &[u8], segment: u32, offset: u64) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let place = Self {
            segment,
            offset,
            sequence: u64_at(16),
            timestamp: u64_at(24),
            first: u64_at(32),
            entries: u32_at(40),
            extended: u32_at(44),
            heap: u32_at(48),
        };
        let is_bounded = place.entries as usize <= proof::ENTRIES_MAX
            && place.extended <= place.entries
            && place.heap as usize <= proof::PAYLOAD_BYTES_MAX
            && place.first.checked_add(u64::from(place.entries)).is_some();
        (header[..8] == MAGIC && is_bounded).then_some(place)
    }

    /// The number after its last entry.
    pub(crate) const fn end(&self) -> u64 {
        self.first + self.entries as u64
    }

    /// Whether the other one is the next block.
    pub(crate) const fn is_before(&self, next: &Self) -> bool {
        next.sequence == self.sequence + 1 && next.first == self.end()
    }

    /// Where its table of extensions begins in the file.
    pub(crate) const fn table(&self) -> u64 {
        self.offset + (HEADER_BYTES + self.entries as usize * proof::ENTRY_BYTES) as u64
    }

    /// Where its extensions begin in the file.
    pub(crate) const fn extensions(&self) -> u64 {
        self.table() + self.extended as u64 * 8
    }

    /// Where the next block of the file begins.
    pub(crate) const fn next(&self) -> u64 {
        self.extensions() + self.heap as u64
    }
}
