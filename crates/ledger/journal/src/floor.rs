//! The floor: which block was surely durable, as the top of the crate documents it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proof::{Hash, Header};
use tracing::warn;
use xxhash_rust::xxh3::xxh3_64;

use crate::disk::{Disk, File};

const NAME: &str = "floor";
const MAGIC: [u8; 8] = *b"MALHAFLR";
const BYTES: usize = 56;

/// How often it is written at most: it may be behind.
const PAUSE: Duration = Duration::from_millis(1);

/// A block that was durable.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Floor {
    pub(crate) sequence: u64,
    hash: Hash,
}

impl Floor {
    /// The floor of a folder. A damaged one tells nothing, as none does.
    pub(crate) fn read(disk: &dyn Disk) -> io::Result<Self> {
        let mut bytes = [0; BYTES];
        match disk.open(NAME) {
            Ok(file) => file.read_at(&mut bytes, 0)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        Ok(Self::decode(&bytes).unwrap_or_default())
    }

    /// Compares a block with the one that was durable, if it is that one.
    pub(crate) fn check(&self, header: &Header) -> Result<(), String> {
        if header.sequence == self.sequence && header.hash != self.hash {
            return Err("it is another block than the one that was durable".to_owned());
        }
        Ok(())
    }

    fn decode(bytes: &[u8; BYTES]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (hash, checksum) = rest.split_first_chunk()?;
        let is_whole = *magic == MAGIC && *checksum == xxh3_64(&bytes[..48]).to_le_bytes();
        is_whole.then(|| Self { sequence: u64::from_le_bytes(*sequence), hash: *hash })
    }

    fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..48].copy_from_slice(&self.hash);
        let checksum = xxh3_64(&bytes[..48]);
        bytes[48..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

/// Keeps the floor of a journal that is written.
pub(crate) struct FloorFile {
    file: Arc<dyn File>,
    is_timed: bool,
    written: Option<Instant>,
}

impl FloorFile {
    pub(crate) fn open(disk: &dyn Disk) -> io::Result<Self> {
        let file = match disk.open(NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = disk.create(NAME)?;
                disk.sync_folder()?;
                file
            }
            opened => opened?,
        };
        Ok(Self { file, is_timed: !disk.is_deterministic(), written: None })
    }

    /// Raises it to a durable block, unless it was raised just now.
    pub(crate) fn raise(&mut self, sequence: u64, hash: Hash) {
        let now = self.is_timed.then(Instant::now);
        if now.zip(self.written).is_some_and(|(now, written)| now - written < PAUSE) {
            return;
        }
        self.written = now;
        if let Err(error) = self.file.write_at(&Floor { sequence, hash }.encode(), 0) {
            // The block is durable all the same.
            warn!(%error, "the floor of the journal could not be written");
        }
    }

    /// Raises it durably.
    pub(crate) fn settle(&self, sequence: u64, hash: Hash) -> io::Result<()> {
        self.file.write_at(&Floor { sequence, hash }.encode(), 0)?;
        self.file.sync()
    }
}
