//! Calls of one message each way. Their message is taken in whole, so that they go the way of REST:
//! sent again and beside, kept under a key, given up in time.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http_body::Frame;
use hyper::body::Incoming;
use tonic::Status;
use upstream::{Call, Failure, Sticky};

use super::frames::{self, HEAD_BYTES};
use super::{Asked, Dialect, OK, STATUS, Web, backward, content_type, deadline, passed};
use crate::answer::{Answer, AnswerBody, flow, pieces};
use crate::body;
use crate::coding::{Coding, Undecodable};
use crate::edge::{Exchange, Worker, failed_call, idempotency_key, noted};
use crate::problem::Problem;
use crate::serve::is_answered;

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

impl Worker {
    /// Carries out a call of one message each way.
    pub(super) async fn one(
        &self,
        exchange: &mut Exchange,
        asked: Asked<'_>,
        body: Incoming,
    ) -> Result<Answer, Problem> {
        let Asked { dialect, rpc, head, .. } = asked;
        let key = idempotency_key(&rpc.policy, &head.headers)?;
        let message = self.only_message(asked, body).await?;
        exchange.unread = false;
        let (call, sticky) = self.call(exchange, asked, key.as_ref(), message.clone())?;
        // What comes back beside a message, or in place of one.
        let mut trailers = HeaderMap::new();
        let carry = async |exchange: &mut Exchange| match self.calls.unary(call).await {
            Ok(reply) => {
                exchange.keep(sticky.as_ref(), reply.sticky.as_deref());
                trailers = passed(reply.trailers);
                Ok(kept(&reply.headers, reply.message))
            }
            Err(failure) => {
                let problem = failed_call(rpc, &failure);
                if failure.reason.is_none() && !problem.is_unexplained() {
                    trailers = refusal(&failure);
                }
                Err(noted(exchange, rpc, &failure, problem, key.is_some()))
            }
        };
        let answered = match &key {
            None => carry(exchange).await,
            Some(key) => Box::pin(self.once(exchange, rpc, head, key, &message, carry)).await,
        };
        if let Err(problem) = &answered
            && !trailers.is_empty()
        {
            exchange.record.refused(problem);
            return Ok(written(dialect, head, Answer::new(AnswerBody::Done), trailers));
        }
        // What was kept under a key has no trailers but this one.
        trailers.insert(STATUS, OK);
        Ok(written(dialect, head, answered?, trailers))
    }

    /// The call, and how its upstream keeps a client.
    fn call(
        &self,
        exchange: &Exchange,
        asked: Asked<'_>,
        key: Option<&HeaderValue>,
        message: Bytes,
    ) -> Result<(Call, Option<Sticky>), Problem> {
        let Asked { rpc, head, .. } = asked;
        let latest = self.deadline(rpc);
        let deadline = deadline(rpc, &head.headers)?;
        let mut headers = self.forwarded(exchange, asked, key);
        headers.remove(ENCODING);
        let (route, sticky) = self.way(rpc, &head.headers);
        let call = Call {
            upstream: Arc::clone(&rpc.upstream),
            path: rpc.grpc_path.clone(),
            headers,
            message,
            deadline: deadline.map_or(latest, |deadline| deadline.min(latest)),
            retry_safe: rpc.policy.retry_safe,
            hedge_after: rpc.policy.hedge_after,
            route,
        };
        Ok((call, sticky))
    }

    /// The one message of a body, as the contract has it.
    async fn only_message(&self, asked: Asked<'_>, body: Incoming) -> Result<Bytes, Problem> {
        let limits = &self.edge.settings.limits;
        let bytes_max = limits.body_bytes_max as usize;
        let room = bytes_max + HEAD_BYTES;
        let body = match asked.dialect {
            Dialect::Native | Dialect::Web(Web { text: false }) => {
                body::collect(body, room, limits).await?
            }
            // Base64 is longer, by a third and its padding.
            Dialect::Web(_) => {
                let text = body::collect(body, room * 2, limits).await?;
                super::web::decoded(&text).ok_or_else(frames::broken)?
            }
        };
        let (is_compressed, message) = frames::only(body, bytes_max)?;
        if !is_compressed {
            return Ok(message);
        }
        let coding = asked.head.headers.get(ENCODING);
        let coding = coding.and_then(|coding| Coding::named(coding.to_str().ok()?));
        let Some(coding) = coding else {
            let detail = "a message may be compressed with gzip, br or zstd";
            return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "UNSUPPORTED_ENCODING", detail));
        };
        coding.decode(message, bytes_max).await.map_err(|fault| match fault {
            Undecodable::TooLarge => frames::too_large(bytes_max),
            Undecodable::Broken => frames::broken(),
        })
    }
}

/// The answer of the upstream, in the form that is kept under a key.
fn kept(headers: &HeaderMap, message: Bytes) -> Answer {
    let mut answer = Answer::new(AnswerBody::Whole(message));
    *answer.headers_mut() = backward(headers);
    answer
}

/// A refusal in the upstream's own words.
fn refusal(failure: &Failure) -> HeaderMap {
    let metadata = failure.metadata.as_deref().cloned().unwrap_or_default();
    let mut trailers = passed(metadata);
    put(&failure.status(), &mut trailers);
    trailers
}

/// Says a status in trailers.
pub(super) fn put(status: &Status, trailers: &mut HeaderMap) {
    // Fails only for what is no header value, which a status that was read or is ours never holds.
    let _ = status.add_header(trailers);
}

/// The message, if there is one, and the trailers as the client reads them.
fn written(dialect: Dialect, request: &Parts, answer: Answer, trailers: HeaderMap) -> Answer {
    let (head, body) = answer.into_parts();
    let mut whole = BytesMut::new();
    if let AnswerBody::Whole(message) = body {
        whole.reserve(HEAD_BYTES + message.len());
        whole.put_u8(0);
        whole.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        whole.put(message);
    }
    let (body, last) = match dialect {
        Dialect::Native => (whole.freeze(), Some(Frame::trailers(trailers))),
        Dialect::Web(web) => {
            (Bytes::from([web.data(whole.freeze()), web.trailers(&trailers)].concat()), None)
        }
    };
    let flowing = stream::iter(pieces(body).chain(last).map(Ok));
    let mut answer = flow(content_type(request), Box::pin(flowing));
    answer.headers_mut().extend(head.headers);
    answer.headers_mut().insert(CONTENT_TYPE, content_type(request));
    // Who does not take it loses it, as over REST.
    is_answered();
    answer
}
