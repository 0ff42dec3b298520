//! Layers that keep a service standing: panics, overload, time.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use contracts::policy;
use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status};
use tower::ServiceExt;

use crate::around::{Around, Next, Request, Response};
use crate::config::Limits;
use crate::deadline::{self, Deadline};
use crate::error::{DOMAIN, deadline_exceeded, detailed, mesh_status};
use crate::measure::is_open;

/// When a caller that was turned away may come back.
const OVERLOAD_RETRY: Duration = Duration::from_millis(100);

/// Turns a panic of the handler into an error of this one call.
#[derive(Clone)]
pub(super) struct CatchPanic;

impl Around for CatchPanic {
    async fn around(self, request: Request, next: impl Next) -> Result<Response, Status> {
        // Nothing of the call is looked at after the panic, so nothing half-changed is seen.
        let caught = AssertUnwindSafe(next.oneshot(request)).catch_unwind().await;
        caught.unwrap_or_else(|_| {
            tracing::error!("handler panicked");
            Err(mesh_status(Code::Internal, "PANIC", "internal error"))
        })
    }
}

/// Refuses calls beyond what may be in flight, at once: waiting callers would only add load.
#[derive(Clone)]
pub(super) struct Shed(Arc<Semaphore>);

impl Shed {
    pub(super) fn new(limits: &Limits) -> Self {
        Self(Arc::new(Semaphore::new(limits.in_flight_max.get() as usize)))
    }
}

impl Around for Shed {
    async fn around(self, request: Request, next: impl Next) -> Result<Response, Status> {
        // Who asks after our health must hear that we live.
        if is_open(request.uri().path()) {
            return next.oneshot(request).await;
        }
        let Ok(_permit) = self.0.try_acquire() else {
            let message = "the service has too many calls in flight";
            return Err(detailed(Code::ResourceExhausted, "OVERLOADED", DOMAIN, message)
                .retry_after(OVERLOAD_RETRY)
                .build());
        };
        next.oneshot(request).await
    }
}

/// What is kept back of the caller's time, so that we say that it is over before the transport
/// does: tonic counts the same header and would answer in its own words.
const ANSWER_TIME: Duration = Duration::from_millis(1);

/// Gives a call up when its time is over: the caller's, or what the contract allows. The handler
/// is dropped at its next `await`.
#[derive(Clone)]
pub(super) struct Enforce;

impl Around for Enforce {
    async fn around(self, mut request: Request, next: impl Next) -> Result<Response, Status> {
        let callers =
            deadline::read(request.headers()).map(|time| time.saturating_sub(ANSWER_TIME));
        let contracts = policy::method(request.uri().path()).map(|policy| policy.deadline);
        let Some(allowed) = callers.into_iter().chain(contracts).min() else {
            return next.oneshot(request).await;
        };
        let deadline = Instant::now() + allowed;
        request.extensions_mut().insert(Deadline(deadline));
        timeout_at(deadline, next.oneshot(request))
            .await
            .unwrap_or_else(|_| Err(deadline_exceeded()))
    }
}
