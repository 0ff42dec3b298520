//! From the outbox to an effect, over real databases.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod brokers;
mod buses;
#[cfg(feature = "kafka")]
mod carried;
mod delivery;
mod faults;
#[cfg(feature = "kafka")]
mod gate;
mod queues;
mod relaying;
mod retired;
mod retries;
#[cfg(feature = "kafka")]
mod secured;
mod world;
