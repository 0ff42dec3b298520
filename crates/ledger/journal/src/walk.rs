//! Reading blocks one after the other from all segments.

use std::io;

use proof::{BlockFault, HEADER_BYTES, Hash, Header, HeaderFault, Tail, Timestamp};

use crate::disk::File;
use crate::error::{JournalError, io_error};
use crate::floor::Floor;
use crate::segments::{Segments, name_of};

/// How much is read at a time. Blocks can be longer.
const WINDOW: usize = 4 << 20;

/// How much is read at a time when only headers are looked at.
const HEADERS_WINDOW: usize = 16 << 10;

/// How much is looked through at a time for what is not zeros.
const SCANNED: usize = 1 << 20;

/// Where a block is, or should be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Position {
    pub(crate) segment: usize,
    pub(crate) offset: u64,
}

impl Position {
    /// So much further in the same segment.
    pub(crate) const fn plus(self, bytes: usize) -> Self {
        Self { segment: self.segment, offset: self.offset + bytes as u64 }
    }
}

/// Blocks that follow each other in a file.
pub(crate) struct Batch {
    /// Where the first one begins.
    pub(crate) at: Position,
    pub(crate) bytes: Vec<u8>,
    /// Where each ends in `bytes`.
    pub(crate) ends: Vec<usize>,
}

/// Why there is no other block.
#[derive(Debug)]
pub(crate) struct Stop {
    /// Where it would begin.
    pub(crate) at: Position,
    pub(crate) why: Why,
}

#[derive(Debug)]
pub(crate) enum Why {
    /// Nothing follows.
    End,
    /// Not what was written: damaged, or not written to its end.
    Damaged(String),
    /// Written as it is, but it does not belong there.
    Refused(String),
    /// It could not be read.
    Io(io::Error),
}

impl Stop {
    /// What stops at or below the floor is no end: the block was durable.
    pub(crate) fn unless_above(mut self, floor: &Floor, sequence: u64) -> Self {
        if sequence <= floor.sequence {
            self.why = match self.why {
                Why::End => Why::Refused("it is missing, though it was durable".to_owned()),
                Why::Damaged(problem) => Why::Refused(format!("{problem}, though it was durable")),
                why => why,
            };
        }
        self
    }

    /// As an error at the block of that sequence.
    pub(crate) fn broken(self, segments: &Segments, sequence: u64) -> JournalError {
        let problem = match self.why {
            Why::Io(error) => return io_error("read")(error),
            Why::Damaged(problem) | Why::Refused(problem) => problem,
            Why::End => "it is missing".to_owned(),
        };
        let file = segments.name(self.at.segment);
        JournalError::Broken { sequence, file, offset: self.at.offset, problem }
    }
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<HeaderFault> for Why {
    fn from(fault: HeaderFault) -> Self {
        match fault {
            HeaderFault::Damaged => Self::Damaged(fault.to_string()),
            fault => Self::Refused(fault.to_string()),
        }
    }
}

impl From<BlockFault> for Why {
    fn from(fault: BlockFault) -> Self {
        match fault {
            BlockFault::Header(fault) => fault.into(),
            BlockFault::Checksum => Self::Damaged(fault.to_string()),
            fault => Self::Refused(fault.to_string()),
        }
    }
}

/// A place in the journal that moves from block to block.
pub(crate) struct Walk<'a> {
    segments: &'a Segments,
    at: Position,
    /// Sequence of the block that belongs there.
    sequence: u64,
}

impl<'a> Walk<'a> {
    /// Begins before the first block.
    pub(crate) fn begin(segments: &'a Segments) -> Result<Self, Stop> {
        let walk = Self { segments, at: Position::default(), sequence: 1 };
        match segments.first(0) {
            Some(first) if first != 1 => Err(walk.stop(missing(first))),
            _ => Ok(walk),
        }
    }

    /// Goes back to the block of that sequence.
    pub(crate) fn back_to(&mut self, at: Position, sequence: u64) {
        (self.at, self.sequence) = (at, sequence);
    }

    /// Reads the next blocks, at least one.
    pub(crate) fn next(&mut self, mut bytes: Vec<u8>) -> Result<Batch, Stop> {
        loop {
            match self.read_blocks(&mut bytes) {
                Ok(ends) => {
                    let at = self.at;
                    let end = ends.last().copied().unwrap_or_default();
                    bytes.truncate(end);
                    self.at.offset += end as u64;
                    self.sequence += ends.len() as u64;
                    return Ok(Batch { at, bytes, ends });
                }
                Err(why) => self.pass_end(why)?,
            }
        }
    }

    /// Moves past the block that `tail` is after, looking at headers alone.
    pub(crate) fn skip_to(
        &mut self,
        tail: &Tail,
        floor: &Floor,
        found: &mut dyn FnMut(&Header, Position),
    ) -> Result<(), Stop> {
        let mut window = Window::default();
        let mut before = Before::default();
        while self.sequence <= tail.sequence {
            let read = self.read_header(&mut window);
            let header = match read {
                Ok(header) => header,
                Err(why) => {
                    self.pass_end(why)?;
                    continue;
                }
            };
            let checked = before.pass(&header, tail).and_then(|()| floor.check(&header));
            checked.map_err(|problem| self.stop(Why::Refused(problem)))?;
            found(&header, self.at);
            self.at.offset += (HEADER_BYTES + header.payload_bytes()) as u64;
            self.sequence += 1;
        }
        Ok(())
    }

    fn stop(&self, why: Why) -> Stop {
        Stop { at: self.at, why }
    }

