//! Calls whose messages are streams: bytes out, bytes in, as fast as the slower side takes them.

use std::fmt;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::SendStream;
use http::HeaderMap;
use mesh::breaker::Permit;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tonic::Code;

use crate::call::StreamCall;
use crate::connection::{Connection, abandon};
use crate::endpoint::Endpoint;
use crate::exchange::{self, Incoming};
use crate::failure::{Failure, Reason};
use crate::request;
use crate::upstream::Upstream;
use crate::wire::{self, Frames, Payload};
use crate::worker::{Worker, record};

impl Worker {
    /// Opens a call whose messages are streams, both ways. It is opened again elsewhere when it
    /// surely was not sent; once it began, it is never repeated.
    pub async fn stream(&self, mut call: StreamCall) -> Result<(Sender, Receiver), Failure> {
        let upstream = self.upstream(&call.upstream)?;
        request::complete(&mut call.headers);
        let mut avoid = None;
        let mut attempts = upstream.config.retry.attempts_max.get();
        upstream.repeats(self.number).deposit();
        loop {
            let chosen = upstream.choose(self.number, &call.route, avoid);
            let (permit, endpoint) = within(call.deadline, chosen).await?;
            let failure = match self.open(&upstream, &call, permit, &endpoint).await {
                Ok(stream) => return Ok(stream),
                Err(failure) => failure,
            };
            attempts -= 1;
            if attempts == 0 || !failure.surely_not_sent || !upstream.repeats(self.number).retry() {
                return Err(failure);
            }
            avoid = Some(endpoint.address);
        }
    }

    async fn open(
        &self,
        upstream: &Arc<Upstream>,
        call: &StreamCall,
        permit: Permit,
        endpoint: &Arc<Endpoint>,
    ) -> Result<(Sender, Receiver), Failure> {
        let opened = async {
            let (slot, mut sender) = within(call.deadline, self.acquire(endpoint)).await?;
            let left = call.deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let request = request::of(endpoint, &call.path, call.headers.clone(), left);
            let connection = Arc::clone(&slot.connection);
            let (body, incoming) = exchange::open(slot, &mut sender, request)?;
            Ok((Sender { body: Some(body), connection }, incoming))
        };
        match opened.await {
            Ok((sender, incoming)) => {
                let ticket = Ticket {
                    permit: Some(permit),
                    upstream: Arc::clone(upstream),
                    endpoint: Arc::clone(endpoint),
                    worker: self.number,
                };
                let sticky = upstream.cookie(endpoint, &call.route);
                Ok((sender, Receiver::new(incoming, ticket, call.deadline, sticky)))
            }
            Err(failure) => {
                record(upstream, endpoint, self.number, permit, Some(&failure));
                Err(failure)
            }
        }
    }
}

/// A reset that waits its turn is given this long to be sent.
const RESET_SLACK: Duration = Duration::from_secs(1);

/// Before anything was sent.
async fn within<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match deadline {
        None => work.await,
        Some(at) => {
            timeout_at(at, work).await.unwrap_or_else(|_| Err(Failure::deadline().unsent()))
        }
    }
}

/// The requests of a stream. Dropped before [`Sender::finish`], it cancels the call.
pub struct Sender {
    body: Option<SendStream<Payload>>,
    connection: Arc<Connection>,
}

impl Sender {
    /// Sends bytes that are frames of gRPC already, whole or in part; waits while the upstream takes
    /// no more.
    pub async fn send(&mut self, mut bytes: Bytes) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let room = self.room(bytes.len()).await?;
            let piece = bytes.split_to(room.min(bytes.len()));
            self.write(Payload::raw(piece), false)?;
        }
        Ok(())
    }

    /// Sends one message.
    pub async fn message(&mut self, message: Bytes) -> Result<(), Failure> {
        let payload = Payload::message(message.clone());
        let length = payload.remaining();
        if self.room(length).await? >= length {
            return self.write(payload, false);
        }
        let mut framed = BytesMut::with_capacity(length);
        framed.put(payload);
        self.send(framed.freeze()).await
    }

    /// There are no more requests.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.write(Payload::raw(Bytes::new()), true)?;
        self.body = None;
        Ok(())
    }

    /// Waits for room for `wanted` bytes or some of them.
    async fn room(&mut self, wanted: usize) -> Result<usize, Failure> {
        let Some(body) = &mut self.body else { return Err(closed()) };
        body.reserve_capacity(wanted);
        loop {
            match body.capacity() {
                0 => {}
                room => return Ok(room),
            }
            match poll_fn(|context| body.poll_capacity(context)).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(wire::lost(&error)),
                None => return Err(closed()),
            }
        }
    }

    fn write(&mut self, payload: Payload, last: bool) -> Result<(), Failure> {
        let Some(body) = &mut self.body else { return Err(closed()) };
        body.send_data(payload, last).map_err(|_| closed())
    }
}

/// The upstream takes no more requests. How the call went is for the [`Receiver`] to tell.
fn closed() -> Failure {
    Failure::own(Code::Unavailable, Reason::Lost, "the upstream takes no more of this stream")
}

