//! From the outbox to an effect, over real databases.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod brokers;
mod buses;
#[cfg(feature = "kafka")]
mod carried;
mod delivery;
mod faults;
mod queues;
mod relaying;
mod world;
