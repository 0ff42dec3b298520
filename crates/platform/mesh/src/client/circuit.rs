//! Layer: the circuit breaker of the upstream.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;
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
        permit.record(is_failure(&result));
        result
    }
}

/// Whether the upstream failed, rather than refused: a refusal shows that it works, and so does an
/// error that it explains itself, such as a dependency of one of its methods that is away.
fn is_failure(result: &Result<Response, Status>) -> bool {
    let failed = matches!(
        measure::code(result),
        Code::Unavailable | Code::DeadlineExceeded | Code::Internal | Code::Unknown
    );
    failed && !is_explained(result)
}

/// Whether the error has a reason that the service itself gave, not the mesh around it.
fn is_explained(result: &Result<Response, Status>) -> bool {
    let answered =
        result.as_ref().ok().and_then(|answer| Status::from_header_map(answer.headers()));
    let status = answered.as_ref().or(result.as_ref().err());
    let info = status.and_then(StatusExt::get_details_error_info);
    info.is_some_and(|info| info.domain != DOMAIN)
}

fn is_open(upstream: &str, wait: Duration) -> Status {
    let status = detailed(Code::Unavailable, "CIRCUIT_OPEN", DOMAIN, "circuit breaker is open")
        .retry_after(wait)
        .metadata("upstream", upstream)
        .build();
    mark_unsent(status, Unsent::HeldBack)
}
