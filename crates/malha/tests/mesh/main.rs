//! The whole mesh, as the real program runs it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod access;
mod alone;
mod cli;
mod crash;
mod events;
mod ledger;
mod ledger_kill;
mod notifications;
mod outage;
mod processes;
mod soak;
mod support;
mod walk;
mod webhooks;
mod workflows;
