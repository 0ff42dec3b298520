//! identity over mutual TLS and PostgreSQL, beside small fakes of accounts and customers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fakes;
mod keys;
mod login;
mod registration;
mod sessions;
mod world;
