//! Metrics of one call, on either end.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use auth::TenantId;
use contracts::policy;
use http::HeaderMap;
use metrics::{Counter, Gauge, Histogram, Label, SharedString, counter, gauge, histogram};
use parking_lot::RwLock;
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

/// Metrics of the calls of one service, on one end.
pub(crate) struct Meters {
    end: End,
    service: Arc<str>,
    /// Of each method of a contract, once it is called.
    methods: HashMap<&'static str, OnceLock<Arc<Meter>>>,
}

/// Metrics of the calls of one method: their names are looked up once, not with every call.
struct Meter {
    requests_name: &'static str,
    service: SharedString,
    method: SharedString,
    in_flight: Gauge,
    duration: Histogram,
    requests: RwLock<HashMap<(Code, Option<TenantId>), Counter>>,
}

/// A call being measured. It is counted when dropped; one that is dropped early was cancelled.
pub(crate) struct Measure {
    meter: Arc<Meter>,
    tenant: Option<TenantId>,
    code: Code,
    started: Instant,
}

impl Meters {
    pub(crate) fn new(end: End, service: &Arc<str>) -> Self {
        let methods = policy::paths().map(|path| (path, OnceLock::new())).collect();
        Self { end, service: Arc::clone(service), methods }
    }

    /// Begins with a call of the gRPC path `path`.
    pub(crate) fn start(&self, path: &str) -> Measure {
        let meter = || Arc::new(Meter::new(&self.end, &self.service, path));
        let known = self.methods.get(path).map(|known| Arc::clone(known.get_or_init(meter)));
        let meter = known.unwrap_or_else(meter);
        meter.in_flight.increment(1);
        Measure { meter, tenant: None, code: Code::Cancelled, started: Instant::now() }
    }
}

impl Meter {
    fn new(end: &End, service: &Arc<str>, path: &str) -> Self {
        let service = SharedString::from_shared(Arc::clone(service));
        let method = SharedString::from_shared(label(path).into());
        let labels =
            || [Label::new("service", service.clone()), Label::new("method", method.clone())];
        Self {
            requests_name: end.requests,
            in_flight: gauge!(end.in_flight, labels().iter()),
            duration: histogram!(end.duration, labels().iter()),
            requests: RwLock::default(),
            service,
            method,
        }
    }

    fn count(&self, code: Code, tenant: Option<TenantId>) {
        if let Some(counter) = self.requests.read().get(&(code, tenant)) {
            return counter.increment(1);
        }
        let (service, method) = (self.service.clone(), self.method.clone());
        let label = tenant.map(|tenant| tenant.to_string()).unwrap_or_default();
        let counter = counter!(
            self.requests_name,
            "service" => service, "method" => method, "code" => name(code), "tenant" => label
        );
        counter.increment(1);
        self.requests.write().insert((code, tenant), counter);
    }
}

impl Measure {
    /// The call ended with `code`.
    pub(crate) fn ended(&mut self, code: Code) {
        self.code = code;
    }

    /// The call touched the data of `tenant`.
    pub(crate) fn tenant(&mut self, tenant: TenantId) {
        self.tenant = Some(tenant);
    }

    /// Milliseconds since the start, as logs show them.
    pub(crate) fn duration(&self) -> String {
        format!("{}ms", self.started.elapsed().as_millis())
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        self.meter.in_flight.decrement(1);
        self.meter.duration.record(self.started.elapsed().as_secs_f64());
        self.meter.count(self.code, self.tenant);
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
