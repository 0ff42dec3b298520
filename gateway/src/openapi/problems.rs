//! Problems and headers that many answers share.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::schema::{PROBLEM, REF};
use crate::config::ErrorForm;
use crate::policy::{Access, Policy};
use crate::problem::{FieldError, Problem};

/// What the edge may answer instead of success: status, sentence, and the reasons that it has for
/// it. Those of services come beside them.
const PROBLEMS: [(&str, &str, &[&str]); 13] = [
    (
        "400",
        "The request is not what the contract says, or the present state forbids it.",
        &["INVALID_FIELD", "MALFORMED_JSON", "MALFORMED_QUERY", "UNEXPECTED_BODY", "EMPTY_UPDATE"],
    ),
    (
        "401",
        "The access token is missing or not good.",
        &["TOKEN_MISSING", "TOKEN_MALFORMED", "TOKEN_EXPIRED", "TOKEN_UNTRUSTED"],
    ),
    ("403", "The token lacks a role or a scope.", &["ROLE_MISSING", "SCOPE_MISSING"]),
    ("404", "What the request names is not there.", &["NOT_FOUND"]),
    (
        "409",
        "Something else happened at the same time.",
        &["ABORTED", "ALREADY_EXISTS", "REQUEST_IN_PROGRESS", "OUTCOME_UNKNOWN"],
    ),
    ("412", "What is here is not what the client has.", &["PRECONDITION_FAILED"]),
    ("413", "The body is too large.", &["BODY_TOO_LARGE"]),
    ("415", "The body is of a kind that is not read.", &["UNSUPPORTED_MEDIA_TYPE"]),
    ("422", "The key was used with another request.", &["IDEMPOTENCY_KEY_REUSED"]),
    ("429", "There were too many requests.", &["RATE_LIMITED"]),
    ("500", "Something is broken inside.", &["INTERNAL"]),
    ("503", "The service behind the method does not answer.", &["UNAVAILABLE", "CIRCUIT_OPEN"]),
    ("504", "It took too long.", &["DEADLINE_EXCEEDED", "REQUEST_TIMEOUT"]),
];

/// Statuses that say when to come again.
const RETRIED: [&str; 3] = ["409", "429", "503"];

/// Headers by name, with what they say.
const HEADERS: [(&str, &str, &str); 6] = [
    (
        "X-Correlation-Id",
        "string",
        "Names the request in logs; the client's own when it sends one.",
    ),
    ("RateLimit-Policy", "string", "Requests `q` admitted in `w` seconds, for each window."),
    (
        "RateLimit",
        "string",
        "Requests `r` left for each window, and the seconds `t` until all are back.",
    ),
    ("Retry-After", "integer", "Seconds to wait before the next request."),
    ("X-Idempotent-Replay", "string", "`true`: the answer to an earlier request with this key."),
    ("ETag", "string", "Names this answer, for `If-None-Match` and `If-Match`."),
];

/// Headers of every answer to a method.
const COMMON: [&str; 3] = ["X-Correlation-Id", "RateLimit-Policy", "RateLimit"];

/// The problems that a method with `policy` may answer.
pub(super) fn references(policy: &Policy) -> Value {
    let may = |status: &str| match status {
        "401" => policy.access != Access::Public,
        "403" => !policy.roles.is_empty() || !policy.scopes.is_empty(),
        // For answers with an `ETag`, which are not for the policy alone to tell.
        "412" => false,
        "422" => policy.idempotency_key,
        _ => true,
    };
    let here = PROBLEMS.iter().map(|(status, ..)| *status).filter(|status| may(status));
    here.chain(["default"]).map(|status| (status.to_owned(), response(status))).collect()
}

