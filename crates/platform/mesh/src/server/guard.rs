//! Layers that keep a service standing: panics, overload, time.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use contracts::policy;
use futures::FutureExt;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status};

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
    async fn around(&self, request: Request, next: &impl Next) -> Result<Response, Status> {
        // Nothing of the call is looked at after the panic, so nothing half-changed is seen.
        let caught = AssertUnwindSafe(next.call(request)).catch_unwind().await;
        caught.unwrap_or_else(|_| {
            tracing::error!("handler panicked");
            Err(mesh_status(Code::Internal, "PANIC", "internal error"))
        })
    }
}

/// Refuses calls beyond what may be in flight, at once: waiting callers would only add load.
#[derive(Clone)]
pub(super) struct Shed {
    in_flight: Arc<AtomicU32>,
    in_flight_max: u32,
}

impl Shed {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { in_flight: Arc::default(), in_flight_max: limits.in_flight_max.get() }
    }

    /// Lets a call in, until what is returned is dropped; none when there are too many.
    fn admit(&self) -> Option<Admitted<'_>> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let admitted = Admitted(&self.in_flight);
        (before < self.in_flight_max).then_some(admitted)
    }
}

struct Admitted<'a>(&'a AtomicU32);

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Around for Shed {
    async fn around(&self, request: Request, next: &impl Next) -> Result<Response, Status> {
        // Who asks after our health must hear that we live.
        if is_open(request.uri().path()) {
            return next.call(request).await;
        }
        let Some(_admitted) = self.admit() else {
            let message = "the service has too many calls in flight";
            return Err(detailed(Code::ResourceExhausted, "OVERLOADED", DOMAIN, message)
                .retry_after(OVERLOAD_RETRY)
                .build());
        };
        next.call(request).await
    }
}

/// What is kept back of the caller's time, so that we say that it is over before the transport
/// does: tonic's clients count the same header and would answer in their own words.
const ANSWER_TIME: Duration = Duration::from_millis(1);

/// Gives a call up when its time is over: the caller's, or what the contract allows. The handler
/// is dropped at its next `await`.
#[derive(Clone)]
pub(super) struct Enforce;

impl Around for Enforce {
    async fn around(&self, mut request: Request, next: &impl Next) -> Result<Response, Status> {
        let callers =
            deadline::read(request.headers()).map(|time| time.saturating_sub(ANSWER_TIME));
        let contracts = policy::method(request.uri().path()).map(|policy| policy.deadline);
        let Some(allowed) = callers.into_iter().chain(contracts).min() else {
            return next.call(request).await;
        };
        let deadline = Instant::now() + allowed;
        request.extensions_mut().insert(Deadline(deadline));
        timeout_at(deadline, next.call(request)).await.unwrap_or_else(|_| Err(deadline_exceeded()))
    }
}
