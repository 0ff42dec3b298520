//! Streams as lines of JSON and as server-sent events.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::StatusCode;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue, VARY,
};
use http_body::Frame;
use hyper::body::Incoming;
use tokio::time::Instant;
use transcoder::Output;
use upstream::{Failure, Receiver, Sender};

use super::lines::Lines;
use super::{Outcome, Pump, Silence, Until, accepted, websocket};
use crate::answer::{Answer, Cut, Frames, flow};
use crate::body;
use crate::coding::{Coding, Press};
use crate::edge::{Asked, Exchange, Worker, content_type, failed, message, refused, transcoded};
use crate::problem::Problem;
use crate::site::{Route, Streaming};

const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Tells proxies not to gather a stream before they pass it on.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// How the messages of an answer stand one after the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    /// One a line.
    Lines,
    /// Server-sent events.
    Events,
    /// As they are: `google.api.HttpBody`.
    Raw,
}

impl Worker {
    /// Carries out a call with a stream on either side.
    pub(crate) async fn stream(
        &self,
        exchange: &mut Exchange,
        asked: Asked<'_>,
        body: Incoming,
    ) -> Result<Answer, Problem> {
        if websocket::is_asked_for(asked.head) {
            return self.websocket(exchange, asked).await;
        }
        let Asked { route, head, .. } = asked;
        if !route.request.takes_raw() {
            body::check_json(&head.headers)?;
        }
        if matches!(route.rpc.streaming, Streaming::Client | Streaming::Both) {
            check_plain(&head.headers)?;
        }
        match route.rpc.streaming {
            Streaming::Client => self.collect(exchange, asked, body).await,
            Streaming::None | Streaming::Server => {
                let body = body::read(&head.headers, body, &self.edge.settings.limits).await?;
                exchange.unread = false;
                let message = message(asked, &body)?;
                let (mut sender, receiver) = self.open(exchange, asked).await?;
                let sent = match sender.message(message).await {
                    Ok(()) => sender.finish(),
                    failed => failed,
                };
                // What went wrong is told by the answer.
                drop(sent);
                self.flow(exchange, asked, receiver, None).await
            }
            Streaming::Both => {
                let (sender, receiver) = self.open(exchange, asked).await?;
                let pump = Pump::start(self.pump(asked, body, sender));
                self.flow(exchange, asked, receiver, Some(pump)).await
            }
        }
    }

    /// Many messages to the upstream, one back.
    async fn collect(
        &self,
        exchange: &mut Exchange,
        asked: Asked<'_>,
        body: Incoming,
    ) -> Result<Answer, Problem> {
        let route = asked.route;
        let (sender, mut receiver) = self.open(exchange, asked).await?;
        let mut pump = std::pin::pin!(self.pump(asked, body, sender));
        let mut answer = std::pin::pin!(only_message(&mut receiver));
        let answered = tokio::select! {
            biased;
            answered = &mut answer => answered,
            pumped = &mut pump => {
                pumped?;
                exchange.unread = false;
                answer.await
            }
        };
        match answered {
            Ok(message) => transcoded(route, &message),
            Err(failure) => Err(refused(exchange, route, &failure, false)),
        }
    }

    /// Sends what the client does, message by message.
    fn pump(
        &self,
        asked: Asked<'_>,
        body: Incoming,
        mut sender: Sender,
    ) -> impl Future<Output = Result<(), Problem>> + use<> {
        let until = Until::of(&self.edge.settings.streams, asked.user);
        let bytes_max = self.edge.settings.limits.body_bytes_max as usize;
        let asked = asked.to_own();
        async move {
            let mut lines = Lines::new(body, asked.route.request.takes_raw(), bytes_max);
            loop {
                let Some(line) = until.next(Instant::now(), lines.next()).await?? else { break };
                if sender.message(asked.message(&line)?).await.is_err() {
                    // How the call ended is told by its answer.
                    return Ok(());
                }
            }
            let _ = sender.finish();
            Ok(())
        }
    }

    /// The messages of the upstream as the body of the answer.
    async fn flow(
        &self,
        exchange: &mut Exchange,
        asked: Asked<'_>,
        mut receiver: Receiver,
        pump: Option<Pump>,
    ) -> Result<Answer, Problem> {
        let Asked { route, head, user, .. } = asked;
        accepted(exchange, route, &mut receiver, pump.as_ref()).await?;
        let settings = &self.edge.settings;
        // What is raw is not ours to put into events; it may well be some.
        let form = if route.response.is_raw() {
            Form::Raw
        } else if wants_events(&head.headers) {
            Form::Events
        } else {
            Form::Lines
        };
        let mut flowing = Flowing {
            receiver,
            route: asked.to_own().route,
            form,
            outcome: Outcome::of(exchange, settings.errors, head.uri.path()),
            until: Until::of(&settings.streams, user),
            heartbeat: (form == Form::Events).then_some(settings.streams.heartbeat),
            last: Instant::now(),
            count: 0,
            ended: false,
            pump,
        };
        let (kind, first) = match form {
            Form::Events => {
                let retry = settings.streams.retry.as_millis();
                (EVENTS, Some(Bytes::from(format!("retry: {retry}\n\n"))))
            }
            Form::Raw => flowing.begin_raw().await?,
            Form::Lines => (NDJSON, None),
        };
        let coding = self.coding(&head.headers).filter(|_| flowing.form != Form::Raw);
        let frames = flowing.frames(first);
        let mut answer = match coding {
            Some(coding) => flow(kind, pressed(frames, coding)?),
            None => flow(kind, frames),
        };
        if let Some(coding) = coding {
            answer.headers_mut().insert(CONTENT_ENCODING, coding.header());
        }
        answer.headers_mut().append(VARY, ACCEPT_ENCODING.into());
        *answer.status_mut() = route.rpc.policy.success_status;
        let (name, value) = UNBUFFERED;
        answer.headers_mut().insert(name, value);
        Ok(answer)
    }
}

