//! The health of the mesh as the edge sees it (L-17, L-61).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use mesh::{BreakerState, Mesh, UpstreamStatus};
use prost_reflect::DescriptorPool;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::routes::{Routes, upstream_of};

/// How long an upstream may take to say how it is.
const ANSWER_WITHIN: Duration = Duration::from_millis(900);

/// How long a report counts: a crowd of askers costs the mesh one question a second.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// Asks every upstream how it is.
pub(crate) struct Health {
    mesh: Mesh,
    /// Services that have routes: they are missed when they are not there.
    needed: BTreeSet<String>,
    last: Mutex<Option<(Instant, Arc<Report>)>>,
}

/// How all upstreams are.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    status: State,
    services: BTreeMap<String, ServiceReport>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum State {
    Up,
    Down,
}

/// How one upstream is, and what it depends on.
#[derive(Debug, Serialize)]
struct ServiceReport {
    status: State,
    breaker: BreakerState,
    dependencies: BTreeMap<String, State>,
}

impl Report {
    /// Whether every upstream serves.
    pub(crate) fn is_up(&self) -> bool {
        self.status == State::Up
    }
}

impl Health {
    /// Watches the services behind `routes`, and those others of `pool` that have an endpoint.
    pub(crate) fn new(mesh: Mesh, pool: &DescriptorPool, routes: &Routes) -> Self {
        // The mesh knows of a service from the first channel to it on.
        for service in pool.services() {
            if let Some(name) = upstream_of(&service) {
                mesh.channel(&name);
            }
        }
        let needed = routes.all().iter().map(|route| route.upstream.clone()).collect();
        Self { mesh, needed, last: Mutex::new(None) }
    }

    /// A report of at most a second's age.
    pub(crate) async fn report(&self) -> Arc<Report> {
        let mut last = self.last.lock().await;
        if let Some((made, report)) = &*last
            && made.elapsed() < KEPT_FOR
        {
            return Arc::clone(report);
        }
        let is_here = |upstream: &UpstreamStatus| {
            !upstream.endpoints.is_empty() || self.needed.contains(&upstream.name)
        };
        let upstreams = self.mesh.upstreams().into_iter().filter(is_here);
        let asked = upstreams.map(|upstream| self.ask(upstream));
        let services: BTreeMap<_, _> = join_all(asked).await.into_iter().collect();
        let all_up = services.values().all(|service| service.status == State::Up);
        let report = Arc::new(Report { status: state(all_up), services });
        *last = Some((Instant::now(), Arc::clone(&report)));
        report
    }

    async fn ask(&self, upstream: UpstreamStatus) -> (String, ServiceReport) {
        let health = timeout(ANSWER_WITHIN, self.mesh.health(&upstream.name)).await.ok();
        let checks = health.as_ref().map(|health| health.checks.clone()).unwrap_or_default();
        let report = ServiceReport {
            status: state(health.is_some_and(|health| health.serving)),
            breaker: upstream.breaker,
            dependencies: checks.into_iter().map(|(name, up)| (name, state(up))).collect(),
        };
        (upstream.name, report)
    }
}

fn state(up: bool) -> State {
    if up { State::Up } else { State::Down }
}
