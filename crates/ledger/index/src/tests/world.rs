//! Random blocks, and plain answers to all questions about them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use book::{AmendmentAt, Backdated, Effects, Posting};
use proof::{
    Account, Amendment, Block, Entry, Expiry, ExternalId, Header, Kind, Metadata, Refusal,
    Timestamp, Transfer, TransferId,
};

use crate::record::{Side, place};
use crate::{Amended, Balance, Balances, Change, Direction, Index, Reference, Subject};

pub(super) const ROWS: u32 = 7;
const KEYS: [&str; 3] = ["a", "ab", "purpose"];
const VALUES: [&str; 3] = ["", "b", "rent"];

/// What happened, and what has to be found.
#[derive(Default)]
pub(super) struct World {
    blocks: Vec<Made>,
    /// By row and side: number, balance.
    postings: BTreeMap<(u32, u8), Vec<(u64, Balance)>>,
    /// By row and side.
    amounts: BTreeMap<(u32, u8), Vec<Amount>>,
    references: BTreeMap<String, BTreeSet<u64>>,
    amended: BTreeMap<u32, Vec<Amended>>,
    random: Random,
}

/// What an entry added to what is posted: number, from when on it counts, amount.
type Amount = (u64, Timestamp, u64);

struct Made {
    header: Header,
    payload: Vec<u8>,
    effects: Effects,
}

/// An entry that is being made.
struct Draft {
    entry: Entry,
    extension: Vec<u8>,
}

impl World {
    /// So many blocks of at most so many entries.
    pub(super) fn new(seed: u64, blocks: usize, entries_max: u64) -> Self {
        let mut world = Self { random: Random(seed | 1), ..Self::default() };
        for _ in 0..blocks {
            let entries = 1 + world.random.below(entries_max);
            world.block(entries);
        }
        world
    }

    /// How many entries there are.
    pub(super) fn entries(&self) -> u64 {
        self.blocks.last().map_or(0, |made| made.header.end())
    }

    /// Adds blocks to the index.
    pub(super) fn add(&self, index: &mut Index, blocks: Range<usize>) {
        for made in &self.blocks[blocks] {
            let block = Block::new(made.header.clone(), &made.payload).unwrap();
            index.add(&block, &made.effects).unwrap();
        }
    }

    pub(super) fn add_all(&self, index: &mut Index) {
        self.add(index, 0..self.blocks.len());
    }

    /// Adds a block and tells what comes of it.
    pub(super) fn try_add(&self, index: &mut Index, at: usize) -> Result<(), crate::IndexError> {
        let made = &self.blocks[at];
        index.add(&Block::new(made.header.clone(), &made.payload).unwrap(), &made.effects)
    }

    /// The blocks from one on as one, to be added where some of its entries were before.
    pub(super) fn in_one_block(mut self, from: usize) -> Self {
        let first = self.blocks[from].header.first;
        let mut effects = Effects::default();
        let (mut entries, mut table, mut heap) = (Vec::new(), Vec::new(), Vec::new());
        for made in self.blocks.drain(from..) {
            let block = Block::new(made.header.clone(), &made.payload).unwrap();
            for (entry, extension) in block.iter() {
                push_extension(
                    entries.len() / proof::ENTRY_BYTES,
                    extension,
                    &mut table,
                    &mut heap,
                );
                entries.extend_from_slice(entry);
            }
            effects.postings.extend(&made.effects.postings);
            effects.backdated.extend(&made.effects.backdated);
            effects.amendments.extend(&made.effects.amendments);
        }
        let (header, payload) = finished(first, &entries, &table, &heap);
        self.blocks.push(Made { header, payload, effects });
        self
    }

    fn block(&mut self, entries: u64) {
        let first = self.entries();
        let (mut bytes, mut table, mut heap) = (Vec::new(), Vec::new(), Vec::new());
        let mut effects = Effects::default();
        for number in first..first + entries {
            let draft = self.draft(number, &mut effects);
            push_extension(
                bytes.len() / proof::ENTRY_BYTES,
                &draft.extension,
                &mut table,
                &mut heap,
            );
            bytes.extend_from_slice(&draft.entry.encode());
        }
        let (header, payload) = finished(first, &bytes, &table, &heap);
        self.blocks.push(Made { header, payload, effects });
    }