    /// Reads as many whole blocks as fit, at least one, and says where each ends.
    fn read_blocks(&self, bytes: &mut Vec<u8>) -> Result<Vec<usize>, Why> {
        let file = self.segments.file(self.at.segment)?;
        read(&*file, bytes, self.at.offset, WINDOW)?;
        let length = HEADER_BYTES + Self::decode(bytes, self.sequence)?.payload_bytes();
        if length > bytes.len() {
            read(&*file, bytes, self.at.offset, length)?;
        }
        if length > bytes.len() {
            return Err(Why::Damaged("its payload is incomplete".to_owned()));
        }
        let mut ends = vec![length];
        let mut end = length;
        // What is wrong with a later one is found when it is the first.
        while let Ok(header) = Self::decode(&bytes[end..], self.sequence + ends.len() as u64) {
            end += HEADER_BYTES + header.payload_bytes();
            if end > bytes.len() {
                break;
            }
            ends.push(end);
        }
        Ok(ends)
    }

    fn read_header(&self, window: &mut Window) -> Result<Header, Why> {
        let from = self.at.offset.wrapping_sub(window.at.offset);
        let is_in = self.at.segment == window.at.segment
            && from.saturating_add(HEADER_BYTES as u64) <= window.bytes.len() as u64;
        if !is_in {
            let file = self.segments.file(self.at.segment)?;
            read(&*file, &mut window.bytes, self.at.offset, HEADERS_WINDOW)?;
            window.at = self.at;
            return Self::decode(&window.bytes, self.sequence);
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is in the window")]
        Self::decode(&window.bytes[from as usize..], self.sequence)
    }

    /// The header of the block of that sequence, which should begin there.
    fn decode(bytes: &[u8], expected: u64) -> Result<Header, Why> {
        let header = bytes.first_chunk();
        let header = header.ok_or_else(|| Why::Damaged("its header is incomplete".to_owned()))?;
        let header = Header::decode(header)?;
        if header.sequence != expected {
            let found = header.sequence;
            return Err(BlockFault::Sequence { expected, found }.into());
        }
        Ok(header)
    }

    /// Goes on in the next segment if this one has ended, or stops.
    fn pass_end(&mut self, why: Why) -> Result<(), Stop> {
        let Why::Damaged(_) = &why else { return Err(self.stop(why)) };
        let next = self.segments.first(self.at.segment + 1);
        if next == Some(self.sequence) {
            // Nothing is missing in between.
            self.at = Position { segment: self.at.segment + 1, offset: 0 };
            return Ok(());
        }
        let rest = self.segments.file(self.at.segment);
        let rest = rest.and_then(|file| last_byte(&*file, self.at.offset));
        match (rest, next) {
            (Err(error), _) => Err(self.stop(error.into())),
            (Ok(Some(_)), _) => Err(self.stop(why)),
            (Ok(None), Some(first)) => Err(self.stop(missing(first))),
            (Ok(None), None) => Err(self.stop(Why::End)),
        }
    }
}

/// A block is missing before that segment.
fn missing(first: u64) -> Why {
    Why::Refused(format!("it is missing: {} follows", name_of(first)))
}

/// Bytes that were read ahead.
#[derive(Default)]
struct Window {
    at: Position,
    bytes: Vec<u8>,
}

/// What the header of the next block has to go with.
#[derive(Default)]
struct Before {
    hash: Hash,
    entries: u64,
    last: Timestamp,
}

impl Before {
    /// Moves past a block, the last of which is the one that `tail` is after.
    fn pass(&mut self, header: &Header, tail: &Tail) -> Result<(), String> {
        let (first, entries) = (header.first, self.entries);
        let fault = if header.ledger != tail.ledger {
            BlockFault::Ledger
        } else if header.previous != self.hash {
            BlockFault::Previous
        } else if first != entries {
            BlockFault::First { expected: entries, found: first }
        } else if header.timestamp <= self.last {
            BlockFault::Time
        } else {
            (self.hash, self.entries) = (header.hash, header.end());
            self.last = header.last_created_at();
            let is_last = header.sequence == tail.sequence;
            if is_last && (header.hash, header.end()) != (tail.hash, tail.entries()) {
                return Err("it is another block than the one of the snapshot".to_owned());
            }
            return Ok(());
        };
        Err(fault.to_string())
    }
}

/// Replaces `bytes` by what is there, at most so much.
fn read(file: &dyn File, bytes: &mut Vec<u8>, offset: u64, length: usize) -> io::Result<()> {
    let rest = usize::try_from(file.len()?.saturating_sub(offset)).unwrap_or(usize::MAX);
    bytes.resize(length.min(rest), 0);
    let read = file.read_at(bytes, offset)?;
    bytes.truncate(read);
    Ok(())
}

/// Where the last byte is that is not zero, if one is there or after.
pub(crate) fn last_byte(file: &dyn File, from: u64) -> io::Result<Option<u64>> {
    let mut bytes = Vec::new();
    let mut end = file.len()?;
    while end > from {
        let begin = end.saturating_sub(SCANNED as u64).max(from);
        #[expect(clippy::cast_possible_truncation, reason = "at most `SCANNED`")]
        read(file, &mut bytes, begin, (end - begin) as usize)?;
        // By lines, which takes a tenth of the time.
        let (lines, rest) = bytes.as_chunks::<64>();
        let in_rest = rest.iter().rposition(|byte| *byte != 0);
        let last = in_rest.map(|place| lines.len() * 64 + place).or_else(|| {
            let line = lines.iter().rposition(|line| *line != [0; 64])?;
            Some(line * 64 + lines[line].iter().rposition(|byte| *byte != 0)?)
        });
        if let Some(last) = last {
            return Ok(Some(begin + last as u64));
        }
        end = begin;
    }
    Ok(None)
}
