//! The mesh as processes of their own, as in production.

use std::collections::BTreeMap;
use std::process::{Command, ExitStatus};

use sqlx::{Connection, PgConnection};
use storage::PrivateCluster;
use tokio::sync::RwLockWriteGuard;

use super::{Edge, MACHINE, Malha, SERVICES, Site, free_ports};

/// One process for each module. The edge first and those that are called last: the order in which
/// they start does not matter.
pub(crate) const MODULES: [&str; 10] = [
    "gateway",
    "payments",
    "identity",
    "accounts",
    "customers",
    "workflows",
    "ledger",
    "events",
    "notifications",
    "webhooks",
];

/// Settings of a mesh in production, but for its addresses; people may come as often as they like.
const SETTINGS: &str = "
    ledger.journal = '.malha/ledger'
    ledger.create = true
    identity.key_encryption_key = '.malha/identity.key'
    payments.customer_cash = true
    webhooks.key_encryption_key = '.malha/webhooks.key'
    gateway.tls = { certificate = '.malha/certs/edge.pem', key = '.malha/certs/edge.key' }
    gateway.rate_limits.classes.default = [{ requests = 60000000, per = '1m' }]
    gateway.rate_limits.classes.auth = [{ requests = 60000000, per = '1m' }]
";

/// A mesh of processes over one database, each of which a test may end and start again. All end
/// with this value.
pub(crate) struct House {
    processes: BTreeMap<&'static str, Malha>,
    pub(crate) edge: Edge,
    cluster: PrivateCluster,
    site: Site,
    _machine: RwLockWriteGuard<'static, ()>,
}

impl House {
    /// Starts a process for each of `modules`, with more settings (TOML), and waits until all is
    /// well.
    pub(crate) async fn start(modules: &[&'static str], settings: &str) -> Self {
        let machine = MACHINE.write().await;
        let site = Site::production(settings);
        let cluster = database(&site).await;
        let processes = BTreeMap::new();
        let mut house = Self { processes, edge: site.edge(), cluster, site, _machine: machine };
        for name in modules {
            house.spawn(name);
        }
        for process in house.processes.values() {
            process.await_line("ready");
        }
        house.await_well().await;
        house
    }

    /// Starts a process without waiting for it.
    pub(crate) fn spawn(&mut self, name: &'static str) {
        let [admin] = free_ports();
        let mut command = self.malha(&["serve", name]);
        command.env("MALHA_TELEMETRY__LISTEN", format!("127.0.0.1:{admin}"));
        self.processes.insert(name, Malha::start(&mut command));
    }

    /// The program, with the settings and the database of the house.
    pub(crate) fn malha(&self, arguments: &[&str]) -> Command {
        let mut command = self.site.malha(arguments);
        command.env("MALHA_STORAGE__HOST", self.cluster.config().host);
        command
    }

    /// Ends a process where it stands.
    pub(crate) fn kill(&mut self, name: &str) {
        self.process(name).kill();
    }

    /// Ends a process as an operator does.
    pub(crate) async fn terminate(&mut self, name: &str) -> ExitStatus {
        self.process(name).terminate().await
    }

    pub(crate) fn process(&mut self, name: &str) -> &mut Malha {
        self.processes.get_mut(name).unwrap()
    }

    /// Waits until the edge says that every service and all that it needs is well.
    pub(crate) async fn await_well(&self) {
        self.edge.await_ok("/health").await;
    }

    /// What a command prints, which must succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        self.site.run(arguments)
    }

    /// How services reach the database.
    pub(crate) fn storage(&self) -> storage::Config {
        self.cluster.config()
    }

    /// The database as its administrator sees it: all tenants, all schemas.
    pub(crate) async fn database(&self) -> PgConnection {
        PgConnection::connect(&self.cluster.url("postgres", "malha")).await.unwrap()
    }
}

impl Site {
    /// A site with certificates and secrets for everybody.
    pub(crate) fn production(settings: &str) -> Self {
        let site = Self::new(&format!("{SETTINGS}\n{settings}"));
        let certs = site.path("certs");
        mesh::certs::init(&certs).unwrap();
        for name in SERVICES.into_iter().chain(["gateway", "edge", "engineer"]) {
            mesh::certs::issue(&certs, name).unwrap();
        }
        for key in ["identity.key", "webhooks.key"] {
            sealing::create_master_key(&site.path(key)).unwrap();
        }
        site
    }
}

/// A database, prepared as an operator prepares one.
pub(crate) async fn database(site: &Site) -> PrivateCluster {
    let starting = tokio::task::spawn_blocking(PrivateCluster::start_scratch);
    let cluster = starting.await.unwrap().unwrap();
    site.run(&["database", "init", "--admin-url", &cluster.url("postgres", "postgres")]);
    cluster
}
