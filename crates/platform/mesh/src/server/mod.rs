//! Serves one service to the mesh.

mod access;
mod connection;
mod cores;
mod guard;
pub(crate) mod health;
mod listen;
mod observe;
mod routes;
pub(crate) mod service;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use auth::TokenVerifier;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_reflection::server::Builder;
use tower::ServiceBuilder;
use tracing::{Instrument, Span};

use crate::around::{self, Next};
use crate::config::Limits;
use crate::error::MeshError;
use crate::tls::Identity;

use access::{AdmitCaller, AdmitUser};
use cores::Cores;
use guard::{CatchPanic, Enforce, Shed};
use health::Health;
use listen::Door;
use observe::Observe;
use routes::Routes;
use service::{Service, Task};

/// HTTP/2 flow control: bytes under way per call, and per connection.
pub(crate) const STREAM_WINDOW: u32 = 4 << 20;
/// See [`STREAM_WINDOW`].
pub(crate) const CONNECTION_WINDOW: u32 = 16 << 20;

/// An idle connection is probed this often, so that a peer that vanished is noticed.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The stack around every call, outermost first.
fn layers(
    service: &str,
    verifier: TokenVerifier,
    limits: &Limits,
    routes: Routes,
) -> impl Next + use<> {
    ServiceBuilder::new()
        // Outside of all, so that refused calls are traced and counted too.
        .layer(around::Layer(Observe::new(service)))
        // Outside of whatever may panic.
        .layer(around::Layer(CatchPanic))
        // Before any work is done for a call that will be turned away.
        .layer(around::Layer(Shed::new(limits)))
        // Also limits the time that the checks below may take.
        .layer(around::Layer(Enforce))
        // The certificate is known already; the token may cost a look at identity.
        .layer(around::Layer(AdmitCaller))
        // Innermost: what runs inside runs in the context of the call.
        .layer(around::Layer(AdmitUser { verifier: Arc::new(verifier) }))
        .service(routes)
}

/// Serves until `stop` or until the service cannot go on, then lets the calls in flight finish
/// within the drain time.
///
/// When it returns, or is dropped, nothing of the service is left: no task, no connection.
pub(crate) async fn serve(
    identity: Arc<Identity>,
    limits: &Limits,
    service: Service,
    verifier: TokenVerifier,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), MeshError> {
    let Service { name, mut routes, mounted, checks, tasks, fatal, is_per_core, .. } = service;
    let stop = stop.child_token();
    // Lends its name to the log lines of whatever runs inside.
    let span = tracing::info_span!("service", service = name);
    let health = Arc::new(Health::new(&name, &mounted, checks).await);
    routes.add(health.server());
    add_reflection(&mut routes, &mounted)?;
    let mut background = start_background(tasks, &health, limits.check_interval, &span);

    let kill = CancellationToken::new();
    let _kill_when_done = kill.clone().drop_guard();
    let door = Door {
        identity,
        limits: Arc::new(limits.clone()),
        cores: if is_per_core { Cores::all()? } else { Cores::current() },
        stack: Arc::new(layers(&name, verifier, limits, routes)),
        connections: TaskTracker::new(),
        stop: stop.clone(),
        closing: CancellationToken::new(),
        kill,
    };
    let serving = async {
        door.open(listener).await;
        background.shutdown().await;
        health.stop().await;
        door.close().await;
    };
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(limits.drain_time).await;
    };
    let work = Box::pin(async {
        tokio::select! {
            () = serving => {}
            () = overdue => {
                tracing::warn!("calls still in flight after the drain time are cut off");
            }
        }
    });
    until_fatal(work, fatal, &stop).instrument(span).await
}

/// Finishes `work`, which ends soon after `stop`. When `fatal` comes first, it stops the work and
/// is its error.
async fn until_fatal(
    mut work: impl Future<Output = ()> + Unpin,
    fatal: impl Future<Output = String>,
    stop: &CancellationToken,
) -> Result<(), MeshError> {
    let reason = tokio::select! {
        biased;
        () = &mut work => return Ok(()),
        // What is taken down in order may look like a failure.
        () = stop.cancelled() => {
            work.await;
            return Ok(());
        }
        reason = fatal => reason,
    };
    tracing::error!(reason, "the service cannot go on");
    stop.cancel();
    work.await;
    Err(MeshError::Fatal(reason))
}

/// Starts what runs beside the calls. It ends when the set is dropped.
fn start_background(
    tasks: Vec<Task>,
    health: &Arc<Health>,
    check_interval: Duration,
    span: &Span,
) -> JoinSet<()> {
    let mut background = JoinSet::new();
    for task in tasks {
        background.spawn(tasks::supervise(task).instrument(span.clone()));
    }
    let health = Arc::clone(health);
    let watch = async move { health.watch(check_interval).await };
    background.spawn(watch.instrument(span.clone()));
    background
}

/// Describes what is mounted, in both versions of the protocol: tools differ in which they speak.
fn add_reflection(routes: &mut Routes, mounted: &[&'static str]) -> Result<(), MeshError> {
    let builder = || {
        let all = Builder::configure()
            .register_encoded_file_descriptor_set(contracts::DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        let names = mounted.iter().copied().chain(["grpc.health.v1.Health"]);
        names.fold(all, Builder::with_service_name)
    };
    routes.add(builder().build_v1()?);
    routes.add(builder().build_v1alpha()?);
    Ok(())
}
