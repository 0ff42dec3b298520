//! The key under which a request is carried out once (K-35 to K-39).

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use limits::{Answer as Kept, Attempt, Begin};

use super::{Exchange, Worker};
use crate::answer::{Answer, AnswerBody};
use crate::headers::{IDEMPOTENT_REPLAY, TOLD};
use crate::policy::Policy;
use crate::problem::{FieldError, Problem};
use crate::site::Rpc;

use super::metadata::IDEMPOTENCY_KEY;

/// When to come again while the first request with a key is carried out.
const IN_FLIGHT_RETRY_AFTER: Duration = Duration::from_secs(1);

impl Worker {
    /// Carries out a call with a key, unless it was before. `carry` carries it out; its answer is
    /// whole.
    pub(crate) async fn once(
        &self,
        exchange: &mut Exchange,
        rpc: &Rpc,
        head: &Parts,
        key: &HeaderValue,
        body: &Bytes,
        carry: impl AsyncFnOnce(&mut Exchange) -> Result<Answer, Problem>,
    ) -> Result<Answer, Problem> {
        let key = key.to_str().map_err(|_| Problem::internal())?;
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let user = user(exchange);
        let attempt = Attempt {
            key,
            user: &user,
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            content_type: content_type.unwrap_or_default(),
            body,
        };
        let begun = self.edge.idempotency.begin(&attempt).await.map_err(|_| unavailable())?;
        let lock = match begun {
            Begin::Fresh(lock) => lock,
            Begin::InFlight => return Err(in_flight()),
            Begin::Unknown(left) => return Err(unknown(left)),
            Begin::Mismatch => return Err(mismatch()),
            Begin::NotKept { .. } => return Err(not_kept()),
            Begin::Replay(kept) => {
                exchange.headers.insert(IDEMPOTENT_REPLAY, HeaderValue::from_static("true"));
                return replay(kept);
            }
        };
        let result = carry(exchange).await;
        let settled = match &result {
            Ok(answer) => kept(answer),
            // Where a repeat does no harm, it need not wait.
            Err(problem) if problem.is_settled() || rpc.policy.retry_safe => {
                refusal(problem.status)
            }
            // What may have been carried out keeps its lock until that expires.
            Err(_) => {
                drop(lock);
                let wait = self.edge.settings.idempotency.lock_ttl;
                return result.map_err(|problem| problem.retry_after(wait));
            }
        };
        if let Err(error) = lock.complete(settled).await {
            let correlation = exchange.record.names.correlation_id();
            tracing::warn!(%error, correlationId = correlation, "an answer was not kept");
        }
        result
    }
}

/// Who asks: keys of different users never meet.
fn user(exchange: &Exchange) -> String {
    let Some(user) = &exchange.record.user else {
        // Without a token only the address tells clients apart.
        return format!("anybody at {}", exchange.address);
    };
    if user.principal.is_some() {
        return user.subject.clone();
    }
    let mut name = user.issuer.to_string();
    let tenant = user.tenant.as_deref().unwrap_or_default();
    let _ = write!(name, "/{tenant}/{}", user.subject);
    name
}

fn kept(answer: &Answer) -> Kept {
    let body = match answer.body() {
        AnswerBody::Whole(body) => body.clone(),
        AnswerBody::Done | AnswerBody::Flow(_) => Bytes::new(),
    };
    // The others belong to the exchange.
    let headers = answer.headers().iter();
    let headers = headers.filter(|(name, _)| *name == CONTENT_TYPE || TOLD.contains(name));
    let headers =
        headers.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    Kept {
        status_code: answer.status().as_u16(),
        headers: headers.collect(),
        body,
        created_at: Utc::now(),
    }
}

/// A refusal is not kept: the request may be made again.
fn refusal(status: StatusCode) -> Kept {
    let (headers, body) = (Vec::new(), Bytes::new());
    Kept { status_code: status.as_u16(), headers, body, created_at: Utc::now() }
}

fn replay(kept: Kept) -> Result<Answer, Problem> {
    let mut answer = Response::new(AnswerBody::Whole(kept.body));
    *answer.status_mut() =
        StatusCode::from_u16(kept.status_code).map_err(|_| Problem::internal())?;
    for (name, value) in kept.headers {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value))
        {
            answer.headers_mut().append(name, value);
        }
    }
    Ok(answer)
}

fn in_flight() -> Problem {
    Problem::new(StatusCode::CONFLICT, "REQUEST_IN_PROGRESS", "Request already in progress")
        .retry_after(IN_FLIGHT_RETRY_AFTER)
}

fn unknown(left: Duration) -> Problem {
    let detail = "whether the request was carried out is not known";
    Problem::new(StatusCode::CONFLICT, "OUTCOME_UNKNOWN", detail).retry_after(left)
}

fn mismatch() -> Problem {
    let detail = "the key was used for another request";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "IDEMPOTENCY_KEY_REUSED", detail)
}

fn not_kept() -> Problem {
    let detail = "the request was carried out, but its answer was too large to keep";
    Problem::new(StatusCode::CONFLICT, "ANSWER_NOT_KEPT", detail)
}

fn unavailable() -> Problem {
    let detail = "requests with a key cannot be carried out at the moment";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "IDEMPOTENCY_UNAVAILABLE", detail)
        .retry_after(IN_FLIGHT_RETRY_AFTER)
}

/// The request's key; `None` when it has none, or the method has no use for it.
pub(crate) fn key(policy: &Policy, headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
    if !policy.idempotency_key {
        return Ok(None);
    }
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = given.next() else { return Ok(None) };
    let fits = (1..=255).contains(&key.len()) && key.as_bytes().iter().all(u8::is_ascii_graphic);
    if !fits || given.next().is_some() {
        return Err(Problem::invalid_fields(vec![FieldError::new(
            "Idempotency-Key",
            "must be one key of 1 to 255 visible ASCII characters",
        )]));
    }
    let mut key = key.clone();
    key.set_sensitive(true);
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use http::header::LINK;

    use super::*;

    /// K-36: a repeat is told all that the first request was, header by header.
    #[test]
    fn a_header_that_comes_twice_is_replayed_twice() {
        let mut first = Answer::new(AnswerBody::Done);
        let pages = ["</1>; rel=prev", "</3>; rel=next"];
        first.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for page in pages {
            first.headers_mut().append(LINK, HeaderValue::from_static(page));
        }
        let again = replay(kept(&first)).unwrap();
        assert_eq!(again.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(again.headers().get_all(LINK).iter().collect::<Vec<_>>(), pages);
    }
}
