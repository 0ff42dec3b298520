#![allow(clippy::unwrap_used)]

mod blocks;
mod codec;
mod fixture;
mod fuzz;
mod heads;
mod proofs;
mod trees;
mod vectors;
