//! The recorder behind the `metrics` facade, and its Prometheus text.

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of every histogram named `*_seconds`: from a memory read to a slow bureau.
const LATENCY_BUCKETS_SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Observations are folded into their buckets this often, whether or not anybody reads them.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// All metrics of this process as Prometheus text; empty before telemetry has started.
pub fn render_metrics() -> String {
    RECORDER.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Makes this crate's recorder the process's, once; a recorder that a test brought stands.
pub(crate) fn install() {
    let suffix = Matcher::Suffix("_seconds".to_owned());
    #[expect(clippy::expect_used, reason = "fails only for an empty list")]
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(suffix, &LATENCY_BUCKETS_SECONDS)
        .expect("the list of buckets is not empty");
    let Ok(handle) = builder.install_recorder() else { return };
    let upkeep = handle.clone();
    if RECORDER.set(handle).is_ok() {
        thread::spawn(move || {
            loop {
                thread::sleep(UPKEEP_EVERY);
                upkeep.run_upkeep();
            }
        });
    }
}
