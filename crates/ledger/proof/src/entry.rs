//! What the ledger records: entries of a fixed width, some followed by an extension.
//!
//! # Format
//!
//! An entry is 118 bytes, so that its Merkle leaf is hashed in two steps of SHA-256. Integers are
//! little-endian, ids are the 16 bytes of a UUID, times are nanoseconds since the Unix epoch. What
//! an entry does not use is zeros.
//!
//! | offset | bytes | field | of which entries |
//! |---|---|---|---|
//! | 0 | 1 | kind, see [`Kind`] | all |
//! | 1 | 1 | flags, see [`flag`]; of an account its limit | transfers, accounts, amendments |
//! | 2 | 2 | code; of a refusal its status | transfers, accounts, refusals |
//! | 4 | 4 | ledger | transfers, accounts, expiries |
//! | 8 | 4 | number of the tenant, 1 for the first | all but keys and checkpoints |
//! | 12 | 2 | length of the extension | transfers, accounts |
//! | 14 | 16 | id: of the transfer, account or tenant; of an expiry the hold's | all but keys and checkpoints |
//! | 30 | 16 | debit account | transfers, expiries |
//! | 46 | 16 | credit account | transfers, expiries |
//! | 30 | 32 | public key; root of the accounts' tree | keys; checkpoints |
//! | 62 | 8 | amount; of an account or amendment the overdraft; of a checkpoint the entries it covers | |
//! | 70 | 8 | created at, unique and ascending | all |
//! | 78 | 8 | effective at, never after created at; of a checkpoint the number of accounts | transfers |
//! | 86 | 16 | hold that is settled; of a hold its timeout in seconds, in the first 4 bytes | transfers |
//! | 102 | 16 | external id | transfers, accounts |
//!
//! The extension of a transfer or an account is its metadata, see [`crate::Metadata`].

use serde::{Deserialize, Serialize};

use crate::{AccountId, ExternalId, Hash, TenantId, Timestamp, TransferId};

/// Bytes of an entry without its extension.
pub const ENTRY_BYTES: usize = 118;

/// An entry as it stands on disk, without its extension.
pub type EntryBytes = [u8; ENTRY_BYTES];

/// Flags of a transfer or an amendment.
pub mod flag {
    /// Of a transfer: accepted only together with the next entry.
    pub const LINKED: u8 = 1;
    /// Of a transfer: moves at most what the debit account has, up to the amount asked.
    pub const BALANCING_DEBIT: u8 = 2;
    /// Of a transfer: moves at most what the credit account may take, up to the amount asked.
    pub const BALANCING_CREDIT: u8 = 4;
    /// Of a post or void: made for every hold of the linked group of the hold that was named.
    pub const CHAIN: u8 = 8;
    /// Of an amendment: the account is closed after it.
    pub const CLOSED: u8 = 1;
}

/// What an entry records. The numbers stand on disk.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Kind {
    /// A transfer that took effect at once.
    Plain = 1,
    /// A hold.
    Pending = 2,
    /// A transfer that posted a hold, all or part of it.
    PostPending = 3,
    /// A transfer that released a hold.
    VoidPending = 4,
    /// An account was created.
    Account = 16,
    /// An account was closed, opened again, or given another overdraft.
    Amendment = 17,
    /// A transfer was refused for good.
    Refusal = 32,
    /// A hold ended by itself.
    Expiry = 33,
    /// A tenant was seen for the first time.
    Tenant = 48,
    /// Blocks after this one are signed with another key.
    Key = 49,
    /// The state of all accounts was hashed.
    Checkpoint = 50,
}

impl Kind {
    /// The kind of that number.
    #[inline]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Plain,
            2 => Self::Pending,
            3 => Self::PostPending,
            4 => Self::VoidPending,
            16 => Self::Account,
            17 => Self::Amendment,
            32 => Self::Refusal,
            33 => Self::Expiry,
            48 => Self::Tenant,
            49 => Self::Key,
            50 => Self::Checkpoint,
            _ => return None,
        })
    }

    /// Whether it is a transfer.
    pub const fn is_transfer(self) -> bool {
        matches!(self, Self::Plain | Self::Pending | Self::PostPending | Self::VoidPending)
    }

    /// Whether it settles a hold, and inherits from it what it does not name.
    pub const fn settles(self) -> bool {
        matches!(self, Self::PostPending | Self::VoidPending)
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A transfer of any kind.
    Transfer(Transfer),
    /// An account was created.
    Account(Account),
    /// An account was changed.
    Amendment(Amendment),
    /// A transfer was refused for good.
    Refusal(Refusal),
    /// A hold ended by itself.
    Expiry(Expiry),
    /// A tenant was seen for the first time.
    Tenant(Tenant),
    /// Blocks after this one are signed with another key; the first entry names the first key.
    Key(Key),
    /// The state of all accounts was hashed.
    Checkpoint(Checkpoint),
}

