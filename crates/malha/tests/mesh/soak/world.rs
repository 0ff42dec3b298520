//! The gateway, both services, and what can be seen of the gateway from outside.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mesh::certs;
use reqwest::{Certificate, Client};
use tempfile::TempDir;
use testkit::greeter::Greeter;
use tokio::net::TcpStream;
use tokio::sync::RwLockWriteGuard;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{contract, erratic, http, quiet};
use crate::support::{MACHINE, Malha, eventually, free_ports, malha};

/// Files that this process and the gateway may have open.
const FILES_MAX: &str = "--nofile=8192:";

/// Where the gateway is, and how it is spoken to.
pub(super) struct Site {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    pub(super) client: Client,
    folder: PathBuf,
}

impl Site {
    pub(super) fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    pub(super) fn https(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.https.port())
    }

    /// Takes the place of a file at once, so that nobody reads half of it.
    fn replace(&self, name: &str, content: &[u8]) {
        let new = self.folder.join("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, self.folder.join(name)).unwrap();
    }
}

/// The contract and the certificate change, and now and then are broken.
pub(super) async fn changes(site: Arc<Site>) {
    for round in 0.. {
        sleep(Duration::from_millis(300)).await;
        if round % 4 == 3 {
            site.replace("soak.binpb", b"broken");
            continue;
        }
        site.replace("soak.binpb", &contract::descriptors(round));
        certs::issue(&site.folder, "edge").unwrap();
    }
}

/// What the gateway holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vitals {
    pub(super) memory_kb: u64,
    pub(super) files: usize,
    pub(super) threads: u64,
}

/// All of it; ends with this value.
pub(super) struct World {
    gateway: Malha,
    site: Arc<Site>,
    erratic: Arc<erratic::State>,
    _services: (Greeter, JoinSet<()>),
    _folder: TempDir,
    _machine: RwLockWriteGuard<'static, ()>,
}

impl World {
    pub(super) async fn start() -> Self {
        let machine = MACHINE.write().await;
        // A thousand connections have two ends.
        let process = std::process::id().to_string();
        let raised = Command::new("prlimit").args(["--pid", &process, FILES_MAX]).status();
        assert!(raised.is_ok_and(|status| status.success()), "8,192 open files are needed");
        let folder = tempfile::tempdir().unwrap();
        certs::init(folder.path()).unwrap();
        certs::issue(folder.path(), "edge").unwrap();
        fs::write(folder.path().join("soak.binpb"), contract::descriptors(0)).unwrap();

        let (greeter, mut services) = (Greeter::start().await, JoinSet::new());
        let [port] = free_ports();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let erratic = Arc::<erratic::State>::default();
        services.spawn(erratic::serve(address, Arc::clone(&erratic)));

        fs::write(folder.path().join("edge.toml"), settings(&greeter, address)).unwrap();
        let mut command = malha(folder.path());
        command.args(["gateway", "--config", "edge.toml"]);
        let gateway = Malha::start(command.env("MALHA_TELEMETRY__FORMAT", "json"));
        let ready = gateway.await_log("ready", |line| line["message"] == "ready");
        let place = |name: &str| ready[name].as_str().unwrap().parse().unwrap();
        let site = site(&folder, place("http"), place("https"));
        Self {
            gateway,
            site,
            erratic,
            _services: (greeter, services),
            _folder: folder,
            _machine: machine,
        }
    }

    pub(super) fn site(&self) -> Arc<Site> {
        Arc::clone(&self.site)
    }

    pub(super) fn erratic(&self) -> Arc<erratic::State> {
        Arc::clone(&self.erratic)
    }

    /// What the gateway holds when nobody is there any more.
    pub(super) async fn settled(&self) -> Vitals {
        eventually("no request is left", async || {
            let metrics = self.site.client.get(self.site.http("/metrics")).send().await.unwrap();
            let text = metrics.text().await.unwrap();
            // The one that asks.
            text.lines().any(|line| line == "malha_edge_in_flight 1")
        })
        .await;
        let files = quiet(async || fs::read_dir(self.proc("fd")).unwrap().count()).await;
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        Vitals { memory_kb: field("VmRSS:"), files, threads: field("Threads:") }
    }

    fn proc(&self, what: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{what}", self.gateway.id()))
    }

    /// The breaker closes when the service is well again; contract and certificate were taken over.
    pub(super) async fn recovers(&self) {
        self.erratic.is_well.store(true, Ordering::Relaxed);
        let (mut well, url) = (0, self.site.http("/erratic/hello/Ana"));
        eventually("the erratic service is answered from", async || {
            let answer = self.site.client.get(&url).send().await.unwrap();
            well = if answer.status() == 200 { well + 1 } else { 0 };
            well == 20
        })
        .await;
        self.gateway.await_line("contracts reloaded");
        self.gateway.await_line("certificate renewed");
    }

    /// Told to end, it answers what it has begun, and waits for nobody else.
    pub(super) async fn ends_in_good_order(&mut self) {
        let mut open = Vec::new();
        for begin in [http::GET, &http::HALF[..30], b"", http::PREFACE] {
            let mut stream = TcpStream::connect(self.site.http).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, begin).await.unwrap();
            open.push(stream);
        }
        let slow = self.site.client.get(self.site.https("/v1/hello/slow")).send();
        let slow = tokio::spawn(slow);
        sleep(Duration::from_millis(100)).await;
        assert!(self.gateway.terminate().await.success());
        assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    }
}

fn site(folder: &TempDir, http: SocketAddr, https: SocketAddr) -> Arc<Site> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ca = Certificate::from_pem(&fs::read(folder.path().join("ca.pem")).unwrap()).unwrap();
    let client = Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap();
    Arc::new(Site { http, https, client, folder: folder.path().to_owned() })
}

fn settings(greeter: &Greeter, erratic: SocketAddr) -> String {
    let greeter = greeter.endpoint();
    format!(
        r#"
        [telemetry]
        log = "error,malha=info,gateway::source=info,gateway::serve=info"

        [gateway]
        http = "127.0.0.1:0"
        https = "127.0.0.1:0"
        tls = {{ certificate = "edge.pem", key = "edge.key", check = "100ms" }}
        access_log = {{ requests = "off" }}
        rate_limits.classes.default = [{{ requests = 1000000000, per = "1h" }}]
        contracts = {{ descriptors = "soak.binpb", check = "100ms" }}
        limits = {{ drain_timeout = "5s", header_timeout = "10s" }}

        [gateway.upstreams.greeter]
        endpoints = ["{greeter}"]

        [gateway.upstreams.erratic]
        endpoints = ["http://{erratic}"]
        breaker = {{ consecutive_failures = 12, failure_percent = 95, open_time = "300ms" }}

        [[gateway.policies]]
        methods = "*"
        access = "public"
        upstream = "greeter"

        [[gateway.policies]]
        methods = "greeter.v1.ErraticService/*"
        upstream = "erratic"
        deadline = "1s"
        "#
    )
}
