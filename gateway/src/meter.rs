//! Metrics of requests, registered once for each route and looked up never.

use std::sync::OnceLock;
use std::time::Duration;

use http::Method;
use metrics::{Counter, Histogram, counter, histogram};

/// Methods as labels: clients can invent names without end.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];

/// Classes of status as labels.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counts the requests of one route.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Template of the route: never a path, which holds a client's values.
    route: Box<str>,
    by_method: [OnceLock<ByMethod>; METHODS.len()],
}

#[derive(Debug)]
struct ByMethod {
    requests: [OnceLock<Counter>; CLASSES.len()],
    duration: Histogram,
}

impl Meter {
    /// A meter of the route with that template.
    pub(crate) fn new(route: &str) -> Self {
        Self { route: route.into(), by_method: [const { OnceLock::new() }; METHODS.len()] }
    }

    /// Counts one request.
    pub(crate) fn count(&self, method: &Method, status: u16, duration: Duration) {
        let method = METHODS.iter().position(|name| *name == method.as_str());
        let method = method.unwrap_or(METHODS.len() - 1);
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        let meters = self.by_method[method].get_or_init(|| self.open(METHODS[method]));
        let requests = meters.requests[class].get_or_init(|| {
            counter!(
                "malha_edge_requests_total",
                "method" => METHODS[method], "route" => self.route.to_string(),
                "status" => CLASSES[class]
            )
        });
        requests.increment(1);
        meters.duration.record(duration.as_secs_f64());
    }

    /// Template of the route.
    pub(crate) fn route(&self) -> &str {
        &self.route
    }

    fn open(&self, method: &'static str) -> ByMethod {
        let route = self.route.to_string();
        ByMethod {
            requests: [const { OnceLock::new() }; CLASSES.len()],
            duration: histogram!("malha_edge_duration_seconds", "method" => method, "route" => route),
        }
    }
}
