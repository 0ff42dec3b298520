//! Who calls, how often, and whether the contract admits it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use auth::{TokenError, Verified};
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use limits::{Caller, ClassId, Decision};

use super::{Exchange, Worker};
use crate::policy::{Access, Policy};
use crate::problem::Problem;
use crate::site::Rpc;

/// When to come again if the keys of tokens cannot be fetched.
const KEYS_RETRY_AFTER: Duration = Duration::from_secs(1);

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// A user whose token was verified.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) verified: Arc<Verified>,
    /// The token itself, as the header that shows it to services that verify it again.
    pub(crate) authorization: Option<HeaderValue>,
}

impl Worker {
    /// Lets a request pass to `rpc`, or refuses it. A public method has no user, and does not look
    /// at tokens: a client may send its expired one along when it asks for a new one.
    pub(crate) async fn admit(
        &self,
        exchange: &mut Exchange,
        rpc: &Rpc,
        headers: &HeaderMap,
    ) -> Result<Option<User>, Problem> {
        let policy = &rpc.policy;
        let class = *rpc.class.get_or_init(|| self.edge.limiter.class(&policy.rate_limit));
        let user = match policy.access {
            Access::Public => Ok(None),
            Access::Authenticated | Access::Internal => {
                self.identify(exchange, class, headers).await.map(Some)
            }
        };
        if let Ok(Some(user)) = &user {
            exchange.user(&user.verified);
        }
        // A refused token costs its sender's address a request: guessing has its bound too.
        self.count(exchange, class).await?;
        let user = user?;
        if let Some(user) = &user {
            check_rights(policy, &user.verified)?;
        }
        Ok(user)
    }

    /// Lets a request pass to a page for operators, or refuses it.
    pub(super) async fn admit_staff(
        &self,
        exchange: &mut Exchange,
        headers: &HeaderMap,
    ) -> Result<(), Problem> {
        let class = self.edge.limiter.class("default");
        let user = self.identify(exchange, class, headers).await;
        if let Ok(user) = &user {
            exchange.user(&user.verified);
        }
        self.count(exchange, class).await?;
        // Roles of other issuers are theirs to give: the settings say whose mean who works here.
        if user?.verified.is_staff { Ok(()) } else { Err(role_missing()) }
    }

    /// Counts a request for which there is nothing here, or refuses it: looking around has its bound.
    pub(crate) async fn stray(&self, exchange: &mut Exchange) -> Result<(), Problem> {
        self.count(exchange, self.edge.limiter.class("default")).await
    }

    async fn identify(
        &self,
        exchange: &Exchange,
        class: ClassId,
        headers: &HeaderMap,
    ) -> Result<User, Problem> {
        let authorization = authorization(headers)?;
        let token = bearer(&authorization)?;
        let verified = match self.edge.verifier.cached(token) {
            Some(known) => known,
            None => Box::pin(self.verify(exchange, class, token)).await?,
        };
        let verified = verified.map_err(refusal)?;
        let authorization = verified.forward.then(|| normal(&authorization)).transpose()?;
        Ok(User { verified, authorization })
    }

    /// Verifies a token that nobody knows yet, unless its sender's address has guessed too often: that
    /// would cost a signature each time, or a look for keys.
    async fn verify(
        &self,
        exchange: &Exchange,
        class: ClassId,
        token: &str,
    ) -> Result<Result<Arc<Verified>, TokenError>, Problem> {
        let address = Caller::Address(exchange.address);
        let refusal = self.edge.limiter.refusal(class, limits::TierId::default(), &address);
        match refusal.and_then(|refusal| refusal.wait()) {
            Some(wait) => Err(limited(wait)),
            None => Ok(self.edge.verifier.verify(token).await),
        }
    }

    /// Counts the request, or refuses it; says which in the headers.
    async fn count(&self, exchange: &mut Exchange, class: ClassId) -> Result<(), Problem> {
        let limiter = &self.edge.limiter;
        let user = exchange.record.user.as_deref();
        let tier = match user {
            Some(user) => {
                let names = [Some(user.subject.as_str()), user.tenant.as_deref()];
                limiter.tier(names.into_iter().flatten(), user.tier.as_deref())
            }
            None => limits::TierId::default(),
        };
        let caller = match user {
            Some(user) => {
                let (realm, name) = (user.issuer.as_bytes(), user.subject.as_bytes());
                Caller::Verified { realm, name }
            }
            None => Caller::Address(exchange.address),
        };
        let decision = match limiter.admit(class, tier, &caller) {
            limits::Admission::Decided(decision) => decision,
            asked @ limits::Admission::Ask(_) => Box::pin(asked.decided()).await,
        };
        describe(&decision, &mut exchange.headers);
        decision.wait().map_or(Ok(()), |wait| Err(limited(wait)))
    }
}

