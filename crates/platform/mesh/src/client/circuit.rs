//! Layer: the circuit breaker of the upstream.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, Status};

use crate::around::{Around, Next, Request, Response};
use crate::client::breaker::{Breaker, is_fault};
use crate::error::{DOMAIN, Unsent, detailed, mark_unsent};

#[derive(Clone)]
pub(super) struct Circuit {
    pub(super) breaker: Arc<Breaker>,
    pub(super) upstream: Arc<str>,
}

impl Around for Circuit {
    async fn around(&self, request: Request, next: &impl Next) -> Result<Response, Status> {
        let permit = self.breaker.admit().map_err(|wait| is_open(&self.upstream, wait))?;
        let result = next.call(request).await;
        permit.record(is_failure(&result));
        result
    }
}

/// Whether the upstream failed, by what it answered or why it did not.
fn is_failure(result: &Result<Response, Status>) -> bool {
    match result {
        Ok(answer) => Status::from_header_map(answer.headers()).is_some_and(|s| is_fault(&s)),
        Err(status) => is_fault(status),
    }
}

fn is_open(upstream: &str, wait: Duration) -> Status {
    let status = detailed(Code::Unavailable, "CIRCUIT_OPEN", DOMAIN, "circuit breaker is open")
        .retry_after(wait)
        .metadata("upstream", upstream)
        .build();
    mark_unsent(status, Unsent::HeldBack)
}
