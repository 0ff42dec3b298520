//! What an operator sees of the upstreams.

use std::net::SocketAddr;

use chrono::{DateTime, Utc};
use mesh::BreakerState;
use serde::Serialize;

/// One upstream, as it is seen from here.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamStatus {
    /// Its name.
    pub name: String,
    /// Whether calls go through.
    pub breaker: BreakerState,
    /// Whether calls of the canary go through; while they do not, the version in service answers.
    pub canary_breaker: BreakerState,
    /// Share of the calls that go to the canary, in percent.
    pub canary_weight: u8,
    /// Calls that were sent again.
    pub retries: u64,
    /// Repeats that the budget refused.
    pub retries_over_budget: u64,
    /// Second copies that were sent because the first was slow.
    pub hedges: u64,
    /// Where it is reached, those that are leaving at the end.
    pub endpoints: Vec<EndpointStatus>,
}

/// One endpoint, as it is seen from here.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// Where it is.
    pub address: SocketAddr,
    /// The group that it is of.
    pub group: Group,
    /// Whether it says that it serves.
    pub healthy: bool,
    /// It failed and is passed over until then.
    pub ejected_until: Option<DateTime<Utc>>,
    /// It gets no new calls; those under way end in peace.
    pub draining: bool,
    /// Calls under way.
    pub in_flight: u64,
    /// Connections that stand.
    pub connections: u64,
    /// Times that a connection was made.
    pub connects: u64,
    /// Calls so far, every attempt counted.
    pub calls: u64,
    /// Those that it failed.
    pub failures: u64,
    /// Times that it was ejected.
    pub ejections: u64,
}

/// Which version an endpoint runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// The one in service.
    Stable,
    /// The new one.
    Canary,
}

impl Group {
    /// Its name in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
        }
    }
}
