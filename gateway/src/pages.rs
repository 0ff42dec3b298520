//! The pages of the edge itself.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;

use crate::docs;
use crate::health::Health;

/// A page that the edge answers without a contract.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Page {
    /// Health of every upstream.
    Health,
    /// The process runs.
    Livez,
    /// The edge takes requests.
    Readyz,
    /// Prometheus text.
    Metrics,
    /// The contracts as `OpenAPI`.
    OpenApi,
    /// The contracts as a page for people.
    Docs,
}

/// Every page; no contract has a say here.
pub(crate) const PAGES: [Page; 6] =
    [Page::Health, Page::Livez, Page::Readyz, Page::Metrics, Page::OpenApi, Page::Docs];

impl Page {
    /// Where the page is.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Health => "/health",
            Self::Livez => "/livez",
            Self::Readyz => "/readyz",
            Self::Metrics => "/metrics",
            Self::OpenApi => "/openapi.json",
            Self::Docs => "/docs",
        }
    }
}

/// What the pages show.
pub(crate) struct Pages {
    health: Health,
    openapi: Bytes,
    docs: docs::Docs,
    ready: AtomicBool,
}

impl Pages {
    /// Pages over this health and this `OpenAPI` document; not ready yet.
    pub(crate) fn new(health: Health, openapi: &serde_json::Value) -> Self {
        Self {
            health,
            openapi: Bytes::from(openapi.to_string()),
            docs: docs::Docs::new(),
            ready: AtomicBool::new(false),
        }
    }

    /// Says whether the edge takes requests. It does without its upstreams too: each of their
    /// routes fails by itself.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Shows a page.
    pub(crate) async fn answer(&self, page: Page) -> Response<Full<Bytes>> {
        match page {
            Page::Health => {
                let report = self.health.report().await;
                json_page(report.is_up(), &*report)
            }
            Page::Livez => json_page(true, &json!({"status": "UP"})),
            Page::Readyz => {
                let ready = self.ready.load(Ordering::Relaxed);
                json_page(ready, &json!({"status": if ready { "UP" } else { "DOWN" }}))
            }
            Page::Metrics => {
                let text = "text/plain; version=0.0.4; charset=utf-8";
                page_of(text, Bytes::from(telemetry::render_metrics()))
            }
            Page::OpenApi => kept(page_of("application/json", self.openapi.clone())),
            Page::Docs => {
                let mut page = kept(page_of("text/html; charset=utf-8", self.docs.html.clone()));
                page.headers_mut().insert(CONTENT_SECURITY_POLICY, self.docs.policy.clone());
                page
            }
        }
    }
}

fn json_page(up: bool, value: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = page_of("application/json", Bytes::from(body));
    if !up {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

fn page_of(content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A page that a browser may keep, if it asks each time whether it still is the same.
fn kept(mut page: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    page.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    page
}
