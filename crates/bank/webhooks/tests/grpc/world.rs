//! A bank that sends webhooks, and its operators.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::DateTime;
use clock::Clock;
use contracts::webhooks::v1 as pb;
use contracts::webhooks::v1::webhooks_service_client::WebhooksServiceClient;
use events::{Bus, PostgresBus};
use futures::future::BoxFuture;
use mesh::{Channel, Context};
use tempfile::TempDir;
use testkit::{Role, TenantId, Testkit, UserId};
use tonic::Status;
use webhooks::{Config, Resolver};

pub(crate) use crate::receiver::PATIENCE;

/// When the settable clock begins.
pub(crate) const START: i64 = 1_800_000_000;

/// How long the bus keeps events.
pub(crate) const BUS_KEPT: Duration = Duration::from_hours(7 * 24);

/// Hosts and their addresses; a list of answers is given one after the other, the last one for ever.
#[derive(Clone, Default)]
pub(crate) struct Names(Arc<Mutex<BTreeMap<String, Vec<Vec<IpAddr>>>>>);

impl Names {
    pub(crate) fn set(&self, host: &str, answers: &[&[&str]]) {
        let parse = |answer: &&[&str]| answer.iter().map(|it| it.parse().unwrap()).collect();
        let answers = answers.iter().map(parse).collect();
        self.0.lock().unwrap().insert(host.to_owned(), answers);
    }
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let mut names = self.0.lock().unwrap();
        let found = names
            .get_mut(host)
            .map(|answers| if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() });
        Box::pin(async move { found.ok_or_else(|| io::Error::other("no such host")) })
    }
}

/// A service of webhooks with its database.
pub(crate) struct World {
    pub(crate) kit: Testkit,
    pub(crate) clock: Clock,
    pub(crate) names: Names,
    pub(crate) client: WebhooksServiceClient<Channel>,
    pub(crate) database: storage::Config,
    pub(crate) config: Config,
    _secrets: TempDir,
}

/// Settings for receivers on this machine that do not keep a test waiting.
pub(crate) fn quick() -> Config {
    Config {
        development_targets: true,
        poll_interval: Duration::from_millis(20),
        attempt_timeout: Duration::from_secs(5),
        ..Config::default()
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(quick()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        Self::at(config, Clock::manual(DateTime::from_timestamp(START, 0).unwrap())).await
    }

    pub(crate) async fn at(mut config: Config, clock: Clock) -> Self {
        let kit = Testkit::start_at(clock.clone()).await;
        let secrets = tempfile::tempdir().unwrap();
        config.key_encryption_key = secrets.path().join("webhooks.key");
        sealing::create_master_key(&config.key_encryption_key).unwrap();
        let database = kit.storage(&["webhooks", "payments"]).await;
        let client = WebhooksServiceClient::new(kit.channel("gateway", "webhooks"));
        let names = Names::default();
        let world = Self { kit, clock, names, client, database, config, _secrets: secrets };
        world.serve().await;
        world
    }

    /// Serves; after a stop it goes on where it was.
    pub(crate) async fn serve(&self) {
        let mesh = self.kit.mesh("webhooks");
        let service = webhooks::start(
            self.config.clone(),
            &mesh,
            self.open(),
            self.clock.clone(),
            self.bus(),
            BUS_KEPT,
            Arc::new(self.names.clone()),
        );
        self.kit.serve(&mesh, service.await.unwrap()).await;
    }

    /// The bus, as the service sees it.
    pub(crate) fn bus(&self) -> Arc<dyn Bus> {
        Arc::new(PostgresBus::new(self.open()))
    }

    /// The database, as the service sees it.
    pub(crate) fn open(&self) -> storage::Database {
        storage::Database::open("webhooks", &self.database)
    }

    pub(crate) fn staff(&self, role: Role) -> Context {
        self.kit.user_context(UserId::random(), &[role])
    }

    /// An administrator of another tenant.
    pub(crate) fn stranger(&self) -> Context {
        let mut claims = self.kit.claims(UserId::random(), &[Role::Admin]);
        claims.tenant = TenantId::from(uuid::Uuid::now_v7());
        self.kit.context(&claims)
    }

    /// Asks as an administrator.
    pub(crate) async fn ask<T>(
        &self,
        call: impl AsyncFnOnce(WebhooksServiceClient<Channel>) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, Status> {
        let call = self.staff(Role::Admin).scope(call(self.client.clone()));
        Ok(call.await?.into_inner())
    }

    /// Registers an endpoint for these types of events.
    pub(crate) async fn register(&self, url: &str, types: &[&str]) -> pb::CreateEndpointResponse {
        self.register_with(pb::CreateEndpointRequest {
            endpoint: Some(pb::Endpoint {
                url: url.to_owned(),
                event_types: types.iter().map(ToString::to_string).collect(),
                ..Default::default()
            }),
            scheme: 0,
        })
        .await
        .unwrap()
    }

    pub(crate) async fn register_with(
        &self,
        request: pb::CreateEndpointRequest,
    ) -> Result<pb::CreateEndpointResponse, Status> {
        self.ask(async |mut client| client.create_endpoint(request).await).await
    }

    pub(crate) async fn endpoint(&self, id: &str) -> pb::Endpoint {
        let request = pb::GetEndpointRequest { id: id.to_owned() };
        let response = self.ask(async |mut client| client.get_endpoint(request).await).await;
        response.unwrap().endpoint.unwrap()
    }

    /// Sends a ping; returns its delivery.
    pub(crate) async fn ping(&self, endpoint: &str) -> pb::Delivery {
        let request = pb::PingEndpointRequest { id: endpoint.to_owned() };
        let response = self.ask(async |mut client| client.ping_endpoint(request).await).await;
        response.unwrap().delivery.unwrap()
    }

    pub(crate) async fn delivery(&self, id: &str) -> pb::Delivery {
        let request = pb::GetDeliveryRequest { id: id.to_owned() };
        let response = self.ask(async |mut client| client.get_delivery(request).await).await;
        response.unwrap().delivery.unwrap()
    }

    pub(crate) async fn attempts(&self, delivery: &str) -> Vec<pb::Attempt> {
        let request = pb::ListAttemptsRequest { id: delivery.to_owned() };
        let response = self.ask(async |mut client| client.list_attempts(request).await).await;
        response.unwrap().attempts
    }

    /// All deliveries to an endpoint, newest first.
    pub(crate) async fn deliveries(&self, endpoint: &str) -> Vec<pb::Delivery> {
        let request = pb::ListDeliveriesRequest {
            endpoint_id: endpoint.to_owned(),
            page_size: 200,
            ..Default::default()
        };
        let response = self.ask(async |mut client| client.list_deliveries(request).await).await;
        response.unwrap().deliveries
    }

    /// Waits until so many attempts of a delivery have ended, and returns them.
    pub(crate) async fn await_attempts(&self, delivery: &str, count: usize) -> Vec<pb::Attempt> {
        let end = Instant::now() + PATIENCE;
        loop {
            let attempts = self.attempts(delivery).await;
            if attempts.len() >= count {
                return attempts;
            }
            assert!(Instant::now() < end, "{} of {count} attempts were made", attempts.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends a ping and waits for the first attempt.
    pub(crate) async fn try_once(&self, endpoint: &str) -> pb::Attempt {
        let delivery = self.ping(endpoint).await;
        self.await_attempts(&delivery.id, 1).await.remove(0)
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}
