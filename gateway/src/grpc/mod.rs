//! Calls that come as gRPC, or as gRPC-Web, under the same policies as REST. Streams pass through as
//! the frames that they are; a call of one message each way goes the way of REST ([`unary`]).
//!
//! Messages are not looked into, so the rules of the contract are for the service to apply. What the
//! client says goes on but for what it says of itself; what the upstream says comes back but for
//! the insides of a fault.

mod frames;
mod unary;
mod web;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, SERVER,
};
use http::request::Parts;
use http::{Method, Version};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;
use tonic::Status;
use upstream::{Receiver, Sender, StreamCall};

use crate::answer::{Answer, AnswerBody, Cut, Frames, flow};
use crate::edge::{Exchange, IDEMPOTENCY_KEY, User, Worker, failed_call, is_kept_back};
use crate::problem::Problem;
use crate::site::{Rpc, Site, Streaming};
use crate::streams::{Pump, Silence, Until};
use frames::Scanner;
use web::Web;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const OK: HeaderValue = HeaderValue::from_static("0");
const TIMEOUT: &str = "grpc-timeout";

/// Headers of an upstream that speak of its answer alone.
const OF_CONNECTION: [HeaderName; 4] = [CONTENT_TYPE, CONTENT_LENGTH, DATE, SERVER];

/// The type that upstreams speak.
const GRPC: &str = "application/grpc";
const GRPC_TYPE: HeaderValue = HeaderValue::from_static(GRPC);

/// How a client speaks gRPC.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dialect {
    /// Over HTTP/2, with trailers.
    Native,
    /// In the body, for browsers.
    Web(Web),
}

/// A call on its way through the edge.
#[derive(Clone, Copy)]
struct Asked<'a> {
    dialect: Dialect,
    rpc: &'a Arc<Rpc>,
    user: Option<&'a User>,
    head: &'a Parts,
}

impl Dialect {
    /// The dialect of a request; `None` when it is no gRPC.
    pub(crate) fn of(head: &Parts) -> Option<Self> {
        if head.method != Method::POST {
            return None;
        }
        let kind = head.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let rest = kind.strip_prefix(GRPC)?;
        if let Some(web) = Web::of(rest) {
            return Some(Self::Web(web));
        }
        matches!(rest.as_bytes().first(), None | Some(b'+' | b';')).then_some(Self::Native)
    }
}

impl Worker {
    /// Carries out a call that came as gRPC. Whatever goes wrong is a status of gRPC.
    pub(crate) async fn grpc(
        &self,
        dialect: Dialect,
        site: &Site,
        exchange: &mut Exchange,
        head: &Parts,
        body: Incoming,
    ) -> Answer {
        match self.pass(dialect, site, exchange, head, body).await {
            Ok(answer) => answer,
            Err(problem) => {
                exchange.record.refused(&problem);
                let status = problem.status(exchange.record.names.correlation_id());
                only_status(dialect, head, &status)
            }
        }
    }

    async fn pass(
        &self,
        dialect: Dialect,
        site: &Site,
        exchange: &mut Exchange,
        head: &Parts,
        body: Incoming,
    ) -> Result<Answer, Problem> {
        if dialect == Dialect::Native && head.version != Version::HTTP_2 {
            let detail = "gRPC needs HTTP/2; gRPC-Web does not";
            let status = http::StatusCode::HTTP_VERSION_NOT_SUPPORTED;
            return Err(Problem::new(status, "HTTP2_NEEDED", detail));
        }
        let Some(rpc) = site.rpc(head.uri.path()) else {
            self.stray(exchange).await?;
            return Err(unknown());
        };
        exchange.rpc(rpc);
        self.cors(&rpc.policy).answer(&head.headers, &mut exchange.headers);
        let user = self.admit(exchange, rpc, &head.headers).await?;
        let asked = Asked { dialect, rpc, user: user.as_ref(), head };
        match rpc.streaming {
            Streaming::None => self.one(exchange, asked, body).await,
            _ => self.pass_through(exchange, asked, body).await,
        }
    }

