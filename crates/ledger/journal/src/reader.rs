//! Reading what is durable while more is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use proof::{ENTRY_BYTES, EntryBytes, HEADER_BYTES, Hash, Header, Timestamp, leaf_hash, peek};

use crate::disk::Disk;
use crate::error::ReadError;
use crate::mark::{Found, Mark, Marks, Place, REGION};
use crate::segments::Segments;

/// How many items of a table of extensions are read at a time.
const TABLE_PART: usize = 512;

/// Reads durable entries and headers. It verifies nothing: that was done when the journal was
/// opened. Clones share all.
#[derive(Clone)]
pub struct Reader(Arc<Shared>);

struct Shared {
    segments: Segments,
    marks: RwLock<Marks>,
    head: RwLock<Option<Header>>,
    /// How many entries are durable. Stored after the rest.
    durable: AtomicU64,
}

/// Entries that follow each other.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    first: u64,
    bytes: Vec<EntryBytes>,
    extensions: Vec<u8>,
    /// Where the extension of each entry ends.
    ends: Vec<u32>,
}

impl Entries {
    /// The number of the first one.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The entries without their extensions.
    pub fn entries(&self) -> &[EntryBytes] {
        &self.bytes
    }

    /// The extension of the entry in that place.
    pub fn extension(&self, place: usize) -> &[u8] {
        let from = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.extensions[from as usize..self.ends[place] as usize]
    }

    /// Each number with its entry and extension.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &EntryBytes, &[u8])> {
        let places = self.bytes.iter().enumerate();
        (self.first..)
            .zip(places)
            .map(|(number, (place, entry))| (number, entry, self.extension(place)))
    }
}

impl Reader {
    pub(crate) fn new(disk: Arc<dyn Disk>, firsts: &[u64]) -> Self {
        let shared = Shared {
            segments: Segments::new(disk, firsts),
            marks: RwLock::default(),
            head: RwLock::default(),
            durable: AtomicU64::new(0),
        };
        Self(Arc::new(shared))
    }

    pub(crate) fn segments(&self) -> &Segments {
        &self.0.segments
    }

    /// Lets everybody read a block that is durable.
    pub(crate) fn publish(&self, header: &Header, segment: u32, offset: u32) {
        self.0.marks.write().add(header, segment, offset);
        *self.0.head.write() = Some(header.clone());
        self.0.durable.store(header.end(), Ordering::Release);
    }

    /// How many entries are durable.
    pub fn durable(&self) -> u64 {
        self.0.durable.load(Ordering::Acquire)
    }

    /// The header of the last durable block.
    pub fn head(&self) -> Option<Header> {
        self.0.head.read().clone()
    }

    /// The hash of an entry as a leaf of the tree over all entries.
    pub fn leaf(&self, number: u64) -> Result<Hash, ReadError> {
        let mut extension = Vec::new();
        let entry = self.entry(number, &mut extension)?;
        Ok(leaf_hash(&entry, &extension))
    }

    /// Reads the entry of that number, and its extension into `extension` in place of what is there.
    pub fn entry(&self, number: u64, extension: &mut Vec<u8>) -> Result<EntryBytes, ReadError> {
        extension.clear();
        let found = self.mark_of(number)?;
        let Mark { segment, offset, first, .. } = found.mark;
        let in_marked = found.end().is_some_and(|end| number < end);
        let (block, first) = if in_marked {
            (u64::from(offset), first)
        } else {
            let place = self.place_of(number, &found)?;
            (place.offset, place.first)
        };
        let mut entry = [0; ENTRY_BYTES];
        let at = block + HEADER_BYTES as u64 + (number - first) * ENTRY_BYTES as u64;
        self.read(segment, &mut entry, at)?;
        let length = peek::extension(&entry);
        if length > 0 {
            let place = self.place_of(number, &found)?;
            let begin = self.extension_begin(&place, number - place.first)?;
            extension.resize(usize::from(length), 0);
            if begin + u64::from(length) > u64::from(place.heap) {
                return Err(self.damaged(segment, at));
            }
            self.read(segment, extension, place.extensions() + begin)?;
        }
        Ok(entry)
    }

    /// Reads the entries from that number on: at least one if there is one, at most `max`, and no
    /// further than the end of a block.
    pub fn entries(&self, from: u64, max: usize) -> Result<Entries, ReadError> {
        let mut read = Entries { first: from, ..Entries::default() };
        if from >= self.durable() || max == 0 {
            return Ok(read);
        }
        let place = self.place_of(from, &self.mark_of(from)?)?;
        let begin = from - place.first;
        let count = (place.end() - from).min(max as u64);
        #[expect(clippy::cast_possible_truncation, reason = "at most `max`")]
        read.bytes.resize(count as usize, [0; ENTRY_BYTES]);
        let at = place.offset + HEADER_BYTES as u64 + begin * ENTRY_BYTES as u64;
        self.read(place.segment, read.bytes.as_flattened_mut(), at)?;
        let mut length = 0;
        read.ends.extend(read.bytes.iter().map(|entry| {
            length += u32::from(peek::extension(entry));
            length
        }));
        let Some(extended) = read.bytes.iter().position(|entry| peek::extension(entry) > 0) else {
            return Ok(read);
        };
        // Extensions stand in the order of their entries.
        let heap = self.extension_begin(&place, begin + extended as u64)?;
        if heap + u64::from(length) > u64::from(place.heap) {
            return Err(self.damaged(place.segment, place.table()));
        }
        read.extensions.resize(length as usize, 0);
        self.read(place.segment, &mut read.extensions, place.extensions() + heap)?;
        Ok(read)
    }

