//! States of accounts, as checkpoints hash them.
//!
//! # Format
//!
//! The leaf of an account in the accounts' tree is 68 bytes; integers are little-endian. The tree
//! is an RFC 6962 tree over all accounts of the ledger in the order of their creation.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 16 | id |
//! | 16 | 4 | number of the tenant |
//! | 20 | 4 | ledger |
//! | 24 | 2 | code |
//! | 26 | 1 | limit |
//! | 27 | 1 | 1 when it is closed, or 0 |
//! | 28 | 8 | overdraft |
//! | 36 | 8 each | debits on hold, debits, credits on hold, credits |

use serde::{Deserialize, Serialize};

use crate::AccountId;

/// Bytes of the leaf of an account.
pub const STATE_BYTES: usize = 68;

/// An account and its balances after some entry.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AccountState {
    /// Number of its tenant.
    pub tenant: u32,
    /// Its id.
    pub id: AccountId,
    /// Number of its ledger.
    pub ledger: u32,
    /// What it is for.
    pub code: u16,
    /// Which balance it may not overdraw, see [`crate::Account::limit`].
    pub limit: u8,
    /// Whether it is closed.
    pub is_closed: bool,
    /// Minor units by which it may pass its limit.
    #[serde(with = "crate::json::decimal")]
    pub overdraft: u64,
    /// Minor units on hold to be debited.
    #[serde(with = "crate::json::decimal")]
    pub debits_pending: u64,
    /// Minor units debited.
    #[serde(with = "crate::json::decimal")]
    pub debits_posted: u64,
    /// Minor units on hold to be credited.
    #[serde(with = "crate::json::decimal")]
    pub credits_pending: u64,
    /// Minor units credited.
    #[serde(with = "crate::json::decimal")]
    pub credits_posted: u64,
}

impl AccountState {
    /// Its leaf in the accounts' tree.
    pub fn leaf(&self) -> [u8; STATE_BYTES] {
        let mut bytes = [0; STATE_BYTES];
        let mut put = |at: usize, value: &[u8]| {
            bytes[at..at + value.len()].copy_from_slice(value);
        };
        put(0, &self.id.bytes());
        put(16, &self.tenant.to_le_bytes());
        put(20, &self.ledger.to_le_bytes());
        put(24, &self.code.to_le_bytes());
        put(26, &[self.limit, u8::from(self.is_closed)]);
        put(28, &self.overdraft.to_le_bytes());
        put(36, &self.debits_pending.to_le_bytes());
        put(44, &self.debits_posted.to_le_bytes());
        put(52, &self.credits_pending.to_le_bytes());
        put(60, &self.credits_posted.to_le_bytes());
        bytes
    }
}
