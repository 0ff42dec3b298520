//! The admin listener: plain HTTP for the platform that runs the process.

use anyhow::Result;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::task::JoinHandle;

use super::{Progress, ports};
use crate::modules::Module;
use crate::settings::Settings;

const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves `/metrics`, `/livez` and `/readyz` until the task is aborted.
pub(super) async fn serve(
    settings: &Settings,
    modules: &[&Module],
    progress: Progress,
) -> Result<JoinHandle<()>> {
    let listener = ports::listen(ports::admin(settings, modules)?).await?;
    let router = Router::new()
        .route(
            "/metrics",
            get(async || ([(CONTENT_TYPE, PROMETHEUS_TEXT)], telemetry::render_metrics())),
        )
        .route("/livez", get(async || StatusCode::OK))
        .route("/readyz", get(async move || readiness(&progress)));
    Ok(tokio::spawn(async move {
        // Ends only with the task.
        let _ = axum::serve(listener, router).await;
    }))
}

/// Whether this process serves. What it depends on is not asked: all replicas share that, and none
/// would be left to answer.
fn readiness(progress: &Progress) -> (StatusCode, &'static str) {
    if progress.stop.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else if *progress.starting.borrow() > 0 {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}