    /// The header of the block that has the entry of that number.
    pub fn header_of(&self, number: u64) -> Result<Header, ReadError> {
        let place = self.place_of(number, &self.mark_of(number)?)?;
        self.header(&place)
    }

    /// The header of the block of that sequence.
    pub fn header_at(&self, sequence: u64) -> Result<Header, ReadError> {
        let missing = || ReadError::Missing { what: "block", number: sequence };
        let durable = self.durable();
        let found = self.0.marks.read().find(|mark| mark.sequence, sequence);
        let place = self.walk(&found.ok_or_else(missing)?, |place| place.sequence <= sequence)?;
        if place.sequence != sequence || place.first >= durable {
            return Err(missing());
        }
        self.header(&place)
    }

    /// How many entries were created at that time or before.
    pub fn number_at(&self, time: Timestamp) -> Result<u64, ReadError> {
        let (durable, time) = (self.durable(), time.nanos());
        let found = self.0.marks.read().find(|mark| mark.timestamp, time);
        let Some(found) = found else { return Ok(0) };
        let place = self.walk(&found, |place| place.timestamp <= time && place.first < durable)?;
        let created = (time - place.timestamp).saturating_add(1).min(u64::from(place.entries));
        Ok((place.first + created).min(durable))
    }

    /// The mark from which the block of an entry is found.
    fn mark_of(&self, number: u64) -> Result<Found, ReadError> {
        let found = if number < self.durable() {
            self.0.marks.read().find(|mark| mark.first, number)
        } else {
            None
        };
        found.ok_or(ReadError::Missing { what: "entry", number })
    }

    fn place_of(&self, number: u64, found: &Found) -> Result<Place, ReadError> {
        let place = self.walk(found, |place| place.first <= number)?;
        if number < place.first || number >= place.end() {
            return Err(self.damaged(place.segment, place.offset));
        }
        Ok(place)
    }

    /// The last of the blocks found from a mark that is still wanted. The one at the mark is.
    fn walk(&self, found: &Found, wanted: impl Fn(&Place) -> bool) -> Result<Place, ReadError> {
        let Mark { segment, offset, .. } = found.mark;
        let start = u64::from(offset);
        let mut bytes = [0; REGION];
        let wants_one = found.end().is_some();
        let part = if wants_one { &mut bytes[..HEADER_BYTES] } else { &mut bytes[..] };
        let length = self.0.segments.file(segment as usize)?.read_at(part, start)?;
        let bytes = &bytes[..length];
        let mut last = Place::peek(bytes, segment, start)
            .filter(|place| found.mark.is_of(place))
            .ok_or_else(|| self.damaged(segment, start))?;
        loop {
            let at = last.next();
            let next = usize::try_from(at - start).ok().and_then(|from| bytes.get(from..));
            let next = next.and_then(|bytes| Place::peek(bytes, segment, at));
            // A block that is just being written can be there in part: nothing durable follows it.
            match next.filter(|next| last.is_before(next) && wanted(next)) {
                Some(next) => last = next,
                None => return Ok(last),
            }
        }
    }

    /// Where the extension of the entry in that place of a block begins among all of them.
    ///
    /// The table has the places of extended entries in ascending order: at most as many items are
    /// before ours as there are entries before it, and at least as many as that less the entries
    /// without an extension.
    fn extension_begin(&self, block: &Place, place: u64) -> Result<u64, ReadError> {
        let (entries, extended) = (u64::from(block.entries), u64::from(block.extended));
        let mut low = place.saturating_sub(entries - extended);
        let mut high = (place + 1).min(extended);
        let mut part = [[0; 8]; TABLE_PART];
        while low < high {
            // Read around the middle.
            let begin = low + (high - low).saturating_sub(TABLE_PART as u64) / 2;
            let count = usize::try_from(high - begin).unwrap_or(usize::MAX).min(TABLE_PART);
            let items = &mut part[..count];
            self.read(block.segment, items.as_flattened_mut(), block.table() + begin * 8)?;
            match items.binary_search_by_key(&place, |item| located(*item).0) {
                Ok(found) => return Ok(located(items[found]).1),
                Err(0) => high = begin,
                Err(after) if after == count => low = begin + count as u64,
                Err(_) => break,
            }
        }
        Err(self.damaged(block.segment, block.table()))
    }

    fn header(&self, place: &Place) -> Result<Header, ReadError> {
        let mut bytes = [0; HEADER_BYTES];
        self.read(place.segment, &mut bytes, place.offset)?;
        Header::decode(&bytes).map_err(|_| self.damaged(place.segment, place.offset))
    }

    fn read(&self, segment: u32, bytes: &mut [u8], offset: u64) -> Result<(), ReadError> {
        let read = self.0.segments.file(segment as usize)?.read_at(bytes, offset)?;
        if read < bytes.len() {
            return Err(self.damaged(segment, offset));
        }
        Ok(())
    }

    fn damaged(&self, segment: u32, offset: u64) -> ReadError {
        ReadError::Damaged { file: self.0.segments.name(segment as usize), offset }
    }
}

/// What an item of a table of extensions says: the place of the entry, and where its extension
/// begins.
fn located(item: [u8; 8]) -> (u64, u64) {
    let item = u64::from_le_bytes(item);
    (item & 0xffff_ffff, item >> 32)
}
