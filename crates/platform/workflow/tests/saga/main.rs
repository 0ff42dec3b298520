//! Workflows over a real database.
#![allow(clippy::unwrap_used, missing_docs)]

mod cards;
mod house;
mod operators;
mod random;
mod retention;
mod starting;
mod versions;
mod waiting;
mod workers;
