//! The span of a request, for the few that are recorded.

use http::HeaderMap;
use tracing::field::Empty;
use tracing::{Span, info_span};

use super::Worker;
use crate::names::{self, Names, TRACEPARENT};

impl Worker {
    /// The span of a request when it is to be exported; else none, which costs nothing. The trace
    /// goes on in either case.
    pub(super) fn span(&self, headers: &HeaderMap, names: &mut Names) -> Span {
        let Some(ratio) = telemetry::export_ratio() else { return Span::none() };
        let recorded = names::recorded(headers);
        if !recorded.unwrap_or_else(|| self.namer.chosen(ratio)) {
            return Span::none();
        }
        let span = info_span!(
            "request",
            service = "gateway",
            correlationId = names.correlation_id(),
            userId = Empty,
            otel.kind = "server",
            sampling.drawn = true,
        );
        if recorded.is_some() {
            telemetry::extract(headers, &span);
        }
        let mut carried = HeaderMap::new();
        span.in_scope(|| telemetry::inject(&mut carried));
        if let Some(mut parent) = carried.remove(TRACEPARENT) {
            parent.set_sensitive(true);
            names.traceparent = parent;
        }
        span
    }
}
