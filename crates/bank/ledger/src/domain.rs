//! The ledger as a deterministic state machine: the same blocks give the same state, always.
//!
//! Nothing here knows the wire, the clock or the disk. Whoever owns a [`State`] gives it the
//! time of each block and keeps the [`Record`]s that it hands back.

mod account;
mod block;
mod book;
mod check;
mod history;
mod holds;
mod ids;
mod linked;
mod outcome;
mod state;
mod table;
mod transfer;

pub(crate) use account::{Account, BalanceLimit, Balances, NewAccount};
pub(crate) use block::{Block, Record};
pub(crate) use history::{HistoryEntry, HistoryPage};
pub(crate) use ids::{AccountId, ExternalId, Id, Timestamp, TransferId};
pub(crate) use outcome::{AccountRefusal, Outcome, TransferRefusal};
pub(crate) use state::State;
pub(crate) use transfer::{HoldState, NewTransfer, Transfer, TransferKind};
