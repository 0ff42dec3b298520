//! What an entry can be found by besides its accounts.

use std::hash::Hasher;
use std::ops::Range;

use proof::{Block, EntryBytes, ExternalId, Kind, Metadata, TransferId, peek};
use siphasher::sip::SipHasher13;

use crate::record::Record;

/// What metadata or an external id is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Subject {
    /// Transfers.
    Transfer = 0,
    /// Accounts.
    Account = 1,
}

/// Something of a tenant that entries refer to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reference<'a> {
    /// The caller's own reference.
    ExternalId(Subject, ExternalId),
    /// A key of the metadata and its value.
    Pair(Subject, &'a str, &'a str),
    /// A hold, by what posted or released it.
    Settled(TransferId),
}

/// Hashes references. Keyed, so that nobody can choose references that meet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReferenceHash {
    pub(crate) key: [u8; 16],
    /// Bits that are kept; fewer only where tests need references that meet.
    pub(crate) mask: u64,
}

impl ReferenceHash {
    /// The hash of a reference.
    pub(crate) fn of(&self, tenant: u32, reference: Reference<'_>) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(&tenant.to_le_bytes());
        match reference {
            Reference::ExternalId(subject, id) => {
                hasher.write(&[0, subject as u8]);
                hasher.write(&id.bytes());
            }
            Reference::Pair(subject, key, value) => {
                hasher.write(&[2, subject as u8]);
                hasher.write(&(key.len() as u64).to_le_bytes());
                hasher.write(key.as_bytes());
                hasher.write(value.as_bytes());
            }
            Reference::Settled(hold) => {
                hasher.write(&[3]);
                hasher.write(&hold.bytes());
            }
        }
        hasher.finish() & self.mask
    }
}

/// Records of what the entries of a block refer to, those of some numbers only.
pub(crate) fn records(
    hash: &ReferenceHash,
    block: &Block<'_>,
    numbers: &Range<u64>,
) -> Vec<Record> {
    let mut records = Vec::new();
    for (number, (entry, extension)) in (block.header.first..).zip(block.iter()) {
        if numbers.contains(&number) {
            let tenant = peek::tenant(entry);
            each(entry, extension, |reference| {
                records.push([hash.of(tenant, reference), number, 0]);
            });
        }
    }
    records
}

/// Goes through what an entry refers to.
fn each(entry: &EntryBytes, extension: &[u8], mut refer: impl FnMut(Reference<'_>)) {
    let subject = match peek::kind(entry) {
        Some(Kind::Plain | Kind::Pending) => Subject::Transfer,
        Some(Kind::PostPending | Kind::VoidPending) => {
            refer(Reference::Settled(peek::hold(entry)));
            Subject::Transfer
        }
        Some(Kind::Expiry) => {
            return refer(Reference::Settled(TransferId::from(peek::id(entry))));
        }
        Some(Kind::Account) => Subject::Account,
        _ => return,
    };
    let external_id = peek::external_id(entry);
    if !external_id.is_none() {
        refer(Reference::ExternalId(subject, external_id));
    }
    if extension.is_empty() {
        return;
    }
    // What the chain has checked is metadata.
    for (key, value) in Metadata::decode(extension).unwrap_or_default().iter() {
        refer(Reference::Pair(subject, key, value));
    }
}
