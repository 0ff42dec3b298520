//! The whole book in a file, so that a start need not replay all blocks.
//!
//! # Format, version 1
//!
//! Integers are little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic, `MALHABOK` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | tenants |
//! | 16 | 4 | accounts |
//! | 20 | 4 | accounts with an overdraft |
//! | 24 | 8 | entries |
//! | 32 | 8 | when the last of them was created |
//! | 40 | 8 | open holds |
//! | 48 | 8 | bytes of fates |
//! | 56 | 16 | key of the hash of ids |
//!
//! Then follow, without gaps:
//!
//! - the id of each tenant, 16 bytes, in order of their numbers;
//! - each account, 68 bytes, in order of creation: id (16), debits on hold, debits, credits on
//!   hold, credits (8 each), number of the tenant (4), ledger (4), code (2), limit (1), 1 when it
//!   is closed or 0 (1), number of the entry that created it (8);
//! - each overdraft, 12 bytes, rows ascending: row (4), minor units (8);
//! - each open hold, 54 bytes, numbers ascending: number of its entry (8), id (16), minor units
//!   (8), when it ends by itself or ones (8), its timeout in seconds (4), row of the debit and of
//!   the credit account (4 each), code (2);
//! - fates: two bits for each number of an entry, the lowest bits of a byte first: 0 for a hold
//!   that is open and for all that is no hold, 1 posted, 2 voided, 3 expired. Bytes after the last
//!   that is not zero may be missing;
//! - the table of accounts' ids, then that of transfers and refusals: for each of 4,096 segments
//!   the number of its entries (4), and each entry (8): 28 bits of the hash of the id, above 36
//!   bits of its number plus one; the number of an account is its row.
//!
//! The hash of an id is the SipHash-1-3 of its 16 bytes as a little-endian number and the number
//! of its tenant (4). Its highest 12 bits say which segment, the next 28 are in the entry.

use std::collections::HashMap;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::sync::PoisonError;

use proof::{AccountId, AccountState, TenantId, Timestamp, TransferId};

use crate::accounts::Creations;
use crate::book::Book;
use crate::chunks::{self, Chunks};
use crate::hash::{HashKey, IdHash};
use crate::holds::{Hold, OpenHold};
use crate::ids::{IdTable, Segment, filled, is_entry, live};
use crate::open::ENDED;
use crate::rows::{Limit, Row, Side};

const MAGIC: [u8; 8] = *b"MALHABOK";
const VERSION: u32 = 1;
const BUFFER_BYTES: usize = 1 << 20;

/// The book as it was at some moment. What is large and only grows is shared with the book.
#[derive(Debug)]
pub struct Snapshot {
    key: HashKey,
    entries: u64,
    last: Timestamp,
    tenants: Vec<TenantId>,
    rows: Chunks<Row>,
    overdrafts: HashMap<u32, u64>,
    holds: Chunks<OpenHold>,
    fates: Chunks<u64>,
    creations: Creations,
    accounts: Vec<Segment>,
    transfers: Vec<Segment>,
}

/// A snapshot that was taken step by step, and is to be put together.
#[derive(Debug)]
pub struct Copied {
    begun: Snapshot,
    rows: chunks::Copied<Row>,
    holds: chunks::Copied<OpenHold>,
    fates: chunks::Copied<u64>,
}

impl Copied {
    /// Puts it together, which the book need not wait for.
    pub fn finish(self) -> Snapshot {
        let Self { begun, rows, holds, fates } = self;
        let (rows, holds, fates) = (rows.finish(), holds.finish(), fates.finish());
        Snapshot { rows, holds, fates, ..begun }
    }
}

