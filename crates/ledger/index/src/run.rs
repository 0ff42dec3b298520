//! Runs: sorted records in memory or in a file that never changes.
//!
//! # Format
//!
//! A run is the file `<number>.run`, the number in 16 hexadecimal digits. What it holds, and how
//! many records, says the manifest. Integers are little-endian, checksums are XXH3-64. A page is
//! 170 records of three words or 256 of two; the last may be shorter.
//!
//! | bytes | what |
//! |---|---|
//! | 24 or 16 each | the records, ascending by key |
//! | 24 each | for each page: the key of its first record, its upper half first; its checksum |
//! | 8 | checksum of what is between the records and here |

use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use crate::IndexError;
use crate::record::{Keyspace, Record, key};

/// Bytes of a page at most.
const PAGE_BYTES: usize = 4096;

/// Pages that are read or written at once where all of a run is.
pub(crate) const CHUNK_PAGES: usize = 32;

/// Bytes of the key and checksum of a page.
const FENCE_BYTES: usize = 24;

/// Sorted records of the entries of a range of numbers.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) keyspace: Keyspace,
    pub(crate) numbers: Range<u64>,
    pub(crate) len: usize,
    store: Store,
}

#[derive(Debug)]
enum Store {
    Memory(Vec<Record>),
    File(Stored),
}

/// Where a run is stored.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) number: u64,
    pub(crate) level: u8,
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    /// The first key of each page and its checksum.
    fences: Vec<Record>,
}

/// The page that was read last.
#[derive(Debug, Default)]
pub(crate) struct Page {
    of: Option<(u64, usize)>,
    bytes: Vec<u8>,
}

/// What the manifest says of a run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RunEntry {
    pub(crate) number: u64,
    pub(crate) keyspace: Keyspace,
    pub(crate) level: u8,
    pub(crate) numbers: Range<u64>,
    pub(crate) len: u64,
}

impl Keyspace {
    /// Records of a page.
    pub(crate) const fn page_records(self) -> usize {
        PAGE_BYTES / self.record_bytes()
    }
}

