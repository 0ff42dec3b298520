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
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use upstream::{Call, Failure, Sticky};

use super::frames::{self, HEAD_BYTES};
use super::{Asked, Dialect, OK, STATUS, Web, backward, content_type, given_up, passed};
use crate::answer::{Answer, AnswerBody, flow, pieces};
use crate::body;
use crate::coding::{Coding, Undecodable};
use crate::edge::{Exchange, Worker, failed_call, idempotency_key, noted};
use crate::problem::Problem;
use crate::serve::is_answered;

/// Of a message so much is copied behind its head: what is short then costs one frame, not two.
const COPIED_BYTES: usize = 4096;

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
        let given_up = given_up(&head.headers)?;
        let message = in_time(given_up, self.only_message(asked, body)).await?;
        exchange.unread = false;
        let (call, sticky) = self.call(exchange, asked, key.as_ref(), message.clone(), given_up);
        // What comes back beside a message, or in place of one.
        let mut trailers = HeaderMap::new();
        let carry = async |exchange: &mut Exchange| match self.calls.unary(call).await {
            Ok(reply) => {
                exchange.keep(sticky.as_ref(), reply.sticky.as_deref());
                trailers = passed(reply.trailers);
                Ok(kept(reply.headers, reply.message))
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
        given_up: Option<Instant>,
    ) -> (Call, Option<Sticky>) {
        let Asked { rpc, head, .. } = asked;
        let latest = self.deadline(rpc);
        let mut headers = self.forwarded(exchange, asked, key);
        headers.remove(ENCODING);
        let (route, sticky) = self.way(rpc, &head.headers);
        let call = Call {
            upstream: Arc::clone(&rpc.upstream),
            path: rpc.grpc_path.clone(),
            headers,
            message,
            deadline: given_up.map_or(latest, |given_up| given_up.min(latest)),
            retry_safe: rpc.policy.retry_safe,
            hedge_after: rpc.policy.hedge_after,
            route,
        };
        (call, sticky)
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

/// The message, unless the client gives its call up before it has come.
async fn in_time(
    given_up: Option<Instant>,
    message: impl Future<Output = Result<Bytes, Problem>>,
) -> Result<Bytes, Problem> {
    let Some(given_up) = given_up else { return message.await };
    timeout_at(given_up, message).await.unwrap_or_else(|_| {
        let detail = "the call took longer than allowed";
        Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED", detail))
    })
}

/// The answer of the upstream, in the form that is kept under a key.
fn kept(headers: HeaderMap, message: Bytes) -> Answer {
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
    let (first, rest) = match body {
        AnswerBody::Whole(message) => framed(dialect, message),
        AnswerBody::Done | AnswerBody::Flow(_) => (Bytes::new(), Bytes::new()),
    };
    let last = match dialect {
        Dialect::Native => Frame::trailers(trailers),
        Dialect::Web(web) => Frame::data(web.trailers(&trailers)),
    };
    let flowing = stream::iter(pieces(first).chain(pieces(rest)).chain([last]).map(Ok));
    let mut answer = flow(content_type(request), Box::pin(flowing));
    answer.headers_mut().extend(head.headers);
    answer.headers_mut().insert(CONTENT_TYPE, content_type(request));
    // Who does not take it loses it, as over REST.
    is_answered();
    answer
}

/// The frame of a message: its head with the beginning, and the rest, which is not copied.
fn framed(dialect: Dialect, mut message: Bytes) -> (Bytes, Bytes) {
    let copied = match dialect {
        // Base64 is one text.
        Dialect::Web(Web { text: true }) => message.len(),
        _ => message.len().min(COPIED_BYTES),
    };
    let mut first = BytesMut::with_capacity(HEAD_BYTES + copied);
    first.put_u8(0);
    first.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    first.put(message.split_to(copied));
    let first = first.freeze();
    let first = if let Dialect::Web(web) = dialect { web.data(first) } else { first };
    (first, message)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    /// Data of an answer with `message`, frame by frame.
    async fn data(dialect: Dialect, message: &Bytes) -> Vec<Bytes> {
        let (request, ()) = http::Request::new(()).into_parts();
        let answer = kept(HeaderMap::new(), message.clone());
        let answer = written(dialect, &request, answer, HeaderMap::new());
        let AnswerBody::Flow(frames) = answer.into_body() else { panic!("it has trailers") };
        let frames: Vec<_> = frames.collect().await;
        frames.into_iter().filter_map(|frame| frame.unwrap().into_data().ok()).collect()
    }

    #[tokio::test]
    async fn a_long_message_is_not_copied_and_a_short_one_is_one_frame() {
        let long = Bytes::from(vec![7; 1_000_000]);
        let framed = [&[0, 0, 15, 66, 64][..], &long].concat();
        let (native, web) = (Dialect::Native, Dialect::Web(Web { text: false }));
        for dialect in [native, web] {
            let data = data(dialect, &long).await;
            assert!(data.concat().starts_with(&framed), "{dialect:?}");
            let is_part = |piece: &&Bytes| long.as_ptr_range().contains(&piece.as_ptr());
            let uncopied: usize = data.iter().filter(is_part).map(Bytes::len).sum();
            assert_eq!(uncopied, long.len() - COPIED_BYTES, "{dialect:?}");
        }
        let short = data(native, &Bytes::from_static(b"ok")).await;
        assert_eq!(short, [&b"\0\0\0\0\x02ok"[..]]);
    }
}
