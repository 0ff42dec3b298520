//! Checkpoints: the state of all accounts is hashed, recorded as an entry, and most often saved.
//!
//! # A snapshot file
//!
//! The journal's snapshot files hold, each part with its length before it (8 bytes, little-endian):
//! the tail of the chain ([`proof::Tail`]), the nodes of the tree over all entries (each level from
//! [`proof::TILE_LEVEL`] up: how many in 8 bytes, then the hashes), and to the end the book.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use book::{Book, Copied, Snapshot};
use journal::Snapshots;
use parking_lot::RwLock;
use proof::{Hash, Tail, Tiles, Tree, leaf_hashes};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::pipeline::{Command, Work};

/// A checkpoint that somebody or something asked for.
pub(crate) struct Request {
    why: Why,
    /// Where the copy of the book comes from, which takes a while to make.
    copied: Option<Receiver<Copied>>,
}

enum Why {
    /// Somebody waits for an account's proof.
    Asked(oneshot::Sender<()>),
    /// There were many entries since the last.
    Due,
    /// The ledger stops.
    Last,
}

impl Request {
    pub(crate) fn asked(reply: oneshot::Sender<()>) -> Self {
        Self { why: Why::Asked(reply), copied: None }
    }

    pub(crate) fn due() -> Self {
        Self { why: Why::Due, copied: None }
    }

    pub(crate) fn last() -> Self {
        Self { why: Why::Last, copied: None }
    }

    /// Whether it is written to a file.
    pub(crate) fn is_saved(&self) -> bool {
        !matches!(self.why, Why::Asked(_))
    }

    /// To where the copy of the book is to be sent.
    pub(crate) fn await_copy(&mut self) -> Sender<Copied> {
        let (to, copied) = mpsc::channel();
        self.copied = Some(copied);
        to
    }
}

/// A checkpoint on its way, and the tail of the chain at it.
pub(crate) struct Taken {
    pub(crate) request: Request,
    pub(crate) tail: Tail,
}

/// The hash of all accounts after `entries`.
pub(crate) struct Computed {
    pub(crate) entries: u64,
    pub(crate) accounts: u64,
    pub(crate) root: Hash,
    nodes: Tiles,
    reply: Option<oneshot::Sender<()>>,
}

/// The newest checkpoint that is recorded.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// How many entries it covers.
    pub(crate) entries: u64,
    /// How many accounts there were.
    pub(crate) accounts: u64,
    /// Number of the entry that records it.
    pub(crate) number: u64,
    /// Tiles of the tree over the accounts.
    pub(crate) nodes: Tiles,
}

impl Checkpoint {
    /// Whether nothing but its own entry came after what it covers, of the first `entries`.
    pub(crate) fn is_fresh(&self, entries: u64) -> bool {
        self.entries >= entries || (self.number == self.entries && self.number + 1 >= entries)
    }
}

/// Takes checkpoints and knows the newest.
#[derive(Clone)]
pub(crate) struct Checkpoints {
    files: Arc<Snapshots>,
    /// Of the tree over all entries.
    nodes: Tiles,
    latest: Arc<RwLock<Option<Arc<Checkpoint>>>>,
}

impl Checkpoints {
    pub(crate) fn new(files: Snapshots, nodes: Tiles) -> Self {
        Self { files: Arc::new(files), nodes, latest: Arc::default() }
    }

    /// Tiles of the tree over all entries.
    pub(crate) fn nodes(&self) -> &Tiles {
        &self.nodes
    }

    /// The newest checkpoint since the ledger was started.
    pub(crate) fn latest(&self) -> Option<Arc<Checkpoint>> {
        self.latest.read().clone()
    }

    /// What was computed is recorded by the entry of that number.
    pub(crate) fn publish(&self, computed: Computed, number: u64) {
        let Computed { entries, accounts, nodes, reply, .. } = computed;
        let checkpoint = Checkpoint { entries, accounts, number, nodes };
        *self.latest.write() = Some(Arc::new(checkpoint));
        if let Some(reply) = reply {
            // Whoever no longer waits does not need it.
            let _ = reply.send(());
        }
    }

    /// Takes checkpoints until there are no more.
    pub(crate) fn run(&self, taken: &Receiver<Taken>, queue: &Sender<Command>) {
        background::take_turns();
        for Taken { request: Request { why, copied }, tail } in taken {
            // None comes when the ledger ends before.
            let Some(Ok(copied)) = copied.map(|copied| copied.recv()) else { continue };
            let snapshot = copied.finish();
            let is_saved = !matches!(why, Why::Asked(_));
            if !matches!(why, Why::Last) {
                let work = Work::Record(compute(&snapshot, why));
                // Fails when the ledger stops; the next one will be taken then.
                drop(queue.send(Command { work, _room: None }));
            }
            if is_saved {
                self.save(snapshot, &tail);
            }
        }
    }

    /// Without a file the next start takes longer, no more.
    fn save(&self, snapshot: Snapshot, tail: &Tail) {
        let entries = snapshot.entries();
        let written = self.files.write(entries, |file| {
            for part in [tail.encode(), self.nodes.encode(entries)] {
                file.write_all(&(part.len() as u64).to_le_bytes())?;
                file.write_all(&part)?;
            }
            snapshot.write(file)
        });
        match written {
            Ok(()) => info!(entries, "saved a snapshot of the ledger"),
            Err(error) => warn!(entries, %error, "a snapshot of the ledger could not be saved"),
        }
    }
}

fn compute(snapshot: &Snapshot, why: Why) -> Computed {
    let nodes = Tiles::default();
    let mut tree = Tree::default();
    let (mut leaves, mut hashes) = (Vec::with_capacity(1_024), Vec::new());
    let mut states = snapshot.states().peekable();
    while states.peek().is_some() {
        leaves.clear();
        leaves.extend(states.by_ref().take(1_024).map(|state| state.leaf()));
        leaf_hashes(&leaves, [], &mut hashes);
        tree.push(&hashes, &mut |level, index, hash| nodes.put(level, index, hash));
    }
    let reply = match why {
        Why::Asked(reply) => Some(reply),
        Why::Due | Why::Last => None,
    };
    Computed { entries: snapshot.entries(), accounts: tree.size(), root: tree.root(), nodes, reply }
}

/// The parts of a snapshot file.
pub(crate) fn read(file: &mut impl Read) -> io::Result<(Tail, Tiles, Book)> {
    let broken = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let tail = Tail::decode(&read_part(file)?).ok_or_else(|| broken("the tail is broken"))?;
    let nodes = Tiles::decode(&read_part(file)?).ok_or_else(|| broken("the nodes are broken"))?;
    Ok((tail, nodes, Book::read(file)?))
}

fn read_part(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let mut bytes = Vec::new();
    let read = file.by_ref().take(length).read_to_end(&mut bytes)?;
    if read as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