impl Book {
    /// The book as it is now, between two blocks.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            rows: self.accounts.rows.clone(),
            holds: self.holds.open.holds.clone(),
            fates: self.holds.fates.0.clone(),
            ..self.begun()
        }
    }

    /// Begins a snapshot of the book as it is now, between two blocks, in place of one that was
    /// begun before. [`Self::copy`] goes on with it.
    pub fn begin_snapshot(&mut self) {
        self.begun = Some(self.begun());
        self.accounts.rows.begin_copy();
        self.holds.open.holds.begin_copy();
        self.holds.fates.0.begin_copy();
    }

    /// Copies that much more of what the snapshot that was begun is to have, in chunks of at most
    /// 256 KiB, and gives the snapshot when that was all.
    pub fn copy(&mut self, mut chunks: usize) -> Option<Copied> {
        let (rows, holds) = (&mut self.accounts.rows, &mut self.holds.open.holds);
        let fates = &mut self.holds.fates.0;
        rows.copy(&mut chunks);
        holds.copy(&mut chunks);
        fates.copy(&mut chunks);
        if chunks == 0 {
            return None;
        }
        let begun = self.begun.take()?;
        let (rows, holds, fates) = (rows.take_copy(), holds.take_copy(), fates.take_copy());
        Some(Copied { begun, rows, holds, fates })
    }

    /// A snapshot without what is copied.
    fn begun(&self) -> Snapshot {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let mut numbered: Vec<_> = tenants.iter().map(|(id, number)| (*number, *id)).collect();
        numbered.sort_unstable();
        Snapshot {
            key: self.key,
            entries: self.entries,
            last: self.last,
            tenants: numbered.into_iter().map(|(_, id)| id).collect(),
            rows: Chunks::default(),
            overdrafts: self.accounts.overdrafts.clone(),
            holds: Chunks::default(),
            fates: Chunks::default(),
            creations: Creations::clone(&self.accounts.creations),
            accounts: self.accounts.table.segments(),
            transfers: self.transfers.segments(),
        }
    }

    /// The book that [`Snapshot::write`] wrote.
    pub fn read(input: impl Read) -> io::Result<Self> {
        let mut input = Input(BufReader::with_capacity(BUFFER_BYTES, input));
        let counts = Counts::read(&mut input)?;
        let mut book = Self { entries: counts.entries, last: counts.last, ..Self::default() };
        book.key = counts.key;
        book.read_tenants(&mut input, counts.tenants)?;
        book.read_accounts(&mut input, &counts)?;
        book.read_holds(&mut input, &counts)?;
        book.accounts.table = read_table(&mut input, counts.accounts.into())?;
        book.transfers = read_table(&mut input, counts.entries)?;
        Ok(book)
    }

    fn read_tenants(&mut self, input: &mut Input<impl Read>, count: u32) -> io::Result<()> {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        for number in 1..=count {
            tenants.insert(TenantId::from_bytes(input.bytes()?), number);
        }
        if tenants.len() == count as usize { Ok(()) } else { Err(damaged("its tenants")) }
    }

    fn read_accounts(&mut self, input: &mut Input<impl Read>, counts: &Counts) -> io::Result<()> {
        let mut creations = self.accounts.creations.write().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..counts.accounts {
            let (row, number) = read_row(input)?;
            if !(1..=counts.tenants).contains(&row.tenant) || number >= counts.entries {
                return Err(damaged("an account"));
            }
            self.accounts.rows.push(row);
            creations.push(number);
        }
        drop(creations);
        for _ in 0..counts.overdrafts {
            let (row, overdraft) = (input.u32()?, input.u64()?);
            if row >= counts.accounts {
                return Err(damaged("an overdraft"));
            }
            self.accounts.set_overdraft(row, overdraft);
        }
        Ok(())
    }

    fn read_holds(&mut self, input: &mut Input<impl Read>, counts: &Counts) -> io::Result<()> {
        for _ in 0..counts.holds {
            let number = input.u64()?;
            let hold = Hold {
                id: TransferId::from_bytes(input.bytes()?),
                amount: input.u64()?,
                expires_at: Timestamp::from_nanos(input.u64()?),
                timeout_seconds: input.u32()?,
                debit: input.u32()?,
                credit: input.u32()?,
                code: input.u16()?,
            };
            if number >= counts.entries || hold.debit.max(hold.credit) >= counts.accounts {
                return Err(damaged("a hold"));
            }
            self.holds.open.insert(number, hold);
        }
        let mut fates = Vec::new();
        input.0.by_ref().take(counts.fates).read_to_end(&mut fates)?;
        for part in fates.chunks(8) {
            let mut row = [0; 8];
            row[..part.len()].copy_from_slice(part);
            self.holds.fates.0.push(u64::from_le_bytes(row));
        }
        if fates.len() as u64 == counts.fates { Ok(()) } else { Err(damaged("its fates")) }
    }
}

