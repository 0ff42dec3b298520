//! Layers that decide who may call: the service by its certificate, the user by the token.

use std::sync::Arc;
use std::time::Duration;

use auth::{Principal, TenantId, TokenError, TokenVerifier};
use contracts::policy::{self, Access, MethodPolicy};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName};
use tonic::{Code, Status};
use tracing::Span;

use crate::around::{Around, Next, Request, Response};
use crate::context::{Context, header, token_missing};
use crate::deadline::Deadline;
use crate::error::{DOMAIN, detailed, mesh_status};
use crate::measure::is_open;
use crate::server::connection::Peer;
use crate::server::observe::TenantSeen;

/// When a call may come back that found the keys of identity out of reach.
const KEYS_RETRY: Duration = Duration::from_secs(1);

/// Admits the services that the contract of the method names. What has no contract is refused,
/// save health and reflection, which every member offers to every member.
#[derive(Clone)]
pub(super) struct AdmitCaller;

impl Around for AdmitCaller {
    async fn around(&self, request: Request, next: &impl Next) -> Result<Response, Status> {
        let path = request.uri().path();
        let caller = caller(request.extensions());
        match policy::method(path) {
            Some(policy) if policy.admits_caller(caller) => {}
            Some(_) => return Err(caller_not_allowed(caller, path)),
            None if is_open(path) => {}
            None => {
                let message = "no contract describes this method";
                return Err(mesh_status(Code::Unimplemented, "METHOD_UNKNOWN", message));
            }
        }
        next.call(request).await
    }
}

/// The member that calls; no name when there is no certificate.
fn caller(extensions: &Extensions) -> &str {
    extensions.get::<Peer>().map_or("", |peer| &*peer.0)
}

fn caller_not_allowed(caller: &str, path: &str) -> Status {
    let message = format!("{caller} may not call {path}");
    detailed(Code::PermissionDenied, "CALLER_NOT_ALLOWED", DOMAIN, message).build()
}

/// Verifies for whom the call is made, and runs it in that context.
#[derive(Clone)]
pub(super) struct AdmitUser {
    pub(super) verifier: Arc<TokenVerifier>,
}

impl Around for AdmitUser {
    async fn around(&self, request: Request, next: &impl Next) -> Result<Response, Status> {
        let Some(policy) = policy::method(request.uri().path()) else {
            return next.call(request).await;
        };
        let (parts, body) = request.into_parts();
        let token = bearer(&parts.headers)?;
        let principal = self.principal(token.as_deref(), policy, caller(&parts.extensions)).await?;
        let context = context(&parts, token, principal)?;
        record(&context, &parts);
        context.scope(next.call(Request::from_parts(parts, body))).await
    }
}

impl AdmitUser {
    async fn principal(
        &self,
        token: Option<&str>,
        policy: &MethodPolicy,
        caller: &str,
    ) -> Result<Option<Principal>, Status> {
        let principal = match token {
            None => None,
            Some(token) => match self.verifier.verify(token).await {
                Ok(principal) => Some(principal),
                // Whoever refreshes a token or logs in again may still show the old one.
                Err(_) if policy.access == Access::Public => None,
                Err(error) => return Err(token_refused(error)),
            },
        };
        if policy.demands_user(caller) {
            let principal = principal.as_ref().ok_or_else(token_missing)?;
            if !policy.admits_roles(&principal.roles) {
                let message = "none of the user's roles allows this";
                return Err(mesh_status(Code::PermissionDenied, "ROLE_MISSING", message));
            }
        }
        Ok(principal)
    }
}

fn token_refused(error: TokenError) -> Status {
    match error {
        TokenError::KeysUnavailable => {
            detailed(Code::Unavailable, error.reason(), DOMAIN, error.to_string())
                .retry_after(KEYS_RETRY)
                .build()
        }
        _ => mesh_status(Code::Unauthenticated, error.reason(), &error.to_string()),
    }
}

/// The token of `authorization: Bearer <token>`.
fn bearer(headers: &HeaderMap) -> Result<Option<Arc<str>>, Status> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let (scheme, token) =
        value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(Some(token.trim().into()))
    } else {
        Err(token_refused(TokenError::Malformed))
    }
}

fn context(
    parts: &Parts,
    token: Option<Arc<str>>,
    principal: Option<Principal>,
) -> Result<Context, Status> {
    let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let tenant = match (&principal, text(header::TENANT)) {
        (Some(principal), _) => principal.tenant,
        (None, Some(tenant)) => tenant.parse().map_err(|_| {
            mesh_status(Code::InvalidArgument, "TENANT_INVALID", "the tenant is not a UUID")
        })?,
        (None, None) => TenantId::DEFAULT,
    };
    Ok(Context {
        tenant,
        // A token that did not count goes no further.
        token: token.filter(|_| principal.is_some()),
        principal,
        correlation_id: text(header::CORRELATION_ID).unwrap_or_default().into(),
        deadline: parts.extensions.get::<Deadline>().map(|deadline| deadline.0),
        idempotency_key: text(header::IDEMPOTENCY_KEY).map(Into::into),
    })
}

/// Tells the layers outside whose call it is.
fn record(context: &Context, parts: &Parts) {
    if let Some(principal) = &context.principal {
        Span::current().record("userId", principal.user.to_string());
    }
    if let Some(seen) = parts.extensions.get::<TenantSeen>() {
        // Set once per call: here.
        let _ = seen.0.set(context.tenant);
    }
}
