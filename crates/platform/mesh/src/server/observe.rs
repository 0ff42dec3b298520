//! Layer: span and metrics of every call, also of those refused further in.

use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use auth::TenantId;
use http::{HeaderMap, HeaderValue};
use tonic::{Code, Status};
use tracing::{Instrument, Span, field};
use uuid::Builder;

use crate::around::{Around, Next, Request, Response};
use crate::context::header::CORRELATION_ID;
use crate::measure::{self, Measure, Meters, name};
use crate::server::connection::Peer;

/// Longest correlation id that is taken over.
const CORRELATION_ID_MAX: usize = 128;

#[derive(Clone)]
pub(super) struct Observe {
    service: Arc<str>,
    meters: Arc<Meters>,
}

/// Where a layer further in tells whose data the call touches.
#[derive(Clone, Default)]
pub(super) struct TenantSeen(pub(super) Arc<OnceLock<TenantId>>);

impl Around for Observe {
    async fn around(&self, mut request: Request, next: &impl Next) -> Result<Response, Status> {
        let mut measure = self.meters.start(request.uri().path());
        let span = self.span(&mut request);
        let seen = TenantSeen::default();
        request.extensions_mut().insert(seen.clone());

        let result = next.call(request).instrument(span.clone()).await;

        let code = measure::code(&result);
        measure.ended(code);
        if let Some(tenant) = seen.0.get() {
            measure.tenant(*tenant);
        }
        span.in_scope(|| log(code, &measure));
        // From here on an error is an answer like any other.
        Ok(result.unwrap_or_else(Status::into_http))
    }
}

impl Observe {
    pub(super) fn new(service: &str) -> Self {
        let service = service.into();
        let meters = Arc::new(Meters::new(measure::SERVER, &service));
        Self { service, meters }
    }

    /// The span of the call, a child of the caller's. Sees to it that the call has a correlation id.
    fn span(&self, request: &mut Request) -> Span {
        let correlation_id = correlation_id(request.headers());
        let caller = request.extensions().get::<Peer>().map_or("", |peer| &*peer.0);
        let rpc = request.uri().path();
        let span = tracing::info_span!(
            "rpc",
            otel.name = rpc,
            otel.kind = "server",
            service = &*self.service,
            rpc,
            caller,
            correlationId = correlation_id.as_str(),
            userId = field::Empty,
        );
        telemetry::extract(request.headers(), &span);
        if let Ok(value) = HeaderValue::from_str(&correlation_id) {
            request.headers_mut().insert(CORRELATION_ID, value);
        }
        span
    }
}

/// The caller's correlation id, else the id of its trace, else a new one.
fn correlation_id(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let given =
        text(CORRELATION_ID.as_str()).filter(|id| !id.is_empty() && id.len() <= CORRELATION_ID_MAX);
    let trace = || text("traceparent").and_then(|parent| parent.split('-').nth(1));
    given.or_else(trace).map_or_else(invented_id, str::to_owned)
}

/// Faults of the service are warnings; what a caller did wrong is not.
fn log(code: Code, measure: &Measure) {
    match code {
        Code::Internal | Code::Unknown | Code::DataLoss => {
            tracing::warn!(code = name(code), duration = measure.duration(), "call failed");
        }
        _ => tracing::debug!(code = name(code), duration = measure.duration(), "call served"),
    }
}

/// A UUID of version 7, of random numbers that cost no system call.
fn invented_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(now.as_millis()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid().to_string()
}
