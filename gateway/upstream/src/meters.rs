//! The metrics of upstreams. Calls count in atomics of their own core; once a second the counts are
//! shown here, so that no call touches what all cores share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::status::{EndpointStatus, Group, UpstreamStatus};

/// A counter that is told totals. After a reload there may be two of one name: their sum shows.
struct Count {
    counter: Counter,
    reached: AtomicU64,
}

impl Count {
    fn new(counter: Counter) -> Self {
        Self { counter, reached: AtomicU64::new(0) }
    }

    fn reach(&self, total: u64) {
        let before = self.reached.fetch_max(total, Ordering::Relaxed);
        self.counter.increment(total.saturating_sub(before));
    }
}

/// Metrics of one endpoint.
pub(crate) struct EndpointMeters {
    calls: Count,
    failures: Count,
    ejections: Count,
    connects: Count,
    in_flight: Gauge,
    connections: Gauge,
    available: Gauge,
}

impl EndpointMeters {
    pub(crate) fn new(upstream: &str, address: SocketAddr, group: Group) -> Self {
        let labels = [
            ("upstream", upstream.to_owned()),
            ("endpoint", address.to_string()),
            ("group", group.name().to_owned()),
        ];
        Self {
            calls: Count::new(counter!("malha_upstream_calls_total", &labels)),
            failures: Count::new(counter!("malha_upstream_failures_total", &labels)),
            ejections: Count::new(counter!("malha_upstream_ejections_total", &labels)),
            connects: Count::new(counter!("malha_upstream_connects_total", &labels)),
            in_flight: gauge!("malha_upstream_in_flight", &labels),
            connections: gauge!("malha_upstream_connections", &labels),
            available: gauge!("malha_upstream_available", &labels),
        }
    }

    pub(crate) fn publish(&self, status: &EndpointStatus) {
        let available = status.healthy && status.ejected_until.is_none() && !status.draining;
        self.calls.reach(status.calls);
        self.failures.reach(status.failures);
        self.ejections.reach(status.ejections);
        self.connects.reach(status.connects);
        self.in_flight.set(float(status.in_flight));
        self.connections.set(float(status.connections));
        self.available.set(u8::from(available));
    }
}

impl Drop for EndpointMeters {
    fn drop(&mut self) {
        for gauge in [&self.in_flight, &self.connections, &self.available] {
            gauge.set(0);
        }
    }
}

/// Metrics of one upstream.
pub(crate) struct UpstreamMeters {
    /// Time of whole calls, repeats included.
    pub(crate) duration: Histogram,
    retries: Count,
    retries_over_budget: Count,
    hedges: Count,
    canary_weight: Gauge,
}

impl UpstreamMeters {
    pub(crate) fn new(upstream: &str) -> Self {
        let upstream = upstream.to_owned();
        let retries = |outcome: &'static str| {
            Count::new(counter!(
                "malha_upstream_retries_total", "upstream" => upstream.clone(), "outcome" => outcome
            ))
        };
        Self {
            retries: retries("sent"),
            retries_over_budget: retries("over_budget"),
            duration: histogram!("malha_upstream_duration_seconds", "upstream" => upstream.clone()),
            hedges: Count::new(
                counter!("malha_upstream_hedges_total", "upstream" => upstream.clone()),
            ),
            canary_weight: gauge!("malha_upstream_canary_weight", "upstream" => upstream),
        }
    }

    pub(crate) fn publish(&self, status: &UpstreamStatus) {
        self.retries.reach(status.retries);
        self.retries_over_budget.reach(status.retries_over_budget);
        self.hedges.reach(status.hedges);
        self.canary_weight.set(status.canary_weight);
    }
}

/// The gauge of the breaker of an upstream's group: 0 closed, 1 half open, 2 open.
pub(crate) fn breaker_gauge(upstream: &str, group: Group) -> Gauge {
    let upstream = upstream.to_owned();
    gauge!("malha_upstream_breaker_state", "upstream" => upstream, "group" => group.name())
}

fn float(count: u64) -> f64 {
    // Counts of things that exist at a time are small.
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
