//! Unary calls: attempts, repeats and second copies.

use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::select_ok;
use h2::client::SendRequest;
use mesh::breaker::Permit;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Code;

use crate::call::{Call, Reply};
use crate::endpoint::Endpoint;
use crate::exchange::{self, Answer};
use crate::failure::{Failure, Reason};
use crate::lane::Slot;
use crate::upstream::Upstream;
use crate::upstreams::Shared;
use crate::wire::Payload;
use crate::{lane, request};

/// Makes the calls of one core. Clones share its connections.
#[derive(Clone)]
pub struct Worker {
    shared: Arc<Shared>,
    pub(crate) number: usize,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, number: usize) -> Self {
        Self { shared, number }
    }

    pub(crate) fn upstream(&self, name: &str) -> Result<Arc<Upstream>, Failure> {
        self.shared.find(name)
    }

    /// Makes a unary call; it is sent again where that is safe, worth it and within the budget.
    pub async fn unary(&self, mut call: Call) -> Result<Reply, Failure> {
        let upstream = self.upstream(&call.upstream)?;
        let started = Instant::now();
        request::complete(&mut call.headers);
        let result = self.repeated(&upstream, &call).await;
        upstream.meters.duration.record(started.elapsed().as_secs_f64());
        result
    }

    async fn repeated(&self, upstream: &Upstream, call: &Call) -> Result<Reply, Failure> {
        let repeats = upstream.repeats(self.number);
        repeats.deposit();
        let mut delays = None;
        let mut avoid = None;
        let mut outcome_unknown = false;
        let mut refused_before = false;
        loop {
            let sent = async {
                let chosen = self.choose(upstream, call, avoid).await?;
                avoid = Some(chosen.1.address);
                self.hedged(upstream, call, chosen).await
            };
            let mut failure = match sent.await {
                Ok(answer) => return Ok(reply(upstream, call, answer)),
                Err(failure) => failure,
            };
            outcome_unknown |= !failure.surely_not_sent;
            failure.surely_not_sent = !outcome_unknown;
            // The peer did not look at it (GOAWAY, REFUSED_STREAM): a repeat costs it nothing more.
            if failure.is_left_out() && !refused_before {
                refused_before = true;
                repeats.retried();
                continue;
            }
            let delays = delays.get_or_insert_with(|| upstream.delays());
            let delay = delays.next().filter(|_| is_worth_repeating(call, &failure));
            let in_time = |delay: &Duration| Instant::now() + *delay < call.deadline;
            let Some(delay) = delay.filter(in_time).filter(|_| repeats.retry()) else {
                return Err(failure);
            };
            sleep(delay).await;
        }
    }

    async fn choose(
        &self,
        upstream: &Upstream,
        call: &Call,
        avoid: Option<SocketAddr>,
    ) -> Result<(Permit, Arc<Endpoint>), Failure> {
        let chosen = upstream.choose(self.number, &call.route, avoid);
        timeout_at(call.deadline, chosen)
            .await
            .unwrap_or_else(|_| Err(Failure::deadline().unsent()))
    }

    /// One attempt, beside which a second one starts when it is slow. The first good answer wins.
    async fn hedged(
        &self,
        upstream: &Upstream,
        call: &Call,
        chosen: (Permit, Arc<Endpoint>),
    ) -> Result<(Answer, Arc<Endpoint>), Failure> {
        let Some(after) = call.hedge_after else {
            return self.attempt(upstream, call, chosen).await;
        };
        let address = chosen.1.address;
        let mut first = pin!(self.attempt(upstream, call, chosen));
        tokio::select! {
            biased;
            result = &mut first => return result,
            () = sleep(after) => {}
        }
        if !upstream.repeats(self.number).hedge() {
            return first.await;
        }
        let Ok(other) = self.choose(upstream, call, Some(address)).await else {
            return first.await;
        };
        let second = pin!(self.attempt(upstream, call, other));
        match select_ok([first, second]).await {
            Ok((answer, _slower)) => Ok(answer),
            // Of the other one we know no more.
            Err(failure) => Err(Failure { surely_not_sent: false, ..failure }),
        }
    }

    /// Sends the call once, and takes down how it went.
    async fn attempt(
        &self,
        upstream: &Upstream,
        call: &Call,
        (permit, endpoint): (Permit, Arc<Endpoint>),
    ) -> Result<(Answer, Arc<Endpoint>), Failure> {
        let left = call.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::deadline().unsent());
        }
        let result = self.send(upstream, call, &endpoint, left).await;
        record(upstream, &endpoint, self.number, permit, result.as_ref().err());
        result.map(|answer| (answer, endpoint))
    }

    async fn send(
        &self,
        upstream: &Upstream,
        call: &Call,
        endpoint: &Arc<Endpoint>,
        left: Duration,
    ) -> Result<Answer, Failure> {
        let acquiring = timeout_at(call.deadline, self.acquire(endpoint));
        let acquired = acquiring.await.map_err(|_| Failure::deadline().unsent())?;
        let (slot, sender) = acquired?;
        let request = request::of(endpoint, &call.path, call.headers.clone(), Some(left));
        let max = upstream.config.limits.message_bytes_max as usize;
        let exchange = exchange::unary(slot, sender, request, call.message.clone(), max);
        let answered = timeout_at(call.deadline, exchange).await;
        let answered = answered.unwrap_or_else(|_| Err(Failure::deadline()));
        answered.map_err(|failure| failure.by(call.deadline))
    }

    /// Room on a connection to `endpoint`.
    pub(crate) async fn acquire(
        &self,
        endpoint: &Arc<Endpoint>,
    ) -> Result<(Slot, SendRequest<Payload>), Failure> {
        endpoint.lanes[self.number].calls.fetch_add(1, Ordering::Relaxed);
        lane::acquire(endpoint, self.number).await.map_err(|error| {
            tracing::debug!(address = %endpoint.address, %error, "cannot connect to an upstream");
            Failure::own(Code::Unavailable, Reason::Unreachable, "the upstream cannot be reached")
                .unsent()
        })
    }
}

/// Tells breaker and endpoint how an attempt went.
pub(crate) fn record(
    upstream: &Upstream,
    endpoint: &Endpoint,
    worker: usize,
    permit: Permit,
    failure: Option<&Failure>,
) {
    // An upstream that restarts in good order tells nothing, good or bad.
    if !failure.is_some_and(Failure::is_left_out) {
        permit.record(failure.is_some_and(Failure::is_fault));
        upstream.balance.record(endpoint, worker, failure);
    }
}

/// A call that surely was not carried out may be repeated whatever it does. One whose outcome is
/// unknown may be repeated only where the contract says so.
fn is_worth_repeating(call: &Call, failure: &Failure) -> bool {
    match failure.reason {
        // A repeat would find the same.
        Some(Reason::CircuitOpen | Reason::Unknown) => false,
        Some(Reason::Unreachable | Reason::Lost) if failure.surely_not_sent => true,
        _ => call.retry_safe && failure.code == Code::Unavailable,
    }
}

fn reply(upstream: &Upstream, call: &Call, (answer, endpoint): (Answer, Arc<Endpoint>)) -> Reply {
    Reply {
        headers: answer.headers,
        message: answer.message,
        trailers: answer.trailers,
        sticky: upstream.cookie(&endpoint, &call.route),
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Worker").field("number", &self.number).finish_non_exhaustive()
    }
}