impl Snapshot {
    /// How many entries it is after.
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// How many accounts there are.
    pub const fn accounts(&self) -> u32 {
        self.rows.len()
    }

    /// States of all accounts, in the order of their creation.
    pub fn states(&self) -> impl Iterator<Item = AccountState> {
        (0..).zip(self.rows.iter()).map(|(place, row)| AccountState {
            tenant: row.tenant,
            id: row.id,
            ledger: row.ledger,
            code: row.code,
            limit: row.limit as u8,
            is_closed: row.is_closed,
            overdraft: self.overdrafts.get(&place).copied().unwrap_or_default(),
            debits_pending: row.debits.pending,
            debits_posted: row.debits.posted,
            credits_pending: row.credits.pending,
            credits_posted: row.credits.posted,
        })
    }

    /// Writes it. What was copied for it is given back as it is written.
    pub fn write(self, output: impl Write) -> io::Result<()> {
        let mut output = BufWriter::with_capacity(BUFFER_BYTES, output);
        let holds = self.open_holds();
        let (counts, creations) = (self.counts(holds.len()), self.creations());
        let Self { tenants, rows, overdrafts, holds: copied, fates, accounts, transfers, .. } =
            self;
        counts.write(&mut output)?;
        for tenant in tenants {
            output.write_all(&tenant.bytes())?;
        }
        for (row, number) in rows.into_rows().zip(creations) {
            write_row(&mut output, &row, number)?;
        }
        let mut overdrafts: Vec<_> = overdrafts.iter().collect();
        overdrafts.sort_unstable();
        for (row, overdraft) in overdrafts {
            output.write_all(&row.to_le_bytes())?;
            output.write_all(&overdraft.to_le_bytes())?;
        }
        for place in holds {
            let OpenHold { number, hold, .. } = copied.get(place);
            write_hold(&mut output, *number, hold)?;
        }
        drop(copied);
        for fates in fates.into_rows() {
            output.write_all(&fates.to_le_bytes())?;
        }
        write_table(&mut output, accounts, counts.accounts.into())?;
        write_table(&mut output, transfers, counts.entries)?;
        output.flush()
    }

    /// Numbers of the entries that created the accounts: a copy, so that the book need not wait for
    /// the disk.
    fn creations(&self) -> Vec<u64> {
        let creations = self.creations.read().unwrap_or_else(PoisonError::into_inner);
        creations[..self.rows.len() as usize].to_vec()
    }

    /// Places of the open holds, numbers ascending.
    fn open_holds(&self) -> Vec<u32> {
        let number = |place: &u32| self.holds.get(*place).number;
        let mut open: Vec<_> =
            (0..self.holds.len()).filter(|place| number(place) != ENDED).collect();
        open.sort_unstable_by_key(number);
        open
    }

    fn counts(&self, holds: usize) -> Counts {
        let small = |count: usize| u32::try_from(count).expect("there are fewer than accounts");
        Counts {
            tenants: small(self.tenants.len()),
            accounts: self.rows.len(),
            overdrafts: small(self.overdrafts.len()),
            entries: self.entries,
            last: self.last,
            holds: holds as u64,
            fates: u64::from(self.fates.len()) * 8,
            key: self.key,
        }
    }
}

/// What a snapshot begins with.
struct Counts {
    tenants: u32,
    accounts: u32,
    overdrafts: u32,
    entries: u64,
    last: Timestamp,
    holds: u64,
    fates: u64,
    key: HashKey,
}

impl Counts {
    fn write(&self, output: &mut impl Write) -> io::Result<()> {
        output.write_all(&MAGIC)?;
        for number in [VERSION, self.tenants, self.accounts, self.overdrafts] {
            output.write_all(&number.to_le_bytes())?;
        }
        let [k0, k1] = self.key.0;
        for number in [self.entries, self.last.nanos(), self.holds, self.fates, k0, k1] {
            output.write_all(&number.to_le_bytes())?;
        }
        Ok(())
    }

