//! Calls of one message each way, from JSON and back.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::Instant;
use transcoder::{Input, InputError, Output};
use upstream::{Call, Failure};

use super::admission::User;
use super::metadata::IDEMPOTENCY_KEY;
use super::{Exchange, Worker, idempotency};
use crate::answer::{Answer, AnswerBody, empty};
use crate::body;
use crate::etag;
use crate::headers::{IDEMPOTENT_REPLAY, tell};
use crate::problem::Problem;
use crate::site::{Route, Rpc};

/// A call on its way through the edge.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) route: &'a Arc<Route>,
    /// Values of the path's variables.
    pub(crate) path: &'a [Cow<'a, str>],
    pub(crate) user: Option<&'a User>,
    pub(crate) head: &'a Parts,
    /// The idempotency key, which travels with the call.
    pub(crate) key: Option<&'a HeaderValue>,
}

/// A call whose messages come one after the other, and what HTTP brings for all of them.
pub(crate) struct OwnAsked {
    pub(crate) route: Arc<Route>,
    path: Vec<String>,
    query: Box<str>,
    content_type: Box<str>,
}

impl Asked<'_> {
    /// What outlives the request.
    pub(crate) fn to_own(self) -> OwnAsked {
        OwnAsked {
            route: Arc::clone(self.route),
            path: self.path.iter().map(ToString::to_string).collect(),
            query: self.head.uri.query().unwrap_or_default().into(),
            content_type: kind_of(self.head).into(),
        }
    }
}

impl OwnAsked {
    /// One message, its rules checked.
    pub(crate) fn message(&self, body: &[u8]) -> Result<Bytes, Problem> {
        let Self { path, query, content_type, .. } = self;
        encode(&self.route, &Input { path, query, content_type, body })
    }
}

impl Worker {
    /// Carries out a call of one message each way.
    pub(super) async fn unary(
        &self,
        exchange: &mut Exchange,
        asked: Asked<'_>,
        body: Incoming,
    ) -> Result<Answer, Problem> {
        let Asked { route, head, .. } = asked;
        let key = idempotency::key(&route.rpc.policy, &head.headers)?;
        if !route.request.takes_raw() && !body.is_end_stream() {
            body::check_json(&head.headers)?;
        }
        let body = body::read(&head.headers, body, &self.edge.settings.limits).await?;
        exchange.unread = false;
        match key {
            None => self.carry(exchange, asked, &body).await,
            Some(key) => {
                let (rpc, body) = (&route.rpc, &body);
                let asked = Asked { key: Some(&key), ..asked };
                let carry = async |exchange: &mut Exchange| self.carry(exchange, asked, body).await;
                Box::pin(self.once(exchange, rpc, head, &key, body, carry)).await
            }
        }
    }

    /// Turns the request into a message, calls, and turns the answer back.
    async fn carry(
        &self,
        exchange: &mut Exchange,
        asked: Asked<'_>,
        body: &Bytes,
    ) -> Result<Answer, Problem> {
        let Asked { route, head, user, key, .. } = asked;
        let message = message(asked, body)?;
        let mut headers = self.rest_metadata(exchange, user, &route.rpc, &head.headers);
        if let Some(key) = key {
            headers.insert(IDEMPOTENCY_KEY, key.clone());
        }
        let policy = &route.rpc.policy;
        let (way, sticky) = self.way(&route.rpc, &head.headers);
        let call = Call {
            upstream: route.rpc.upstream.clone(),
            path: route.rpc.grpc_path.clone(),
            headers,
            message,
            deadline: self.deadline(&route.rpc),
            retry_safe: policy.retry_safe,
            hedge_after: policy.hedge_after,
            route: way,
        };
        let reply = match self.calls.unary(call).await {
            Ok(reply) => reply,
            Err(failure) => return Err(refused(exchange, route, &failure, key.is_some())),
        };
        if let Some(replay) = reply.headers.get(IDEMPOTENT_REPLAY) {
            exchange.headers.insert(IDEMPOTENT_REPLAY, replay.clone());
        }
        exchange.keep(sticky.as_ref(), reply.sticky.as_deref());
        let mut answer = transcoded(route, &reply.message)?;
        tell(&reply.headers, answer.headers_mut());
        if policy.conditional && matches!(head.method, Method::GET | Method::HEAD) {
            etag::apply(&head.headers, &mut answer)?;
        }
        Ok(answer)
    }

