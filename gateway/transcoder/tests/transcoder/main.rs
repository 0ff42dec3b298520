//! The transcoder as its users see it: bytes in, bytes out.

#![allow(clippy::unwrap_used, reason = "tests")]

mod conformance;
mod contracts_kept;
mod corner;
mod differential;
mod json;
mod requests;
mod rules;
mod schemas;
mod wire;
