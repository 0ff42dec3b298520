//! The journal in a local file.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tracing::{error, warn};

use super::format::{self, HEADER_BYTES, Hash, Header, HeaderFault};
use super::{Journal, JournalError, PAYLOAD_BYTES_MAX, Replayed};
use crate::domain::Block;

/// Name of the file in its folder.
const FILE_NAME: &str = "ledger.journal";

/// How long another process may hold the journal before we give up, and how often we look.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A journal in one file, which no other process can write while this one lives.
#[derive(Debug)]
pub(crate) struct FileJournal {
    file: File,
    path: PathBuf,
    /// Where to append; none before the replay and after a failure.
    tail: Option<Tail>,
    buffer: Vec<u8>,
}

/// The end of the journal.
#[derive(Clone, Copy, Debug, Default)]
struct Tail {
    /// Sequence of the last block; 0 when there is none.
    sequence: u64,
    /// Its hash.
    hash: Hash,
    /// Where it ends.
    offset: u64,
}

impl Tail {
    /// The next block is not what it should be.
    fn broken(&self, problem: impl Into<String>) -> JournalError {
        let sequence = self.sequence + 1;
        JournalError::Broken { sequence, offset: self.offset, problem: problem.into() }
    }
}

/// What stands at a place of the file.
enum Found {
    /// A block and where it ends.
    Block(Header, Vec<u8>),
    /// A last block that was not written to its end, and what it lacks.
    Torn(&'static str),
}

impl FileJournal {
    /// Opens the journal in `folder`; with `create`, creates what is missing of both.
    pub(crate) fn open(folder: &Path, create: bool) -> Result<Self, JournalError> {
        if create {
            create_folder(folder).map_err(io_error("created"))?;
        }
        let path = folder.join(FILE_NAME);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(JournalError::Missing(path));
            }
            opened => opened.map_err(io_error("opened"))?,
        };
        match lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::Locked(path)),
            Err(TryLockError::Error(source)) => return Err(io_error("locked")(source)),
        }
        // The name of a new file must outlive a crash as its blocks do.
        file.sync_all().and_then(|()| sync_folder(folder)).map_err(io_error("synced"))?;
        Ok(Self { file, path, tail: None, buffer: Vec::new() })
    }

    /// Cuts a last block off that was not written to its end, and keeps it in a file of its own.
    fn truncate(&self, tail: &Tail, length: u64, lacks: &str) -> Result<(), JournalError> {
        let kept = self.keep_torn(tail).map_err(io_error("copied before it is truncated"))?;
        self.file
            .set_len(tail.offset)
            .and_then(|()| self.file.sync_all())
            .map_err(io_error("truncated"))?;
        error!(
            sequence = tail.sequence + 1,
            offset = tail.offset,
            bytes = length - tail.offset,
            lacks,
            kept = %kept.display(),
            "cut an incomplete last block off the journal"
        );
        Ok(())
    }

    /// Copies what is after `tail` to a new file beside the journal, durably, and names it.
    fn keep_torn(&self, tail: &Tail) -> io::Result<PathBuf> {
        let (path, mut torn) = self.create_torn(tail.sequence + 1)?;
        let mut from = &self.file;
        let copied = from
            .seek(SeekFrom::Start(tail.offset))
            .and_then(|_| io::copy(&mut from, &mut torn))
            .and_then(|_| torn.sync_all())
            .and_then(|()| sync_folder(path.parent().unwrap_or(Path::new(""))));
        if copied.is_err() {
            // The journal still has it all; every start would leave another part of it here.
            drop(fs::remove_file(&path));
        }
        copied.map(|()| path)
    }

    /// A new file for what is left of that block. The same block may have been torn before.
    fn create_torn(&self, sequence: u64) -> io::Result<(PathBuf, File)> {
        let mut name = format!("{FILE_NAME}.torn-{sequence}");
        for again in 2.. {
            let path = self.path.with_file_name(&name);
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => return created.map(|file| (path, file)),
            }
            name = format!("{FILE_NAME}.torn-{sequence}-{again}");
        }
        unreachable!("there is always another number")
    }
}

impl Drop for FileJournal {
    /// Gives the lock back at once: closing the file does not while a child of this process that
    /// has not begun its own program yet shares it.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            warn!(%error, "the journal could not be unlocked");
        }
    }
}

