//! Layer: span and metrics of every call.

use std::sync::Arc;

use tonic::Status;
use tracing::Instrument;

use crate::around::{Around, Next, Request, Response};
use crate::measure::{self, Meters, name};

#[derive(Clone)]
pub(super) struct Observe {
    service: Arc<str>,
    upstream: Arc<str>,
    meters: Arc<Meters>,
}

impl Observe {
    pub(super) fn new(service: &Arc<str>, upstream: &Arc<str>) -> Self {
        let meters = Arc::new(Meters::new(measure::CLIENT, service));
        Self { service: Arc::clone(service), upstream: Arc::clone(upstream), meters }
    }
}

impl Around for Observe {
    async fn around(&self, request: Request, next: &impl Next) -> Result<Response, Status> {
        let path = request.uri().path();
        let mut measure = self.meters.start(path);
        let span = tracing::info_span!(
            "call",
            otel.name = path,
            otel.kind = "client",
            service = &*self.service,
            upstream = &*self.upstream,
        );
        let result = next.call(request).instrument(span.clone()).await;

        let code = measure::code(&result);
        measure.ended(code);
        let _entered = span.enter();
        tracing::debug!(code = name(code), duration = measure.duration(), "call answered");
        result
    }
}