fn decode(keyspace: Keyspace, bytes: &[u8]) -> Record {
    let mut record = [0; 3];
    for (word, bytes) in record.iter_mut().zip(bytes[..keyspace.record_bytes()].as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    record
}

fn encode(keyspace: Keyspace, records: &[Record], bytes: &mut Vec<u8>) {
    for record in records {
        for word in &record[..keyspace.words()] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
}

impl Run {
    /// A run in memory. The records are sorted, and have sums.
    pub(crate) fn memory(keyspace: Keyspace, numbers: Range<u64>, records: Vec<Record>) -> Self {
        debug_assert!(records.is_sorted_by_key(key));
        Self { keyspace, numbers, len: records.len(), store: Store::Memory(records) }
    }

    /// Opens a stored run. None when it is not what the manifest says.
    pub(crate) fn open(folder: &Path, entry: &RunEntry) -> Option<Self> {
        let path = path(folder, entry.number);
        let file = File::open(&path).ok()?;
        let len = usize::try_from(entry.len).ok()?;
        let records = len.checked_mul(entry.keyspace.record_bytes())?;
        let pages = len.div_ceil(entry.keyspace.page_records());
        let bytes = records.checked_add(pages * FENCE_BYTES + 8)?;
        if file.metadata().ok()?.len() != bytes as u64 {
            return None;
        }
        let mut tail = vec![0; bytes - records];
        file.read_exact_at(&mut tail, records as u64).ok()?;
        let (fences, checksum) = tail.split_last_chunk()?;
        if u64::from_le_bytes(*checksum) != xxh3_64(fences) {
            return None;
        }
        let fences = fences.as_chunks::<FENCE_BYTES>().0.iter();
        let fences = fences.map(|fence| decode(Keyspace::Postings, fence)).collect();
        let stored = Stored { number: entry.number, level: entry.level, path, file, fences };
        let RunEntry { keyspace, numbers, .. } = entry.clone();
        Some(Self { keyspace, numbers, len, store: Store::File(stored) })
    }

    /// Where it is stored, unless it is in memory.
    pub(crate) fn stored(&self) -> Option<&Stored> {
        match &self.store {
            Store::Memory(_) => None,
            Store::File(stored) => Some(stored),
        }
    }

    /// Its level: 0 in memory, then one more each time it is merged.
    pub(crate) fn level(&self) -> u8 {
        self.stored().map_or(0, |stored| stored.level)
    }

    /// What the manifest says of it, unless it is in memory.
    pub(crate) fn entry(&self) -> Option<RunEntry> {
        self.stored().map(|stored| RunEntry {
            number: stored.number,
            keyspace: self.keyspace,
            level: stored.level,
            numbers: self.numbers.clone(),
            len: self.len as u64,
        })
    }

    /// How many records have a smaller key. Reads one page at most.
    pub(crate) fn lower_bound(&self, bound: u128, page: &mut Page) -> Result<usize, IndexError> {
        let stored = match &self.store {
            Store::Memory(records) => {
                return Ok(records.partition_point(|record| key(record) < bound));
            }
            Store::File(stored) => stored,
        };
        let after = stored.fences.partition_point(|fence| key(fence) < bound);
        let Some(number) = after.checked_sub(1) else { return Ok(0) };
        self.load(stored, number, page)?;
        let (mut low, mut high) = (0, page.bytes.len() / self.keyspace.record_bytes());
        while low < high {
            let middle = usize::midpoint(low, high);
            if key(&self.decode_in(page, middle)) < bound {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(number * self.keyspace.page_records() + low)
    }

    /// The key of a record. Reads no page when it is the first of one.
    pub(crate) fn key(&self, place: usize, page: &mut Page) -> Result<u128, IndexError> {
        let page_records = self.keyspace.page_records();
        if let Store::File(stored) = &self.store
            && place.is_multiple_of(page_records)
        {
            return Ok(key(&stored.fences[place / page_records]));
        }
        Ok(key(&self.record(place, page)?))
    }

    /// A record. Reads its page unless it was the last one read.
    pub(crate) fn record(&self, place: usize, page: &mut Page) -> Result<Record, IndexError> {
        let stored = match &self.store {
            Store::Memory(records) => return Ok(records[place]),
            Store::File(stored) => stored,
        };
        let page_records = self.keyspace.page_records();
        self.load(stored, place / page_records, page)?;
        Ok(self.decode_in(page, place % page_records))
    }

    /// Appends the next records from `place` on, which begins a page, at most [`CHUNK_PAGES`] of
    /// them; none at the end.
    pub(crate) fn read(
        &self,
        place: usize,
        bytes: &mut Vec<u8>,
        records: &mut Vec<Record>,
    ) -> Result<(), IndexError> {
        let page_records = self.keyspace.page_records();
        let end = self.len.min(place + CHUNK_PAGES * page_records);
        let stored = match &self.store {
            Store::Memory(all) => {
                records.extend_from_slice(&all[place..end]);
                return Ok(());
            }
            Store::File(stored) => stored,
        };
        if place < end {
            let pages = place / page_records..end.div_ceil(page_records);
            self.read_pages(stored, pages, bytes)?;
            let chunks = bytes.chunks_exact(self.keyspace.record_bytes());
            records.extend(chunks.map(|record| decode(self.keyspace, record)));
        }
        Ok(())
    }

    fn decode_in(&self, page: &Page, place: usize) -> Record {
        decode(self.keyspace, &page.bytes[place * self.keyspace.record_bytes()..])
    }

    fn load(&self, stored: &Stored, number: usize, page: &mut Page) -> Result<(), IndexError> {
        let of = Some((stored.number, number));
        if page.of != of {
            page.of = None;
            self.read_pages(stored, number..number + 1, &mut page.bytes)?;
            page.of = of;
        }
        Ok(())
    }

    /// Reads pages and checks them.
    fn read_pages(
        &self,
        stored: &Stored,
        pages: Range<usize>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), IndexError> {
        let page_bytes = self.keyspace.page_records() * self.keyspace.record_bytes();
        let start = pages.start * page_bytes;
        let end = (self.len * self.keyspace.record_bytes()).min(pages.end * page_bytes);
        bytes.resize(end - start, 0);
        stored.file.read_exact_at(bytes, start as u64).map_err(IndexError::io(&stored.path))?;
        for (page, bytes) in pages.zip(bytes.chunks(page_bytes)) {
            if xxh3_64(bytes) != stored.fences[page][2] {
                return Err(IndexError::Damaged { file: stored.number, page });
            }
        }
        Ok(())
    }
}

/// The file of the run of that number.
pub(crate) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}.run"))
}

/// Writes a run to a new file.
pub(crate) struct RunWriter {
    keyspace: Keyspace,
    len: usize,
    written: u64,
    bytes: Vec<u8>,
    stored: Stored,
}

impl RunWriter {
    /// Creates the file. What was there before is overwritten: the manifest did not list it.
    pub(crate) fn create(
        folder: &Path,
        keyspace: Keyspace,
        number: u64,
        level: u8,
    ) -> Result<Self, IndexError> {
        let path = path(folder, number);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&path).map_err(IndexError::io(&path))?;
        let stored = Stored { number, level, path, file, fences: Vec::new() };
        Ok(Self { keyspace, len: 0, written: 0, bytes: Vec::new(), stored })
    }

    /// Appends records, whole pages of them except for the last call.
    pub(crate) fn write(&mut self, records: &[Record]) -> Result<(), IndexError> {
        debug_assert!(self.len.is_multiple_of(self.keyspace.page_records()));
        self.bytes.clear();
        for page in records.chunks(self.keyspace.page_records()) {
            let start = self.bytes.len();
            encode(self.keyspace, page, &mut self.bytes);
            let checksum = xxh3_64(&self.bytes[start..]);
            self.stored.fences.push([page[0][0], page[0][1], checksum]);
        }
        self.len += records.len();
        self.flush()
    }

    /// Ends the file and opens it.
    pub(crate) fn finish(mut self, numbers: Range<u64>) -> Result<Run, IndexError> {
        self.bytes.clear();
        encode(Keyspace::Postings, &self.stored.fences, &mut self.bytes);
        let checksum = xxh3_64(&self.bytes);
        self.bytes.extend_from_slice(&checksum.to_le_bytes());
        self.flush()?;
        self.stored.fences.shrink_to_fit();
        let Self { keyspace, len, stored, .. } = self;
        Ok(Run { keyspace, numbers, len, store: Store::File(stored) })
    }

    /// Removes the file. What stays is removed when the index is opened.
    pub(crate) fn abandon(self) {
        let _ = fs::remove_file(self.stored.path);
    }

    fn flush(&mut self) -> Result<(), IndexError> {
        let Stored { file, path, .. } = &self.stored;
        file.write_all_at(&self.bytes, self.written).map_err(IndexError::io(path))?;
        self.written += self.bytes.len() as u64;
        Ok(())
    }
}
