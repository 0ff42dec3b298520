//! Opens a ledger: its newest snapshot, then what the journal says since.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use book::{Book, Past, PastError};
use clock::Clock;
use index::Index;
use journal::{Disk, FileJournal, Journal, JournalError, RealDisk, Snapshots};
use proof::{EntryBytes, Sealer, Signatures, SigningKey, Tail, Tiles};
use tracing::{info, warn};
use uuid::Uuid;

use crate::calm::Calm;
use crate::checkpoint::{self, Checkpoints};
use crate::engine::Engine;
use crate::pipeline::{self, Parts};
use crate::progress::Progress;
use crate::query::Reader;
use crate::rotation::named_key;

/// Folder of the index in that of the ledger.
const INDEX: &str = "index";

/// How a ledger is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its folder. One process at a time may write it.
    pub folder: PathBuf,
    /// Whether a missing ledger is created, with its folder and its key.
    pub create: bool,
    /// PKCS#8 file of the Ed25519 key that signs the heads.
    pub signing_key: PathBuf,
    /// After how many entries a snapshot is saved. Fewer make a start after a kill shorter.
    pub snapshot_every: u64,
}

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The index cannot be used.
    #[error("the index of the ledger cannot be used: {0}")]
    Index(#[from] index::IndexError),
    /// The key cannot be used.
    #[error("the signing key {} cannot be used: {problem}", file.display())]
    Key {
        /// Its file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The operating system refused.
    #[error("the ledger could not be started: {0}")]
    Io(#[from] io::Error),
}

/// A ledger as its files tell it.
struct Recovered {
    book: Book,
    journal: FileJournal,
    index: Index,
    nodes: Tiles,
    tail: Tail,
    /// Entries since the snapshot that it began with.
    replayed: u64,
}

impl Engine {
    /// Opens a ledger and starts its threads. Blocks until everything in the journal is proved by
    /// its hashes and known.
    pub fn open(options: &Options, clock: Clock) -> Result<Self, OpenError> {
        let disk = disk(options)?;
        let Recovered { mut book, mut journal, mut index, nodes, tail, replayed } =
            recover_in_step(&disk, options)?;
        let reader = journal.reader();
        let mut sealer = if tail.sequence == 0 {
            let key = first_key(options)?;
            let expected = Tail::expecting(key.public(Uuid::new_v4().into_bytes()));
            Sealer::new(expected, key)
        } else {
            let key = named_key(&options.signing_key, &tail)?;
            Sealer::new(tail, key)
        }
        .map_err(|fault| unusable(&options.signing_key, fault))?;
        // The first block names the key. When the last one named another, it is confirmed by a
        // block that is signed with it: the head to show was signed with the old one.
        let key = sealer.public().clone();
        let is_confirmed =
            reader.head().is_some_and(|head| head.signed_head(&key).verify(&key).is_ok());
        if !is_confirmed {
            let mut block = book.begin(pipeline::now(&clock));
            book.record_key(&mut block, key.bytes());
            let header = pipeline::seal(&mut sealer, &nodes, &mut block);
            journal.append(&header, &block.bytes)?;
            pipeline::index_block(&mut index, header, &block)?;
        }
        let head = reader.head().ok_or(JournalError::Closed)?;
        let progress = Progress::new(head, sealer.public().clone());
        let checkpoints = Checkpoints::new(Snapshots::new(disk), nodes);
        let reader = Reader {
            journal: reader,
            index: index.reader(),
            lookup: book.lookup(),
            progress: progress.clone(),
            checkpoints: checkpoints.clone(),
        };
        let parts = Parts {
            book,
            sealer,
            journal: Box::new(journal),
            reader: reader.journal.clone(),
            index,
            checkpoints,
            clock,
            snapshot_every: options.snapshot_every,
            unsaved: replayed,
        };
        let calm = Calm::default();
        let (queue, threads) = pipeline::start(parts, &progress, &calm)?;
        Ok(Self::new(queue, threads, reader, calm))
    }
}

fn disk(options: &Options) -> Result<Arc<dyn Disk>, OpenError> {
    Ok(if options.create {
        Arc::new(RealDisk::create(&options.folder)?)
    } else {
        Arc::new(RealDisk::new(&options.folder))
    })
}

/// Recovers with an index that is not ahead of the journal: of a journal that a disk has shortened
/// the index knows entries that never were.
fn recover_in_step(disk: &Arc<dyn Disk>, options: &Options) -> Result<Recovered, OpenError> {
    let recovered = recover(disk, options)?;
    let (indexed, entries) = (recovered.index.covers(), recovered.tail.entries());
    if indexed <= entries {
        return Ok(recovered);
    }
    warn!(indexed, entries, "the index is ahead of the journal: it is built again");
    drop(recovered);
    fs::remove_dir_all(options.folder.join(INDEX))?;
    recover(disk, options)
}

fn recover(disk: &Arc<dyn Disk>, options: &Options) -> Result<Recovered, OpenError> {
    let started = Instant::now();
    // Whoever can write our files can sign too: signatures are for those who read them elsewhere.
    let signatures = Signatures::Trust;
    let settings = journal::Options { create: options.create, signatures, ..Default::default() };
    let opened = FileJournal::open(Arc::clone(disk), settings)?;
    let mut index = Index::open(&options.folder.join(INDEX))?;
    let (from, nodes, mut book) = newest_snapshot(disk, index.covers())?;
    let entries = from.entries();
    let past = Replayed(opened.reader());
    let mut on_node = |level, place, hash| nodes.put(level, place, hash);
    let recovered = opened.replay(from, &mut on_node, &mut |block| {
        let effects = book.replay(block, &past).map_err(|error| error.to_string())?;
        index.add(block, &effects).map_err(|error| error.to_string())
    })?;
    let journal::Recovered { journal, tail } = recovered;
    let replayed = tail.entries() - entries;
    info!(
        entries = tail.entries(),
        replayed,
        duration = format!("{}ms", started.elapsed().as_millis()),
        "recovered the ledger from its journal"
    );
    Ok(Recovered { book, journal, index, nodes, tail, replayed })
}

/// The newest state that is saved, of entries that the index has too: what an entry did to its
/// accounts follows from the state before it alone.
fn newest_snapshot(disk: &Arc<dyn Disk>, indexed: u64) -> io::Result<(Tail, Tiles, Book)> {
    for snapshot in Snapshots::new(Arc::clone(disk)).newest_first()? {
        let entries = snapshot.entries();
        if entries > indexed {
            continue;
        }
        match checkpoint::read(&mut { snapshot }) {
            Ok(parts) => return Ok(parts),
            Err(error) => warn!(entries, %error, "a snapshot of the ledger cannot be read"),
        }
    }
    Ok((Tail::new([0; 16]), Tiles::default(), Book::default()))
}

/// The key of a new ledger, created if it may be.
fn first_key(options: &Options) -> Result<SigningKey, OpenError> {
    let file = &options.signing_key;
    if !options.create || file.exists() {
        return read_key(file);
    }
    let key = SigningKey::from_seed(&rand::random());
    create_key(file, &key).map_err(|error| unusable(file, error))?;
    Ok(key)
}

/// Writes a key to a new file that only its owner can read, durably.
pub fn create_key(file: &Path, key: &SigningKey) -> io::Result<()> {
    let mut created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    created.write_all(key.to_pem().as_bytes())?;
    created.sync_all()?;
    sync_parent(file)
}

/// Makes durable what the folder of a file has.
pub(crate) fn sync_parent(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

pub(crate) fn read_key(file: &Path) -> Result<SigningKey, OpenError> {
    let pem = fs::read_to_string(file).map_err(|error| unusable(file, error))?;
    SigningKey::from_pem(&pem).map_err(|fault| unusable(file, fault))
}

pub(crate) fn unusable(file: &Path, problem: impl ToString) -> OpenError {
    OpenError::Key { file: file.to_owned(), problem: problem.to_string() }
}

/// Entries of blocks that were replayed.
struct Replayed(journal::Reader);

impl Past for Replayed {
    fn entry(&self, number: u64, extension: &mut Vec<u8>) -> Result<EntryBytes, PastError> {
        self.0.entry(number, extension).map_err(|error| PastError(error.into()))
    }
}
