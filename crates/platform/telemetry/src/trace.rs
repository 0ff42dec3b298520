//! Trace context between hops, and the export of spans.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Sampler, SamplingResult, SdkTracer, SdkTracerProvider, ShouldSample,
    SpanData, SpanExporter as Export,
};
use tokio::runtime::{Builder, Runtime};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::registry::LookupSpan;

use crate::{Config, TelemetryError};

/// Longest time of one export; spans queue meanwhile, and are dropped when the queue is full.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Name of the field by which a span that begins a trace says that it was drawn for export already:
/// whoever begins very many traces draws first, and makes no span for the others.
pub const DRAWN: &str = "sampling.drawn";

static EXPORT_RATIO: OnceLock<f64> = OnceLock::new();

/// Share of new traces that is exported; `None` when no span is, for there is no collector.
pub fn export_ratio() -> Option<f64> {
    EXPORT_RATIO.get().copied()
}

pub(crate) fn exported(config: &Config) {
    if !config.otlp_endpoint.is_empty() {
        let _ = EXPORT_RATIO.set(config.sample_ratio);
    }
}

/// Writes the current span as `traceparent` (and `tracestate`) into the headers of an outgoing
/// call. Does nothing outside a span.
pub fn inject(headers: &mut HeaderMap) {
    let context = Span::current().context();
    TraceContextPropagator::new().inject_context(&context, &mut Carrier(headers));
}

/// Makes `span` a child of the caller's span, named by `traceparent` in the headers of an
/// incoming call. To be called before the span is entered; without a valid header the span
/// begins a trace of its own.
pub fn extract(headers: &HeaderMap, span: &Span) {
    let parent =
        TraceContextPropagator::new().extract_with_context(&Context::new(), &CarrierRef(headers));
    if parent.span().span_context().is_valid() {
        // Fails only for a disabled span, which has no parent to lose.
        let _ = span.set_parent(parent);
    }
}

/// Gives `span` another name in its trace. To record `otel.name` is in vain once its context was
/// asked for, as [`inject`] does.
pub fn rename(span: &Span, name: &str) {
    if !span.is_disabled() {
        span.context().span().update_name(name.to_owned());
    }
}

/// Trace id of the current span, 32 hexadecimal digits; `None` outside a span.
pub fn trace_id() -> Option<String> {
    let context = Span::current().context();
    let id = context.span().span_context().trace_id();
    context.has_active_span().then(|| id.to_string())
}

struct Carrier<'a>(&'a mut HeaderMap);

impl Injector for Carrier<'_> {
    fn set(&mut self, key: &str, value: String) {
        let name = HeaderName::from_bytes(key.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
            self.0.insert(name, value);
        }
    }
}

struct CarrierRef<'a>(&'a HeaderMap);

impl Extractor for CarrierRef<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// The layer that gives every span its trace and span id.
pub(crate) fn layer<S>(provider: &SdkTracerProvider) -> OpenTelemetryLayer<S, SdkTracer>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_tracer(provider.tracer("malha"))
}

/// Builds the source of ids and, when a collector is configured, the exporter with its runtime.
pub(crate) fn provider(
    config: &Config,
    service_name: &str,
) -> Result<(SdkTracerProvider, Option<Runtime>), TelemetryError> {
    if !(0.0..=1.0).contains(&config.sample_ratio) {
        return Err(TelemetryError::SampleRatio);
    }
    if config.otlp_endpoint.is_empty() {
        let provider = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build();
        return Ok((provider, None));
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("otlp-export")
        .enable_all()
        .build()?;
    // The exporter's connection lives on the runtime that is entered while it is built.
    let entered = runtime.enter();
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&config.otlp_endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    drop(entered);
    let exporter = Watched { exporter, failing: AtomicBool::new(false) };
    let resource = Resource::builder()
        .with_service_name(service_name.to_owned())
        .with_attribute(KeyValue::new("service.namespace", "malha"))
        .build();
    let root = Root(Sampler::TraceIdRatioBased(config.sample_ratio));
    let provider = SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter).build())
        .with_sampler(Sampler::ParentBased(Box::new(root)))
        .with_resource(resource)
        .build();
    Ok((provider, Some(runtime)))
}

/// Decides about spans that begin a trace.
#[derive(Clone, Debug)]
struct Root(Sampler);

impl ShouldSample for Root {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let drawn = attributes.iter().any(|attribute| attribute.key.as_str() == DRAWN);
        let sampler = if drawn { &Sampler::AlwaysOn } else { &self.0 };
        sampler.should_sample(parent, trace, name, kind, attributes, links)
    }
}

/// An exporter that says once when its collector goes away, and once when it is back.
#[derive(Debug)]
struct Watched {
    exporter: SpanExporter,
    failing: AtomicBool,
}

impl Export for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        let was_failing = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) => {
                metrics::counter!("telemetry_spans_lost_total").increment(spans as u64);
                if !was_failing {
                    tracing::warn!(%error, "trace collector does not answer, spans are lost");
                }
            }
            Ok(()) if was_failing => tracing::info!("trace collector answers again"),
            Ok(()) => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
