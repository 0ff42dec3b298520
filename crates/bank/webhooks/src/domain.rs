//! The rules of webhooks; no tonic, no sqlx, no clock.

pub(crate) mod address;
pub(crate) mod answer;
pub(crate) mod endpoint;
pub(crate) mod inbound;
pub(crate) mod message;
pub(crate) mod pace;
pub(crate) mod schedule;
pub(crate) mod signature;

/// The field that broke a rule, and the rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Broken {
    pub(crate) field: &'static str,
    pub(crate) rule: &'static str,
}
