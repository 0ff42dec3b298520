//! A private PostgreSQL server for development and tests.

mod installation;
mod owner;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Administrator, Config, Error};
use installation::Installation;
use owner::Owner;

/// Database of the services inside a private cluster.
const DATABASE: &str = "malha";
const LOG: &str = "postgres.log";
/// Lines of the log that an error shows.
const TAIL_LINES: usize = 10;
const START_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long a cluster whose process was just killed may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs PostgreSQL, and stops it when standard input closes: the kernel closes it however our
/// process ends. The signal is repeated, because a server that has only just begun does not hear
/// it. The watcher holds nothing of the log, whose lock would else outlast the server.
const SUPERVISOR: &str = r#"
exec 3<&0
temporary=$1; shift
"$@" </dev/null 3<&- &
server=$!
{ read -r _; while kill -INT "$server"; do sleep 1; done; } <&3 >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$server"; status=$?
kill "$watcher" 2>/dev/null
rm -rf "$temporary"
exit "$status"
"#;

/// Why a private cluster did not start.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No server programs were found, or only ones that are too old.
    #[error(
        "PostgreSQL {} or newer is not installed; on Debian or Ubuntu: apt-get install postgresql",
        installation::MAJOR_MIN
    )]
    NotInstalled,
    /// The data were written by another major version than those installed.
    #[error(
        "{} was written by PostgreSQL {major}: apt-get install postgresql-{major}, or remove it",
        data.display()
    )]
    VersionMissing {
        /// The data folder.
        data: PathBuf,
        /// Its major version.
        major: u32,
    },
    /// PostgreSQL refuses to run as root, and there is no user to run it as.
    #[error(
        "PostgreSQL does not run as root, and there is no user `postgres`: \
         create it, or do not run as root"
    )]
    NoUser,
    /// Another process runs the cluster of this folder.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// PostgreSQL ended while it started.
    #[error("PostgreSQL did not start; the end of {}:\n{tail}", log.display())]
    Failed {
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// A file or a program could not be used.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl ClusterError {
    fn failed(home: &Path) -> Self {
        let log = home.join(LOG);
        let text = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        Self::Failed { log, tail }
    }
}

/// A PostgreSQL server that only this process and its user reach, and that stops with the process,
/// even on kill -9.
///
/// It listens on a UNIX socket in a private folder, never on TCP. A Ctrl-C of the terminal does not
/// reach it: it stops when this value is dropped, which waits for it.
#[derive(Debug)]
pub struct PrivateCluster {
    socket: PathBuf,
    supervisor: Child,
    /// Closed to stop the server.
    lifeline: Option<ChildStdin>,
}

impl PrivateCluster {
    /// Starts the cluster of a folder, initialised when it is new. Its log is `postgres.log` beside
    /// the data.
    ///
    /// When we are root, PostgreSQL runs as the user `postgres`; where that user cannot reach the
    /// folder, the data are in `/var/lib/malha/`, under the name that the file `elsewhere` holds.
    pub async fn start(folder: impl AsRef<Path>) -> Result<Self, ClusterError> {
        let folder = folder.as_ref().to_owned();
        tokio::task::spawn_blocking(move || Self::start_durable(&folder))
            .await
            .map_err(|error| io_error("start PostgreSQL")(error.into()))?
    }

    fn start_durable(folder: &Path) -> Result<Self, ClusterError> {
        let temporary = temporary_folder()?;
        let owner = Owner::find(temporary.path())?;
        let home = owner.home(folder)?;
        Self::launch(&owner, &home, temporary, &[])
    }

