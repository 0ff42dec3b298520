//! Metrics of one call, on either end.

use std::sync::Arc;

use contracts::policy;
use http::HeaderMap;
use metrics::{Gauge, SharedString, counter, gauge, histogram};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::around::Response;

/// Which end of the call is measured: the names of its metrics.
pub(crate) struct End {
    requests: &'static str,
    duration: &'static str,
    in_flight: &'static str,
}

/// The end that answers.
pub(crate) const SERVER: End = End {
    requests: "malha_rpc_server_requests_total",
    duration: "malha_rpc_server_duration_seconds",
    in_flight: "malha_rpc_server_in_flight",
};

/// The end that asks.
pub(crate) const CLIENT: End = End {
    requests: "malha_rpc_client_requests_total",
    duration: "malha_rpc_client_duration_seconds",
    in_flight: "malha_rpc_client_in_flight",
};

/// A call being measured. It is counted when dropped; one that is dropped early was cancelled.
pub(crate) struct Measure {
    end: End,
    /// Service that measures.
    service: SharedString,
    method: SharedString,
    tenant: SharedString,
    code: Code,
    started: Instant,
    in_flight: Gauge,
}

impl Measure {
    /// Begins with a call of the gRPC path `path`.
    pub(crate) fn start(end: End, service: &Arc<str>, path: &str) -> Self {
        let service = SharedString::from_shared(Arc::clone(service));
        let method = SharedString::from_shared(label(path).into());
        let in_flight =
            gauge!(end.in_flight, "service" => service.clone(), "method" => method.clone());
        in_flight.increment(1);
        Self {
            end,
            service,
            method,
            tenant: SharedString::const_str(""),
            code: Code::Cancelled,
            started: Instant::now(),
            in_flight,
        }
    }

    /// The call ended with `code`.
    pub(crate) fn ended(&mut self, code: Code) {
        self.code = code;
    }

    /// The call touched the data of `tenant`.
    pub(crate) fn tenant(&mut self, tenant: String) {
        self.tenant = tenant.into();
    }

    /// Milliseconds since the start, as logs show them.
    pub(crate) fn duration(&self) -> String {
        format!("{}ms", self.started.elapsed().as_millis())
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        let (service, method) = (self.service.clone(), self.method.clone());
        let (tenant, code) = (self.tenant.clone(), name(self.code));
        self.in_flight.decrement(1);
        histogram!(self.end.duration, "service" => service.clone(), "method" => method.clone())
            .record(self.started.elapsed().as_secs_f64());
        counter!(
            self.end.requests,
            "service" => service, "method" => method, "code" => code, "tenant" => tenant
        )
        .increment(1);
    }
}

/// Code of an answer: what its headers say. The code of a stream that began is not known yet.
pub(crate) fn code(result: &Result<Response, Status>) -> Code {
    match result {
        Ok(response) => code_in(response.headers()).unwrap_or(Code::Ok),
        Err(status) => status.code(),
    }
}

fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// Name of a code, as the specification of gRPC writes it.
pub(crate) fn name(code: Code) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES[code as usize]
}

/// Whether a path is of the services that every member offers to every member.
pub(crate) fn is_open(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.") || path.starts_with("/grpc.reflection.")
}

/// The method as a label: paths that nobody defined share one, so that a caller cannot make
/// metrics without end.
fn label(path: &str) -> &str {
    if is_open(path) || policy::method(path).is_some() { path } else { "other" }
}