    /// Carries out a call with a stream on either side.
    async fn pass_through(
        &self,
        exchange: &mut Exchange,
        asked: Asked<'_>,
        body: Incoming,
    ) -> Result<Answer, Problem> {
        let Asked { dialect, rpc, user, head } = asked;
        let given_up = given_up(&head.headers)?;
        let latest = rpc.policy.deadline.and_then(|left| Instant::now().checked_add(left));
        let deadline = [given_up, latest].into_iter().flatten().min();
        let (route, sticky) = self.way(rpc, &head.headers);
        let call = StreamCall {
            upstream: Arc::clone(&rpc.upstream),
            path: rpc.grpc_path.clone(),
            headers: self.forwarded(exchange, asked, None),
            deadline,
            route,
        };
        let (sender, mut receiver) =
            self.calls.stream(call).await.map_err(|failure| failed_call(rpc, &failure))?;
        exchange.keep(sticky.as_ref(), receiver.sticky());
        let limits = &self.edge.settings.limits;
        let scanner = Scanner::new(limits.body_bytes_max as usize);
        let until = Until::of(&self.edge.settings.streams, user);
        let pump = Pump::start(upload(dialect, body, scanner, sender, until));
        let answered = match receiver.headers().await {
            Ok(answered) => backward(answered.clone()),
            Err(failure) => {
                return Err(pump.fault().unwrap_or_else(|| failed_call(rpc, &failure)));
            }
        };
        let correlation_id = exchange.record.names.correlation_id().into();
        let passing =
            Passing { dialect, receiver, until, pump, correlation_id, state: State::Data };
        let mut answer = flow(content_type(head), passing.frames());
        answer.headers_mut().extend(answered);
        Ok(answer)
    }