impl Drop for Sender {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take() else { return };
        let at = self.connection.reset_time();
        if at <= Instant::now() {
            body.send_reset(h2::Reason::CANCEL);
            return;
        }
        abandon(at + RESET_SLACK, async move {
            sleep_until(at).await;
            body.send_reset(h2::Reason::CANCEL);
        });
    }
}

/// The answers of a stream. Dropped before its end, it cancels the call.
pub struct Receiver {
    incoming: Incoming,
    head: Option<HeaderMap>,
    frames: Frames,
    deadline: Option<Pin<Box<Sleep>>>,
    ticket: Option<Ticket>,
    sticky: Option<Arc<str>>,
}

/// What is told when the stream has ended.
struct Ticket {
    /// Until the upstream began to answer, which shows that it is there: a stream may last for days.
    permit: Option<Permit>,
    upstream: Arc<Upstream>,
    endpoint: Arc<Endpoint>,
    worker: usize,
}

impl Receiver {
    fn new(
        incoming: Incoming,
        ticket: Ticket,
        deadline: Option<Instant>,
        sticky: Option<Arc<str>>,
    ) -> Self {
        Self {
            incoming,
            head: None,
            frames: Frames::new(ticket.upstream.config.limits.message_bytes_max as usize),
            deadline: deadline.map(|at| Box::pin(sleep_until(at))),
            ticket: Some(ticket),
            sticky,
        }
    }

    /// Value of the sticky cookie to set, as of [`Reply::sticky`](crate::Reply::sticky).
    pub fn sticky(&self) -> Option<&str> {
        self.sticky.as_deref()
    }

    /// The headers of the answer. Those of an answer that ends with them are its trailers too.
    pub async fn headers(&mut self) -> Result<&HeaderMap, Failure> {
        if self.head.is_none() {
            let head = until(&mut self.deadline, self.incoming.head()).await;
            let head = head.and_then(|head| match wire::outcome(&head.headers) {
                Some(_) => Ok(head),
                None => wire::check(&head).map(|()| head),
            });
            match head {
                Ok(head) => {
                    if wire::outcome(&head.headers).is_none()
                        && let Some(permit) = self.ticket.as_mut().and_then(|t| t.permit.take())
                    {
                        permit.record(false);
                    }
                    self.head = Some(head.headers);
                }
                Err(failure) => return Err(self.ended(failure)),
            }
        }
        self.head.as_ref().ok_or_else(wire::no_status)
    }

    /// The next bytes, frames of gRPC in whole or in part; `None` at their end.
    pub async fn data(&mut self) -> Result<Option<Bytes>, Failure> {
        self.headers().await?;
        match until(&mut self.deadline, self.incoming.data()).await {
            Ok(data) => Ok(data),
            Err(failure) => Err(self.ended(failure)),
        }
    }

    /// The trailers, whatever they say but that time was over, once [`Receiver::data`] gave `None`.
    pub async fn trailers(&mut self) -> Result<HeaderMap, Failure> {
        let head = self.headers().await?.clone();
        let trailers = match until(&mut self.deadline, self.incoming.trailers()).await {
            Ok(trailers) if trailers.is_empty() => head,
            Ok(trailers) => trailers,
            Err(failure) => return Err(self.ended(failure)),
        };
        let outcome = wire::outcome(&trailers).unwrap_or_else(|| Err(wire::no_status()));
        match outcome.map_err(|failure| self.judged(failure)) {
            Err(failure) if failure.reason == Some(Reason::Deadline) => Err(self.ended(failure)),
            outcome => {
                self.record(outcome.as_ref().err());
                Ok(trailers)
            }
        }
    }

    /// The next message; `None` when the call ended well, the failure when it did not.
    pub async fn message(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            match self.frames.next() {
                Ok(None) => {}
                Ok(message) => return Ok(message),
                Err(failure) => return Err(self.ended(failure)),
            }
            match self.data().await? {
                Some(piece) => self.frames.push(piece),
                None => break,
            }
        }
        let trailers = self.trailers().await?;
        wire::outcome(&trailers).unwrap_or_else(|| Err(wire::no_status()))?;
        if self.frames.is_empty() {
            Ok(None)
        } else {
            Err(Failure::broken("the upstream's answer is cut short"))
        }
    }

    fn ended(&mut self, failure: Failure) -> Failure {
        let failure = self.judged(failure);
        self.record(Some(&failure));
        failure
    }

    fn judged(&self, failure: Failure) -> Failure {
        match &self.deadline {
            Some(deadline) => failure.by(deadline.deadline()),
            None => failure,
        }
    }

    fn record(&mut self, failure: Option<&Failure>) {
        let Some(Ticket { permit, upstream, endpoint, worker }) = self.ticket.take() else {
            return;
        };
        // It counted as begun well already; a failure counts all the same, while calls go through.
        if let Some(permit) = permit.or_else(|| upstream.breaker(endpoint.group).admit().ok()) {
            record(&upstream, &endpoint, worker, permit, failure);
        }
    }
}

/// `work`, as long as there is time.
async fn until<T>(
    deadline: &mut Option<Pin<Box<Sleep>>>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let over = async {
        match deadline {
            Some(deadline) => deadline.as_mut().await,
            None => pending().await,
        }
    };
    tokio::select! {
        biased;
        result = work => result,
        () = over => Err(Failure::deadline()),
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Receiver").field("head", &self.head).finish_non_exhaustive()
    }
}
