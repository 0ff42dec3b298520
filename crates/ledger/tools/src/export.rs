//! All entries of a ledger, a line each.
//!
//! # Columns
//!
//! CSV has all of them, in this order, and a line with their names first. In NDJSON each line is an
//! object with those that the entry has. Amounts are integers in minor units, ids are UUIDs, times
//! are RFC 3339 in UTC with nanoseconds.
//!
//! | column | what it says | of which entries |
//! |---|---|---|
//! | `number` | its number, 0 for the first | all |
//! | `kind` | `plain`, `pending`, `post_pending`, `void_pending` (transfers), `account`, `amendment`, `refusal`, `expiry`, `tenant`, `key`, `checkpoint` | all |
//! | `created_at` | when it was recorded | all |
//! | `tenant` | whose it is | all but keys and checkpoints |
//! | `id` | of the transfer, account or tenant; of an expiry, the hold's | all but keys and checkpoints |
//! | `debit_account_id`, `credit_account_id` | the accounts | transfers, expiries |
//! | `amount` | minor units that moved, are on hold, or were released | transfers, expiries |
//! | `ledger` | number of the ledger | transfers, expiries, accounts |
//! | `code` | what it is for | transfers, accounts |
//! | `effective_at` | from when on it counts | transfers |
//! | `pending_id` | the hold that it settled | transfers that settle |
//! | `timeout_seconds` | after which it is released by itself | holds that have one |
//! | `flags` | `linked`, `balancing_debit`, `balancing_credit`, `chain`, with a space between | transfers that have any |
//! | `external_id` | the caller's own reference | transfers and accounts that have one |
//! | `limit` | `none`, `debits_within_credits`, `credits_within_debits` | accounts |
//! | `overdraft` | minor units by which it may pass its limit | accounts, amendments |
//! | `closed` | whether it is closed from now on, `true` or `false` | amendments |
//! | `status` | why it was refused, by its name in the contract | refusals |
//! | `key` | the key that signs the blocks after it | keys |
//! | `entries`, `accounts`, `root` | how many entries and accounts it covers; the root over them, in hexadecimal | checkpoints |
//! | `metadata` | a JSON object (in CSV as text) | transfers and accounts that have any |

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Result;
use proof::{
    Account, Amendment, Block, Checkpoint, Entry, Expiry, Key, Kind, Metadata, Refusal, SignedHead,
    Tail, TenantId, Transfer, peek,
};
use serde::{Serialize, Serializer};

use crate::files;
use crate::text;

/// How the lines are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Comma-separated values, RFC 4180.
    Csv,
    /// A JSON object a line.
    Ndjson,
}

/// Which entries are exported.
#[derive(Clone, Copy, Debug, Default)]
pub struct Range {
    /// Those of this tenant alone.
    pub tenant: Option<TenantId>,
    /// Those of this number and above.
    pub from: u64,
    /// Those up to this number.
    pub to: Option<u64>,
}

/// What was exported.
#[derive(Clone, Copy, Debug)]
pub struct Exported {
    /// How many entries.
    pub entries: u64,
    /// The newest head of the ledger.
    pub head: SignedHead,
}

/// Writes the entries of the ledger in a folder to `out`, a line each, as they are verified: after
/// an error, what was written is still what the ledger says. All blocks are verified, whichever
/// entries are asked for.
pub fn export(folder: &Path, format: Format, range: Range, out: impl Write) -> Result<Exported> {
    let mut failed = None;
    let scan = files::find(folder)?;
    let mut exporter =
        Exporter { range, tenants: HashMap::new(), lines: Lines::new(format, out)?, entries: 0 };
    let files = files::read(scan, Tail::default(), &mut |block| {
        exporter.block(block).map_err(|error| failed.insert(error).to_string())
    });
    if let Some(error) = failed {
        return Err(error);
    }
    exporter.lines.flush()?;
    Ok(Exported { entries: exporter.entries, head: files?.signed_head()? })
}