/// The answers that operations refer to, as the settings want errors to look.
pub(super) fn responses(form: ErrorForm) -> Value {
    let mut responses = Map::new();
    for (status, sentence, reasons) in PROBLEMS {
        let listed: Vec<_> = reasons.iter().map(|reason| format!("`{reason}`")).collect();
        let description = format!("{sentence} Reasons of the edge: {}.", listed.join(", "));
        let shown = |reason: &&'static str| {
            ((*reason).to_owned(), json!({"value": example(form, status, reason)}))
        };
        let examples: Map<_, _> = reasons.iter().map(shown).collect();
        let mut response = problem(form, &description);
        response["content"][form.media_type()]["examples"] = Value::Object(examples);
        if RETRIED.contains(&status) {
            response["headers"]["Retry-After"] = header("Retry-After");
        }
        responses.insert(format!("Problem{status}"), response);
    }
    responses.insert("Problemdefault".to_owned(), problem(form, "Any other problem."));
    Value::Object(responses)
}

/// The headers that answers refer to.
pub(super) fn headers() -> Value {
    let header = |(name, kind, description): (&str, &str, &str)| {
        (name.to_owned(), json!({"description": description, "schema": {"type": kind}}))
    };
    HEADERS.into_iter().map(header).collect::<Map<_, _>>().into()
}

/// A reference to a header.
pub(super) fn header(name: &str) -> Value {
    json!({REF: format!("#/components/headers/{name}")})
}

/// References to the headers that every answer has.
pub(super) fn header_references() -> Value {
    COMMON.into_iter().map(|name| (name.to_owned(), header(name))).collect::<Map<_, _>>().into()
}

/// A reference to the problem of this status.
pub(super) fn response(status: &str) -> Value {
    json!({REF: format!("#/components/responses/Problem{status}")})
}

fn problem(form: ErrorForm, description: &str) -> Value {
    let schema = json!({REF: format!("#/components/schemas/{PROBLEM}")});
    json!({
        "description": description,
        "headers": header_references(),
        "content": {form.media_type(): {"schema": schema}},
    })
}

/// The very answer, but for its sentence, its path and its id.
fn example(form: ErrorForm, status: &str, reason: &'static str) -> Value {
    let code = StatusCode::from_bytes(status.as_bytes()).unwrap_or_default();
    let mut problem = Problem::new(code, reason, "A sentence for people.");
    if reason == "INVALID_FIELD" {
        problem = Problem::invalid_fields(vec![FieldError {
            field: "bankingDetails.agency".to_owned(),
            rule: "string.pattern".to_owned(),
            description: "must have the form that is documented for this field".to_owned(),
        }]);
    }
    if RETRIED.contains(&status) {
        problem = problem.retry_after(Duration::from_secs(1));
    }
    let json = problem.json(form, "/path/of/the/request", "0199c0de-0000-7000-8000-000000000001");
    serde_json::from_slice(&json).unwrap_or_default()
}

/// The schema of problems.
pub(super) fn schema(form: ErrorForm) -> Value {
    match form {
        ErrorForm::Problem => problem_schema(),
        ErrorForm::Status => status_schema(),
    }
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "Why a request was not carried out (RFC 9457).",
        "required": ["type", "title", "status", "detail", "instance", "reason", "correlationId"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What happened, for people."},
            "instance": {"type": "string", "description": "Path of the request."},
            "reason": {
                "type": "string",
                "description": "Stable name of the problem, for programs.",
            },
            "correlationId": {"type": "string", "description": "Names the request in logs."},
            "errors": {
                "type": "array",
                "description": "What is wrong with which field.",
                "items": {
                    "type": "object",
                    "required": ["field", "description"],
                    "properties": {
                        "field": {"type": "string"},
                        "rule": {"type": "string"},
                        "description": {"type": "string"},
                    },
                },
            },
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    })
}

fn status_schema() -> Value {
    json!({
        "type": "object",
        "description": "Why a request was not carried out (`google.rpc.Status`).",
        "required": ["code", "message", "details"],
        "properties": {
            "code": {"type": "integer", "description": "The code of gRPC."},
            "message": {"type": "string", "description": "What happened, for people."},
            "details": {
                "type": "array",
                "description": "`google.rpc.ErrorInfo` with a stable reason for programs, \
                    `RequestInfo` with the id that names the request in logs, and where they apply \
                    `BadRequest` with what is wrong with which field, and `RetryInfo`.",
                "items": {
                    "type": "object",
                    "required": ["@type"],
                    "properties": {"@type": {"type": "string"}},
                    "additionalProperties": true,
                },
            },
        },
    })
}
