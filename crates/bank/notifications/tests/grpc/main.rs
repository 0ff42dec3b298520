//! Notifications over real mTLS, a real database, a real mail server and real HTTP providers.

#![allow(clippy::unwrap_used, reason = "a test")]

mod contract;
mod crash;
mod edge;
mod email;
mod flows;
mod inbox;
mod log;
mod preferences;
mod providers;
mod quiet;
mod retention;
mod support;
mod tenants;
