//! The ledger as a deterministic state machine: the same blocks give the same state, always.
//!
//! Whoever owns a [`Book`] gives it the time of each block and keeps the entries that it hands
//! back. Nothing here knows the wire, the clock or the disk; only ids that were used before are
//! read again, from a [`Past`]. What the entries mean is the format of [`proof`], what is refused
//! and why are the statuses here, and these hold always:
//!
//! - what is debited is credited, and no balance passes its limit and overdraft;
//! - an id of a tenant has one outcome: what was refused for good is never accepted;
//! - a linked group, and a chain of settlements, happens as a whole or not at all;
//! - [`Book::replay`] of the blocks gives the same book, and each entry byte for byte.

mod accounts;
mod ahead;
mod batch;
mod block;
mod book;
mod chain;
mod check;
mod chunks;
mod ends;
mod existing;
mod hash;
mod holds;
mod ids;
mod linked;
mod lookup;
mod open;
mod opening;
mod past;
mod replay;
mod rows;
mod settle;
mod snapshot;
mod statuses;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod transfers;
mod writer;

pub use batch::{CHAINED_HOLDS_MAX, Fault, ItemFault, NewAccounts, Outcome, Transfers};
pub use block::{AmendmentAt, Backdated, Block, Effects, Posting, Room};
pub use book::Book;
pub use lookup::Lookup;
pub use past::{Past, PastError};
pub use replay::ReplayError;
pub use snapshot::{Copied, Snapshot};
pub use statuses::{AccountStatus, AmendmentStatus, TransferStatus};
