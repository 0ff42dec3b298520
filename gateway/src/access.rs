//! Who calls, and whether the contract admits it.

use std::sync::Arc;
use std::time::Duration;

use auth::{Principal, TokenError, TokenVerifier};
use contracts::policy::{Access, MethodPolicy};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};

use crate::problem::Problem;

/// When to come again if the keys of tokens cannot be fetched.
const KEYS_RETRY_AFTER: Duration = Duration::from_secs(1);

/// A user whose token was verified.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) principal: Principal,
    /// The token itself: the services verify it again.
    pub(crate) token: Arc<str>,
}

/// The user of a request. A public method has none, and does not look at tokens: a client may
/// send its expired one along when it asks for a new one.
pub(crate) async fn identify(
    verifier: &TokenVerifier,
    policy: &MethodPolicy,
    headers: &HeaderMap,
) -> Result<Option<Identity>, Problem> {
    if policy.access == Access::Public {
        return Ok(None);
    }
    let token = bearer(headers)?;
    let principal = verifier.verify(token).await.map_err(refusal)?;
    Ok(Some(Identity { principal, token: Arc::from(token) }))
}

/// Refuses users that hold none of the roles that the method asks for.
pub(crate) fn admit(policy: &MethodPolicy, identity: Option<&Identity>) -> Result<(), Problem> {
    match identity {
        Some(identity) if !policy.admits_roles(&identity.principal.roles) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "ROLE_MISSING",
            "none of the user's roles admits this",
        )),
        _ => Ok(()),
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (value, more) = (given.next(), given.next());
    let Some(value) = value else {
        return Err(unauthorized("TOKEN_MISSING", "this method needs an access token"));
    };
    let malformed =
        || unauthorized("TOKEN_MALFORMED", "the Authorization header is no bearer token");
    if more.is_some() {
        return Err(malformed());
    }
    let (scheme, token) =
        value.to_str().ok().and_then(|v| v.split_once(' ')).ok_or_else(malformed)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(malformed());
    }
    Ok(token)
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

fn unauthorized(reason: &'static str, detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, reason, detail)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_one_bearer_token_counts() {
        let reason = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            bearer(&headers).map(ToOwned::to_owned).map_err(|problem| problem.reason.into_owned())
        };
        assert_eq!(reason(&["Bearer abc"]), Ok("abc".to_owned()));
        assert_eq!(reason(&["bearer abc"]), Ok("abc".to_owned()));
        assert_eq!(reason(&[]), Err("TOKEN_MISSING".to_owned()));
        for values in
            [&["Basic abc"][..], &["Bearer"], &["Bearer "], &["abc"], &["Bearer a", "Bearer b"]]
        {
            assert_eq!(reason(values), Err("TOKEN_MALFORMED".to_owned()), "{values:?}");
        }
    }
}