    fn draft(&mut self, number: u64, effects: &mut Effects) -> Draft {
        let created_at = time(number);
        let tenant = 1 + self.random.below_32(2);
        let hold = TransferId::from(u128::from(1 + self.random.below(40)));
        let (account, id) = (1.into(), TransferId::from(u128::from(number) + 1_000));
        let kind = match self.random.below(20) {
            0 => {
                let metadata = self.metadata(tenant, Subject::Account, number);
                let external_id = self.external_id(tenant, Subject::Account, number);
                let (extension, limit, code, ledger) = (metadata.len() as u16, 0, 1, 1);
                let entry = Entry::Account(Account {
                    limit,
                    code,
                    ledger,
                    tenant,
                    extension,
                    id: account,
                    overdraft: 0,
                    created_at,
                    external_id,
                });
                return Draft { entry, extension: metadata };
            }
            1 => {
                let (row, is_closed) = (self.random.below_32(ROWS), self.random.below(2) == 0);
                let overdraft = self.random.below(1_000);
                effects.amendments.push(AmendmentAt { row, number, is_closed, overdraft });
                self.amended.entry(row).or_default().push(Amended { number, is_closed, overdraft });
                let entry = Entry::Amendment(Amendment {
                    tenant,
                    account,
                    is_closed,
                    overdraft,
                    created_at,
                });
                return Draft { entry, extension: Vec::new() };
            }
            2 => {
                let entry = Entry::Refusal(Refusal { status: 7, tenant, id, created_at });
                return Draft { entry, extension: Vec::new() };
            }
            3 => {
                self.refers(tenant, Reference::Settled(hold), number);
                self.moves(number, created_at, 0, effects);
                let (debit, credit, amount, ledger) = (account, 2.into(), 1, 1);
                let entry = Entry::Expiry(Expiry {
                    ledger,
                    tenant,
                    hold,
                    debit,
                    credit,
                    amount,
                    created_at,
                });
                return Draft { entry, extension: Vec::new() };
            }
            4 | 5 => Kind::PostPending,
            6 => Kind::VoidPending,
            7..10 => Kind::Pending,
            _ => Kind::Plain,
        };
        if kind.settles() {
            self.refers(tenant, Reference::Settled(hold), number);
        }
        let extension = self.metadata(tenant, Subject::Transfer, number);
        let external_id = self.external_id(tenant, Subject::Transfer, number);
        let amount = self.random.below(100);
        let counts = matches!(kind, Kind::Plain | Kind::PostPending);
        let effective_at = self.moves(number, created_at, if counts { amount } else { 0 }, effects);
        let entry = Entry::Transfer(Transfer {
            kind,
            flags: 0,
            code: 1,
            ledger: 1,
            tenant,
            extension: extension.len() as u16,
            id,
            debit: account,
            credit: 2.into(),
            amount,
            created_at,
            effective_at,
            hold: if kind.settles() { hold } else { 0.into() },
            timeout_seconds: 0,
            external_id,
        });
        Draft { entry, extension }
    }

    /// Moves an amount between two rows; says from when on it counts.
    fn moves(
        &mut self,
        number: u64,
        created_at: Timestamp,
        amount: u64,
        effects: &mut Effects,
    ) -> Timestamp {
        let is_backdated = amount > 0 && number > 0 && self.random.below(3) == 0;
        let effective_at = if is_backdated { time(self.random.below(number)) } else { created_at };
        let debit = self.random.below_32(ROWS);
        let credit = (debit + 1 + self.random.below_32(ROWS - 1)) % ROWS;
        for (row, side) in [(debit, 0), (credit, 1)] {
            let pending = self.random.below(50);
            let history = self.postings.entry((row, side)).or_default();
            let posted = history.last().map_or(0, |(_, balance)| balance.posted) + amount;
            history.push((number, Balance { posted, pending }));
            let key = place(row, [Side::Debit, Side::Credit][usize::from(side)], number);
            effects.postings.push(Posting { key, posted, pending });
            if is_backdated {
                effects.backdated.push(Backdated { row, side, effective_at, number, amount });
            }
            self.amounts.entry((row, side)).or_default().push((number, effective_at, amount));
        }
        effective_at
    }

    fn metadata(&mut self, tenant: u32, subject: Subject, number: u64) -> Vec<u8> {
        let mut pairs = BTreeMap::new();
        for _ in 0..self.random.below(3) {
            pairs.insert(KEYS[self.random.place(3)], VALUES[self.random.place(3)]);
        }
        for (key, value) in &pairs {
            self.refers(tenant, Reference::Pair(subject, key, value), number);
        }
        Metadata::new(pairs).unwrap().bytes().to_vec()
    }

    fn external_id(&mut self, tenant: u32, subject: Subject, number: u64) -> ExternalId {
        let id = ExternalId::from(u128::from(self.random.below(4)));
        if !id.is_none() {
            self.refers(tenant, Reference::ExternalId(subject, id), number);
        }
        id
    }

