//! The pages of the edge itself.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::json;
use upstream::Upstreams;

use crate::answer::{Answer, whole};
use crate::docs;
use crate::etag;
use crate::health::Health;
use crate::meter::Meter;
use crate::problem::Problem;
use crate::site::Site;

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
    /// How the upstreams are, for operators.
    Upstreams,
}

/// Every page; no contract has a say here.
pub(crate) const PAGES: [Page; 7] = [
    Page::Health,
    Page::Livez,
    Page::Readyz,
    Page::Metrics,
    Page::OpenApi,
    Page::Docs,
    Page::Upstreams,
];

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
            Self::Upstreams => "/admin/upstreams",
        }
    }

    /// Whether operators alone may see it.
    pub(crate) const fn is_for_staff(self) -> bool {
        matches!(self, Self::Upstreams)
    }

    /// Counts the requests for it.
    pub(crate) fn meter(self) -> &'static Meter {
        static METERS: LazyLock<[Meter; PAGES.len()]> =
            LazyLock::new(|| PAGES.map(|page| Meter::new(page.path())));
        &METERS[self as usize]
    }
}

/// What the pages show.
pub(crate) struct Pages {
    health: Health,
    docs: docs::Docs,
    ready: AtomicBool,
}

impl Pages {
    /// Pages over this health; not ready yet.
    pub(crate) fn new(health: Health) -> Self {
        Self { health, docs: docs::Docs::new(), ready: AtomicBool::new(false) }
    }

    /// Says whether the edge takes requests. It does without its upstreams too, once one of them
    /// has shown its contracts: each of their routes fails by itself.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Shows a page.
    pub(crate) async fn answer(
        &self,
        page: Page,
        upstreams: &Upstreams,
        site: &Site,
        request: &HeaderMap,
    ) -> Result<Answer, Problem> {
        Ok(match page {
            Page::Health => {
                let report = self.health.report(upstreams, &site.upstreams()).await;
                json_page(report.is_up(), &*report)
            }
            Page::Livez => json_page(true, &json!({"status": "UP"})),
            Page::Readyz => {
                let ready = self.ready.load(Ordering::Relaxed) && !site.is_empty();
                json_page(ready, &json!({"status": if ready { "UP" } else { "DOWN" }}))
            }
            Page::Metrics => {
                let text = "text/plain; version=0.0.4; charset=utf-8";
                whole(StatusCode::OK, text, Bytes::from(telemetry::render_metrics()))
            }
            Page::OpenApi => site.openapi.answer(request)?,
            Page::Docs => {
                let mut page = self.docs.html.answer(request)?;
                page.headers_mut().insert(CONTENT_SECURITY_POLICY, self.docs.policy.clone());
                page
            }
            Page::Upstreams => json_page(true, &json!({"upstreams": upstreams.status()})),
        })
    }
}

fn json_page(up: bool, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let status = if up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    whole(status, "application/json", Bytes::from(body))
}

/// A page that a browser may keep, if it asks each time whether it still is the same.
pub(crate) struct Kept {
    body: Bytes,
    content_type: &'static str,
}

impl Kept {
    /// A page of this type.
    pub(crate) fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), content_type }
    }

    /// The page, or 304 for who has it already.
    pub(crate) fn answer(&self, request: &HeaderMap) -> Result<Answer, Problem> {
        let mut answer = whole(StatusCode::OK, self.content_type, self.body.clone());
        etag::apply(request, &mut answer)?;
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        Ok(answer)
    }

    /// What the page shows.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }
}