    /// The metadata of a call: what of a client's headers goes on, and what the edge says.
    fn forwarded(
        &self,
        exchange: &Exchange,
        asked: Asked<'_>,
        key: Option<&HeaderValue>,
    ) -> HeaderMap {
        let Asked { user, head, .. } = asked;
        let mut headers = HeaderMap::with_capacity(head.headers.len() + 8);
        for (name, value) in &head.headers {
            if !is_kept_back(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        for name in self.edge.verifier.metadata_names() {
            headers.remove(name);
        }
        headers.extend(self.metadata(exchange, user));
        if let Some(key) = key {
            headers.insert(IDEMPOTENCY_KEY, key.clone());
        }
        headers.insert(CONTENT_TYPE, upstream_type(head));
        headers
    }
}

fn unknown() -> Problem {
    let status = http::StatusCode::NOT_IMPLEMENTED;
    Problem::new(status, "METHOD_UNKNOWN", "no service here has this method")
}

/// An answer that is nothing but a status.
fn only_status(dialect: Dialect, head: &Parts, status: &Status) -> Answer {
    let mut trailers = HeaderMap::new();
    unary::put(status, &mut trailers);
    let mut answer = match dialect {
        Dialect::Native => {
            let mut answer = http::Response::new(AnswerBody::Done);
            answer.headers_mut().extend(trailers);
            answer
        }
        Dialect::Web(web) => http::Response::new(AnswerBody::Whole(web.trailers(&trailers))),
    };
    answer.headers_mut().insert(CONTENT_TYPE, content_type(head));
    answer
}

/// The type of the answer: that of the request.
fn content_type(head: &Parts) -> HeaderValue {
    head.headers.get(CONTENT_TYPE).cloned().unwrap_or(GRPC_TYPE)
}

/// What of the upstream's headers comes back.
fn backward(headers: HeaderMap) -> HeaderMap {
    let mut back = passed(headers);
    // An answer that is nothing but a status says it again in its trailers.
    for name in [STATUS, MESSAGE, DETAILS] {
        back.remove(name);
    }
    back
}

/// The type of the call: the client's own, in the words of gRPC.
fn upstream_type(head: &Parts) -> HeaderValue {
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let subtype = kind.and_then(|kind| kind.split_once('+')).map(|(_, subtype)| subtype);
    let of = |subtype: &str| HeaderValue::try_from(format!("{GRPC}+{subtype}")).ok();
    subtype.and_then(of).unwrap_or(GRPC_TYPE)
}

/// When the client gives its call up; `None` when it does not say.
fn given_up(headers: &HeaderMap) -> Result<Option<Instant>, Problem> {
    let Some(given) = headers.get(TIMEOUT) else { return Ok(None) };
    let left = given.to_str().ok().and_then(read_timeout).ok_or_else(|| {
        let detail = "the grpc-timeout header is malformed";
        Problem::new(http::StatusCode::BAD_REQUEST, "MALFORMED_TIMEOUT", detail)
    })?;
    Ok(Instant::now().checked_add(left))
}

/// `100m` is a tenth of a second.
fn read_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count = digits.parse::<u64>().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Carries the body of a call to the upstream.
async fn upload(
    dialect: Dialect,
    mut body: Incoming,
    mut scanner: Scanner,
    mut sender: Sender,
    until: Until,
) -> Result<(), Problem> {
    let mut reader = web::Reader::default();
    while let Some(frame) = until.next(Instant::now(), body.frame()).await? {
        let Ok(data) = frame.map_err(|_| frames::broken())?.into_data() else { continue };
        let data = match dialect {
            Dialect::Web(Web { text: true }) => reader.read(&data).ok_or_else(frames::broken)?,
            _ => data,
        };
        scanner.scan(&data)?;
        if sender.send(data).await.is_err() {
            // How the call ended is told by its answer.
            return Ok(());
        }
    }
    if !scanner.is_between() || !reader.is_between() {
        return Err(frames::broken());
    }
    let _ = sender.finish();
    Ok(())
}

/// An answer that passes through.
struct Passing {
    dialect: Dialect,
    receiver: Receiver,
    until: Until,
    pump: Pump,
    correlation_id: Box<str>,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Data,
    Trailers,
    Done,
}

impl Passing {
    fn frames(self) -> Frames {
        Box::pin(stream::unfold(self, |mut passing| async move {
            let frame = passing.next().await?;
            Some((Ok::<_, Cut>(frame), passing))
        }))
    }

    async fn next(&mut self) -> Option<Frame<Bytes>> {
        if self.state == State::Data {
            match self.until.within(Instant::now(), None, self.receiver.data()).await {
                Ok(Ok(Some(data))) => return Some(Frame::data(self.written(data))),
                Ok(Ok(None)) => self.state = State::Trailers,
                Ok(Err(failure)) => {
                    let fault = self.pump.fault();
                    let problem = fault.unwrap_or_else(|| Problem::from(&failure.status()));
                    return Some(self.end(&problem));
                }
                Err(Silence::Over(problem)) => return Some(self.end(&problem)),
                Err(Silence::Beat) => {}
            }
        }
        if self.state == State::Done {
            return None;
        }
        match self.receiver.trailers().await {
            Ok(trailers) => {
                self.state = State::Done;
                Some(self.closing(public(trailers, &self.correlation_id)))
            }
            Err(failure) => Some(self.end(&Problem::from(&failure.status()))),
        }
    }

    /// The end of a call that went wrong on the way.
    fn end(&mut self, problem: &Problem) -> Frame<Bytes> {
        self.state = State::Done;
        let mut trailers = HeaderMap::new();
        unary::put(&problem.status(&self.correlation_id), &mut trailers);
        self.closing(trailers)
    }

    fn written(&self, data: Bytes) -> Bytes {
        match self.dialect {
            Dialect::Web(web) => web.data(data),
            Dialect::Native => data,
        }
    }

    fn closing(&self, trailers: HeaderMap) -> Frame<Bytes> {
        match self.dialect {
            Dialect::Native => Frame::trailers(trailers),
            Dialect::Web(web) => Frame::data(web.trailers(&trailers)),
        }
    }
}

/// Headers or trailers without what speaks of the connection.
fn passed(mut headers: HeaderMap) -> HeaderMap {
    for name in OF_CONNECTION {
        headers.remove(name);
    }
    headers
}

/// The trailers of the upstream, without its insides.
fn public(trailers: HeaderMap, correlation_id: &str) -> HeaderMap {
    let mut trailers = passed(trailers);
    let status = Status::from_header_map(&trailers).unwrap_or_else(|| Status::unknown(""));
    let problem = Problem::from(&status);
    if problem.is_unexplained() {
        unary::put(&problem.status(correlation_id), &mut trailers);
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        assert_eq!(read_timeout("100m"), Some(Duration::from_millis(100)));
        assert_eq!(read_timeout("99999999H"), Some(Duration::from_hours(99_999_999)));
        for malformed in ["", "m", "100", "-1S", "123456789S", "1 S", "1s"] {
            assert_eq!(read_timeout(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn the_dialect_is_told_by_the_type() {
        let dialect = |kind: &'static str| {
            let request = http::Request::post("/a.B/C").header(CONTENT_TYPE, kind).body(());
            request.ok().and_then(|request| Dialect::of(&request.into_parts().0))
        };
        for native in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            assert_eq!(dialect(native), Some(Dialect::Native), "{native}");
        }
        let web = |text| Some(Dialect::Web(Web { text }));
        assert_eq!(dialect("application/grpc-web"), web(false));
        assert_eq!(dialect("application/grpc-web+proto"), web(false));
        assert_eq!(dialect("application/grpc-web-text+proto"), web(true));
        for other in ["application/json", "application/grpcx", "application/grpc-webx"] {
            assert_eq!(dialect(other), None, "{other}");
        }
    }

    #[test]
    fn what_nobody_explains_shows_nothing_of_the_inside() {
        let trailers = |code: &'static str| {
            let said = [
                (STATUS, HeaderValue::from_static(code)),
                (MESSAGE, HeaderValue::from_static("SELECT secret")),
                (DETAILS, HeaderValue::from_static("c2VjcmV0")),
            ];
            public(HeaderMap::from_iter(said), "one")
        };
        assert_eq!(trailers("5")[MESSAGE], "SELECT secret");
        assert_eq!(trailers("5")[DETAILS], "c2VjcmV0");
        for code in ["1", "2", "4", "13", "14", "15"] {
            let told = trailers(code);
            assert_eq!(told[STATUS], code);
            assert!(!told[MESSAGE].to_str().is_ok_and(|text| text.contains("secret")), "{code}");
            assert_ne!(told[DETAILS], "c2VjcmV0", "{code}");
        }
    }
}
