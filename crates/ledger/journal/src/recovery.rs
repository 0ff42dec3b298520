//! Opening a journal: verifying all of it, and cutting off what a crash left of the last block.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::sync::Arc;

use proof::{Block, Chain, HEADER_BYTES, Hash, Header, Signatures, Tail};

use crate::append::{End, FileJournal};
use crate::disk::{Disk, lock};
use crate::error::{JournalError, io_error};
use crate::floor::Floor;
use crate::reader::Reader;
use crate::segments::{self, name_of};
use crate::torn::{cut, cut_again, torn};
use crate::verify::Verifier;
use crate::walk::{Position, Stop, Walk, Why};

/// The one file of a journal of version 1.
const OUTDATED_NAME: &str = "ledger.journal";

/// Largest segment. Places in it have 32 bits, and it can be followed by a whole block.
const SEGMENT_BYTES_MAX: u64 = 1 << 31;

/// How a journal is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether it is created if there is none. Default: no.
    pub create: bool,
    /// After how many bytes the next segment begins, at most 2 GiB. Default: 128 MiB.
    pub segment_bytes: u64,
    /// Whether signatures are verified too. Default: yes.
    pub signatures: Signatures,
}

impl Default for Options {
    fn default() -> Self {
        Self { create: false, segment_bytes: 128 << 20, signatures: Signatures::Check }
    }
}

/// A journal that is ours, to be replayed before it is written.
pub struct Opened {
    disk: Arc<dyn Disk>,
    options: Options,
    floor: Floor,
    reader: Reader,
    lock: Box<dyn Any + Send + Sync>,
}

/// A journal that was replayed.
pub struct Recovered {
    /// Ready to be written.
    pub journal: FileJournal,
    /// After its last block.
    pub tail: Tail,
}

impl FileJournal {
    /// Opens the journal in a folder.
    pub fn open(disk: Arc<dyn Disk>, mut options: Options) -> Result<Opened, JournalError> {
        options.segment_bytes = options.segment_bytes.min(SEGMENT_BYTES_MAX);
        let names = disk.list().map_err(io_error("listed"))?;
        if names.iter().any(|name| name == OUTDATED_NAME) {
            return Err(JournalError::Outdated(disk.path()));
        }
        let is_missing = || segments::list(&*disk).map(|firsts| firsts.is_empty());
        if !options.create && is_missing().map_err(io_error("listed"))? {
            return Err(JournalError::Missing(disk.path()));
        }
        let lock = lock(&*disk)?;
        segments::remove_spare(&*disk).map_err(io_error("tidied"))?;
        if is_missing().map_err(io_error("listed"))? {
            disk.create(&name_of(1)).map_err(io_error("created"))?;
        }
        // The name of a new file must outlive a crash as its blocks do.
        disk.sync_folder().map_err(io_error("synced"))?;
        let floor = Floor::read(&*disk).map_err(io_error("read"))?;
        let firsts = segments::list(&*disk).map_err(io_error("listed"))?;
        let reader = Reader::new(disk.clone(), &firsts);
        Ok(Opened { disk, options, floor, reader, lock })
    }
}

impl Opened {
    /// Reads what was replayed so far, then what is durable.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Reads and verifies every block, hands those after `from` to `apply` in order, and is then
    /// ready to append. Of the blocks up to `from`, the headers alone are verified.
    ///
    /// `on_node` is told, on another thread, what [`proof::Tree::push`] tells.
    pub fn replay(
        self,
        from: Tail,
        on_node: &mut (dyn FnMut(u8, u64, Hash) + Send),
        apply: &mut dyn FnMut(&Block<'_>) -> Result<(), String>,
    ) -> Result<Recovered, JournalError> {
        let mut chain = Chain::new(from.clone(), self.options.signatures);
        let at = self.verify(&from, &mut chain, on_node, apply)?;
        let tail = chain.into_tail();
        let file = self.reader.segments().file(at.segment).map_err(io_error("opened"))?;
        let end = End {
            file,
            #[expect(clippy::cast_possible_truncation, reason = "far less")]
            segment: at.segment as u32,
            offset: at.offset,
            sequence: tail.sequence,
            hash: tail.hash,
        };
        let bytes = self.options.segment_bytes;
        let journal = FileJournal::new(self.disk, bytes, self.reader, end, self.lock)?;
        Ok(Recovered { journal, tail })
    }

    /// Verifies all and says where the next block goes.
    fn verify(
        &self,
        from: &Tail,
        chain: &mut Chain,
        on_node: &mut (dyn FnMut(u8, u64, Hash) + Send),
        apply: &mut dyn FnMut(&Block<'_>) -> Result<(), String>,
    ) -> Result<Position, JournalError> {
        let segments = self.reader.segments();
        let last = Cell::new(None);
        let publish = |header: &Header, at: Position| {
            last.set(Some((header.sequence, at, HEADER_BYTES + header.payload_bytes())));
            #[expect(clippy::cast_possible_truncation, reason = "segments are bounded")]
            self.reader.publish(header, at.segment as u32, at.offset as u32);
        };
        let broken = |stop| self.broken(stop, self.next_sequence());
        let mut walk = Walk::begin(segments).map_err(broken)?;
        walk.skip_to(from, &self.floor, &mut |header, at| publish(header, at)).map_err(broken)?;
        let verifier = Verifier { chain, floor: self.floor, on_node };
        let threads = !self.disk.is_deterministic();
        let stop = verifier.run(&mut walk, threads, &mut |block, _, at| {
            apply(block).map_err(Why::Refused)?;
            publish(&block.header, at);
            Ok(())
        });
        let at = stop.at;
        self.end_at(stop)?;
        if let Some((sequence, at, length)) = last.get()
            && sequence > self.floor.sequence
        {
            self.settle(at, length).map_err(io_error("made durable"))?;
        }
        Ok(at)
    }

    /// Makes a block durable that may never have been: who wrote it may have died before it was
    /// synced, or because that failed. Then the system takes what it has for durable, so it is
    /// written again first. Blocks before it were synced before it was written.
    fn settle(&self, at: Position, length: usize) -> io::Result<()> {
        let file = self.reader.segments().file(at.segment)?;
        let mut bytes = vec![0; length];
        file.read_at(&mut bytes, at.offset)?;
        file.write_at(&bytes, at.offset)?;
        file.sync()
    }

    fn next_sequence(&self) -> u64 {
        self.reader.head().map_or(0, |head| head.sequence) + 1
    }

    /// Accepts an end, and what a crash left there of a block.
    fn end_at(&self, stop: Stop) -> Result<(), JournalError> {
        let sequence = self.next_sequence();
        let stop = stop.unless_above(&self.floor, sequence);
        match &stop.why {
            Why::End => {
                let cut = cut_again(self.reader.segments(), stop.at, sequence);
                return cut.map_err(io_error("cut at its last block"));
            }
            Why::Damaged(problem) => {
                let torn = torn(self.reader.segments(), stop.at).map_err(io_error("read"))?;
                if let Some(torn) = torn {
                    let cut = cut(self.reader.segments(), stop.at, sequence, &torn, problem);
                    return cut.map_err(io_error("cut at its last block"));
                }
            }
            Why::Refused(_) | Why::Io(_) => {}
        }
        Err(self.broken(stop, sequence))
    }

    fn broken(&self, stop: Stop, sequence: u64) -> JournalError {
        stop.broken(self.reader.segments(), sequence)
    }
}
