//! Metrics and the access log: one line for each request.

use std::time::Instant;

use http::{Method, StatusCode};
use metrics::{counter, gauge, histogram};

/// Requests being answered.
const IN_FLIGHT: &str = "malha_edge_in_flight";

/// A request being answered. It is counted and logged when dropped, so also when its client leaves.
pub(crate) struct Watch {
    method: &'static str,
    /// Template of the route: never the path, which holds a client's values.
    route: String,
    status: u16,
    started: Instant,
}

impl Watch {
    /// Begins with a request whose route is not known yet.
    pub(crate) fn start(method: &Method) -> Self {
        gauge!(IN_FLIGHT).increment(1);
        let (method, route) = (known(method), "unmatched".to_owned());
        // What is logged of a client that does not wait for its answer.
        Self { method, route, status: 499, started: Instant::now() }
    }

    /// The request goes to `route`.
    pub(crate) fn routed(&mut self, route: &str) {
        route.clone_into(&mut self.route);
    }

    /// The request is answered.
    pub(crate) fn answered(mut self, status: StatusCode) {
        self.status = status.as_u16();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Self { method, route, status, started } = self;
        let elapsed = started.elapsed();
        let class = format!("{}xx", *status / 100);
        gauge!(IN_FLIGHT).decrement(1);
        counter!(
            "malha_edge_requests_total",
            "method" => *method, "route" => route.clone(), "status" => class
        )
        .increment(1);
        histogram!("malha_edge_duration_seconds", "method" => *method, "route" => route.clone())
            .record(elapsed.as_secs_f64());
        let duration = elapsed.as_secs_f64() * 1e3;
        tracing::info!(http_method = *method, route, status, duration, "request");
    }
}

/// The method as a label: clients can invent names without end.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
