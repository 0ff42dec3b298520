//! Sagas: processes of several steps that survive any crash, and undo what they did when they cannot
//! go on (K-46 to K-48).
//!
//! A [`Definition`] tells the story; each step is an async function that takes the state and gives it
//! back changed:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use serde::{Deserialize, Serialize};
//! use workflow::{Call, Definition, Failure, Otherwise, Retry, approval, step};
//!
//! /// What is known so far. It is stored: no secret belongs here, and of people only ids.
//! #[derive(Serialize, Deserialize)]
//! struct CardOrder { account: u64, hold: Option<u64>, card: Option<u64> }
//!
//! /// What the steps work with: clients of other services.
//! struct Bank;
//!
//! fn issue_card() -> Definition<Bank, CardOrder> {
//!     Definition::new("cards.issue", 1)
//!         .then(step("reserve_balance", Bank::reserve_balance).undo(Bank::release_balance))
//!         .then(approval("limit").within(Duration::from_hours(48), Otherwise::Compensate))
//!         .then(step("create_virtual_card", Bank::create_card).retry(Retry::times(5)))
//!         .then(step("send_confirmation", Bank::confirm).otherwise(Otherwise::Continue))
//! }
//!
//! impl Bank {
//!     async fn reserve_balance(self: Arc<Self>, mut order: CardOrder, call: Call) -> Result<CardOrder, Failure> {
//!         // Whoever is asked twice under `call.key()` does it once.
//! #       let _ = call;
//!         order.hold = Some(7);
//!         Ok(order)
//!     }
//!     async fn release_balance(self: Arc<Self>, order: CardOrder, call: Call) -> Result<(), Failure> {
//!         // `call.step_key()` names what to release, also when its answer was lost.
//! #       let _ = (order, call);
//!         Ok(())
//!     }
//! #   async fn create_card(self: Arc<Self>, order: CardOrder, _: Call) -> Result<CardOrder, Failure> { Ok(order) }
//! #   async fn confirm(self: Arc<Self>, order: CardOrder, _: Call) -> Result<CardOrder, Failure> { Ok(order) }
//! }
//! ```
//!
//! A service [starts](Workflows::start) a workflow in the transaction of its own change, and runs a
//! [`Worker`] for its definitions. Operators look and act through [`Operator`].
//!
//! Invariants:
//! - a workflow has one row, every outcome of an attempt another; both are written in one transaction, by
//!   the holder of the lease alone;
//! - a step whose outcome is recorded is not called again; one whose outcome is not is called again under
//!   the same key;
//! - what is compensated is what was done, or may have been, last first;
//! - a workflow is continued by the version that it started with, or it stands still and says so.

mod call;
mod config;
mod definition;
mod error;
mod failure;
mod operator;
mod program;
mod progress;
mod retry;
mod row;
mod run;
mod start;
mod store;
mod worker;

pub use call::{Call, Key};
pub use config::{Config, ConfigError};
pub use definition::{Definition, Otherwise, Pause, Stage, Step, Wait};
pub use definition::{approval, signal, sleep, sleep_until, step};
pub use error::WorkflowError;
pub use failure::Failure;
pub use operator::{Actor, Cursor, Filter, Operator, Resume};
pub use progress::{Status, Trouble};
pub use retry::Retry;
pub use row::{Entry, Event, Kind, Workflow};
pub use start::{Started, Workflows};
pub use worker::Worker;
