//! Writing blocks.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use proof::{HEADER_BYTES, Hash, Header};

use crate::disk::{Disk, File};
use crate::error::{JournalError, io_error};
use crate::floor::FloorFile;
use crate::reader::Reader;
use crate::segments::{Spare, name_of};

/// What the system reads and writes at a time.
const PAGE_BYTES: u64 = 4_096;

/// Larger blocks are written as they are: reading a page is little beside writing them.
const PADDED_BYTES_MAX: usize = 1 << 16;

/// How long the first segment becomes before the next one is prepared: a ledger that is hardly used
/// takes up no more than it needs.
const UNZEROED_BYTES: u64 = 1 << 20;

/// Keeps blocks durably and in order.
pub trait Journal: Send {
    /// Ends it cleanly: the next start knows that every block was durable.
    fn close(self: Box<Self>) -> Result<(), JournalError>;

    /// Writes the next block, header and payload, which is durable when this returns.
    ///
    /// After an error nothing can be known of what is on disk: every later call fails.
    ///
    /// # Panics
    /// When it is not the next block, or the bytes are more or fewer than its header says.
    fn append(&mut self, header: &Header, bytes: &[u8]) -> Result<(), JournalError>;
}

/// The journal in a folder, which no other process can write while this one lives.
pub struct FileJournal {
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    reader: Reader,
    /// Where to append; none after a failure.
    end: Option<End>,
    spare: Spare,
    /// Whether the file of the last segment was filled with zeros. If not, it is given up for one
    /// that was as soon as there is one.
    is_zeroed: bool,
    /// A block and zeros.
    padded: Vec<u8>,
    floor: FloorFile,
    /// Given back last.
    _lock: Box<dyn Any + Send + Sync>,
}

/// The end of the journal.
pub(crate) struct End {
    pub(crate) file: Arc<dyn File>,
    /// Which segment the file is.
    pub(crate) segment: u32,
    /// Where the next block goes in it.
    pub(crate) offset: u64,
    /// Of the last block.
    pub(crate) sequence: u64,
    /// Of the last block.
    pub(crate) hash: Hash,
}

impl FileJournal {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        segment_bytes: u64,
        reader: Reader,
        end: End,
        lock: Box<dyn Any + Send + Sync>,
    ) -> Result<Self, JournalError> {
        let mut floor = FloorFile::open(&*disk).map_err(io_error("given a floor"))?;
        if end.sequence > 0 {
            floor.raise(end.sequence, end.hash);
        }
        let is_zeroed = end.file.len().map_err(io_error("read"))? > end.offset;
        let (spare, end) = (Spare::default(), Some(end));
        let padded = Vec::new();
        Ok(Self { disk, segment_bytes, reader, end, spare, is_zeroed, padded, floor, _lock: lock })
    }

    /// Reads what is durable.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Ends it cleanly: the next start knows that every block was durable.
    pub fn close(self) -> Result<(), JournalError> {
        match &self.end {
            Some(end) if end.sequence > 0 => {
                self.floor.settle(end.sequence, end.hash).map_err(io_error("closed"))
            }
            _ => Ok(()),
        }
    }

    /// Writes a block. A small one is written with the zeros up to the end of its page, which stand
    /// there already: the system would have to read the page first to change a part of it.
    fn write(&mut self, end: &End, bytes: &[u8]) -> io::Result<()> {
        if !self.is_zeroed || bytes.len() > PADDED_BYTES_MAX {
            return end.file.write_at(bytes, end.offset);
        }
        self.padded.clear();
        self.padded.extend_from_slice(bytes);
        let written = end.offset + bytes.len() as u64;
        let zeros = written.next_multiple_of(PAGE_BYTES).min(self.segment_bytes).max(written);
        let zeros = usize::try_from(zeros - written).unwrap_or_default();
        self.padded.resize(bytes.len() + zeros, 0);
        end.file.write_at(&self.padded, end.offset)
    }

    /// Goes on in the next segment, which begins with that block.
    fn roll(&mut self, end: &mut End, sequence: u64) -> Result<(), JournalError> {
        // Durably, before the next one is there: nothing but blocks is in all but the last.
        let cut = end.file.set_len(end.offset).and_then(|()| end.file.sync());
        cut.map_err(io_error("cut at its last block"))?;
        let name = name_of(sequence);
        let spare = self.spare.take(&*self.disk, &name).map_err(io_error("renamed"))?;
        self.is_zeroed = spare.is_some();
        end.file = match spare {
            Some(file) => file,
            None => self.disk.create(&name).map_err(io_error("created"))?,
        };
        self.disk.sync_folder().map_err(io_error("synced"))?;
        self.reader.segments().push(sequence, end.file.clone());
        end.segment += 1;
        end.offset = 0;
        Ok(())
    }
}

impl Journal for FileJournal {
    fn close(self: Box<Self>) -> Result<(), JournalError> {
        (*self).close()
    }

    fn append(&mut self, header: &Header, bytes: &[u8]) -> Result<(), JournalError> {
        // Given back only on success: what a failed write or sync left behind is unknown.
        let mut end = self.end.take().ok_or(JournalError::Closed)?;
        assert_eq!((header.sequence, header.previous), (end.sequence + 1, end.hash));
        assert_eq!(bytes.len(), HEADER_BYTES + header.payload_bytes());
        let length = bytes.len() as u64;
        let is_full = end.offset + length > self.segment_bytes;
        let is_slow = !self.is_zeroed && end.offset > UNZEROED_BYTES;
        if end.offset > 0 && (is_full || (is_slow && self.spare.is_ready())) {
            self.roll(&mut end, header.sequence)?;
        }
        self.write(&end, bytes).map_err(io_error("written"))?;
        let started = Instant::now();
        end.file.sync().map_err(io_error("synced"))?;
        metrics::histogram!("ledger_journal_sync_seconds").record(started.elapsed());
        let offset = u32::try_from(end.offset).expect("segments are bounded");
        self.reader.publish(header, end.segment, offset);
        (end.sequence, end.hash) = (header.sequence, header.hash);
        end.offset += length;
        self.floor.raise(end.sequence, end.hash);
        let soon = self.segment_bytes / 4;
        if end.offset > if self.is_zeroed { soon } else { soon.min(UNZEROED_BYTES) } {
            self.spare.prepare(&self.disk, self.segment_bytes);
        }
        self.end = Some(end);
        Ok(())
    }
}