    /// When a call of one message each way is given up.
    pub(crate) fn deadline(&self, rpc: &Rpc) -> Instant {
        let longest = self.edge.settings.limits.request_timeout;
        Instant::now() + rpc.policy.deadline.map_or(longest, |deadline| deadline.min(longest))
    }
}

/// The request as a message, its rules checked.
pub(crate) fn message(asked: Asked<'_>, body: &[u8]) -> Result<Bytes, Problem> {
    let Asked { route, path, head, .. } = asked;
    let query = head.uri.query().unwrap_or_default();
    encode(route, &Input { path, query, content_type: kind_of(head), body })
}

fn encode<V: AsRef<str>>(route: &Route, input: &Input<'_, V>) -> Result<Bytes, Problem> {
    let mut wire = Vec::with_capacity(input.body.len() + 64);
    route.request.encode(input, &mut wire).map_err(|error| {
        if let InputError::Rules(error) = &error {
            let method = route.rpc.descriptor.full_name();
            tracing::error!(method, error, "the rules of a contract cannot be applied");
        }
        Problem::from(error)
    })?;
    Ok(Bytes::from(wire))
}

fn kind_of(head: &Parts) -> &str {
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.unwrap_or_default()
}

/// The answer of the upstream as HTTP.
pub(crate) fn transcoded(route: &Route, message: &[u8]) -> Result<Answer, Problem> {
    let status = route.rpc.policy.success_status;
    let mut answer = empty(status);
    if status == StatusCode::NO_CONTENT {
        return Ok(answer);
    }
    let mut body = Vec::with_capacity(message.len() * 2 + 64);
    let output = route.response.decode(message, &mut body).map_err(|error| {
        let method = route.rpc.descriptor.full_name();
        tracing::error!(method, %error, "an upstream broke its contract");
        Problem::internal()
    })?;
    let kind = content_type(&output);
    *answer.body_mut() = AnswerBody::Whole(Bytes::from(body));
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(answer)
}

/// The type of a body.
pub(crate) fn content_type(output: &Output<'_>) -> HeaderValue {
    const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
    match output {
        Output::Json => HeaderValue::from_static("application/json"),
        Output::Raw { content_type } if content_type.is_empty() => BYTES,
        Output::Raw { content_type } => HeaderValue::from_str(content_type).unwrap_or(BYTES),
    }
}

/// An upstream's refusal, in the client's words for the fields; under a key, a repeat changes nothing.
pub(crate) fn refused(
    exchange: &mut Exchange,
    route: &Route,
    failure: &Failure,
    has_key: bool,
) -> Problem {
    noted(exchange, &route.rpc, failure, failed(route, failure), has_key)
}

/// Tells what an upstream's refusal, and the key of the request, make of the answer.
pub(crate) fn noted(
    exchange: &mut Exchange,
    rpc: &Rpc,
    failure: &Failure,
    mut problem: Problem,
    has_key: bool,
) -> Problem {
    let replay = failure.metadata.as_ref().and_then(|metadata| metadata.get(IDEMPOTENT_REPLAY));
    if let Some(replay) = replay {
        exchange.headers.insert(IDEMPOTENT_REPLAY, replay.clone());
    }
    if has_key {
        problem = problem.repeatable();
    }
    if problem.status.is_server_error() {
        let (upstream, reason) = (&*rpc.upstream, &*problem.reason);
        let correlation = exchange.record.names.correlation_id();
        tracing::warn!(
            upstream, code = ?failure.code, reason, correlationId = correlation,
            "an upstream failed a request"
        );
    }
    problem
}

/// A failed call as a problem, in the client's words for the fields.
pub(crate) fn failed(route: &Route, failure: &Failure) -> Problem {
    let mut problem = failed_call(&route.rpc, failure);
    problem.rename_fields(|path| route.request.shown_path(path));
    problem
}

/// A failed call as a problem.
pub(crate) fn failed_call(rpc: &Rpc, failure: &Failure) -> Problem {
    let mut problem = Problem::from(&failure.status());
    // A repeat changes nothing: the contract says so, or nothing was done.
    if rpc.policy.retry_safe || failure.surely_not_sent {
        problem = problem.repeatable();
    }
    let is_unknown = failure.reason.is_some() || problem.is_unexplained();
    if is_unknown && !failure.surely_not_sent {
        problem = problem.of_unknown_outcome();
    }
    problem
}
