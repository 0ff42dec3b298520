//! What readers ask for and what they get.

use proof::{AccountId, Entry, ExternalId, Metadata, Timestamp};

/// An account as it is.
#[derive(Clone, Debug)]
pub struct AccountView {
    /// Its place in the order of creation over all tenants.
    pub row: u32,
    /// Number of the entry that created it.
    pub number: u64,
    /// What it was created as.
    pub account: proof::Account,
    /// Its metadata.
    pub metadata: Metadata,
    /// Its balances.
    pub balances: Balances,
    /// Whether it is closed.
    pub is_closed: bool,
    /// Minor units by which it may pass its limit.
    pub overdraft: u64,
}

/// Balances of an account, in minor units.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Balances {
    /// Debits on hold.
    pub debits_pending: u64,
    /// Debits for good.
    pub debits_posted: u64,
    /// Credits on hold.
    pub credits_pending: u64,
    /// Credits for good.
    pub credits_posted: u64,
}

/// A transfer as it is.
#[derive(Clone, Debug)]
pub struct TransferView {
    /// Number of its entry.
    pub number: u64,
    /// What was accepted.
    pub transfer: proof::Transfer,
    /// Its metadata.
    pub metadata: Metadata,
    /// Of a hold: what has become of it.
    pub hold: Option<HoldState>,
}

/// What has become of a hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HoldState {
    /// It still holds.
    Open,
    /// It was posted, all or part of it.
    Posted,
    /// It was released.
    Voided,
    /// It ended by itself.
    Expired,
}

/// One change of an account's balances.
#[derive(Clone, Debug)]
pub struct HistoryItem {
    /// Number of the entry that changed them.
    pub number: u64,
    /// The transfer; of a hold that ended by itself the hold.
    pub transfer: TransferView,
    /// The balances after it.
    pub balances: Balances,
    /// When they changed.
    pub at: Timestamp,
}

/// As of when a balance is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AsOf {
    /// After all that is durable.
    Now,
    /// After what was created by then.
    Created(Timestamp),
    /// Counting what takes effect by then, however late it was created. Posted amounts only.
    Effective(Timestamp),
}

/// Which things to list. What is not given does not matter.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Whose balances they changed.
    pub account: Option<AccountId>,
    /// What they are called elsewhere.
    pub external_id: Option<ExternalId>,
    /// Metadata that they all have, exactly so.
    pub metadata: Vec<(String, String)>,
    /// Created then or later.
    pub from: Option<Timestamp>,
    /// Created by then.
    pub to: Option<Timestamp>,
    /// In which order.
    pub order: Order,
    /// [`Page::after`] of the page before.
    pub after: Option<u64>,
    /// Most items of the page, at least 1.
    pub size: usize,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Order {
    /// What was created last comes first.
    #[default]
    NewestFirst,
    /// What was created first comes first.
    OldestFirst,
}

/// A part of a list. Pages stay right while things are added.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The things, in the order asked for.
    pub items: Vec<T>,
    /// Where the next page goes on; none at the end.
    pub after: Option<u64>,
}

/// The next entries of a tenant.
#[derive(Clone, Debug)]
pub struct Changes {
    /// In the order in which they were committed.
    pub items: Vec<Change>,
    /// Where to go on: the number of the first entry that was not looked at.
    pub next: u64,
}

/// An entry of a tenant.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its number.
    pub number: u64,
    /// What it says.
    pub entry: Entry,
    /// Its metadata.
    pub metadata: Metadata,
}

impl From<journal::ReadError> for QueryError {
    fn from(error: journal::ReadError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<index::IndexError> for QueryError {
    fn from(error: index::IndexError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// Why a question has no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum QueryError {
    /// The ledger has stopped.
    #[error("the ledger has stopped")]
    Stopped,
    /// What is on disk cannot be read.
    #[error("the ledger cannot read its files: {0}")]
    Unreadable(String),
}
