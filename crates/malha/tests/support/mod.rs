//! Runs the real binary, and talks to it as the world does.
#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod client;

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Services of the mesh, without the gateway.
pub(crate) const SERVICES: [&str; 5] = ["identity", "customers", "accounts", "ledger", "payments"];

/// Longest wait for anything that should happen; most takes a hundredth.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Settings as variables.
pub(crate) type Variables = Vec<(String, String)>;

/// One `malha` process. Killed when dropped.
pub(crate) struct Malha {
    child: Child,
    lines: Receiver<String>,
}

impl Malha {
    /// Starts `malha` with these arguments and settings, in `folder`.
    pub(crate) fn start(arguments: &[&str], variables: &Variables, folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_malha"))
            .args(arguments)
            .envs(variables.iter().cloned())
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Waits for the log line with this message, and fails when the process ends before.
    pub(crate) fn await_line(&self, message: &str) -> String {
        let wanted = format!("\"message\":\"{message}\"");
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(&wanted) => return line,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => panic!("no line {message:?} in time"),
                Err(RecvTimeoutError::Disconnected) => panic!("ended without a line {message:?}"),
            }
        }
    }

    /// Ends the process where it stands.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("still there after SIGTERM");
    }
}

impl Drop for Malha {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a process, which are also shown when a test fails.
fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            println!("{line}");
            // Nobody waits for lines any more.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Ports that nobody has, below those that the kernel gives to outgoing connections.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 600).unwrap();
    let next = || 20_000 + process * 20 + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
    std::array::from_fn(|_| {
        loop {
            let port = next();
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return port;
            }
        }
    })
}

/// Settings that give every service a port of its own, and the gateway one without TLS.
pub(crate) fn addresses() -> (Variables, String) {
    let ports: [u16; 8] = free_ports();
    let mut variables = Vec::new();
    for (service, port) in SERVICES.iter().zip(ports) {
        let name = service.to_uppercase();
        variables.push((format!("MALHA_MESH__LISTEN__{name}"), format!("127.0.0.1:{port}")));
        variables
            .push((format!("MALHA_MESH__ENDPOINTS__{name}"), format!("[\"127.0.0.1:{port}\"]")));
    }
    let [.., https, http, admin] = ports;
    let http = format!("127.0.0.1:{http}");
    for (name, address) in [
        ("MALHA_GATEWAY__HTTP", http.clone()),
        ("MALHA_GATEWAY__HTTPS", format!("127.0.0.1:{https}")),
        ("MALHA_TELEMETRY__LISTEN", format!("127.0.0.1:{admin}")),
    ] {
        variables.push((name.to_owned(), address));
    }
    (variables, http)
}
