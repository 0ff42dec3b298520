//! Layer: the circuit breaker of the upstream.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, Status};
use tower::ServiceExt;

use crate::around::{Around, Next, Request, Response};
use crate::client::breaker::Breaker;
use crate::error::{DOMAIN, Unsent, detailed, mark_unsent};
use crate::measure;

#[derive(Clone)]
pub(super) struct Circuit {
    pub(super) breaker: Arc<Breaker>,
    pub(super) upstream: Arc<str>,
}

impl Around for Circuit {
    async fn around(self, request: Request, next: impl Next) -> Result<Response, Status> {
        let permit = self.breaker.admit().map_err(|wait| is_open(&self.upstream, wait))?;
        let result = next.oneshot(request).await;
        permit.record(is_failure(measure::code(&result)));
        result
    }
}

/// Whether the upstream failed, rather than refused: a refusal shows that it works.
fn is_failure(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Internal | Code::Unknown)
}

fn is_open(upstream: &str, wait: Duration) -> Status {
    let status = detailed(Code::Unavailable, "CIRCUIT_OPEN", DOMAIN, "circuit breaker is open")
        .retry_after(wait)
        .metadata("upstream", upstream)
        .build();
    mark_unsent(status, Unsent::HeldBack)
}
