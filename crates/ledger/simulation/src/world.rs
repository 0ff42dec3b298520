//! The ledger under test: its parts joined as the engine joins them, but step by step and on a
//! simulated disk.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use book::{Block, Book, Copied, Lookup, NewAccounts, Outcome, Past, PastError, Transfers};
use index::Index;
use journal::{Disk, FileJournal, Journal, JournalError, Snapshots};
use proof::{
    EntryBytes, HEADER_BYTES, Header, Metadata, PublicKey, Sealer, Signatures, SigningKey, Tail,
    Tiles, Timestamp,
};

use crate::request::{Batch, Items, Pairs};

/// Bytes of a segment: few, so that histories have many.
pub(crate) const SEGMENT_BYTES: u64 = 1 << 18;

/// Id of all ledgers that are simulated.
pub(crate) const LEDGER: [u8; 16] = *b"simulated ledger";

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] index::IndexError),
}

/// How a ledger is opened.
pub(crate) struct Options<'a> {
    /// Where its files are.
    pub(crate) disk: Arc<dyn Disk>,
    /// Where its index is.
    pub(crate) index: &'a Path,
    /// Seeds of all keys that it may be signed with, the first one first.
    pub(crate) keys: &'a [[u8; 32]],
    /// Whether signatures are looked at.
    pub(crate) signatures: Signatures,
}

/// A running ledger.
pub(crate) struct World {
    /// What finds ids.
    pub(crate) lookup: Lookup,
    /// What reads durable entries.
    pub(crate) reader: journal::Reader,
    /// The index of durable entries.
    pub(crate) index: Index,
    /// Tiles of the tree over all sealed entries.
    pub(crate) nodes: Tiles,
    book: Book,
    sealer: Sealer,
    journal: FileJournal,
    snapshots: Snapshots,
    /// The block that is being built.
    open: Option<Block>,
    /// The key that it names.
    named: Option<SigningKey>,
    /// Blocks that wait to be written.
    sealed: VecDeque<Sealed>,
}

/// A complete block.
pub(crate) struct Sealed {
    /// Its header.
    pub(crate) header: Header,
    /// All of it.
    pub(crate) block: Block,
    /// The key that signed it.
    pub(crate) key: PublicKey,
    /// The tail of the chain there, if the state after it is to be saved.
    tail: Option<Tail>,
    /// The state, once it is copied.
    copied: Option<Copied>,
}

impl Sealed {
    /// Its entries.
    fn view(&self) -> proof::Block<'_> {
        let payload = &self.block.bytes[HEADER_BYTES..];
        proof::Block::new(self.header.clone(), payload).expect("the block is complete")
    }
}

impl World {
    /// Opens a ledger that may be new.
    pub(crate) fn open(options: &Options<'_>) -> Result<Self, OpenError> {
        let signatures = options.signatures;
        let settings = journal::Options { create: true, segment_bytes: SEGMENT_BYTES, signatures };
        let opened = FileJournal::open(options.disk.clone(), settings)?;
        let mut index = Index::open(options.index)?;
        let snapshots = Snapshots::new(options.disk.clone());
        let (from, nodes, mut book) = newest(&snapshots, index.covers())?;
        let past = Known { reader: opened.reader(), sealed: &VecDeque::new() };
        let mut on_node = |level, place, hash| nodes.put(level, place, hash);
        let recovered = opened.replay(from, &mut on_node, &mut |block| {
            let effects = book.replay(block, &past).map_err(|error| error.to_string())?;
            index.add(block, &effects).map_err(|error| error.to_string())
        })?;
        let journal::Recovered { journal, tail } = recovered;
        let tail = if tail.sequence == 0 { Tail::new(LEDGER) } else { tail };
        Ok(Self {
            lookup: book.lookup(),
            reader: journal.reader(),
            index,
            nodes,
            book,
            sealer: sealer(tail, options.keys),
            journal,
            snapshots,
            open: None,
            named: None,
            sealed: VecDeque::new(),
        })
    }

