//! One process of the program.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use super::{PATIENCE, eventually};

/// The program, to be run in `folder`.
pub(crate) fn malha(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_malha"));
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// A running `malha`. Killed when dropped.
pub(crate) struct Malha {
    child: Child,
    lines: Receiver<String>,
}

impl Malha {
    /// Starts it, without waiting for anything.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the log line with this message, and fails when the process ends before.
    pub(crate) fn await_line(&self, message: &str) {
        self.await_log(message, |line| line["message"] == message);
    }

    /// Waits for the next log line that is wanted, and fails when the process ends before.
    pub(crate) fn await_log(&self, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let line = serde_json::from_str(&line).unwrap();
                    if is_wanted(&line) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no line {what:?} in time"),
                Err(RecvTimeoutError::Disconnected) => panic!("ended without a line {what:?}"),
            }
        }
    }

    /// Ends it where it stands, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.end().await
    }

    /// Sends the signal of that name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        eventually("it ends", async || self.child.try_wait().unwrap().is_some()).await;
        self.child.wait().unwrap()
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
