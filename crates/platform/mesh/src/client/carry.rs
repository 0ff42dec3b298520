//! Layer: what belongs to the call being served goes with the calls made for it.

use contracts::policy;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;
use tonic::Status;

use crate::around::{Around, Next, Request, Response};
use crate::context::{Context, header};
use crate::deadline::{self, Deadline};

#[derive(Clone)]
pub(super) struct Carry;

impl Around for Carry {
    async fn around(&self, mut request: Request, next: &impl Next) -> Result<Response, Status> {
        let context = Context::find();
        if let Some(deadline) = deadline(&request, context.as_ref()) {
            request.extensions_mut().insert(Deadline(deadline));
        }
        if let Some(context) = &context {
            write(context, request.headers_mut());
        }
        telemetry::inject(request.headers_mut());
        next.call(request).await
    }
}

/// The earliest of what our caller allows, what this request asks for and what the contract allows.
fn deadline(request: &Request, context: Option<&Context>) -> Option<Instant> {
    let now = Instant::now();
    let asked = deadline::read(request.headers()).map(|timeout| now + timeout);
    let allowed = policy::method(request.uri().path()).map(|policy| now + policy.deadline);
    let callers = context.and_then(|context| context.deadline);
    [asked, allowed, callers].into_iter().flatten().min()
}

/// Replaces whatever the request says of these things: the context alone is to be believed.
fn write(context: &Context, headers: &mut HeaderMap) {
    let token = context.token.as_ref().map(|token| format!("Bearer {token}"));
    set(headers, AUTHORIZATION, token.as_deref());
    set(headers, header::CORRELATION_ID, Some(&context.correlation_id));
    set(headers, header::TENANT, Some(&context.tenant.to_string()));
    set(headers, header::IDEMPOTENCY_KEY, context.idempotency_key.as_deref());
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    let value = value.and_then(|text| HeaderValue::from_str(text).ok());
    match value {
        Some(mut value) => {
            // Keeps the token out of debug output and of HTTP/2's shared compression state.
            value.set_sensitive(name == AUTHORIZATION);
            headers.insert(name, value);
        }
        None => {
            headers.remove(name);
        }
    }
}
