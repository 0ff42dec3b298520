//! The manifest: which runs make up the index, and whether they can be trusted.
//!
//! # Format
//!
//! The file `manifest`, replaced by renaming. Integers are little-endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic, `MALHAIDX` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | 1 when all was synced to the disk before, else 0 |
//! | 16 | 8 | entries whose records are in the runs |
//! | 24 | 8 | number of the next run |
//! | 32 | 16 | key of the hash of references |
//! | 48 | 36 | id of the boot in which it was written; zeros when unknown |
//! | 84 | 4 | how many runs there are |
//! | 88 | 40 each | for each run, those of a keyspace in order: its number (8), keyspace (1), level (1), zeros (6), number of its first entry (8), number after its last entry (8), records (8) |
//! | after | 8 | XXH3-64 of all before |
//!
//! Runs that were not synced are trusted only in the boot in which they were written: there the
//! page cache has what the disk may lack, also after the process was killed.

use std::fs;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use crate::IndexError;
use crate::record::Keyspace;
use crate::run::RunEntry;

const MAGIC: [u8; 8] = *b"MALHAIDX";
const VERSION: u32 = 1;
const RUN_BYTES: usize = 40;

/// Id of a boot.
pub(crate) type Boot = [u8; 36];

/// Which runs make up the index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) is_clean: bool,
    pub(crate) covers: u64,
    pub(crate) next_run: u64,
    pub(crate) hash_key: [u8; 16],
    pub(crate) boot: Boot,
    pub(crate) runs: Vec<RunEntry>,
}

impl Manifest {
    /// Reads it. None when there is none, or none that can be trusted in this boot.
    pub(crate) fn read(folder: &Path, boot: Boot) -> Option<Self> {
        let manifest = Self::decode(&fs::read(path(folder)).ok()?)?;
        let is_same_boot = boot != [0; 36] && manifest.boot == boot;
        (manifest.is_clean || is_same_boot).then_some(manifest)
    }

    /// Puts it in the place of the one before. It is synced when it says that the runs are.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), IndexError> {
        let (new, path) = (folder.join("manifest.new"), path(folder));
        fs::write(&new, self.encode()).map_err(IndexError::io(&new))?;
        if self.is_clean {
            sync(&new)?;
        }
        fs::rename(&new, &path).map_err(IndexError::io(&path))?;
        if self.is_clean { sync(folder) } else { Ok(()) }
    }

    /// Removes it for good, so that no run is ever taken for one that it lists.
    pub(crate) fn remove(folder: &Path) -> Result<(), IndexError> {
        let path = path(folder);
        if path.exists() {
            fs::remove_file(&path).map_err(IndexError::io(&path))?;
            sync(folder)?;
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(96 + self.runs.len() * RUN_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&u32::from(self.is_clean).to_le_bytes());
        bytes.extend_from_slice(&self.covers.to_le_bytes());
        bytes.extend_from_slice(&self.next_run.to_le_bytes());
        bytes.extend_from_slice(&self.hash_key);
        bytes.extend_from_slice(&self.boot);
        let runs = u32::try_from(self.runs.len()).expect("merges keep runs few");
        bytes.extend_from_slice(&runs.to_le_bytes());
        for run in &self.runs {
            bytes.extend_from_slice(&run.number.to_le_bytes());
            bytes.extend_from_slice(&[run.keyspace as u8, run.level, 0, 0, 0, 0, 0, 0]);
            for number in [run.numbers.start, run.numbers.end, run.len] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (bytes, checksum) = bytes.split_last_chunk()?;
        if u64::from_le_bytes(*checksum) != xxh3_64(bytes) {
            return None;
        }
        let mut rest = bytes;
        if take(&mut rest)? != MAGIC || u32::from_le_bytes(take(&mut rest)?) != VERSION {
            return None;
        }
        let is_clean = u32::from_le_bytes(take(&mut rest)?) == 1;
        let covers = u64::from_le_bytes(take(&mut rest)?);
        let next_run = u64::from_le_bytes(take(&mut rest)?);
        let (hash_key, boot) = (take(&mut rest)?, take(&mut rest)?);
        let count = u32::from_le_bytes(take(&mut rest)?) as usize;
        if rest.len() != count * RUN_BYTES {
            return None;
        }
        let mut runs = Vec::with_capacity(count);
        while !rest.is_empty() {
            let number = u64::from_le_bytes(take(&mut rest)?);
            let [keyspace, level, ..] = take::<8>(&mut rest)?;
            let [start, end, len] = [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?];
            runs.push(RunEntry {
                number,
                keyspace: *Keyspace::ALL.get(usize::from(keyspace))?,
                level,
                numbers: u64::from_le_bytes(start)..u64::from_le_bytes(end),
                len: u64::from_le_bytes(len),
            });
        }
        Some(Self { is_clean, covers, next_run, hash_key, boot, runs })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

fn path(folder: &Path) -> PathBuf {
    folder.join("manifest")
}

/// Makes a file or folder durable.
fn sync(path: &Path) -> Result<(), IndexError> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(IndexError::io(path))
}

/// The id of this boot; zeros when the system does not tell.
pub(crate) fn boot() -> Boot {
    let id = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.first_chunk().copied().unwrap_or([0; 36])
}