/// Chooses the entries.
struct Exporter<W: Write> {
    range: Range,
    /// Ids of the tenants that were seen, by their numbers.
    tenants: HashMap<u32, TenantId>,
    lines: Lines<W>,
    entries: u64,
}

impl<W: Write> Exporter<W> {
    fn block(&mut self, block: &Block<'_>) -> Result<()> {
        for (number, (bytes, extension)) in (block.header.first..).zip(block.iter()) {
            let tenant = peek::tenant(bytes);
            if peek::kind(bytes) == Some(Kind::Tenant) {
                self.tenants.insert(tenant, peek::id(bytes).into());
            }
            let tenant = self.tenants.get(&tenant).copied();
            let is_asked_for = number >= self.range.from
                && self.range.to.is_none_or(|to| number <= to)
                && (self.range.tenant.is_none() || self.range.tenant == tenant);
            if is_asked_for {
                let metadata = Metadata::decode(extension)?;
                self.lines.write(&row(number, &Entry::decode(bytes)?, tenant, metadata))?;
                self.entries += 1;
            }
        }
        Ok(())
    }
}

/// What stands in a column.
#[derive(Debug)]
enum Cell {
    Number(u64),
    Flag(bool),
    Text(String),
    Metadata(Metadata),
}

/// The names of all columns, in order.
const COLUMNS: [&str; 24] = [
    "number",
    "kind",
    "created_at",
    "tenant",
    "id",
    "debit_account_id",
    "credit_account_id",
    "amount",
    "ledger",
    "code",
    "effective_at",
    "pending_id",
    "timeout_seconds",
    "flags",
    "external_id",
    "limit",
    "overdraft",
    "closed",
    "status",
    "key",
    "entries",
    "accounts",
    "root",
    "metadata",
];

/// The cells of an entry that has something in them, in the order of the columns.
type Row = Vec<(&'static str, Cell)>;

fn row(number: u64, entry: &Entry, tenant: Option<TenantId>, metadata: Metadata) -> Row {
    let mut row = vec![
        ("number", Cell::Number(number)),
        ("kind", Cell::Text(kind(entry).to_owned())),
        ("created_at", Cell::Text(text::time(entry.created_at()))),
    ];
    row.extend(tenant.map(|tenant| ("tenant", Cell::text(tenant))));
    match entry {
        Entry::Transfer(transfer) => put_transfer(&mut row, transfer),
        Entry::Account(account) => put_account(&mut row, account),
        Entry::Amendment(Amendment { account, is_closed, overdraft, .. }) => row.extend([
            ("id", Cell::text(account)),
            ("overdraft", Cell::Number(*overdraft)),
            ("closed", Cell::Flag(*is_closed)),
        ]),
        Entry::Refusal(Refusal { status, id, .. }) => row.extend([
            ("id", Cell::text(id)),
            ("status", Cell::Text(text::transfer_status(*status))),
        ]),
        Entry::Expiry(Expiry { ledger, hold, debit, credit, amount, .. }) => row.extend([
            ("id", Cell::text(hold)),
            ("debit_account_id", Cell::text(debit)),
            ("credit_account_id", Cell::text(credit)),
            ("amount", Cell::Number(*amount)),
            ("ledger", Cell::Number((*ledger).into())),
        ]),
        Entry::Tenant(tenant) => row.push(("id", Cell::text(tenant.id))),
        Entry::Key(Key { public, .. }) => row.push(("key", Cell::Text(text::hex(public)))),
        Entry::Checkpoint(Checkpoint { entries, accounts, root, .. }) => row.extend([
            ("entries", Cell::Number(*entries)),
            ("accounts", Cell::Number(*accounts)),
            ("root", Cell::Text(text::hex(root))),
        ]),
    }
    if !metadata.is_empty() {
        row.push(("metadata", Cell::Metadata(metadata)));
    }
    row
}

fn kind(entry: &Entry) -> &'static str {
    text::kind(match entry {
        Entry::Transfer(transfer) => transfer.kind,
        Entry::Account(_) => Kind::Account,
        Entry::Amendment(_) => Kind::Amendment,
        Entry::Refusal(_) => Kind::Refusal,
        Entry::Expiry(_) => Kind::Expiry,
        Entry::Tenant(_) => Kind::Tenant,
        Entry::Key(_) => Kind::Key,
        Entry::Checkpoint(_) => Kind::Checkpoint,
    })
}

