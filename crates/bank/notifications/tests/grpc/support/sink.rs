//! A mail server of somebody else's making: aiosmtpd, which `cargo xtask test` installs.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use notifications::{Email, Smtp, SmtpTls};
use serde_json::Value;

use super::eventually;

/// Sender of all mail in tests.
pub(crate) const FROM: &str = "Banco Malha <no-reply@malha.example>";

/// A running mail server. Killed when dropped.
pub(crate) struct Sink {
    child: Child,
    pub(crate) port: u16,
    said: Arc<Mutex<Vec<Value>>>,
}

impl Sink {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server that speaks TLS from the first byte, and demands a login.
    pub(crate) fn start_tls(certificate: &Path, key: &Path) -> Self {
        Self::start_with(&[certificate, key])
    }

    fn start_with(arguments: &[&Path]) -> Self {
        let python = env::home_dir().unwrap().join(".cache/malha/aiosmtpd/bin/python");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grpc/sink.py");
        let mut child = Command::new(&python)
            .arg(script)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; see xtask", python.display()));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, port: u16::try_from(first["port"].as_u64().unwrap()).unwrap(), said }
    }

    /// The settings with which mail goes there.
    pub(crate) fn config(&self) -> Email {
        let smtp = Smtp {
            host: "127.0.0.1".into(),
            port: Some(self.port),
            tls: SmtpTls::None,
            ca: None,
            username: None,
            password: None,
        };
        Email { from: FROM.into(), smtp: Some(smtp), folder: None }
    }

    /// What it took, or hangs on, so far.
    pub(crate) fn said(&self) -> Vec<Value> {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it said this much.
    pub(crate) async fn await_said(&self, count: usize) -> Vec<Value> {
        eventually("mail arrives", async || Some(self.said()).filter(|said| said.len() >= count))
            .await
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
