//! The mesh over real TLS on the loopback.

#![allow(clippy::unwrap_used, reason = "a test")]

mod access;
mod balance;
mod health;
mod metrics;
mod retry;
mod time;
mod tls;
mod world;
