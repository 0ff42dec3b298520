//! A ledger that makes blocks, and journals of them.

use std::sync::Arc;

use journal::{Disk, FileJournal, Journal, JournalError, Options, Recovered, SimulatedDisk};
use proof::{
    AccountId, ENTRY_BYTES, Entry, EntryBytes, ExternalId, HEADER_BYTES, Hash, Header, Key, Kind,
    Metadata, Parts, Sealer, SigningKey, Tail, Timestamp, Transfer, TransferId,
};

/// Makes the blocks of a ledger.
pub(crate) struct Ledger {
    sealer: Sealer,
}

/// A block as it is appended.
#[derive(Clone)]
pub(crate) struct Block {
    pub(crate) header: Header,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

impl Ledger {
    /// A new ledger; of another seed, another one.
    pub(crate) fn new(seed: u8) -> Self {
        Self::after(Tail::new([seed; 16]), seed)
    }

    /// Goes on after a tail.
    pub(crate) fn after(tail: Tail, seed: u8) -> Self {
        Self { sealer: Sealer::new(tail, key(seed)).unwrap() }
    }

    /// The next block, with so many entries, of which every third has an extension.
    pub(crate) fn block(&mut self, entries: u32) -> Block {
        let (tail, seed) = (self.sealer.tail(), self.sealer.tail().ledger[0]);
        let timestamp = Timestamp::from_nanos(tail.last.nanos() + 1_000);
        let mut bytes = vec![0; HEADER_BYTES];
        let (mut table, mut heap) = (Vec::new(), Vec::new());
        for place in 0..entries {
            let number = tail.entries() + u64::from(place);
            let (entry, extension) =
                entry(number, Timestamp::from_nanos(timestamp.nanos() + u64::from(place)), seed);
            bytes.extend_from_slice(&entry);
            if !extension.is_empty() {
                table.extend_from_slice(&place.to_le_bytes());
                table.extend_from_slice(&u32::try_from(heap.len()).unwrap().to_le_bytes());
                heap.extend_from_slice(&extension);
            }
        }
        let [extended, heap_bytes] =
            [table.len() / 8, heap.len()].map(|it| u32::try_from(it).unwrap());
        bytes.extend_from_slice(&table);
        bytes.extend_from_slice(&heap);
        let parts = Parts { entries, extended, heap: heap_bytes };
        let header = self.sealer.seal(timestamp, &mut bytes, parts, &mut |_, _, _| ());
        Block { header, bytes }
    }
}

/// The entry of that number and its extension.
pub(crate) fn entry(number: u64, created_at: Timestamp, seed: u8) -> (EntryBytes, Vec<u8>) {
    if number == 0 {
        let public = key(seed).public([seed; 16]).bytes();
        return (Entry::Key(Key { public, created_at }).encode(), Vec::new());
    }
    let mut extension = Vec::new();
    if number.is_multiple_of(3) {
        Metadata::new([("number", number.to_string())]).unwrap().encode(&mut extension);
    }
    let transfer = Transfer {
        kind: Kind::Plain,
        flags: 0,
        code: 1,
        ledger: 1,
        tenant: 1,
        extension: u16::try_from(extension.len()).unwrap(),
        id: TransferId::from(u128::from(number)),
        debit: AccountId::from(1),
        credit: AccountId::from(2),
        amount: number,
        created_at,
        effective_at: created_at,
        hold: TransferId::default(),
        timeout_seconds: 0,
        external_id: ExternalId::default(),
    };
    (Entry::Transfer(transfer).encode(), extension)
}

pub(crate) const SMALL: Options =
    Options { create: true, segment_bytes: 4_096, signatures: proof::Signatures::Check };

/// Opens and replays; gives the hashes of all blocks too.
pub(crate) fn open_with(
    disk: &Arc<dyn Disk>,
    options: Options,
) -> Result<(Recovered, Vec<Hash>), JournalError> {
    let mut hashes = Vec::new();
    let recovered = FileJournal::open(disk.clone(), options)?.replay(
        Tail::default(),
        &mut |_, _, _| (),
        &mut |block| {
            hashes.push(block.header.hash);
            Ok(())
        },
    )?;
    Ok((recovered, hashes))
}

pub(crate) fn open(disk: &Arc<dyn Disk>) -> Result<(Recovered, Vec<Hash>), JournalError> {
    open_with(disk, SMALL)
}

/// A journal on a simulated disk, closed as by a kill: its floor may be removed.
pub(crate) struct Journaled {
    pub(crate) disk: SimulatedDisk,
    pub(crate) blocks: Vec<Block>,
}

/// A journal of blocks of so many entries each.
pub(crate) fn journaled(sizes: &[u32]) -> Journaled {
    journaled_by(&mut Ledger::new(1), sizes)
}

pub(crate) fn journaled_by(ledger: &mut Ledger, sizes: &[u32]) -> Journaled {
    let disk = SimulatedDisk::new(1);
    let blocks: Vec<_> = sizes.iter().map(|entries| ledger.block(*entries)).collect();
    let (recovered, _) = open(&dynamic(&disk)).unwrap();
    let mut journal = recovered.journal;
    for block in &blocks {
        journal.append(&block.header, &block.bytes).unwrap();
    }
    Journaled { disk, blocks }
}

pub(crate) fn dynamic(disk: &SimulatedDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

impl Journaled {
    /// The segments with their contents, without the zeros at the end.
    pub(crate) fn segments(&self) -> Vec<(String, Vec<u8>)> {
        let names = self.disk.list().unwrap().into_iter().filter(|name| name.ends_with(".segment"));
        let cut = |mut bytes: Vec<u8>| {
            bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
            bytes
        };
        names.map(|name| (name.clone(), cut(self.disk.contents(&name).unwrap()))).collect()
    }

    /// Where each block is: its file and where it begins and ends.
    pub(crate) fn places(&self) -> Vec<(String, usize, usize)> {
        let mut places = Vec::new();
        for (name, contents) in self.segments() {
            let mut begin = 0;
            while begin < contents.len() {
                let end = begin + self.blocks[places.len()].bytes.len();
                places.push((name.clone(), begin, end));
                begin = end;
            }
        }
        assert_eq!(places.len(), self.blocks.len());
        places
    }

    /// The same journal on a disk of its own, with the floor that was durable or none.
    pub(crate) fn copy(&self, with_floor: bool) -> SimulatedDisk {
        let copy = SimulatedDisk::new(1);
        for name in self.disk.list().unwrap() {
            if name.ends_with(".segment") || (with_floor && name == "floor") {
                copy.put(&name, &self.disk.contents(&name).unwrap());
            }
        }
        copy
    }

    pub(crate) fn hashes(&self) -> Vec<Hash> {
        self.blocks.iter().map(|block| block.header.hash).collect()
    }
}

/// Where the journal of a disk is broken, and why.
pub(crate) fn broken(disk: &SimulatedDisk) -> (u64, String, u64, String) {
    match open(&dynamic(disk)) {
        Err(JournalError::Broken { sequence, file, offset, problem }) => {
            (sequence, file, offset, problem)
        }
        Err(error) => panic!("{error}"),
        Ok((_, hashes)) => panic!("{} blocks were accepted", hashes.len()),
    }
}

pub(crate) const ENTRY: usize = ENTRY_BYTES;

/// The hashes of the blocks of a journal, unless it is broken.
pub(crate) fn broken_or_open(disk: &SimulatedDisk) -> Option<Vec<Hash>> {
    match open(&dynamic(disk)) {
        Ok((_, hashes)) => Some(hashes),
        Err(JournalError::Broken { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}
