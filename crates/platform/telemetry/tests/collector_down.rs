//! A collector that hangs delays nothing. One test: telemetry starts once in a process.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::time::{Duration, Instant};

use tracing::info_span;

/// T-49
#[test]
fn collector_that_never_answers_neither_slows_the_mesh_nor_stops_its_end() {
    // Accepts connections in its backlog, and never reads.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = telemetry::Config {
        otlp_endpoint: format!("http://{}", listener.local_addr().unwrap()),
        flush_timeout: Duration::from_millis(300),
        ..telemetry::Config::default()
    };
    let guard = telemetry::init(&config, "payments").unwrap();

    // Several times what the exporter's queue holds.
    let started = Instant::now();
    for _ in 0..10_000 {
        info_span!("call").in_scope(|| ());
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());

    let stopping = Instant::now();
    drop(guard);
    assert!(stopping.elapsed() < Duration::from_secs(2), "{:?}", stopping.elapsed());
}
