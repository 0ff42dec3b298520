//! Layer: span and metrics of every call, also of those refused further in.

use std::sync::{Arc, OnceLock};

use auth::TenantId;
use http::{HeaderMap, HeaderValue};
use tonic::{Code, Status};
use tower::ServiceExt;
use tracing::{Instrument, Span, field};
use uuid::Uuid;

use crate::around::{Around, Next, Request, Response};
use crate::context::header::CORRELATION_ID;
use crate::measure::{self, Measure, name};
use crate::server::listen::Peer;

/// Longest correlation id that is taken over.
const CORRELATION_ID_MAX: usize = 128;

#[derive(Clone)]
pub(super) struct Observe {
    pub(super) service: Arc<str>,
}

/// Where a layer further in tells whose data the call touches.
#[derive(Clone, Default)]
pub(super) struct TenantSeen(pub(super) Arc<OnceLock<TenantId>>);

impl Around for Observe {
    async fn around(self, mut request: Request, next: impl Next) -> Result<Response, Status> {
        let mut measure = Measure::start(measure::SERVER, &self.service, request.uri().path());
        let span = self.span(&mut request);
        let seen = TenantSeen::default();
        request.extensions_mut().insert(seen.clone());

        let result = next.oneshot(request).instrument(span.clone()).await;

        let code = measure::code(&result);
        measure.ended(code);
        if let Some(tenant) = seen.0.get() {
            measure.tenant(tenant.to_string());
        }
        span.in_scope(|| log(code, &measure.duration()));
        // From here on an error is an answer like any other.
        Ok(result.unwrap_or_else(Status::into_http))
    }
}

impl Observe {
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
    given.or_else(trace).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// Faults of the service are warnings; what a caller did wrong is not.
fn log(code: Code, duration: &str) {
    match code {
        Code::Internal | Code::Unknown | Code::DataLoss => {
            tracing::warn!(code = name(code), duration, "call failed");
        }
        _ => tracing::debug!(code = name(code), duration, "call served"),
    }
}