    /// How many entries there are, in all blocks that were begun.
    pub(crate) fn entries(&self) -> u64 {
        self.book.entries()
    }

    /// Begins a block, unless one is open. Says whether it did.
    pub(crate) fn begin(&mut self, now: Timestamp) -> bool {
        let is_new = self.open.is_none();
        self.open.get_or_insert_with(|| self.book.begin(now));
        is_new
    }

    /// Executes a batch in the open block.
    ///
    /// # Panics
    /// When no block is open.
    pub(crate) fn execute(&mut self, batch: &Batch) -> Result<Vec<Outcome>, PastError> {
        self.copy(1);
        let Self { book, open, sealed, reader, lookup, .. } = self;
        let block = open.as_mut().expect("a block is open");
        let past = Known { reader: reader.clone(), sealed };
        let mut outcomes = Vec::new();
        match &batch.items {
            Items::Accounts(items) => {
                let mut accounts = NewAccounts::default();
                for new in items {
                    accounts.push(new.account, &metadata(&new.metadata), new.is_linked);
                }
                book.create_accounts(block, batch.tenant, &accounts, &past, &mut outcomes)?;
            }
            Items::Amendments(items) => {
                book.amend_accounts(block, batch.tenant, items, &mut outcomes);
            }
            Items::Transfers(items) => {
                let mut transfers = Transfers::default();
                for new in items {
                    transfers.push(new.transfer, &metadata(&new.metadata));
                }
                lookup.look_ahead(batch.tenant, &mut transfers);
                book.create_transfers(block, batch.tenant, &transfers, &past, &mut outcomes)?;
            }
        }
        Ok(outcomes)
    }

    /// Names a key in the open block, which signs the blocks after it; or the very first ones.
    ///
    /// # Panics
    /// When no block is open.
    pub(crate) fn name_key(&mut self, seed: &[u8; 32]) {
        let key = SigningKey::from_seed(seed);
        let block = self.open.as_mut().expect("a block is open");
        let is_first = self.book.entries() == 0;
        self.book.record_key(block, key.public(LEDGER).bytes());
        self.named = (!is_first).then_some(key);
    }

    /// The state of all accounts in the open block, and how many entries it is after.
    pub(crate) fn snapshot(&self) -> book::Snapshot {
        self.book.snapshot()
    }

    /// Records the root over the states of all accounts in the open block.
    ///
    /// # Panics
    /// When no block is open.
    pub(crate) fn record_checkpoint(&mut self, checkpoint: &proof::Checkpoint) {
        let block = self.open.as_mut().expect("a block is open");
        let proof::Checkpoint { entries, accounts, root, .. } = *checkpoint;
        self.book.record_checkpoint(block, entries, accounts, root);
    }

    /// Completes the open block, if there is one with entries. With `save`, a snapshot of the state
    /// after it is written once it is durable.
    pub(crate) fn close(&mut self, save: bool) -> Option<&Sealed> {
        let mut block = self.open.take().filter(|block| !block.is_empty())?;
        let parts = block.finish();
        let nodes = &self.nodes;
        let mut on_node = |level, index, hash| nodes.put(level, index, hash);
        let key = self.sealer.public().clone();
        let header = self.sealer.seal(block.timestamp, &mut block.bytes, parts, &mut on_node);
        if let Some(named) = self.named.take() {
            self.sealer.rotate(named);
        }
        let tail = save.then(|| self.sealer.tail().clone());
        if save {
            self.copy(usize::MAX);
            self.book.begin_snapshot();
        }
        self.sealed.push_back(Sealed { header, block, key, tail, copied: None });
        self.sealed.back()
    }

    /// Goes on with the snapshot that is being taken.
    fn copy(&mut self, chunks: usize) {
        if let Some(copied) = self.book.copy(chunks) {
            let mut saved = self.sealed.iter_mut().rev().filter(|sealed| sealed.tail.is_some());
            saved.next().expect("its block waits for it").copied = Some(copied);
        }
    }

