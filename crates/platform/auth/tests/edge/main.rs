//! Tokens of several issuers, whose keys come from files and servers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod claims;
mod files;
mod issuers;
mod keys;
mod server;
mod servers;
mod settings;
