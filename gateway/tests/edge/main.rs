//! The real gateway over HTTPS, in front of a real mesh whose services are fakes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod fakes;
mod house;
mod limits;
mod pages;
mod requests;
mod resilience;
