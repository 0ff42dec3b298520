//! Layer: span and metrics of every call.

use std::sync::Arc;

use tonic::Status;
use tower::ServiceExt;
use tracing::Instrument;

use crate::around::{Around, Next, Request, Response};
use crate::measure::{self, Measure, name};

#[derive(Clone)]
pub(super) struct Observe {
    pub(super) service: Arc<str>,
    pub(super) upstream: Arc<str>,
}

impl Around for Observe {
    async fn around(self, request: Request, next: impl Next) -> Result<Response, Status> {
        let path = request.uri().path();
        let mut measure = Measure::start(measure::CLIENT, &self.service, path);
        let span = tracing::info_span!(
            "call",
            otel.name = path,
            otel.kind = "client",
            service = &*self.service,
            upstream = &*self.upstream,
        );
        let result = next.oneshot(request).instrument(span.clone()).await;

        let code = measure::code(&result);
        measure.ended(code);
        let _entered = span.enter();
        tracing::debug!(code = name(code), duration = measure.duration(), "call answered");
        result
    }
}
