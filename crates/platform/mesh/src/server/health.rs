//! Health of a service, driven by its dependencies (`grpc.health.v1`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::join_all;
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthRpc, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_health::server::{HealthReporter, HealthService};

use crate::server::service::Check;

/// Metadata of a health answer that lists the dependencies: `postgres=up,ledger=down`. The
/// protocol has no call that lists them.
pub(crate) const CHECKS: &str = "x-malha-checks";

/// Health of one service: of itself under its name, its gRPC names and the empty name; of each
/// dependency under the dependency's name.
pub(super) struct Health {
    reporter: HealthReporter,
    names: Vec<String>,
    checks: Vec<Check>,
    results: Arc<ArcSwap<BTreeMap<&'static str, bool>>>,
}

impl Health {
    /// Not serving until the first round of checks has passed.
    pub(super) async fn new(service: &str, mounted: &[&'static str], checks: Vec<Check>) -> Self {
        let own = [service, ""].into_iter().chain(mounted.iter().copied());
        let health = Self {
            reporter: HealthReporter::new(),
            names: own.map(str::to_owned).collect(),
            results: Arc::default(),
            checks,
        };
        health.set_all(health.checks.is_empty()).await;
        for check in &health.checks {
            health.reporter.set_service_status(check.name, ServingStatus::NotServing).await;
        }
        health
    }

    /// The gRPC service.
    pub(super) fn server(&self) -> HealthServer<impl HealthRpc> {
        HealthServer::new(Listing {
            health: HealthService::from_health_reporter(self.reporter.clone()),
            results: Arc::clone(&self.results),
        })
    }

    /// Asks every dependency again and again.
    pub(super) async fn watch(&self, every: Duration) {
        loop {
            self.check_all(every).await;
            tokio::time::sleep(every).await;
        }
    }

    /// Tells everybody to go elsewhere.
    pub(super) async fn stop(&self) {
        self.set_all(false).await;
    }

    async fn check_all(&self, patience: Duration) {
        let answers = join_all(self.checks.iter().map(|check| ask(check, patience))).await;
        for (name, answer) in &answers {
            self.tell(name, answer.as_ref()).await;
        }
        let results = answers.into_iter().map(|(name, answer)| (name, answer.is_ok())).collect();
        let before = self.results.swap(Arc::new(results));
        if let Some(up) = all_up(&self.results.load())
            && all_up(&before) != Some(up)
        {
            self.set_all(up).await;
        }
    }

    /// Tells watchers and the log how a dependency is, when that has changed.
    async fn tell(&self, name: &'static str, answer: Result<&(), &String>) {
        let before = self.results.load().get(name).copied();
        if before == Some(answer.is_ok()) {
            return;
        }
        match answer {
            Ok(()) if before.is_none() => {
                tracing::debug!(dependency = name, "dependency is healthy");
            }
            Ok(()) => tracing::info!(dependency = name, "dependency is healthy"),
            Err(error) => tracing::warn!(dependency = name, %error, "dependency is not healthy"),
        }
        self.reporter.set_service_status(name, serving(answer.is_ok())).await;
    }

    async fn set_all(&self, healthy: bool) {
        for name in &self.names {
            self.reporter.set_service_status(name, serving(healthy)).await;
        }
    }
}

async fn ask(check: &Check, patience: Duration) -> (&'static str, Result<(), String>) {
    let answer = timeout(patience, (check.run)()).await;
    (check.name, answer.unwrap_or_else(|_| Err("no answer in time".to_owned())))
}

/// Whether all dependencies are well; `None` before the first round, or without any.
fn all_up(results: &BTreeMap<&'static str, bool>) -> Option<bool> {
    (!results.is_empty()).then(|| results.values().all(|up| *up))
}

fn serving(healthy: bool) -> ServingStatus {
    if healthy { ServingStatus::Serving } else { ServingStatus::NotServing }
}

/// The standard service, with the dependencies listed beside each answer.
struct Listing {
    health: HealthService,
    results: Arc<ArcSwap<BTreeMap<&'static str, bool>>>,
}

#[tonic::async_trait]
impl HealthRpc for Listing {
    type WatchStream = <HealthService as HealthRpc>::WatchStream;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let mut response = self.health.check(request).await?;
        if let Ok(list) = MetadataValue::try_from(list(&self.results.load())) {
            response.metadata_mut().insert(CHECKS, list);
        }
        Ok(response)
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.health.watch(request).await
    }
}

fn list(results: &BTreeMap<&'static str, bool>) -> String {
    let items =
        results.iter().map(|(name, up)| format!("{name}={}", if *up { "up" } else { "down" }));
    items.collect::<Vec<_>>().join(",")
}

/// Reads [`CHECKS`].
pub(crate) fn read_list(text: &str) -> BTreeMap<String, bool> {
    let items = text.split(',').filter_map(|item| item.split_once('='));
    items.map(|(name, state)| (name.to_owned(), state == "up")).collect()
}
