//! Webhooks over real TLS, on a real database, against real HTTP servers: B-20, K-14, K-21.

#![allow(clippy::unwrap_used, reason = "a test")]

mod delivery;
mod endpoints;
mod events;
mod faults;
mod inbound;
mod keys;
mod library;
mod receiver;
mod replay;
mod retention;
mod tls;
mod world;
