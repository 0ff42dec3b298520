//! Layer: sends a call again where that is safe and worth it.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use contracts::policy::{self, MethodPolicy};
use http_body_util::{BodyExt, Full};
use metrics::{Counter, counter};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::retry::budget::{Budget, TpsBudget};

use crate::around::{Around, Next, Request, Response};
use crate::config::RetryConfig;
use crate::deadline::Deadline;
use crate::error::{is_unreachable, surely_not_sent, unmark};
use crate::measure;

/// Time over which the share of retries is counted.
const BUDGET_WINDOW: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Retry {
    delays: ExponentialBuilder,
    /// Keeps a struggling upstream from being drowned in repeats.
    budget: Arc<TpsBudget>,
    repeats: Counter,
    refused: Counter,
}

impl Retry {
    pub(super) fn new(config: &RetryConfig, service: &Arc<str>, upstream: &Arc<str>) -> Self {
        let counted = |outcome: &'static str| {
            let (service, upstream) = (service.to_string(), upstream.to_string());
            counter!(
                "malha_rpc_client_retries_total",
                "service" => service, "upstream" => upstream, "outcome" => outcome
            )
        };
        let share = f32::from(config.budget_percent) / 100.0;
        Self {
            delays: ExponentialBuilder::new()
                .with_min_delay(config.delay_min)
                .with_max_delay(config.delay_max)
                .with_max_times(config.attempts_max.get() as usize - 1)
                .with_jitter(),
            budget: Arc::new(TpsBudget::new(
                BUDGET_WINDOW,
                u32::from(config.budget_per_second),
                share,
            )),
            repeats: counted("sent"),
            refused: counted("over_budget"),
        }
    }
}

impl Around for Retry {
    async fn around(&self, request: Request, next: &impl Next) -> Result<Response, Status> {
        let policy = policy::method(request.uri().path());
        let Some(policy) = policy.filter(|policy| !policy.client_streaming) else {
            return next.call(request).await;
        };
        let deadline = request.extensions().get().map(|&Deadline(deadline)| deadline);
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let mut delays = self.delays.build();
        let mut outcome_unknown = false;
        self.budget.deposit();
        loop {
            let attempt = Request::from_parts(parts.clone(), whole(&body));
            let result = next.call(attempt).await;
            let delay = delays.next().filter(|_| is_worth_repeating(&result, policy));
            let Some(delay) = delay.filter(|delay| self.may_repeat(*delay, deadline)) else {
                return if outcome_unknown {
                    result.map_err(|status| unmark(&status))
                } else {
                    result
                };
            };
            outcome_unknown |= !result.is_err_and(|status| surely_not_sent(&status));
            tokio::time::sleep(delay).await;
        }
    }
}

impl Retry {
    /// Whether there is time and budget for a repeat after `delay`.
    fn may_repeat(&self, delay: Duration, deadline: Option<Instant>) -> bool {
        if deadline.is_some_and(|deadline| Instant::now() + delay >= deadline) {
            return false;
        }
        let may = self.budget.withdraw();
        if may { &self.repeats } else { &self.refused }.increment(1);
        may
    }
}

/// A call that never left us may be repeated whatever it does. One whose outcome is unknown may be
/// repeated only where the contract says so.
fn is_worth_repeating(result: &Result<Response, Status>, policy: &MethodPolicy) -> bool {
    match result {
        Err(status) if is_unreachable(status) => true,
        // The breaker is open: a repeat would find it so.
        Err(status) if surely_not_sent(status) => false,
        _ => policy.retry_safe && measure::code(result) == Code::Unavailable,
    }
}

fn whole(bytes: &Bytes) -> Body {
    Body::new(Full::new(bytes.clone()))
}
