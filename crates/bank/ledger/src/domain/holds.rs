//! Holds that end by themselves, in the order in which they do.

use std::collections::BTreeMap;

use auth::TenantId;

use super::{Timestamp, Transfer};

/// Open holds that have a timeout: by when it passes, then by creation.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Holds(BTreeMap<(Timestamp, Timestamp), (TenantId, usize)>);

impl Holds {
    /// Adds a hold of `tenant` in that row, unless it never ends by itself.
    pub(super) fn add(&mut self, tenant: TenantId, row: usize, hold: &Transfer) {
        if let Some(expires_at) = hold.expires_at() {
            self.0.insert((expires_at, hold.created_at), (tenant, row));
        }
    }

    pub(super) fn remove(&mut self, hold: &Transfer) {
        if let Some(expires_at) = hold.expires_at() {
            self.0.remove(&(expires_at, hold.created_at));
        }
    }

    /// When the next hold ends by itself.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.first_key_value().map(|((expires_at, _), _)| *expires_at)
    }

    /// Takes the next hold that has ended by `now`.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<(TenantId, usize)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, hold)| hold)
    }
}