    /// Starts an empty cluster for tests: as fast as may be, its data lost when it stops. Blocks
    /// the thread.
    pub fn start_scratch() -> Result<Self, ClusterError> {
        let temporary = temporary_folder()?;
        let owner = Owner::find(temporary.path())?;
        let home = temporary.path().to_owned();
        let settings = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];
        Self::launch(&owner, &home, temporary, &settings)
    }

    /// Prepares the database `malha` with a role and a schema for each service. Idempotent.
    pub async fn provision(&self, services: &[&str]) -> Result<(), Error> {
        self.administrator().provision(DATABASE, services, None).await
    }

    /// The configuration with which services reach their database.
    pub fn config(&self) -> Config {
        self.administrator().config(DATABASE)
    }

    /// The superuser of the cluster.
    pub fn administrator(&self) -> Administrator {
        Administrator::at_socket(&self.socket)
    }

    /// An address for psql, pgbench and other clients, as any role and to any database.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgresql:///{database}?host={}&user={role}", self.socket.display())
    }

    fn launch(
        owner: &Owner,
        home: &Path,
        temporary: TempDir,
        settings: &[&str],
    ) -> Result<Self, ClusterError> {
        let data = home.join("data");
        let log = lock_log(home)?;
        let installation = Installation::find(&data)?;
        tracing::info!(data = %data.display(), "starting PostgreSQL");
        if !data.exists() {
            initialise(owner, &installation, home, settings, &log)?;
        }
        // The lock says that no server of this folder runs, so a file that says otherwise is a
        // crash's.
        let status = data.join("postmaster.pid");
        let _ = fs::remove_file(&status);

        let mut supervisor =
            server_command(owner, &installation, &data, temporary.path(), settings)
                .stdin(Stdio::piped())
                .stdout(log.try_clone().map_err(io_error("share the log"))?)
                .stderr(log)
                .spawn()
                .map_err(io_error("run sh"))?;
        let lifeline = supervisor.stdin.take();
        // From here on the supervisor removes it.
        let mut cluster = Self { socket: temporary.keep(), supervisor, lifeline };
        cluster.await_ready(&status, home)?;
        Ok(cluster)
    }

    fn await_ready(&mut self, status: &Path, home: &Path) -> Result<(), ClusterError> {
        let start = Instant::now();
        // The line `ready` is what pg_ctl waits for too.
        while !fs::read_to_string(status)
            .is_ok_and(|text| text.lines().any(|line| line.trim() == "ready"))
        {
            let ended = self.supervisor.try_wait().map_err(io_error("watch PostgreSQL"))?.is_some();
            if ended || start.elapsed() > START_TIMEOUT {
                return Err(ClusterError::failed(home));
            }
            sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for PrivateCluster {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        if let Err(error) = self.supervisor.wait() {
            tracing::warn!(%error, "cannot wait for PostgreSQL to stop");
        }
    }
}

/// A new folder with a path short enough for a socket in it (107 bytes), for our eyes only.
fn temporary_folder() -> Result<TempDir, ClusterError> {
    let preferred = std::env::temp_dir();
    let parent =
        if preferred.as_os_str().len() < 60 { preferred.as_path() } else { Path::new("/tmp") };
    tempfile::Builder::new()
        .prefix("malha-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(io_error("create a temporary folder"))
}

/// Opens the log and locks it. The server inherits the open file, so the lock lasts as long as any
/// of its processes, whatever became of ours.
fn lock_log(home: &Path) -> Result<File, ClusterError> {
    let log = home.join(LOG);
    let file =
        File::options().append(true).create(true).open(&log).map_err(io_error(log.display()))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if start.elapsed() < STOP_TIMEOUT => {
                sleep(POLL_INTERVAL);
            }
            Err(fs::TryLockError::WouldBlock) => return Err(ClusterError::InUse(home.to_owned())),
            Err(fs::TryLockError::Error(source)) => return Err(io_error("lock the log")(source)),
        }
    }
}

/// Creates the data under another name first: what an interrupted initdb leaves is no cluster.
fn initialise(
    owner: &Owner,
    installation: &Installation,
    home: &Path,
    settings: &[&str],
    log: &File,
) -> Result<(), ClusterError> {
    let unfinished = home.join("data.new");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(io_error(unfinished.display()))?;
    }
    let share = || log.try_clone().map_err(io_error("share the log"));
    let mut command = owner.command(&installation.program("initdb"));
    command.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
    command.arg("--no-instructions").arg("--pgdata").arg(&unfinished);
    if settings.contains(&"fsync=off") {
        command.arg("--no-sync");
    }
    // It shares the locked log too, so that nobody takes the folder while an orphan writes to it.
    let status = command.stdin(Stdio::null()).stdout(share()?).stderr(share()?).status();
    if !status.map_err(io_error("run initdb"))?.success() {
        return Err(ClusterError::failed(home));
    }
    fs::rename(&unfinished, home.join("data")).map_err(io_error("name the data folder"))
}

fn server_command(
    owner: &Owner,
    installation: &Installation,
    data: &Path,
    temporary: &Path,
    settings: &[&str],
) -> Command {
    let mut command = owner.command(Path::new("/bin/sh"));
    command.args(["-c", SUPERVISOR, "malha-postgres"]).arg(temporary);
    command.arg(installation.program("postgres")).arg("-D").arg(data).arg("-k").arg(temporary);
    let common = ["listen_addresses=", "max_connections=200", "shared_buffers=128MB", "jit=off"];
    for setting in common.iter().chain(settings) {
        command.args(["-c", setting]);
    }
    // Out of the terminal's group: Ctrl-C is for us, and the server must outlive those that use it.
    command.process_group(0);
    command
}

fn io_error(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> ClusterError {
    let what = what.to_string();
    move |source| ClusterError::Io { what, source }
}
