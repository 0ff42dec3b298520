//! The ledger as its callers see it: over mTLS, with the generated client.
#![allow(clippy::unwrap_used)]

mod access;
mod lists;
mod moves;
mod packed;
mod proofs;
mod restart;
mod support;
mod watch;
