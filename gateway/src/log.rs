//! The access log: a line of JSON for each request, on standard output or in a file.
//!
//! Lines are gathered by each worker and written by one thread, so that a slow reader keeps no
//! request waiting; when it is too slow or cannot write, lines are lost and counted. A file that was
//! moved away is opened anew.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::config::{self, Logged};

/// Bytes of lines that a worker gathers before they are written.
const GATHERED_BYTES: usize = 16 * 1024;

/// How often lines are written at the latest.
pub(crate) const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// Batches that wait for the writer.
const BATCHES_MAX: usize = 64;

/// What a line says of a request.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line<'a> {
    pub(crate) correlation_id: &'a str,
    #[serde(rename = "trace_id")]
    pub(crate) trace_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_id: Option<&'a str>,
    #[serde(rename = "http_method")]
    pub(crate) method: &'a str,
    /// Template of the route.
    pub(crate) route: &'a str,
    /// Path and query, sensitive values masked; absent where no contract says which are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<&'a str>,
    pub(crate) status: u16,
    /// Stable reason of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
    pub(crate) duration: String,
    /// Bytes of the answer's body.
    pub(crate) bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream: Option<&'a str>,
    pub(crate) peer: IpAddr,
}

/// Where lines go, and which.
pub(crate) struct AccessLog {
    requests: Logged,
    ratio: f64,
    writer: Option<SyncSender<Vec<u8>>>,
}

impl AccessLog {
    /// Opens the log.
    pub(crate) fn open(config: &config::AccessLog) -> io::Result<Self> {
        let writer = match config.requests {
            Logged::Off => None,
            Logged::Sampled | Logged::All => Some(spawn_writer(config)?),
        };
        Ok(Self { requests: config.requests, ratio: config.ratio, writer })
    }

    /// Share of the requests with that status that are logged.
    pub(crate) fn share(&self, status: u16) -> f64 {
        match self.requests {
            Logged::Off => 0.0,
            Logged::Sampled if status < 500 => self.ratio,
            Logged::Sampled | Logged::All => 1.0,
        }
    }
}

/// Whether the log could be opened, as far as can be seen without making its file.
pub(crate) fn check(config: &config::AccessLog) -> io::Result<()> {
    match &config.file {
        Some(file) if file.exists() => OpenOptions::new().append(true).open(file).map(|_| ()),
        Some(file) => {
            fs::metadata(file.parent().filter(|it| *it != "").unwrap_or(".".as_ref())).map(|_| ())
        }
        None => Ok(()),
    }
}

fn spawn_writer(config: &config::AccessLog) -> io::Result<SyncSender<Vec<u8>>> {
    let mut out = Out::open(config.file.as_deref())?;
    let (writer, batches) = sync_channel::<Vec<u8>>(BATCHES_MAX);
    thread::Builder::new().name("access-log".to_owned()).spawn(move || {
        let mut is_broken = false;
        for batch in batches {
            let written = out.write(&batch);
            if let Err(error) = &written {
                lost();
                // Once, not at every batch.
                if !is_broken {
                    tracing::error!(%error, "access log cannot be written, lines are lost");
                }
            }
            is_broken = written.is_err();
        }
    })?;
    Ok(writer)
}

/// What lines are written to.
enum Out {
    Standard,
    File { path: PathBuf, file: File },
}

impl Out {
    fn open(file: Option<&Path>) -> io::Result<Self> {
        match file {
            Some(path) => Ok(Self::File { path: path.to_owned(), file: append(path)? }),
            None => Ok(Self::Standard),
        }
    }

    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        match self {
            Self::Standard => {
                let mut out = io::stdout().lock();
                out.write_all(batch).and_then(|()| out.flush())
            }
            Self::File { path, file } => {
                // Whoever rotates logs moves the file away.
                if !is_at(file, path) {
                    *file = append(path)?;
                }
                file.write_all(batch)
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Whether `file` is still what stands at `path`.
fn is_at(file: &File, path: &Path) -> bool {
    let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().map(place).ok() == fs::metadata(path).map(place).ok()
}

/// The lines of one worker on their way to the log.
pub(crate) struct Lines {
    gathered: RefCell<Vec<u8>>,
    /// The last second that was written, and how.
    clock: RefCell<(u64, String)>,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self { gathered: RefCell::default(), clock: RefCell::new((0, String::new())) }
    }

    /// Adds a line.
    pub(crate) fn write(&self, log: &AccessLog, line: &Line<'_>) {
        let mut gathered = self.gathered.borrow_mut();
        gathered.extend_from_slice(b"{\"timestamp\":\"");
        self.write_time(&mut gathered);
        gathered.extend_from_slice(
            b"\",\"level\":\"INFO\",\"context\":\"gateway\",\"message\":\"request\",\
              \"service_name\":\"gateway\",",
        );
        let begun = gathered.len();
        // Writing to memory does not fail; what was begun for a line that does is taken back.
        if serde_json::to_writer(&mut *gathered, line).is_ok() {
            gathered.remove(begun);
            gathered.push(b'\n');
        }
        if gathered.len() >= GATHERED_BYTES {
            send(log, std::mem::take(&mut gathered));
        }
    }

    /// Hands over what was gathered.
    pub(crate) fn flush(&self, log: &AccessLog) {
        let mut gathered = self.gathered.borrow_mut();
        if !gathered.is_empty() {
            send(log, std::mem::take(&mut gathered));
        }
    }

    fn write_time(&self, to: &mut Vec<u8>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut clock = self.clock.borrow_mut();
        if clock.0 != now.as_secs() {
            let at = DateTime::<Utc>::from(UNIX_EPOCH + Duration::from_secs(now.as_secs()));
            *clock = (now.as_secs(), at.format("%Y-%m-%dT%H:%M:%S").to_string());
        }
        to.extend_from_slice(clock.1.as_bytes());
        let _ = write!(to, ".{:03}Z", now.subsec_millis());
    }
}

fn send(log: &AccessLog, batch: Vec<u8>) {
    let Some(writer) = &log.writer else { return };
    if writer.try_send(batch).is_err() {
        lost();
    }
}

fn lost() {
    metrics::counter!("malha_edge_log_batches_lost_total").increment(1);
}
