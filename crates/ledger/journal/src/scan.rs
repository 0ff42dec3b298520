//! Reading and verifying a journal that another process may be writing.

use std::sync::Arc;

use proof::{Block, Chain, Hash, Header, Signatures, Tail};

use crate::backup::Copied;
use crate::disk::Disk;
use crate::error::{JournalError, io_error};
use crate::floor::Floor;
use crate::reader::Reader;
use crate::segments::{self, Segments, name_of};
use crate::torn::torn;
use crate::verify::{OnNode, Verifier};
use crate::walk::{Position, Stop, Walk, Why};

/// A journal that is read from its first block on. Nothing is locked or changed.
pub struct Scan {
    disk: Arc<dyn Disk>,
    floor: Floor,
    reader: Reader,
}

/// What takes the bytes of a block: the sequence its segment begins with, the bytes, and where
/// they begin in the segment.
pub(crate) type Sink<'a> = dyn FnMut(&Block<'_>, u64, &[u8], u64) -> Result<(), JournalError> + 'a;

impl Scan {
    /// Finds the journal in a folder.
    pub fn open(disk: &Arc<dyn Disk>) -> Result<Self, JournalError> {
        // Read first: what is durable by now has to be found.
        let floor = Floor::read(&**disk).map_err(io_error("read"))?;
        let firsts = segments::list(&**disk).map_err(io_error("listed"))?;
        if firsts.is_empty() {
            return Err(JournalError::Missing(disk.path()));
        }
        Ok(Self { disk: disk.clone(), floor, reader: Reader::new(disk.clone(), &firsts) })
    }

    /// Reads what was handed on so far, and all of it later.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Verifies every block and hands it to `on_block`. `expected` names the key of the ledger, or
    /// is [`Tail::default`] for any. What `on_block` says is wrong with a block ends it.
    ///
    /// `on_node` is told, on another thread, what [`proof::Tree::push`] tells.
    pub fn run(
        self,
        expected: Tail,
        on_node: &mut (dyn FnMut(u8, u64, Hash) + Send),
        on_block: &mut dyn FnMut(&Block<'_>) -> Result<(), String>,
    ) -> Result<Copied, JournalError> {
        self.copy(expected, on_node, &mut |block, first, _, offset| {
            let sequence = block.header.sequence;
            let broken =
                |problem| JournalError::Broken { sequence, file: name_of(first), offset, problem };
            on_block(block).map_err(broken)
        })
    }

    /// Verifies every block and hands its bytes to `sink`.
    pub(crate) fn copy(
        self,
        expected: Tail,
        on_node: &mut OnNode<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<Copied, JournalError> {
        let segments = self.reader.segments();
        let mut walk = Walk::begin(segments).map_err(|stop| stop.broken(segments, 1))?;
        let mut chain = Chain::new(expected, Signatures::Check);
        let mut head = None;
        let mut retried = None;
        loop {
            let stop = self.pass(&mut walk, &mut chain, on_node, &mut head, sink)?;
            let (at, sequence) = (stop.at, chain.tail().sequence + 1);
            walk.back_to(at, sequence);
            let stop = stop.unless_above(&self.floor, sequence);
            let left = match &stop.why {
                Why::End | Why::Damaged(_) if self.add_new(segments)? => continue,
                Why::End => Some(0),
                Why::Damaged(_) => torn(segments, at).map_err(io_error("read"))?.map(|it| it.len()),
                Why::Refused(_) | Why::Io(_) => None,
            };
            if let Some(left) = left {
                let (tail, bytes_incomplete) = (chain.into_tail(), left as u64);
                return Ok(Copied { tail, head, bytes_written: 0, bytes_incomplete });
            }
            // It may have been written while we looked; then the next look finds it whole.
            if retried.replace(at) == Some(at) || !matches!(stop.why, Why::Damaged(_)) {
                return Err(stop.broken(segments, sequence));
            }
        }
    }

    /// Verifies and hands on as far as it goes.
    fn pass(
        &self,
        walk: &mut Walk<'_>,
        chain: &mut Chain,
        on_node: &mut OnNode<'_>,
        head: &mut Option<Header>,
        sink: &mut Sink<'_>,
    ) -> Result<Stop, JournalError> {
        let mut failed = None;
        let threads = !self.disk.is_deterministic();
        let verifier = Verifier { chain, floor: self.floor, on_node };
        let stop = verifier.run(walk, threads, &mut |block, bytes, at: Position| {
            let first = self.reader.segments().first(at.segment).unwrap_or_default();
            sink(block, first, bytes, at.offset).map_err(|error| {
                failed = Some(error);
                Why::End
            })?;
            #[expect(clippy::cast_possible_truncation, reason = "segments are bounded")]
            self.reader.publish(&block.header, at.segment as u32, at.offset as u32);
            *head = Some(block.header.clone());
            Ok(())
        });
        failed.map_or(Ok(stop), Err)
    }

    /// Adds the segments that were begun meanwhile and says whether there are any.
    fn add_new(&self, segments: &Segments) -> Result<bool, JournalError> {
        let firsts = segments::list(&*self.disk).map_err(io_error("listed"))?;
        let known = segments.count();
        for first in firsts.iter().skip(known) {
            let file = self.disk.open(&name_of(*first)).map_err(io_error("opened"))?;
            segments.push(*first, file);
        }
        Ok(firsts.len() > known)
    }
}