    fn refers(&mut self, tenant: u32, reference: Reference<'_>, number: u64) {
        self.references.entry(name(tenant, reference)).or_default().insert(number);
    }
}

/// Plain answers.
impl World {
    pub(super) fn balance(&self, row: u32, side: Side, before: u64) -> Option<Balance> {
        let history = self.postings.get(&(row, side as u8))?;
        let after = history.partition_point(|(number, _)| *number < before);
        after.checked_sub(1).map(|last| history[last].1)
    }

    pub(super) fn touching(&self, row: u32, range: &Range<u64>, direction: Direction) -> Vec<u64> {
        let both = self.postings.iter().filter(|((of, _), _)| *of == row);
        let numbers = both.flat_map(|(_, history)| history.iter().map(|(number, _)| *number));
        ordered(numbers.collect(), range, direction)
    }

    pub(super) fn history(
        &self,
        row: u32,
        range: &Range<u64>,
        direction: Direction,
    ) -> Vec<Change> {
        let change = |number| {
            let side = |side| self.balance(row, side, number + 1).unwrap_or_default();
            let balances = Balances { debits: side(Side::Debit), credits: side(Side::Credit) };
            Change { number, balances }
        };
        self.touching(row, range, direction).into_iter().map(change).collect()
    }

    pub(super) fn referring(
        &self,
        tenant: u32,
        reference: Reference<'_>,
        range: &Range<u64>,
        direction: Direction,
    ) -> Vec<u64> {
        let numbers = self.references.get(&name(tenant, reference)).cloned().unwrap_or_default();
        ordered(numbers, range, direction)
    }

    pub(super) fn effective_posted(&self, row: u32, side: Side, at: Timestamp, before: u64) -> u64 {
        let amounts = self.amounts.get(&(row, side as u8)).into_iter().flatten();
        let counted = amounts.filter(|(number, from, _)| *number < before && *from <= at);
        counted.map(|(_, _, amount)| amount).sum()
    }

    pub(super) fn amended(&self, row: u32, before: u64) -> Option<Amended> {
        self.amended.get(&row)?.iter().rev().find(|it| it.number < before).copied()
    }
}

/// When the entry of that number is created.
pub(super) const fn time(number: u64) -> Timestamp {
    Timestamp::from_nanos((1 << 60) + number)
}

/// All references of the tenants.
pub(super) fn references() -> Vec<(u32, Reference<'static>)> {
    let mut all = Vec::new();
    for tenant in 1..=2 {
        all.extend((1..=40_u128).map(|hold| (tenant, Reference::Settled(hold.into()))));
        for subject in [Subject::Transfer, Subject::Account] {
            let id = |id: u128| (tenant, Reference::ExternalId(subject, id.into()));
            all.extend((1..4).map(id));
            for key in KEYS {
                all.extend(VALUES.map(|value| (tenant, Reference::Pair(subject, key, value))));
            }
        }
    }
    all
}

fn name(tenant: u32, reference: Reference<'_>) -> String {
    format!("{tenant} {reference:?}")
}

fn ordered(numbers: BTreeSet<u64>, range: &Range<u64>, direction: Direction) -> Vec<u64> {
    let mut numbers: Vec<_> = numbers.into_iter().filter(|it| range.contains(it)).collect();
    if direction == Direction::Descending {
        numbers.reverse();
    }
    numbers
}

fn push_extension(place: usize, extension: &[u8], table: &mut Vec<u8>, heap: &mut Vec<u8>) {
    if !extension.is_empty() {
        table.extend_from_slice(&(place as u32).to_le_bytes());
        table.extend_from_slice(&(heap.len() as u32).to_le_bytes());
        heap.extend_from_slice(extension);
    }
}

fn finished(first: u64, entries: &[u8], table: &[u8], heap: &[u8]) -> (Header, Vec<u8>) {
    let header = Header {
        entries: (entries.len() / proof::ENTRY_BYTES) as u32,
        extended: (table.len() / 8) as u32,
        heap: heap.len() as u32,
        ..header(first)
    };
    (header, [entries, table, heap].concat())
}

fn header(first: u64) -> Header {
    Header {
        sequence: 1,
        timestamp: time(first),
        first,
        entries: 0,
        extended: 0,
        heap: 0,
        ledger: [0; 16],
        previous: [0; 32],
        root: [0; 32],
        checksum: 0,
        hash: [0; 32],
        signature: [0; 64],
    }
}

/// A xorshift generator.
#[derive(Clone, Default)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % end
    }

    pub(super) fn below_32(&mut self, end: u32) -> u32 {
        self.below(u64::from(end)) as u32
    }

    pub(super) fn place(&mut self, end: usize) -> usize {
        self.below(end as u64) as usize
    }
}
