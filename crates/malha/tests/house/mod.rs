//! A mesh of separate processes, each of which a test may kill and start again.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use storage::PrivateCluster;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Every process of the mesh; each serves one module.
pub(crate) const MODULES: [&str; 6] =
    ["ledger", "accounts", "customers", "payments", "identity", "gateway"];

/// The services that have a schema in PostgreSQL.
const STORED: [&str; 4] = ["identity", "customers", "accounts", "payments"];

/// How long the mesh may take to be well again.
const PATIENCE: Duration = Duration::from_secs(60);

/// A mesh of one process per module, with a database of its own. Ends with this value.
pub(crate) struct House {
    folder: TempDir,
    cluster: PrivateCluster,
    processes: Mutex<BTreeMap<&'static str, Child>>,
    /// Where the edge listens, without TLS.
    pub(crate) edge: String,
    /// Speaks to the edge.
    pub(crate) client: Client,
}

/// A person with an account, logged in.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    /// Its user id.
    pub(crate) id: String,
    /// Its access token.
    pub(crate) token: String,
    email: String,
}

impl House {
    /// Makes certificates, database and settings, starts every process, and waits until all is well.
    pub(crate) async fn start() -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let folder = tempfile::tempdir().unwrap();
        let certificates = folder.path().join("certs");
        mesh::certs::init(&certificates).unwrap();
        for name in MODULES.into_iter().chain(["edge"]) {
            mesh::certs::issue(&certificates, name).unwrap();
        }
        identity::create_key_encryption_key(&folder.path().join("identity.key")).unwrap();
        let cluster = PrivateCluster::start(folder.path().join("postgres")).await.unwrap();
        cluster.provision(&STORED).await.unwrap();

        let edge = format!("127.0.0.1:{}", free_port());
        std::fs::write(folder.path().join("malha.toml"), settings(&folder, &cluster, &edge))
            .unwrap();
        let house = Self {
            folder,
            cluster,
            processes: Mutex::default(),
            edge: format!("http://{edge}"),
            client: Client::builder().timeout(Duration::from_secs(10)).build().unwrap(),
        };
        for name in MODULES {
            house.spawn(name);
        }
        house.wait_until_well().await;
        house
    }

    /// Starts the process of a module.
    pub(crate) fn spawn(&self, name: &'static str) {
        let process = self
            .malha()
            .args(["serve", name])
            .env("MALHA_TELEMETRY__LISTEN", format!("127.0.0.1:{}", free_port()))
            .spawn()
            .unwrap();
        self.processes.lock().unwrap().insert(name, process);
    }

    /// Ends the process of a module as `kill -9` does.
    pub(crate) async fn kill(&self, name: &'static str) {
        let process = self.processes.lock().unwrap().remove(name);
        process.expect("the process runs").kill().await.unwrap();
    }

    /// The program with the settings of this mesh.
    fn malha(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_malha"));
        command.arg("--config").arg(self.folder.path().join("malha.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Waits until the edge says that every service and all that it needs is well.
    pub(crate) async fn wait_until_well(&self) {
        let well = async {
            loop {
                let answer = self.client.get(format!("{}/health", self.edge)).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, well).await.expect("the mesh is well within its time");
    }

    /// Registers a person and logs it in.
    pub(crate) async fn person(&self, number: usize) -> Person {
        let email = format!("person{number}@example.com");
        let body = json!({"name": "Person", "email": email, "password": "correct horse battery"});
        let registered = self.post("/auth/register", None, &[], &body).await.unwrap();
        assert_eq!(registered.status(), 201);
        let registered: Value = registered.json().await.unwrap();
        let mut person = Person {
            id: registered["id"].as_str().unwrap().to_owned(),
            token: String::new(),
            email,
        };
        self.log_in(&mut person).await;
        person
    }

    /// Gives the person a fresh token.
    pub(crate) async fn log_in(&self, person: &mut Person) {
        let body = json!({"email": person.email, "password": "correct horse battery"});
        let tokens = self.post("/auth/login", None, &[], &body).await.unwrap();
        assert_eq!(tokens.status(), 200);
        let tokens: Value = tokens.json().await.unwrap();
        tokens["accessToken"].as_str().unwrap().clone_into(&mut person.token);
    }

    /// Posts JSON to the edge.
    pub(crate) async fn post(
        &self,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> reqwest::Result<Response> {
        let mut request = self.client.post(format!("{}{path}", self.edge)).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await
    }

    /// Reads JSON from the edge, which must succeed.
    pub(crate) async fn get(&self, path: &str, token: &str) -> Value {
        let request = self.client.get(format!("{}{path}", self.edge)).bearer_auth(token);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let body = answer.text().await.unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The database as its administrator sees it: all tenants, all schemas.
    pub(crate) async fn database(&self) -> PgConnection {
        PgConnection::connect(&self.cluster.url("postgres", "malha")).await.unwrap()
    }
}

fn settings(folder: &TempDir, cluster: &PrivateCluster, edge: &str) -> String {
    let services = MODULES.into_iter().filter(|name| *name != "gateway");
    let addresses: Vec<_> =
        services.map(|name| (name, format!("127.0.0.1:{}", free_port()))).collect();
    let table = |value: fn(&str) -> String| {
        let entries =
            addresses.iter().map(|(name, address)| format!("{name} = {}", value(address)));
        entries.collect::<Vec<_>>().join("\n")
    };
    let unlimited = r#"[{ requests = 4000000000, per = "1m" }]"#;
    let path = |name: &str| format!("{:?}", folder.path().join(name).display().to_string());
    let storage = cluster.config();
    format!(
        "
        telemetry.log = 'error'
        storage.host = '{host}'
        storage.port = {port}
        storage.database = '{database}'
        ledger.journal = {journal}
        identity.key_encryption_key = {key}
        identity.development_tokens = true
        payments.customer_cash = true
        gateway.http = '{edge}'
        gateway.https = '127.0.0.1:{https}'
        gateway.tls = {{ certificate = {certificate}, key = {certificate_key} }}
        gateway.rate_limits = {{ default = {unlimited}, auth = {unlimited} }}
        mesh.certs = {certs}
        [mesh.listen]
        {listen}
        [mesh.endpoints]
        {endpoints}
        ",
        host = storage.host,
        port = storage.port,
        database = storage.database,
        journal = path("ledger"),
        key = path("identity.key"),
        https = free_port(),
        certificate = path("certs/edge.pem"),
        certificate_key = path("certs/edge.key"),
        certs = path("certs"),
        listen = table(|address| format!("'{address}'")),
        endpoints = table(|address| format!("['{address}']")),
    )
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