fn limited(wait: Duration) -> Problem {
    let detail = "too many requests; wait as long as Retry-After says";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", detail).retry_after(wait)
}

/// Says in an answer what is left.
fn describe(decision: &Decision<'_>, headers: &mut HeaderMap) {
    let Some(tightest) = decision.tightest() else { return };
    // All values share one piece of memory.
    let mut text = BytesMut::with_capacity(128);
    let mut add = |name: HeaderName, value: Bytes| {
        // Names of classes are what headers admit, and so are digits.
        if let Ok(value) = HeaderValue::from_maybe_shared(value) {
            headers.insert(name, value);
        }
    };
    decision.write_limit(&mut text);
    add(RATE_LIMIT, text.split().freeze());
    add(RATE_LIMIT_POLICY, decision.policy().clone());
    let numbers = [
        (RATE_LIMIT_LIMIT, tightest.limit.into()),
        (RATE_LIMIT_REMAINING, tightest.remaining),
        (RATE_LIMIT_RESET, tightest.reset_seconds),
    ];
    for (name, number) in numbers {
        text.put_slice(itoa::Buffer::new().format(number).as_bytes());
        add(name, text.split().freeze());
    }
}

fn check_rights(policy: &Policy, user: &Verified) -> Result<(), Problem> {
    if !policy.admits_roles(&user.roles) {
        return Err(role_missing());
    }
    if !policy.admits_scopes(&user.scopes) {
        let detail = "the token lacks a scope that this asks for";
        return Err(Problem::new(StatusCode::FORBIDDEN, "SCOPE_MISSING", detail));
    }
    Ok(())
}

fn role_missing() -> Problem {
    let detail = "none of the user's roles admits this";
    Problem::new(StatusCode::FORBIDDEN, "ROLE_MISSING", detail)
}

/// The header that shows the token. Browsers cannot set it for a WebSocket; there it is the word
/// after `bearer` in the list of protocols.
fn authorization(headers: &HeaderMap) -> Result<Cow<'_, HeaderValue>, Problem> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    match (given.next(), given.next()) {
        (Some(value), None) => Ok(Cow::Borrowed(value)),
        (Some(_), Some(_)) => Err(malformed()),
        (None, _) => crate::streams::websocket::token(headers)
            .map(Cow::Owned)
            .ok_or_else(|| unauthorized("TOKEN_MISSING", "this method needs an access token")),
    }
}

fn bearer(value: &HeaderValue) -> Result<&str, Problem> {
    let value = value.to_str().map_err(|_| malformed())?;
    let (scheme, token) = value.split_once(' ').ok_or_else(malformed)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(malformed());
    }
    Ok(token)
}

/// The header as services are shown it, however the client wrote it.
fn normal(value: &HeaderValue) -> Result<HeaderValue, Problem> {
    let token = bearer(value)?;
    if value.len() == "Bearer ".len() + token.len() && value.as_bytes().starts_with(b"Bearer ") {
        return Ok(value.clone());
    }
    HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| malformed())
}

fn refusal(error: TokenError) -> Problem {
    match error {
        TokenError::KeysUnavailable => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            error.reason(),
            "access tokens cannot be verified at the moment",
        )
        .retry_after(KEYS_RETRY_AFTER),
        error => unauthorized(error.reason(), &error.to_string()),
    }
}

fn malformed() -> Problem {
    unauthorized("TOKEN_MALFORMED", "the Authorization header is no bearer token")
}

fn unauthorized(reason: &'static str, detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, reason, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_bearer_token_counts() {
        let shown = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            let shown = authorization(&headers).and_then(|value| normal(&value));
            shown.map_err(|problem| problem.reason.into_owned())
        };
        for given in ["Bearer abc", "bearer abc", "BEARER   abc "] {
            assert_eq!(shown(&[given]), Ok(HeaderValue::from_static("Bearer abc")), "{given}");
        }
        assert_eq!(shown(&[]), Err("TOKEN_MISSING".to_owned()));
        for values in
            [&["Basic abc"][..], &["Bearer"], &["Bearer "], &["abc"], &["Bearer a", "Bearer b"]]
        {
            assert_eq!(shown(values), Err("TOKEN_MALFORMED".to_owned()), "{values:?}");
        }
    }
}