fn put_transfer(row: &mut Row, transfer: &Transfer) {
    row.extend([
        ("id", Cell::text(transfer.id)),
        ("debit_account_id", Cell::text(transfer.debit)),
        ("credit_account_id", Cell::text(transfer.credit)),
        ("amount", Cell::Number(transfer.amount)),
        ("ledger", Cell::Number(transfer.ledger.into())),
        ("code", Cell::Number(transfer.code.into())),
        ("effective_at", Cell::Text(text::time(transfer.effective_at))),
    ]);
    if !transfer.hold.is_none() {
        row.push(("pending_id", Cell::text(transfer.hold)));
    }
    if transfer.timeout_seconds > 0 {
        row.push(("timeout_seconds", Cell::Number(transfer.timeout_seconds.into())));
    }
    let flags: Vec<_> = text::flags(transfer.flags).collect();
    if !flags.is_empty() {
        row.push(("flags", Cell::Text(flags.join(" "))));
    }
    if !transfer.external_id.is_none() {
        row.push(("external_id", Cell::text(transfer.external_id)));
    }
}

fn put_account(row: &mut Row, account: &Account) {
    row.extend([
        ("id", Cell::text(account.id)),
        ("ledger", Cell::Number(account.ledger.into())),
        ("code", Cell::Number(account.code.into())),
    ]);
    if !account.external_id.is_none() {
        row.push(("external_id", Cell::text(account.external_id)));
    }
    row.push(("limit", Cell::Text(text::limit(account.limit).to_owned())));
    row.push(("overdraft", Cell::Number(account.overdraft)));
}

impl Cell {
    fn text(value: impl ToString) -> Self {
        Self::Text(value.to_string())
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Metadata(metadata) => metadata.serialize(serializer),
        }
    }
}

/// Writes rows.
enum Lines<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Ndjson(BufWriter<W>),
}

impl<W: Write> Lines<W> {
    fn new(format: Format, out: W) -> Result<Self> {
        Ok(match format {
            Format::Csv => {
                let mut lines = csv::Writer::from_writer(out);
                lines.write_record(COLUMNS).map_err(io_error)?;
                Self::Csv(Box::new(lines))
            }
            Format::Ndjson => Self::Ndjson(BufWriter::with_capacity(1 << 16, out)),
        })
    }

    fn write(&mut self, row: &Row) -> io::Result<()> {
        match self {
            Self::Csv(lines) => write_csv(lines, row).map_err(io_error),
            Self::Ndjson(lines) => {
                serde_json::to_writer(&mut *lines, &Object(row))?;
                lines.write_all(b"\n")
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Csv(lines) => lines.flush(),
            Self::Ndjson(lines) => lines.flush(),
        }
    }
}

fn write_csv(lines: &mut csv::Writer<impl Write>, row: &Row) -> csv::Result<()> {
    let mut cells = row.iter().peekable();
    for column in COLUMNS {
        let cell = cells.next_if(|(name, _)| *name == column).map(|(_, cell)| cell);
        match cell {
            None => lines.write_field("")?,
            Some(Cell::Text(text)) => lines.write_field(text)?,
            Some(Cell::Number(number)) => lines.write_field(number.to_string())?,
            Some(Cell::Flag(flag)) => lines.write_field(flag.to_string())?,
            Some(Cell::Metadata(metadata)) => {
                lines.write_field(serde_json::to_string(metadata).map_err(io::Error::from)?)?;
            }
        }
    }
    debug_assert!(cells.next().is_none(), "cells are in the order of the columns");
    lines.write_record(None::<&[u8]>)
}

/// What the operating system said, so that a reader that has gone is told from a full disk.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        kind => io::Error::other(format!("{kind:?}")),
    }
}

/// A row as a JSON object.
struct Object<'a>(&'a Row);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, cell)| (name, cell)))
    }
}
