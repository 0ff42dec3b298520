//! What the journal promises: what is durable stays, and whatever else is found is named.
#![allow(clippy::unwrap_used)]

mod backup;
mod corruption;
mod fuzz;
mod reader;
mod simulation;
mod snapshots;
mod support;
mod writing;
