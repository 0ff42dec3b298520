//! Verified copies of a journal, also of one that is being written.

use std::io;
use std::sync::Arc;

use proof::{Header, Tail};

use crate::disk::{Disk, File, lock};
use crate::error::{JournalError, io_error};
use crate::floor::FloorFile;
use crate::scan::Scan;
use crate::segments::{self, name_of};

/// What was verified, and copied if it was.
#[derive(Clone, Debug)]
pub struct Copied {
    /// After the last block.
    pub tail: Tail,
    /// The header of the last block, if there is one.
    pub head: Option<Header>,
    /// How many bytes were written to the copy: those that it did not have.
    pub bytes_written: u64,
    /// How many bytes after the last block are left out: it was being written, or a crash left
    /// them of one.
    pub bytes_incomplete: u64,
}

/// Verifies every block of the journal in a folder. `expected` names the key of the ledger, or is
/// [`Tail::default`] for any. Nothing is locked or changed.
pub fn verify(from: &Arc<dyn Disk>, expected: Tail) -> Result<Copied, JournalError> {
    Scan::open(from)?.run(expected, &mut |_, _, _| (), &mut |_| Ok(()))
}

/// Verifies the journal in a folder and copies it to another one, which may have a part of it
/// already: an earlier copy. It may be written meanwhile: what was durable before is copied.
pub fn backup(
    from: &Arc<dyn Disk>,
    to: &Arc<dyn Disk>,
    expected: Tail,
) -> Result<Copied, JournalError> {
    let _lock = lock(&**to)?;
    let had = segments::list(&**to).map_err(io_error("listed"))?;
    let mut target = Target { disk: &**to, current: None, bytes_written: 0, copied: Vec::new() };
    let mut copied =
        Scan::open(from)?.copy(expected, &mut |_, _, _| (), &mut |_, first, bytes, offset| {
            target.write(first, bytes, offset)
        })?;
    target.finish()?;
    if let Some(first) = had.iter().find(|first| !target.copied.contains(first)) {
        return Err(JournalError::Copy(format!("has {}, the journal has not", name_of(*first))));
    }
    if let Some(head) = &copied.head {
        let floor = FloorFile::open(&**to).map_err(io_error("given a floor"))?;
        floor.settle(head.sequence, head.hash).map_err(io_error("given a floor"))?;
    }
    to.sync_folder().map_err(io_error("synced"))?;
    copied.bytes_written = target.bytes_written;
    Ok(copied)
}

/// Verifies a copy and copies it back, to an empty folder.
pub fn restore(
    from: &Arc<dyn Disk>,
    to: &Arc<dyn Disk>,
    expected: Tail,
) -> Result<Copied, JournalError> {
    if !to.list().map_err(io_error("listed"))?.is_empty() {
        return Err(JournalError::Copy(format!("cannot be in {}: it is not empty", to.path())));
    }
    backup(from, to, expected)
}

/// The folder that is copied to.
struct Target<'a> {
    disk: &'a dyn Disk,
    /// The segment that is written: its file, how long it was, and where we are in it.
    current: Option<(Arc<dyn File>, u64, u64)>,
    bytes_written: u64,
    /// What the segments that are copied begin with.
    copied: Vec<u64>,
}

impl Target<'_> {
    /// Writes what is missing of a block.
    fn write(&mut self, first: u64, bytes: &[u8], offset: u64) -> Result<(), JournalError> {
        if self.copied.last() != Some(&first) {
            self.finish()?;
            self.begin(first).map_err(io_error("copied"))?;
        }
        let Some((file, had, end)) = &mut self.current else { return Ok(()) };
        let known = usize::try_from(had.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (known, new) = bytes.split_at(known.min(bytes.len()));
        let mut found = vec![0; known.len()];
        file.read_at(&mut found, offset).map_err(io_error("compared with its copy"))?;
        if found != known {
            let name = name_of(first);
            let problem = format!("differs from the journal: {name}, after byte {offset}");
            return Err(JournalError::Copy(problem));
        }
        if !new.is_empty() {
            file.write_at(new, offset + known.len() as u64).map_err(io_error("copied"))?;
        }
        self.bytes_written += new.len() as u64;
        *end = offset + bytes.len() as u64;
        Ok(())
    }

    fn begin(&mut self, first: u64) -> io::Result<()> {
        let name = name_of(first);
        let file = match self.disk.open(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.disk.create(&name),
            opened => opened,
        }?;
        let had = file.len()?;
        self.current = Some((file, had, 0));
        self.copied.push(first);
        Ok(())
    }

    /// Makes the segment durable. It must not have had more than the journal has.
    fn finish(&mut self) -> Result<(), JournalError> {
        let Some((file, had, end)) = self.current.take() else { return Ok(()) };
        if had > end {
            let name = self.copied.last().map(|first| name_of(*first)).unwrap_or_default();
            return Err(JournalError::Copy(format!("has more than the journal in {name}")));
        }
        file.sync().map_err(io_error("synced"))
    }
}
