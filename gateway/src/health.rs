//! The health of the mesh as the edge sees it (L-17, L-61).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use mesh::{BreakerState, Mesh};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use upstream::{UpstreamStatus, Upstreams};

/// How long an upstream may take to say how it is.
const ANSWER_WITHIN: Duration = Duration::from_millis(900);

/// How long a report counts: a crowd of askers costs the mesh one question a second.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// Asks every upstream how it is.
pub(crate) struct Health {
    mesh: Option<Mesh>,
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
    /// Watches upstreams; those of the mesh say of their dependencies too.
    pub(crate) fn new(mesh: Option<Mesh>) -> Self {
        Self { mesh, last: Mutex::new(None) }
    }

    /// A report of at most a second's age, of the upstreams that are `needed` here.
    pub(crate) async fn report(
        &self,
        upstreams: &Upstreams,
        needed: &BTreeSet<&str>,
    ) -> Arc<Report> {
        let mut last = self.last.lock().await;
        if let Some((made, report)) = &*last
            && made.elapsed() < KEPT_FOR
        {
            return Arc::clone(report);
        }
        let seen: BTreeMap<_, _> = upstreams
            .status()
            .into_iter()
            .map(|upstream| (upstream.name.clone(), upstream))
            .collect();
        let asked = needed.iter().map(|name| self.ask(name, seen.get(*name)));
        let services: BTreeMap<_, _> = join_all(asked).await.into_iter().collect();
        let all_up = services.values().all(|service| service.status == State::Up);
        let report = Arc::new(Report { status: state(all_up), services });
        *last = Some((Instant::now(), Arc::clone(&report)));
        report
    }

    async fn ask(&self, name: &str, seen: Option<&UpstreamStatus>) -> (String, ServiceReport) {
        let breaker = seen.map_or(BreakerState::Closed, |seen| seen.breaker);
        let Some(mesh) = &self.mesh else {
            // What the checks of its endpoints last found.
            let healthy = |seen: &UpstreamStatus| seen.endpoints.iter().any(|it| it.healthy);
            let status = state(seen.is_some_and(healthy));
            return (
                name.to_owned(),
                ServiceReport { status, breaker, dependencies: BTreeMap::new() },
            );
        };
        let health = timeout(ANSWER_WITHIN, mesh.health(name)).await.unwrap_or_default();
        let dependencies = health.checks.into_iter().map(|(name, up)| (name, state(up))).collect();
        (name.to_owned(), ServiceReport { status: state(health.serving), breaker, dependencies })
    }
}

fn state(up: bool) -> State {
    if up { State::Up } else { State::Down }
}
