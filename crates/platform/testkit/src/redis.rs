//! A Redis server of a test's own.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A server that stops when it is dropped.
pub struct Redis {
    folder: TempDir,
    port: u16,
    /// What it is told beyond the usual.
    arguments: Vec<String>,
    process: Option<Child>,
}

impl Redis {
    /// A new, empty server.
    pub fn start() -> Self {
        Self::start_with(|port| vec!["--port".to_owned(), port.to_string()])
    }

    /// The same over TLS alone, with the certificate `redis` of a folder of certificates of the mesh.
    pub fn start_tls(certificates: &Path) -> Self {
        let file = |name: &str| certificates.join(name).display().to_string();
        let (certificate, key, ca) = (file("redis.pem"), file("redis.key"), file("ca.pem"));
        Self::start_with(|port| {
            let told = format!(
                "--port 0 --tls-port {port} --tls-auth-clients no --tls-cert-file {certificate} \
                 --tls-key-file {key} --tls-ca-cert-file {ca}"
            );
            told.split_whitespace().map(ToOwned::to_owned).collect()
        })
    }

    fn start_with(arguments: impl FnOnce(u16) -> Vec<String>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("a listener has an address").port();
        drop(listener);
        let folder = tempfile::tempdir().expect("a folder for Redis is made");
        let mut server = Self { folder, port, arguments: arguments(port), process: None };
        server.restart();
        server
    }

    /// The port that it listens on, on this machine alone.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again at the same address, empty.
    pub fn restart(&mut self) {
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(self.folder.path())
            .args(&self.arguments)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.process = Some(process);
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(Instant::now() < until, "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it without a word.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it is ours");
            process.wait().expect("it ends");
        }
    }

    /// Sends its process a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let id = self.process.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.expect("kill is there").success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