    /// Indexes and writes the next complete block, then saves the snapshot that was taken of it.
    pub(crate) fn append(&mut self) -> Result<Option<Sealed>, JournalError> {
        if self.sealed.front().is_some_and(|sealed| sealed.tail.is_some()) {
            self.copy(usize::MAX);
        }
        let Some(sealed) = self.sealed.front() else { return Ok(None) };
        let Sealed { header, block, .. } = sealed;
        self.index.add(&sealed.view(), &block.effects).expect("the index has all before");
        self.journal.append(header, &block.bytes)?;
        let mut sealed = self.sealed.pop_front();
        let saved = sealed.as_mut().and_then(|it| it.tail.take().zip(it.copied.take()));
        if let Some((tail, copied)) = saved {
            // Without one the next start takes longer, no more.
            drop(self.save(copied.finish(), &tail));
        }
        Ok(sealed)
    }

    fn save(&self, snapshot: book::Snapshot, tail: &Tail) -> io::Result<()> {
        let entries = tail.entries();
        self.snapshots.write(entries, |file| {
            for part in [tail.encode(), self.nodes.encode(entries)] {
                file.write_all(&(part.len() as u64).to_le_bytes())?;
                file.write_all(&part)?;
            }
            snapshot.write(file)
        })
    }

    /// Ends as after an order to stop: nothing is lost.
    pub(crate) fn stop(self) -> Result<(), JournalError> {
        self.index.close().expect("the index is on a disk without faults");
        self.journal.close()
    }
}

/// Goes on after `tail` with the key that it names.
fn sealer(tail: Tail, keys: &[[u8; 32]]) -> Sealer {
    let is_named =
        |key: &SigningKey| tail.key.as_ref().is_none_or(|named| *named == key.public(tail.ledger));
    let key = keys.iter().map(SigningKey::from_seed).find(is_named);
    Sealer::new(tail, key.expect("it was signed with one of ours")).expect("the tail names it")
}

/// The newest state that was saved, of entries that the index has too.
fn newest(snapshots: &Snapshots, indexed: u64) -> io::Result<(Tail, Tiles, Book)> {
    for mut snapshot in snapshots.newest_first()? {
        if snapshot.entries() <= indexed {
            return read(&mut snapshot);
        }
    }
    Ok((Tail::new([0; 16]), Tiles::default(), Book::default()))
}

fn read(file: &mut impl Read) -> io::Result<(Tail, Tiles, Book)> {
    let mut part = || {
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let mut bytes = Vec::new();
        file.by_ref().take(u64::from_le_bytes(length)).read_to_end(&mut bytes)?;
        io::Result::Ok(bytes)
    };
    let tail = Tail::decode(&part()?).ok_or(io::ErrorKind::InvalidData)?;
    let nodes = Tiles::decode(&part()?).ok_or(io::ErrorKind::InvalidData)?;
    Ok((tail, nodes, Book::read(file)?))
}

fn metadata(pairs: &Pairs) -> Metadata {
    Metadata::new(pairs.iter().map(|(key, value)| (key, value))).expect("clients send good pairs")
}

/// Entries of complete blocks. Those that are not durable yet are waited for by the engine; they
/// will be what they are here.
struct Known<'a> {
    reader: journal::Reader,
    sealed: &'a VecDeque<Sealed>,
}

impl Past for Known<'_> {
    fn entry(&self, number: u64, extension: &mut Vec<u8>) -> Result<EntryBytes, PastError> {
        let has_it = |sealed: &&Sealed| (sealed.block.first..sealed.header.end()).contains(&number);
        if let Some(sealed) = self.sealed.iter().find(has_it) {
            let (block, place) = (sealed.view(), number - sealed.header.first);
            let place = usize::try_from(place).expect("it is in the block");
            extension.clear();
            extension.extend_from_slice(block.extension(place));
            return Ok(block.entries[place]);
        }
        self.reader.entry(number, extension).map_err(|error| PastError(error.into()))
    }
}
