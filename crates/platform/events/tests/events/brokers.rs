//! The buses of the contract suite, each on a server of its own.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use events::{Bus, NatsBus, NatsConfig, PostgresBus};
use storage::Database;
use tempfile::TempDir;
use testkit::Testkit;

/// Topics of the tests: those that the requirements name, letter for letter (L-44, K-16 to K-22, T-24), and
/// one of our own.
pub(crate) const TOPICS: [&str; 12] = [
    "user-events",
    "transaction-events",
    "notification-events",
    "transactions.created",
    "payments.processed",
    "cards.events",
    "accounts.events",
    "notifications.outbound",
    "webhooks.inbound",
    "reconciliation.events",
    "combat.events",
    "t",
];

/// How long the buses of tests keep records, where that is theirs to do.
const KEPT: Duration = Duration::from_hours(1);

/// A bus, and what it runs on for as long as this lives.
pub(crate) struct Broker {
    pub(crate) bus: Arc<dyn Bus>,
    _server: Box<dyn std::any::Any>,
}

pub(crate) async fn postgres() -> Broker {
    let kit = Testkit::start().await;
    let database = Database::open("events", &kit.storage(&["payments"]).await);
    Broker { bus: Arc::new(PostgresBus::new(database)), _server: Box::new(kit) }
}

pub(crate) async fn nats() -> Broker {
    let server = NatsServer::start();
    Broker { bus: server.bus().await, _server: Box::new(server) }
}

#[cfg(feature = "kafka")]
pub(crate) fn kafka() -> Broker {
    let (bus, cluster) = kafka_cluster();
    Broker { bus: Arc::new(bus), _server: Box::new(cluster) }
}

/// A cluster that can be told to fail.
#[cfg(feature = "kafka")]
pub(crate) fn kafka_cluster() -> (events::KafkaBus, KafkaCluster) {
    let cluster = KafkaCluster::new(1).unwrap();
    // It makes no topics by itself.
    for topic in TOPICS {
        cluster.create_topic(topic, events::PARTITIONS.into(), 1).unwrap();
    }
    let brokers = cluster.bootstrap_servers();
    let config = events::KafkaConfig { brokers, ..events::KafkaConfig::default() };
    (events::KafkaBus::connect(&config, KEPT).unwrap(), cluster)
}

#[cfg(feature = "kafka")]
pub(crate) type KafkaCluster =
    rdkafka::mocking::MockCluster<'static, rdkafka::producer::DefaultProducerContext>;

/// `nats-server` with `JetStream`; it can be killed and started again on its data.
pub(crate) struct NatsServer {
    folder: TempDir,
    port: u16,
    process: Child,
}

impl NatsServer {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = launch(folder.path(), port);
        Self { folder, port, process }
    }

    pub(crate) async fn bus(&self) -> Arc<dyn Bus> {
        Arc::new(self.nats_bus().await)
    }

    pub(crate) fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn nats_bus(&self) -> NatsBus {
        self.nats_bus_that_keeps(KEPT).await
    }

    pub(crate) async fn nats_bus_that_keeps(&self, kept: Duration) -> NatsBus {
        let config = NatsConfig { servers: self.address(), ..NatsConfig::default() };
        let bus = NatsBus::connect(&config, kept).await.unwrap();
        let started = Instant::now();
        while let Err(error) = bus.ping().await {
            assert!(started.elapsed() < Duration::from_secs(10), "nats-server: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bus
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.process = launch(self.folder.path(), self.port);
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn launch(folder: &Path, port: u16) -> Child {
    Command::new("nats-server")
        .args(["--jetstream", "--addr", "127.0.0.1", "--port", &port.to_string(), "--store_dir"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the tests need nats-server: apt-get install nats-server")
}
