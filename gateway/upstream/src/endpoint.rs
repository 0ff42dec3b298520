//! One address of an upstream: its lanes, and whether it is to be called.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use chrono::Utc;
use http::uri::{Authority, Scheme};
use tokio::time::Instant;

use crate::config::{Limits, Outlier};
use crate::lane::Lane;
use crate::meters::EndpointMeters;
use crate::status::{EndpointStatus, Group};
use crate::target::Security;

/// One address of an upstream. Connections close when it is dropped: it left the configuration or
/// the name service, and the last call to it has ended.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) group: Group,
    pub(crate) authority: Authority,
    pub(crate) scheme: Scheme,
    pub(crate) security: Security,
    pub(crate) limits: Limits,
    /// Value of the cookie that keeps a client here.
    pub(crate) token: Arc<str>,
    /// One per worker, and a last one for health checks.
    pub(crate) lanes: Box<[Lane]>,
    serving: AtomicBool,
    draining: AtomicBool,
    failures_in_a_row: AtomicU32,
    /// When it is no longer ejected, in milliseconds since `started`; 0 when it is not.
    ejected_until: AtomicU64,
    /// Times that it was ejected since it was well for a while.
    relapses: AtomicU32,
    ejections: AtomicU64,
    started: Instant,
    meters: EndpointMeters,
}

/// What sets an endpoint apart from the others of its upstream.
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) group: Group,
    pub(crate) authority: Authority,
    pub(crate) security: Security,
    pub(crate) token: Arc<str>,
}

impl Endpoint {
    pub(crate) fn new(upstream: &str, place: Place, limits: &Limits, workers: usize) -> Self {
        Self {
            meters: EndpointMeters::new(upstream, place.address, place.group),
            address: place.address,
            group: place.group,
            authority: place.authority,
            scheme: place.security.scheme(),
            security: place.security,
            limits: limits.clone(),
            token: place.token,
            lanes: (0..=workers).map(|_| Lane::default()).collect(),
            serving: AtomicBool::new(true),
            draining: AtomicBool::new(false),
            failures_in_a_row: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            relapses: AtomicU32::new(0),
            ejections: AtomicU64::new(0),
            started: Instant::now(),
        }
    }

    /// Whether it says that it serves.
    pub(crate) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    /// It says whether it serves. Tells whether that is news.
    pub(crate) fn set_serving(&self, serving: bool) -> bool {
        self.serving.swap(serving, Ordering::Relaxed) != serving
    }

    /// It gets no new calls from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether new calls may go to it.
    pub(crate) fn is_available(&self, now: Instant) -> bool {
        self.is_serving() && !self.is_ejected(now)
    }

    pub(crate) fn is_ejected(&self, now: Instant) -> bool {
        let until = self.ejected_until.load(Ordering::Relaxed);
        until != 0 && self.millis(now) < until
    }

    fn millis(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.started).as_millis();
        u64::try_from(elapsed).unwrap_or(u64::MAX)
    }

    /// How busy it is for `worker`: calls under way, which weigh more after failures, for what fails
    /// fast looks idle. One that is idle weighs nothing, so that it gets its turn and can recover.
    pub(crate) fn load(&self, worker: usize) -> usize {
        let in_flight = self.lanes[worker].in_flight.load(Ordering::Relaxed);
        let failures = self.failures_in_a_row.load(Ordering::Relaxed) as usize;
        in_flight.saturating_mul(failures.saturating_add(1))
    }

    /// A call went well.
    pub(crate) fn succeeded(&self, outlier: &Outlier) {
        if self.failures_in_a_row.load(Ordering::Relaxed) != 0 {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
        }
        let relapses = self.relapses.load(Ordering::Relaxed);
        if relapses != 0 {
            let rest = u64::try_from(outlier.eject_time.as_millis()).unwrap_or(u64::MAX);
            let well = self.ejected_until.load(Ordering::Relaxed);
            let well = well.saturating_add(rest.saturating_mul(u64::from(relapses)));
            if self.millis(Instant::now()) > well {
                self.relapses.store(0, Ordering::Relaxed);
            }
        }
    }

    /// A call failed by its fault. Says whether it is an outlier by now.
    pub(crate) fn failed(&self, worker: usize, unreachable: bool, outlier: &Outlier) -> bool {
        self.lanes[worker].failures.fetch_add(1, Ordering::Relaxed);
        let in_a_row = self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        unreachable || in_a_row >= outlier.consecutive_failures.get()
    }

    /// Passes it over for a while: longer each time.
    pub(crate) fn eject(&self, outlier: &Outlier) {
        let times = self.relapses.fetch_add(1, Ordering::Relaxed) + 1;
        let until = self.millis(Instant::now() + outlier.eject_time.saturating_mul(times));
        self.ejected_until.store(until.max(1), Ordering::Relaxed);
        // After its time it begins afresh, but for the length of the next one.
        self.failures_in_a_row.store(0, Ordering::Relaxed);
        self.ejections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn status(&self) -> EndpointStatus {
        // The last lane is the one of health checks.
        let workers = &self.lanes[..self.lanes.len() - 1];
        let sum = |count: fn(&Lane) -> u64| workers.iter().map(count).sum();
        let left =
            self.ejected_until.load(Ordering::Relaxed).saturating_sub(self.millis(Instant::now()));
        EndpointStatus {
            address: self.address,
            group: self.group,
            healthy: self.is_serving(),
            ejected_until: (left > 0).then(|| Utc::now() + std::time::Duration::from_millis(left)),
            draining: self.draining.load(Ordering::Relaxed),
            in_flight: sum(|lane| lane.in_flight.load(Ordering::Relaxed) as u64),
            connections: sum(|lane| lane.connections() as u64),
            connects: sum(|lane| lane.connects.load(Ordering::Relaxed)),
            calls: sum(|lane| lane.calls.load(Ordering::Relaxed)),
            failures: sum(|lane| lane.failures.load(Ordering::Relaxed)),
            ejections: self.ejections.load(Ordering::Relaxed),
        }
    }

    /// Shows `status` in the metrics.
    pub(crate) fn publish(&self, status: &EndpointStatus) {
        self.meters.publish(status);
    }
}

impl Drop for Endpoint {
    /// The last calls count too.
    fn drop(&mut self) {
        self.publish(&self.status());
    }
}
