//! The ledger at work: calls in, durable and signed blocks out, and answers to questions.
//!
//! It joins the parts: [`book`] knows the rules, [`proof`] the format, [`journal`] keeps the
//! blocks, [`index`] finds things. Invariants:
//!
//! - A call is answered, and a reader sees a change, only once it is on disk.
//! - Who was answered sees what was answered in every later question.
//! - When the journal fails the ledger stops for good: nobody knows what is on disk but a restart.
//! - What was saved beside the journal is an aid: the journal alone tells all.

mod answers;
mod calm;
mod checkpoint;
mod engine;
mod open;
mod pipeline;
mod progress;
mod query;
mod rotation;
mod view;

pub use engine::{Engine, Stopped};
pub use open::{OpenError, Options, create_key};
pub use pipeline::BATCH_ITEMS_MAX;
pub use query::Reader;
pub use rotation::next_key_file;
pub use view::{
    AccountView, AsOf, Balances, Change, Changes, Filter, HistoryItem, HoldState, Order, Page,
    QueryError, TransferView,
};
