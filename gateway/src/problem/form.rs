//! What a problem looks like: RFC 9457, or `google.rpc.Status`, in JSON or in the trailers of gRPC.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use super::{FieldError, Problem};

/// Domain of the errors that are the edge's own.
const DOMAIN: &str = "gateway.malha";

/// Words of reasons that people write in capitals.
const ACRONYMS: [&str; 1] = ["JSON"];

/// `application/problem+json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    reason: &'a str,
    correlation_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
}

/// The problem as RFC 9457 has it, for the request at `path`.
pub(super) fn problem_json(problem: &Problem, path: &str, correlation_id: &str) -> Bytes {
    let document = Document {
        kind: format!("/problems/{}", problem.reason.to_ascii_lowercase().replace('_', "-")),
        title: title(&problem.reason),
        status: problem.status.as_u16(),
        detail: &problem.detail,
        instance: path,
        reason: &problem.reason,
        correlation_id,
        errors: &problem.errors,
        metadata: &problem.metadata,
    };
    serde_json::to_vec(&document).unwrap_or_default().into()
}

/// The problem as `google.rpc.Status` in JSON.
pub(super) fn status_json(problem: &Problem, correlation_id: &str) -> Bytes {
    let of = |name: &str| format!("type.googleapis.com/google.rpc.{name}");
    let mut details = vec![json!({
        "@type": of("ErrorInfo"),
        "reason": problem.reason,
        "domain": DOMAIN,
        "metadata": problem.metadata,
    })];
    if !problem.errors.is_empty() {
        let violation = |error: &FieldError| {
            json!({
                "field": error.field, "description": error.description, "reason": error.rule,
            })
        };
        let violations: Vec<Value> = problem.errors.iter().map(violation).collect();
        details.push(json!({"@type": of("BadRequest"), "fieldViolations": violations}));
    }
    if let Some(wait) = problem.retry_after {
        let wait = format!("{}s", super::whole_seconds(wait));
        details.push(json!({"@type": of("RetryInfo"), "retryDelay": wait}));
    }
    details.push(json!({"@type": of("RequestInfo"), "requestId": correlation_id}));
    let code = i32::from(problem.code());
    let status = json!({"code": code, "message": problem.detail, "details": details});
    Bytes::from(status.to_string())
}

/// The problem as the status of a gRPC call.
pub(super) fn status(problem: &Problem, correlation_id: &str) -> Status {
    let metadata: HashMap<_, _> = problem.metadata.clone().into_iter().collect();
    let mut details = ErrorDetails::with_error_info(&*problem.reason, DOMAIN, metadata);
    for error in &problem.errors {
        details.add_bad_request_violation(&error.field, &error.description);
    }
    if let Some(wait) = problem.retry_after {
        details.set_retry_info(Some(wait));
    }
    details.set_request_info(correlation_id, "");
    Status::with_error_details(problem.code(), &*problem.detail, details)
}

/// `INSUFFICIENT_FUNDS` as people read it: `Insufficient funds`.
pub(super) fn title(reason: &str) -> String {
    let word = |word: &str| {
        if ACRONYMS.contains(&word) { word.to_owned() } else { word.to_ascii_lowercase() }
    };
    let mut title = reason.split('_').map(word).collect::<Vec<_>>().join(" ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}