/// A transfer that was accepted, with all that it inherited.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// [`Kind::Plain`], [`Kind::Pending`], [`Kind::PostPending`] or [`Kind::VoidPending`].
    pub kind: Kind,
    /// Of [`flag`].
    pub flags: u8,
    /// Why money moved.
    pub code: u16,
    /// Number of the ledger of both accounts.
    pub ledger: u32,
    /// Number of the tenant.
    pub tenant: u32,
    /// Length of the metadata that follows it.
    pub extension: u16,
    /// Its id.
    pub id: TransferId,
    /// Account that is debited.
    pub debit: AccountId,
    /// Account that is credited.
    pub credit: AccountId,
    /// Minor units that moved, are on hold, or were released.
    #[serde(with = "crate::json::decimal")]
    pub amount: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// From when on it counts; not after `created_at`.
    pub effective_at: Timestamp,
    /// The hold that it settled.
    pub hold: TransferId,
    /// Of a hold: seconds after which it is released by itself; 0 means never.
    pub timeout_seconds: u32,
    /// The caller's own reference.
    pub external_id: ExternalId,
}

/// An account that was created.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Account {
    /// Which balance it may not overdraw: 0 neither, 1 debits within credits, 2 credits within debits.
    pub limit: u8,
    /// What it is for.
    pub code: u16,
    /// Number of its ledger.
    pub ledger: u32,
    /// Number of the tenant.
    pub tenant: u32,
    /// Length of the metadata that follows it.
    pub extension: u16,
    /// Its id.
    pub id: AccountId,
    /// Minor units by which it may pass its limit.
    pub overdraft: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// The caller's own reference.
    pub external_id: ExternalId,
}

/// A change of an account.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Amendment {
    /// Number of the tenant.
    pub tenant: u32,
    /// The account.
    pub account: AccountId,
    /// Whether it is closed from now on.
    pub is_closed: bool,
    /// Minor units by which it may pass its limit from now on.
    pub overdraft: u64,
    /// When it was changed.
    pub created_at: Timestamp,
}

/// A transfer that was refused for good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refusal {
    /// The status that was answered, a number of the contract.
    pub status: u16,
    /// Number of the tenant.
    pub tenant: u32,
    /// Id of the transfer.
    pub id: TransferId,
    /// When it was refused.
    pub created_at: Timestamp,
}

/// A hold that ended by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expiry {
    /// Number of the ledger.
    pub ledger: u32,
    /// Number of the tenant.
    pub tenant: u32,
    /// Id of the hold.
    pub hold: TransferId,
    /// Account that it debited.
    pub debit: AccountId,
    /// Account that it credited.
    pub credit: AccountId,
    /// Minor units that were released.
    pub amount: u64,
    /// When it was released.
    pub created_at: Timestamp,
}

/// A tenant that was seen for the first time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tenant {
    /// Its number, 1 for the first, then one more each.
    pub number: u32,
    /// Its id.
    pub id: TenantId,
    /// When it was seen.
    pub created_at: Timestamp,
}

/// A key that signs the blocks after the one with this entry. The first block is signed with the
/// key that it names itself.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The Ed25519 public key.
    #[serde(with = "crate::json::hash")]
    pub public: [u8; 32],
    /// When it was named.
    pub created_at: Timestamp,
}

/// The hash of the state of all accounts after a number of entries, see [`crate::AccountState`].
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// How many entries the state is after.
    #[serde(with = "crate::json::decimal")]
    pub entries: u64,
    /// How many accounts there were.
    #[serde(with = "crate::json::decimal")]
    pub accounts: u64,
    /// Root of the tree over the states of the accounts, in the order of their creation.
    #[serde(with = "crate::json::hash")]
    pub root: Hash,
    /// When it was recorded.
    pub created_at: Timestamp,
}

/// Why bytes are no entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EntryFault {
    /// The kind is none of [`Kind`].
    #[error("its kind {0} is unknown")]
    Kind(u8),
    /// A field that the kind does not use is not zeros, or a value is none of those it may have.
    #[error("its {0} cannot be what it is")]
    Field(&'static str),
}
