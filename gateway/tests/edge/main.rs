//! The real gateway over HTTPS, in front of a real mesh whose services are fakes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod alone;
mod attacks;
mod check;
mod codings;
mod fakes;
mod frames;
mod grpc;
mod house;
mod idempotency;
mod limits;
mod log;
mod matrix;
mod pages;
mod requests;
mod resilience;
mod secure;
mod sources;
mod streams;
mod unknown;
mod ways;
