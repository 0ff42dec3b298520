//! The tools, each with a ledger that an engine made in a folder.

#![allow(clippy::unwrap_used)]

mod copies;
mod export;
mod import;
mod proofs;
mod rotation;
mod support;
mod verify;
