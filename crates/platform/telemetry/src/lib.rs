//! Logs, traces and metrics of a Malha process.
//!
//! - **Logs** are one JSON object a line on stdout (short coloured lines on a terminal). A line
//!   carries `timestamp`, `level`, `context`, `message`, `service_name` and, where they are known,
//!   `correlationId`, `userId`, `transactionId`, `duration` and `trace_id`; other fields of the
//!   event follow flat. Ids recorded on a span are inherited by every event inside it, and so is
//!   `service`, which becomes `service_name`: several services may share one process.
//! - **Traces** follow W3C Trace Context. Ids exist and travel always; spans are exported over
//!   OTLP when a collector is configured, and a collector that is down slows nothing.
//! - **Metrics** go through the `metrics` facade and are read with [`render_metrics`].
//!
//! **Secrets and personal data never become fields or messages**: no tokens, passwords, keys, names,
//! addresses, e-mails, document numbers or request bodies; ids stand for people. Whoever logs is
//! responsible; fields marked `sensitive` in the contracts are the list to go by.

mod config;
mod format;
mod log;
mod metrics;
#[cfg(test)]
mod tests;
mod trace;

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Runtime;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

pub use config::{Config, Format};
pub use metrics::render_metrics;
pub use trace::{DRAWN, export_ratio, extract, inject, rename, trace_id};

use format::Style;
use log::LogLayer;

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `telemetry.log` is not a list of levels.
    #[error("telemetry.log is not a list of levels such as \"info,mesh=debug\": {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// `telemetry.otlp_endpoint` cannot be used.
    #[error("telemetry.otlp_endpoint cannot be used: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// `telemetry.sample_ratio` is outside its range.
    #[error("telemetry.sample_ratio must be from 0 to 1")]
    SampleRatio,
    /// The exporter's thread could not start.
    #[error("the trace exporter could not start: {0}")]
    Thread(#[from] std::io::Error),
    /// This process already has telemetry.
    #[error("telemetry was started twice in one process")]
    AlreadyStarted,
}

/// Keeps telemetry running; sends the last spans when dropped, within `flush_timeout`.
#[must_use = "telemetry stops exporting when the guard is dropped"]
pub struct Guard {
    provider: SdkTracerProvider,
    /// The exporter's own runtime: it works whatever happens to the application's.
    runtime: Option<Runtime>,
    flush_timeout: Duration,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // An error here means that the collector is down: there is nobody left to tell.
        let _ = self.provider.shutdown_with_timeout(self.flush_timeout);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Starts logs, traces and metrics of this process, under `service_name`.
pub fn init(config: &Config, service_name: &str) -> Result<Guard, TelemetryError> {
    let pretty = match config.format {
        Format::Auto => stdout().is_terminal(),
        Format::Json => false,
        Format::Pretty => true,
    };
    let style = if pretty { Style::Pretty { colour: stdout().is_terminal() } } else { Style::Json };
    let (subscriber, guard) = assemble(config, service_name, style, stdout)?;
    subscriber.try_init().map_err(|_| TelemetryError::AlreadyStarted)?;
    metrics::install();
    trace::exported(config);
    Ok(guard)
}

/// Starts telemetry for tests: trace ids and metrics work, and lines go where the test harness
/// captures them. May be called any number of times.
pub fn init_for_tests() {
    use std::sync::Once;
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let config = Config { log: "debug,h2=info,hyper=info".to_owned(), ..Config::default() };
        let writer = tracing_subscriber::fmt::TestWriter::new;
        if let Ok((subscriber, guard)) = assemble(&config, "test", Style::Json, writer) {
            // Fails only when the test brought a subscriber of its own, which then stands.
            let _ = subscriber.try_init();
            // Never flushed: nothing is exported, and the process ends without notice.
            std::mem::forget(guard);
        }
        metrics::install();
    });
}

/// Builds the whole subscriber, and the guard of its exporter.
fn assemble<W>(
    config: &Config,
    service_name: &str,
    style: Style,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + for<'a> LookupSpan<'a> + use<W>, Guard), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let targets: Targets = config.log.parse()?;
    let (provider, runtime) = trace::provider(config, service_name)?;
    // Spans outlive any log level: they carry the ids that the remaining lines inherit, and the
    // trace from caller to callee.
    let spans = filter_fn(is_span).with_max_level_hint(LevelFilter::INFO);
    let logs = LogLayer::new(service_name, style, writer).with_filter(spans.or(targets));
    let exported = filter_fn(is_traced).with_max_level_hint(LevelFilter::INFO);
    let traces = trace::layer(&provider).with_filter(exported);

    let subscriber = tracing_subscriber::registry().with(traces).with(logs);
    Ok((subscriber, Guard { provider, runtime, flush_timeout: config.flush_timeout }))
}

fn is_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= Level::INFO
}

/// Spans, and the events that mark a span as gone wrong. Not the span `service`: it lends its name
/// to log lines as long as the service lives, and what happens inside it are traces of their own.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    (is_span(metadata) && metadata.name() != "service")
        || (metadata.is_event() && *metadata.level() <= Level::WARN)
}
