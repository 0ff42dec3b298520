//! Snapshots: states after so many entries, from which a replay can begin.

use std::io::{self, BufWriter, Read, Write};
use std::sync::Arc;

use tracing::warn;
use xxhash_rust::xxh3::Xxh3Default;

use crate::disk::{Disk, File};

const MAGIC: [u8; 8] = *b"MALHASNP";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 24;
const CHECKSUM_BYTES: usize = 8;

const SUFFIX: &str = ".snapshot";
const PART_SUFFIX: &str = ".snapshot.part";

/// How many are kept: a damaged one must not cost more than a longer replay.
const KEPT: usize = 2;

/// How much is read or written at a time.
const PART: usize = 1 << 20;

/// How much is written until it is synced: blocks that are synced meanwhile wait behind no more.
const SYNCED: usize = 8 << 20;

/// The snapshots in a folder, the newest two of them.
///
/// # Format
///
/// | offset | bytes | field |
/// |---|---|---|
/// | 0 | 8 | magic, `MALHASNP` |
/// | 8 | 4 | version, 1 |
/// | 12 | 4 | zeros |
/// | 16 | 8 | how many entries the state is after |
/// | 24 | | content, which is not ours to know |
/// | | 8 | XXH3-64 of all before |
#[derive(Clone)]
pub struct Snapshots {
    disk: Arc<dyn Disk>,
}

impl Snapshots {
    /// Those in that folder.
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk }
    }

    /// Writes the snapshot after so many entries, durably, and removes those no longer kept.
    pub fn write(
        &self,
        entries: u64,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let part = format!("{entries:020}{PART_SUFFIX}");
        self.remove_all(|name| name.ends_with(PART_SUFFIX))?;
        self.write_part(&part, entries, content).inspect_err(|_| {
            // It would only take room; the next one removes it if this fails.
            drop(self.disk.remove(&part));
        })?;
        self.disk.rename(&part, &name_of(entries))?;
        self.disk.sync_folder()?;
        let kept: Vec<_> = self.list()?.into_iter().take(KEPT).map(name_of).collect();
        self.remove_all(|name| name.ends_with(SUFFIX) && !kept.iter().any(|kept| kept == name))
    }

    /// Those that are whole, newest first. Each is verified before it is given.
    pub fn newest_first(&self) -> io::Result<impl Iterator<Item = Snapshot>> {
        let all = self.list()?.into_iter();
        Ok(all.filter_map(|entries| {
            let opened = self.disk.open(&name_of(entries)).and_then(|file| verify(&*file, entries));
            let opened = opened.and_then(|end| Ok((self.disk.open(&name_of(entries))?, end)));
            let warn = |error: &io::Error| warn!(entries, %error, "skipping a broken snapshot");
            let (file, end) = opened.inspect_err(warn).ok()?;
            Some(Snapshot { entries, file, offset: HEADER_BYTES as u64, end })
        }))
    }

    /// The numbers of entries that there are snapshots after, greatest first.
    fn list(&self) -> io::Result<Vec<u64>> {
        let names = self.disk.list()?;
        let mut all: Vec<_> = names
            .iter()
            .filter_map(|name| name.strip_suffix(SUFFIX)?.parse().ok())
            .filter(|entries| names.contains(&name_of(*entries)))
            .collect();
        all.sort_unstable_by(|one: &u64, other| other.cmp(one));
        Ok(all)
    }

    fn write_part(
        &self,
        name: &str,
        entries: u64,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let file = self.disk.create(name)?;
        let sink = Sink { file: &*file, offset: 0, unsynced: 0, hash: Xxh3Default::new() };
        let mut to = BufWriter::with_capacity(PART, sink);
        to.write_all(&header(entries))?;
        content(&mut to)?;
        to.flush()?;
        let checksum = to.get_ref().hash.digest().to_le_bytes();
        to.write_all(&checksum)?;
        to.flush()?;
        file.sync()
    }

    fn remove_all(&self, is_unwanted: impl Fn(&str) -> bool) -> io::Result<()> {
        let names = self.disk.list()?;
        names.iter().filter(|name| is_unwanted(name)).try_for_each(|name| self.disk.remove(name))
    }
}

/// The content of a snapshot. It is read unbuffered.
pub struct Snapshot {
    entries: u64,
    file: Arc<dyn File>,
    offset: u64,
    /// Where the content ends.
    end: u64,
}

impl Snapshot {
    /// How many entries the state is after.
    pub fn entries(&self) -> u64 {
        self.entries
    }
}

impl Read for Snapshot {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
        let wanted = bytes.len().min(rest);
        let read = self.file.read_at(&mut bytes[..wanted], self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

struct Sink<'a> {
    file: &'a dyn File,
    offset: u64,
    /// Bytes since the last sync.
    unsynced: usize,
    hash: Xxh3Default,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, self.offset)?;
        self.hash.update(bytes);
        self.offset += bytes.len() as u64;
        self.unsynced += bytes.len();
        if self.unsynced >= SYNCED {
            self.file.sync()?;
            self.unsynced = 0;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn name_of(entries: u64) -> String {
    format!("{entries:020}{SUFFIX}")
}

fn header(entries: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..].copy_from_slice(&entries.to_le_bytes());
    bytes
}

/// Reads all of it and says where the content ends.
fn verify(file: &dyn File, entries: u64) -> io::Result<u64> {
    let damaged = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let length = file.len()?;
    let end =
        length.checked_sub(CHECKSUM_BYTES as u64).ok_or_else(|| damaged("it is too short"))?;
    let mut begin = [0; HEADER_BYTES];
    if file.read_at(&mut begin, 0)? < HEADER_BYTES || begin != header(entries) {
        return Err(damaged("its header is not that of such a snapshot"));
    }
    let mut hash = Xxh3Default::new();
    let mut part = vec![0; PART];
    let mut offset = 0;
    while offset < end {
        let wanted = usize::try_from(end - offset).unwrap_or(usize::MAX).min(PART);
        let read = file.read_at(&mut part[..wanted], offset)?;
        if read == 0 {
            return Err(damaged("it became shorter"));
        }
        hash.update(&part[..read]);
        offset += read as u64;
    }
    let mut checksum = [0; CHECKSUM_BYTES];
    file.read_at(&mut checksum, end)?;
    if checksum != hash.digest().to_le_bytes() {
        return Err(damaged("it does not match its checksum"));
    }
    Ok(end)
}
