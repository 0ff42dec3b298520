//! The broker, which is killed too.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use events::{Bus, NatsBus, NatsConfig, PostgresBus};
use sqlx::{Connection, PgConnection};
use storage::{Database, PrivateCluster};
use tempfile::TempDir;

const KEPT: Duration = Duration::from_hours(1);

pub(crate) enum Broker {
    /// The database itself: it recovers from its own crash.
    Postgres,
    Nats {
        folder: TempDir,
        port: u16,
        process: Child,
    },
    /// A cluster in this process, which cannot be killed: its broker is cut off.
    #[cfg(feature = "kafka")]
    Kafka(Box<rdkafka::mocking::MockCluster<'static, rdkafka::producer::DefaultProducerContext>>),
}

impl Broker {
    pub(crate) fn start(bus: &str) -> Self {
        match bus {
            "nats" => {
                let folder = tempfile::tempdir().unwrap();
                let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
                let process = launch(folder.path(), port);
                Self::Nats { folder, port, process }
            }
            #[cfg(feature = "kafka")]
            "kafka" => {
                let cluster = rdkafka::mocking::MockCluster::new(1).unwrap();
                cluster.create_topic("payments.processed", events::PARTITIONS.into(), 1).unwrap();
                Self::Kafka(Box::new(cluster))
            }
            _ => Self::Postgres,
        }
    }

    /// How the parts find it.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Postgres => "postgres".into(),
            Self::Nats { port, .. } => format!("nats://127.0.0.1:{port}"),
            #[cfg(feature = "kafka")]
            Self::Kafka(cluster) => cluster.bootstrap_servers(),
        }
    }

    pub(crate) async fn kill(&mut self, cluster: &PrivateCluster) {
        match self {
            Self::Postgres => kill_postgres(cluster).await,
            Self::Nats { process, .. } => {
                process.kill().unwrap();
                process.wait().unwrap();
            }
            #[cfg(feature = "kafka")]
            Self::Kafka(cluster) => cluster.broker_down(1).unwrap(),
        }
    }

    pub(crate) fn restart(&mut self) {
        match self {
            Self::Postgres => {}
            Self::Nats { folder, port, process } => *process = launch(folder.path(), *port),
            #[cfg(feature = "kafka")]
            Self::Kafka(cluster) => cluster.broker_up(1).unwrap(),
        }
    }
}

/// Kills one process of the server. The others end with it, whatever was only in memory is lost, and
/// the server recovers from its log.
async fn kill_postgres(cluster: &PrivateCluster) {
    let url = cluster.url("postgres", "malha");
    let Ok(mut connection) = PgConnection::connect(&url).await else { return };
    let writer: i32 =
        sqlx::query_scalar("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    let killed = Command::new("kill").args(["-9", &writer.to_string()]).status().unwrap();
    assert!(killed.success());
}

/// The bus at an address.
pub(crate) async fn bus(address: &str, database: &Database) -> Arc<dyn Bus> {
    if address == "postgres" {
        return Arc::new(PostgresBus::new(database.clone()));
    }
    if address.starts_with("nats:") {
        let config = NatsConfig { servers: address.into(), ..NatsConfig::default() };
        return Arc::new(NatsBus::connect(&config, KEPT).await.unwrap());
    }
    kafka(address)
}

#[cfg(feature = "kafka")]
fn kafka(address: &str) -> Arc<dyn Bus> {
    let config = events::KafkaConfig { brokers: address.into(), ..events::KafkaConfig::default() };
    Arc::new(events::KafkaBus::connect(&config, KEPT).unwrap())
}

#[cfg(not(feature = "kafka"))]
fn kafka(address: &str) -> Arc<dyn Bus> {
    panic!("{address} is no address of a bus that this program knows")
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

impl Drop for Broker {
    fn drop(&mut self) {
        if let Self::Nats { process, .. } = self {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