    fn read(input: &mut Input<impl Read>) -> io::Result<Self> {
        if input.bytes()? != MAGIC {
            return Err(damaged("its beginning"));
        }
        let version = input.u32()?;
        if version != VERSION {
            let message = format!("a book of version {version}, but this program reads {VERSION}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(Self {
            tenants: input.u32()?,
            accounts: input.u32()?,
            overdrafts: input.u32()?,
            entries: input.u64()?,
            last: Timestamp::from_nanos(input.u64()?),
            holds: input.u64()?,
            fates: input.u64()?,
            key: HashKey([input.u64()?, input.u64()?]),
        })
    }
}

fn write_row(output: &mut impl Write, row: &Row, number: u64) -> io::Result<()> {
    output.write_all(&row.id.bytes())?;
    for side in [row.debits, row.credits] {
        output.write_all(&side.pending.to_le_bytes())?;
        output.write_all(&side.posted.to_le_bytes())?;
    }
    output.write_all(&row.tenant.to_le_bytes())?;
    output.write_all(&row.ledger.to_le_bytes())?;
    output.write_all(&row.code.to_le_bytes())?;
    output.write_all(&[row.limit as u8, u8::from(row.is_closed)])?;
    output.write_all(&number.to_le_bytes())
}

fn read_row(input: &mut Input<impl Read>) -> io::Result<(Row, u64)> {
    let id = AccountId::from_bytes(input.bytes()?);
    let debits = Side { pending: input.u64()?, posted: input.u64()? };
    let credits = Side { pending: input.u64()?, posted: input.u64()? };
    let (tenant, ledger, code) = (input.u32()?, input.u32()?, input.u16()?);
    let [limit, is_closed] = input.bytes()?;
    let (limit, is_closed) = (Limit::from_number(limit), is_closed == 1);
    let row = Row { id, debits, credits, tenant, ledger, code, limit, is_closed, ..Row::default() };
    Ok((row, input.u64()?))
}

fn write_hold(output: &mut impl Write, number: u64, hold: &Hold) -> io::Result<()> {
    output.write_all(&number.to_le_bytes())?;
    output.write_all(&hold.id.bytes())?;
    output.write_all(&hold.amount.to_le_bytes())?;
    output.write_all(&hold.expires_at.nanos().to_le_bytes())?;
    output.write_all(&hold.timeout_seconds.to_le_bytes())?;
    output.write_all(&hold.debit.to_le_bytes())?;
    output.write_all(&hold.credit.to_le_bytes())?;
    output.write_all(&hold.code.to_le_bytes())
}

/// Writes the entries of a table whose numbers are below `end`: the others came later.
fn write_table(output: &mut impl Write, segments: Vec<Segment>, end: u64) -> io::Result<()> {
    let mut bytes = Vec::new();
    for lines in segments {
        bytes.clear();
        bytes.extend(live(&lines, end).flat_map(u64::to_le_bytes));
        let count = u32::try_from(bytes.len() / 8).expect("a segment has fewer than 2^28 entries");
        output.write_all(&count.to_le_bytes())?;
        output.write_all(&bytes)?;
    }
    Ok(())
}

fn read_table(input: &mut Input<impl Read>, end: u64) -> io::Result<IdTable> {
    let mut segments = Vec::with_capacity(IdHash::SEGMENTS);
    let mut bytes = Vec::new();
    for _ in 0..IdHash::SEGMENTS {
        let length = u64::from(input.u32()?) * 8;
        bytes.clear();
        input.0.by_ref().take(length).read_to_end(&mut bytes)?;
        let entries = bytes.as_chunks::<8>().0.iter().map(|entry| u64::from_le_bytes(*entry));
        if bytes.len() as u64 != length || !entries.clone().all(|entry| is_entry(entry, end)) {
            return Err(damaged("a table of ids"));
        }
        segments.push(filled(entries));
    }
    Ok(IdTable::new(segments))
}

/// A file that is read field by field.
struct Input<R>(BufReader<R>);

impl<R: Read> Input<R> {
    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u16(&mut self) -> io::Result<u16> {
        self.bytes().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> io::Result<u64> {
        self.bytes().map(u64::from_le_bytes)
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} cannot be what the snapshot says"))
}