/// Refuses a stream that is compressed as a whole: its messages could not be told apart in time.
fn check_plain(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get(CONTENT_ENCODING).is_none_or(|coding| coding == "identity") {
        return Ok(());
    }
    let detail = "a stream of messages must not be compressed";
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Err(Problem::new(status, "UNSUPPORTED_ENCODING", detail))
}

/// The one message of an answer.
async fn only_message(receiver: &mut Receiver) -> Result<Bytes, Failure> {
    let message = receiver.message().await?;
    // The status comes after the message.
    while receiver.message().await?.is_some() {}
    Ok(message.unwrap_or_default())
}

/// The frames compressed one by one: each message can be read when it has come.
fn pressed(frames: Frames, coding: Coding) -> Result<Frames, Problem> {
    let press = Press::new(coding).map_err(|_| Problem::internal())?;
    let frames = stream::unfold((frames, Some(press)), |(mut frames, press)| async move {
        let mut press = press?;
        let (written, press) = match frames.next().await {
            // Our own streams have no trailers.
            Some(Ok(frame)) => (press.piece(frame.data_ref()?), Some(press)),
            Some(Err(cut)) => return Some((Err(cut), (frames, None))),
            None => (press.end(), None),
        };
        Some((written.map(Frame::data).map_err(|_| Cut), (frames, press)))
    });
    Ok(Box::pin(frames))
}

/// Whether the client asks for server-sent events.
fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    accepted.flat_map(|accept| accept.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/event-stream")
    })
}

/// An answer that is being sent.
struct Flowing {
    receiver: Receiver,
    route: Arc<Route>,
    form: Form,
    outcome: Outcome,
    until: Until,
    heartbeat: Option<Duration>,
    /// When there last was a message.
    last: Instant,
    /// Messages so far.
    count: u64,
    ended: bool,
    /// Carries the client's messages beside.
    pump: Option<Pump>,
}

impl Flowing {
    /// Of a raw body, the first message says the type.
    async fn begin_raw(&mut self) -> Result<(HeaderValue, Option<Bytes>), Problem> {
        let message = self.until.next(self.last, self.receiver.message()).await?;
        let message = message.map_err(|failure| self.fault(&failure))?;
        let Some(message) = message else {
            self.ended = true;
            return Ok((content_type(&Output::Raw { content_type: "".into() }), None));
        };
        let mut bytes = Vec::new();
        let kind = self.decode(&message, &mut bytes)?;
        Ok((kind, Some(Bytes::from(bytes))))
    }

    fn frames(self, first: Option<Bytes>) -> Frames {
        let first = stream::iter(first.map(|first| Ok(Frame::data(first))));
        let rest = stream::unfold(self, |mut flowing| async move {
            let piece = flowing.next().await?;
            Some((piece.map(Frame::data), flowing))
        });
        Box::pin(first.chain(rest))
    }

    /// The next piece of the body; `None` at its end.
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        if self.ended {
            return None;
        }
        let next = self.until.within(self.last, self.heartbeat, self.receiver.message()).await;
        let problem = match next {
            Err(Silence::Beat) => return Some(Ok(Bytes::from_static(b": still here\n\n"))),
            Err(Silence::Over(problem)) => problem,
            Ok(Ok(Some(message))) => match self.show(&message) {
                Ok(bytes) => return Some(Ok(bytes)),
                Err(problem) => problem,
            },
            Ok(Ok(None)) => {
                self.ended = true;
                return None;
            }
            Ok(Err(failure)) => self.fault(&failure),
        };
        self.ended = true;
        Some(self.tell(&problem))
    }

    /// Why the call failed: the upstream may only say that the client's side went wrong.
    fn fault(&self, failure: &Failure) -> Problem {
        let fault = self.pump.as_ref().and_then(Pump::fault);
        fault.unwrap_or_else(|| failed(&self.route, failure))
    }

    fn show(&mut self, message: &[u8]) -> Result<Bytes, Problem> {
        self.last = Instant::now();
        self.count += 1;
        let mut bytes = Vec::with_capacity(message.len() * 2 + 32);
        if self.form == Form::Events {
            let _ = write!(bytes, "id: {}\ndata: ", self.count);
        }
        self.decode(message, &mut bytes)?;
        bytes.extend_from_slice(match self.form {
            Form::Lines => b"\n",
            Form::Events => b"\n\n",
            Form::Raw => b"",
        });
        Ok(Bytes::from(bytes))
    }

    fn decode(&self, message: &[u8], bytes: &mut Vec<u8>) -> Result<HeaderValue, Problem> {
        let output = self.route.response.decode(message, bytes).map_err(|error| {
            let method = self.route.rpc.descriptor.full_name();
            tracing::error!(method, %error, "an upstream broke its contract");
            Problem::internal()
        })?;
        Ok(content_type(&output))
    }

    /// The last piece of a stream that went wrong.
    fn tell(&self, problem: &Problem) -> Result<Bytes, Cut> {
        let correlation = self.outcome.correlation_id();
        let reason = &*problem.reason;
        tracing::debug!(reason, correlationId = correlation, "a stream went wrong");
        let json = self.outcome.json(problem);
        let mut bytes = Vec::with_capacity(json.len() + 32);
        match self.form {
            Form::Lines => bytes.extend([&b"{\"error\":"[..], &json, b"}\n"].concat()),
            Form::Events => bytes.extend([&b"event: error\ndata: "[..], &json, b"\n\n"].concat()),
            // A raw body has no place for it.
            Form::Raw => return Err(Cut),
        }
        Ok(Bytes::from(bytes))
    }
}
