//! The buses, each on a server of this run.

use std::any::Any;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use events::{Bus, NatsBus, NatsConfig};

const KEPT: Duration = Duration::from_hours(1);

/// A bus, and what it runs on for as long as this lives.
pub(super) struct Broker {
    pub(super) bus: Arc<dyn Bus>,
    _server: Box<dyn Any>,
}

/// A process that ends with this.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `nats-server` with `JetStream` on files.
pub(super) async fn nats(folder: &Path) -> Result<Broker> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let server = Command::new("nats-server")
        .args(["--jetstream", "--addr", "127.0.0.1", "--port", &port.to_string(), "--store_dir"])
        .arg(folder.join("nats"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("install the package `nats-server`")?;
    let server = Process(server);
    let servers = format!("nats://127.0.0.1:{port}");
    let bus = NatsBus::connect(&NatsConfig { servers, ..NatsConfig::default() }, KEPT).await?;
    let started = Instant::now();
    while let Err(error) = bus.ping().await {
        if started.elapsed() > Duration::from_secs(10) {
            bail!("nats-server does not answer: {error}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(Broker { bus: Arc::new(bus), _server: Box::new(server) })
}

/// librdkafka's own broker, which keeps records in the memory of this process.
#[cfg(feature = "kafka")]
pub(super) fn kafka() -> Result<Broker> {
    let cluster = rdkafka::mocking::MockCluster::new(1)?;
    cluster.create_topic("transaction-events", events::PARTITIONS.into(), 1)?;
    let config = events::KafkaConfig {
        brokers: cluster.bootstrap_servers(),
        ..events::KafkaConfig::default()
    };
    let bus = events::KafkaBus::connect(&config, KEPT)?;
    Ok(Broker { bus: Arc::new(bus), _server: Box::new(cluster) })
}
