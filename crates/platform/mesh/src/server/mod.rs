//! Serves one service to the mesh.

mod access;
mod guard;
pub(crate) mod health;
mod listen;
mod observe;
pub(crate) mod service;
mod tasks;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use auth::TokenVerifier;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::Server;
use tonic_reflection::server::Builder;
use tower::{Layer, ServiceBuilder};
use tracing::{Instrument, Span};

use crate::around::{self, Next};
use crate::config::Limits;
use crate::error::MeshError;
use crate::tls::Identity;

use access::{AdmitCaller, AdmitUser};
use guard::{CatchPanic, Enforce, Shed};
use health::Health;
use observe::Observe;
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
) -> impl Layer<Routes, Service: Next + Sync> + Clone + use<> {
    ServiceBuilder::new()
        // Outside of all, so that refused calls are traced and counted too.
        .layer(around::Layer(Observe { service: service.into() }))
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
        .map_err(|never: Infallible| match never {})
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
    let Service { name, mut routes, mounted, checks, tasks, fatal, .. } = service;
    let stop = stop.child_token();
    // Lends its name to the log lines of whatever runs inside.
    let span = tracing::info_span!("service", service = name);
    let health = Arc::new(Health::new(&name, &mounted, checks).await);
    routes.add_service(health.server());
    add_reflection(&mut routes, &mounted)?;
    let mut background = start_background(tasks, &health, limits.check_interval, &span);

    let kill = CancellationToken::new();
    let _kill_when_done = kill.clone().drop_guard();
    let members = listen::members(listener, identity, limits, stop.clone(), kill);
    let stopped = async {
        stop.cancelled().await;
        background.shutdown().await;
        health.stop().await;
    };
    let serving = transport(limits)
        .layer(layers(&name, verifier, limits))
        .serve_with_incoming_shutdown(routes.routes().prepare(), members, stopped);
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(limits.drain_time).await;
    };
    let work = Box::pin(async {
        tokio::select! {
            served = serving => served.map_err(MeshError::from),
            () = overdue => {
                tracing::warn!("calls still in flight after the drain time are cut off");
                Ok(())
            }
        }
    });
    until_fatal(work, fatal, &stop).instrument(span).await
}

/// Finishes `work`, which ends soon after `stop`. When `fatal` comes first, it stops the work and
/// is its error.
async fn until_fatal(
    mut work: impl Future<Output = Result<(), MeshError>> + Unpin,
    fatal: impl Future<Output = String>,
    stop: &CancellationToken,
) -> Result<(), MeshError> {
    let reason = tokio::select! {
        biased;
        served = &mut work => return served,
        // What is taken down in order may look like a failure.
        () = stop.cancelled() => return work.await,
        reason = fatal => reason,
    };
    tracing::error!(reason, "the service cannot go on");
    stop.cancel();
    work.await?;
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

fn transport(limits: &Limits) -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .max_connection_age(limits.connection_age_max)
}

/// Describes what is mounted, in both versions of the protocol: tools differ in which they speak.
fn add_reflection(routes: &mut RoutesBuilder, mounted: &[&'static str]) -> Result<(), MeshError> {
    let builder = || {
        let all = Builder::configure()
            .register_encoded_file_descriptor_set(contracts::DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        let names = mounted.iter().copied().chain(["grpc.health.v1.Health"]);
        names.fold(all, Builder::with_service_name)
    };
    routes.add_service(builder().build_v1()?);
    routes.add_service(builder().build_v1alpha()?);
    Ok(())
}
