//! The query index of the ledger: who was touched by which entry, and what entries refer to.
//!
//! It follows from the entries, so it can be rebuilt from the journal at any time, and nothing has
//! to be synced while it grows. Records of a fixed width stand in sorted *runs*: what is added is a
//! run in memory; many of those are stored as one, and many stored ones are merged into one by a
//! thread of its own. The runs of a keyspace cover ranges of entry numbers that are apart, so what
//! happened last is found by going through them from the newest, with one read at most in each.
//!
//! What stands on disk is described in `record.rs`, `run.rs` and `manifest.rs`.

mod error;
mod history;
mod index;
mod manifest;
mod merge;
mod merger;
mod numbers;
mod reader;
mod record;
mod reference;
mod run;
mod sort;
mod store;
#[cfg(test)]
mod tests;
mod view;

pub use error::IndexError;
pub use history::{Change, History};
pub use index::Index;
pub use numbers::Numbers;
pub use reader::{Amended, Balance, Balances, Reader};
pub use record::Side;
pub use reference::{Reference, Subject};
pub use view::Direction;
