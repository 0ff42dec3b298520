//! Payments over mutual TLS, on a real database, beside a ledger and accounts that do as they are told.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bank;
mod conservation;
mod create;
mod events;
mod fakes;
mod idempotency;
mod log;
mod reading;
mod recovery;
mod reversal;
mod table;
