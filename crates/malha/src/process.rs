//! One process: serves a set of modules until it is told to stop.

mod admin;
mod ports;
pub(crate) mod signals;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clock::Clock;
use gateway::Gateway;
use mesh::{Mesh, Service};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::Database;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

use crate::modules::{Module, Parts, Start};
use crate::settings::Settings;

/// Wait before the database is asked again: at first, and at most.
const DATABASE_DELAY: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];

/// The process itself.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// How long a starting service waits for its database before the process gives up.
    /// Default: 2 min.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) database_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { database_timeout: Duration::from_mins(2) }
    }
}

/// A set of modules to serve.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) settings: Settings,
    modules: Vec<&'static Module>,
}

/// How far the process is: shared with the admin listener.
#[derive(Clone, Debug)]
struct Progress {
    /// Modules that do not serve yet.
    starting: watch::Sender<usize>,
    /// Cancelled by a signal, and when any module ends.
    stop: CancellationToken,
}

impl Process {
    /// Checks that the set can run: its ports are free, and it knows where its neighbours are.
    pub(crate) fn new(settings: Settings, modules: Vec<&'static Module>) -> Result<Self> {
        for module in &modules {
            for called in module.calls.iter().copied().chain(["identity"]) {
                if settings.mesh.endpoints.get(called).is_none_or(Vec::is_empty) {
                    bail!("{} calls {called}: set mesh.endpoints.{called}", module.name);
                }
            }
        }
        ports::check(&settings, &modules)?;
        Ok(Self { settings, modules })
    }

    /// Serves until a signal comes or a module fails, then stops all, callers before the called.
    /// `ready` runs once, when everything serves.
    pub(crate) async fn run(self, ready: impl FnOnce(&Settings)) -> Result<()> {
        let started = Instant::now();
        let stop = CancellationToken::new();
        let progress =
            Progress { starting: watch::Sender::new(self.modules.len()), stop: stop.clone() };
        signals::listen(stop.clone())?;
        let memory = tokio::spawn(crate::memory::give_back());
        let admin = admin::serve(&self.settings, &self.modules, progress.clone()).await?;
        let settings = Arc::new(self.settings);
        let running: Vec<_> =
            self.modules.iter().map(|module| spawn(module, &settings, progress.clone())).collect();

        let mut starting = progress.starting.subscribe();
        tokio::select! {
            _ = starting.wait_for(|starting| *starting == 0) => {
                let services: Vec<_> = self.modules.iter().map(|module| module.name).collect();
                let duration = started.elapsed().as_secs_f64() * 1e3;
                info!(duration, services = services.join(","), "ready");
                ready(&settings);
            }
            () = stop.cancelled() => {}
        }
        stop.cancelled().await;
        let result = drain(running).await;
        admin.abort();
        memory.abort();
        info!("stopped");
        result
    }
}

fn spawn(module: &'static Module, settings: &Arc<Settings>, progress: Progress) -> Running {
    let stop = CancellationToken::new();
    let serving = serve(module, Arc::clone(settings), progress.clone(), stop.clone());
    let serving = async move {
        // A module that ends, for whatever reason, ends the process: what restarts processes
        // restarts it whole.
        let _ended = progress.stop.drop_guard();
        serving.await
    };
    let span = info_span!("module", service = module.name);
    Running { name: module.name, stop, task: tokio::spawn(serving.instrument(span)) }
}

/// One module at work.
struct Running {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

/// Stops the modules one by one in their order, and returns the first failure.
async fn drain(running: Vec<Running>) -> Result<()> {
    let mut result = Ok(());
    for Running { name, stop, task } in running {
        stop.cancel();
        let ended = match task.await {
            Ok(ended) => ended.with_context(|| format!("{name} cannot go on")),
            Err(panic) => Err(panic).context(name),
        };
        result = result.and(ended);
    }
    result
}

/// Starts one module and serves it until `stop`.
async fn serve(
    module: &'static Module,
    settings: Arc<Settings>,
    progress: Progress,
    stop: CancellationToken,
) -> Result<()> {
    let mesh = Mesh::join(module.name, &settings.mesh).with_context(|| {
        format!("cannot join the mesh; `malha certs issue {}` makes its certificate", module.name)
    })?;
    let parts = Parts { settings, mesh: mesh.clone(), clock: Clock::system() };
    let Some(started) = stop.run_until_cancelled(start(module, parts)).await else {
        return Ok(());
    };
    let started = started?;
    progress.starting.send_modify(|starting| *starting -= 1);
    match started {
        Started::Service(service, listener) => mesh.serve(*service, listener, stop).await?,
        Started::Edge(gateway) => gateway.serve(stop).await,
    }
    Ok(())
}

/// A module that listens and only has to be served.
enum Started {
    Service(Box<Service>, TcpListener),
    Edge(Box<Gateway>),
}

/// Listens only when the service is there: until then callers are refused at once, not kept waiting.
async fn start(module: &Module, parts: Parts) -> Result<Started> {
    let settings = Arc::clone(&parts.settings);
    let service = match module.start {
        Start::Edge => {
            let mut config = settings.gateway.clone();
            if settings.edge_is_stored() {
                await_database(&Database::open(module.name, &settings.storage), &settings).await?;
                config.postgres = Some(settings.storage.clone());
            }
            let gateway = Box::pin(Gateway::bind(config, Some(&parts.mesh), parts.clock)).await?;
            return Ok(Started::Edge(Box::new(gateway)));
        }
        Start::Own(start) => start(parts).await?,
        Start::Stored(start) => {
            let database = Database::open(module.name, &settings.storage);
            await_database(&database, &settings).await?;
            start(parts, database).await?
        }
    };
    let listener = ports::listen(ports::of_service(&settings, module.name)?).await?;
    Ok(Started::Service(Box::new(service), listener))
}

/// Waits until the database answers, within the time that the settings allow.
async fn await_database(database: &Database, settings: &Settings) -> Result<()> {
    let started = Instant::now();
    let [mut delay, delay_max] = DATABASE_DELAY;
    while let Err(error) = database.ping().await {
        let storage = &settings.storage;
        if started.elapsed() > settings.process.database_timeout {
            return Err(error).with_context(|| {
                format!(
                    "PostgreSQL at {}:{} did not answer within process.database_timeout",
                    storage.host, storage.port
                )
            });
        }
        warn!(%error, host = storage.host, port = storage.port, "database does not answer, asking again");
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(delay_max);
    }
    Ok(())
}

/// For a process that nobody watches on a terminal.
pub(crate) fn say_nothing(_: &Settings) {}
