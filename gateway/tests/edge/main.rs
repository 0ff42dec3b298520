//! The real gateway over HTTPS, in front of a real mesh whose services are fakes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod alone;
mod attacks;
mod fakes;
mod grpc;
mod house;
mod limits;
mod log;
mod pages;
mod requests;
mod resilience;
mod sources;
mod streams;
