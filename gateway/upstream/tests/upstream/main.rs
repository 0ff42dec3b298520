//! The upstream side against real servers: tonic's, and hand-made ones that misbehave.

#![allow(clippy::unwrap_used, reason = "a test")]

mod calls;
mod faults;
mod groups;
mod resilience;
mod secure;
mod streams;
mod world;