impl Journal for FileJournal {
    fn replay(
        &mut self,
        apply: &mut dyn FnMut(&Block) -> Result<(), String>,
    ) -> Result<Replayed, JournalError> {
        let length = self.file.metadata().map_err(io_error("read"))?.len();
        self.file.seek(SeekFrom::Start(0)).map_err(io_error("read"))?;
        let mut reader = BufReader::with_capacity(1 << 20, &self.file);
        let mut replayed = Replayed::default();
        let mut tail = Tail::default();
        while tail.offset < length {
            let (header, payload) = match read_block(&mut reader, &tail, length)? {
                Found::Block(header, payload) => (header, payload),
                Found::Torn(lacks) => {
                    self.truncate(&tail, length, lacks)?;
                    break;
                }
            };
            format::decode_payload(&header, &payload)
                .and_then(|block| apply(&block))
                .map_err(|problem| tail.broken(problem))?;
            replayed.blocks += 1;
            replayed.transfers += u64::from(header.transfers);
            tail.sequence = header.sequence;
            tail.hash = header.hash;
            tail.offset += (HEADER_BYTES + payload.len()) as u64;
        }
        self.file.seek(SeekFrom::Start(tail.offset)).map_err(io_error("read"))?;
        self.tail = Some(tail);
        Ok(replayed)
    }

    fn append(&mut self, block: &Block) -> Result<(), JournalError> {
        // Given back only on success: what a failed write or sync left behind is unknown.
        let mut tail = self.tail.take().ok_or(JournalError::Closed)?;
        tail.sequence += 1;
        tail.hash = format::encode(block, tail.sequence, &tail.hash, &mut self.buffer);
        tail.offset += self.buffer.len() as u64;
        assert!(self.buffer.len() <= HEADER_BYTES + PAYLOAD_BYTES_MAX, "the engine bounds blocks");
        self.file.write_all(&self.buffer).map_err(io_error("written"))?;
        let started = Instant::now();
        self.file.sync_data().map_err(io_error("synced"))?;
        metrics::histogram!("ledger_journal_sync_seconds").record(started.elapsed());
        self.tail = Some(tail);
        Ok(())
    }
}

/// Reads the block after `tail` of a file of `length` bytes.
fn read_block(from: &mut impl Read, tail: &Tail, length: u64) -> Result<Found, JournalError> {
    let rest = length - tail.offset;
    let header = read(from, rest.min(HEADER_BYTES as u64))?;
    let header = match format::decode_header(&header) {
        Ok(header) => header,
        Err(HeaderFault::Unreadable(problem)) => return Err(tail.broken(problem)),
        Err(HeaderFault::Damaged(problem)) => {
            return after_damaged_header(from, tail, length, problem);
        }
    };
    if header.sequence != tail.sequence + 1 {
        return Err(tail.broken(format!("its sequence is {}", header.sequence)));
    }
    if header.previous != tail.hash {
        return Err(tail.broken("it is not chained to the block before"));
    }
    if header.payload_bytes > PAYLOAD_BYTES_MAX {
        return Err(tail.broken("its payload is too long"));
    }
    let rest = rest - HEADER_BYTES as u64;
    if rest < header.payload_bytes as u64 {
        return Ok(Found::Torn("its payload is incomplete"));
    }
    let payload = read(from, header.payload_bytes as u64)?;
    if Sha256::digest(&payload)[..] != header.payload_hash {
        let problem = "its payload does not match the payload's hash";
        let is_last = rest == header.payload_bytes as u64;
        return if is_last { Ok(Found::Torn(problem)) } else { Err(tail.broken(problem)) };
    }
    Ok(Found::Block(header, payload))
}

/// A damaged header does not tell where its block ends. It is that of the last block if what is
/// left of the file is no longer than a block and holds no other.
fn after_damaged_header(
    from: &mut impl Read,
    tail: &Tail,
    length: u64,
    problem: &'static str,
) -> Result<Found, JournalError> {
    let rest = (length - tail.offset).saturating_sub(HEADER_BYTES as u64);
    if rest > PAYLOAD_BYTES_MAX as u64 || format::contains_header(&read(from, rest)?) {
        return Err(tail.broken(problem));
    }
    Ok(Found::Torn(problem))
}

fn read(from: &mut impl Read, bytes: u64) -> Result<Vec<u8>, JournalError> {
    let mut buffer = Vec::new();
    from.take(bytes).read_to_end(&mut buffer).map_err(io_error("read"))?;
    Ok(buffer)
}

/// Creates a folder and those above it, so that they outlive a crash.
fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(Path::new(""));
    create_folder(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(above),
    }
}

/// Takes the file for ourselves. Who held it before may be about to end.
fn lock(file: &File) -> Result<(), TryLockError> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_PAUSE);
            }
            locked => return locked,
        }
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

fn io_error(doing: &'static str) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError::Io { doing, source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_failed_once_is_never_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        fs::write(&path, b"").unwrap();
        // Not opened for writing: every write fails.
        let file = File::open(&path).unwrap();
        let tail = Some(Tail::default());
        let mut journal = FileJournal { file, path: path.clone(), tail, buffer: Vec::new() };

        let error = journal.append(&Block::default()).unwrap_err();
        assert!(matches!(error, JournalError::Io { doing: "written", .. }), "{error}");
        journal.file = OpenOptions::new().write(true).open(&path).unwrap();
        let error = journal.append(&Block::default()).unwrap_err();
        assert!(matches!(error, JournalError::Closed), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"");
    }
}
