//! Every error of the edge, as RFC 9457 `application/problem+json`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// When to come again if nobody said, but a repeat is right.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// Domain of the errors that the mesh itself answers; those of services end alike.
const MESH_DOMAIN: &str = "mesh.malha";
const DOMAIN_END: &str = ".malha";

/// Words of reasons that people write in capitals.
const ACRONYMS: [&str; 1] = ["JSON"];

/// Why a request was not carried out.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// Stable name that programs act on, `SCREAMING_SNAKE`.
    pub(crate) reason: Cow<'static, str>,
    detail: Box<str>,
    /// What is wrong with which field.
    pub(crate) errors: Box<[FieldError]>,
    metadata: BTreeMap<String, String>,
    retry_after: Option<Duration>,
    /// Whether a service explains it, in words for users.
    of_service: bool,
    /// Methods that the path does admit.
    allow: Option<Box<str>>,
}

/// What is wrong with one field of a request. Never shows the field's value.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct FieldError {
    /// Where, as the client wrote it: `bankingDetails.agency`, `items[2].name`.
    pub(crate) field: String,
    /// The rule of the contract that it broke, such as `string.min_len`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) rule: String,
    /// What the field must be.
    pub(crate) description: String,
}

impl FieldError {
    /// What is wrong with `field`.
    pub(crate) fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), rule: String::new(), description: description.into() }
    }
}

impl Problem {
    /// A problem with nothing but its name and its sentence.
    pub(crate) fn new(
        status: StatusCode,
        reason: &'static str,
        detail: impl Into<Box<str>>,
    ) -> Self {
        Self {
            status,
            reason: Cow::Borrowed(reason),
            detail: detail.into(),
            errors: Box::default(),
            metadata: BTreeMap::new(),
            retry_after: None,
            of_service: false,
            allow: None,
        }
    }

    /// The request breaks the contract in these fields.
    pub(crate) fn invalid_fields(errors: Vec<FieldError>) -> Self {
        Self {
            detail: about_fields(&errors),
            errors: errors.into(),
            ..Self::new(StatusCode::BAD_REQUEST, "INVALID_FIELD", "")
        }
    }

    /// Names the fields of an upstream's refusal as the client knows them.
    pub(crate) fn rename_fields(&mut self, shown: impl Fn(&str) -> String) {
        for error in &mut self.errors {
            error.field = shown(&error.field);
        }
        if self.reason == "INVALID_FIELD" && !self.errors.is_empty() {
            self.detail = about_fields(&self.errors);
        }
    }

    /// Something here is broken; the caller learns no more than that.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "the request failed inside")
    }

    /// Adds when the request may be sent again.
    pub(crate) fn retry_after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    /// Adds that the request may be sent again, unless the upstream said when: for calls that
    /// found nobody, or timed out, and that a repeat does not carry out twice.
    pub(crate) fn repeatable(self) -> Self {
        let unanswered =
            matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT);
        if unanswered && self.retry_after.is_none() && !self.of_service {
            return self.retry_after(RETRY_AFTER_DEFAULT);
        }
        self
    }

    /// Adds the methods that the path admits.
    pub(crate) fn allow(self, allow: &str) -> Self {
        Self { allow: Some(allow.into()), ..self }
    }

    /// The answer, for the request at `path`.
    pub(crate) fn into_response(self, path: &str, correlation_id: &str) -> Response<Full<Bytes>> {
        let document = Document {
            kind: format!("/problems/{}", self.reason.to_ascii_lowercase().replace('_', "-")),
            title: title(&self.reason),
            status: self.status.as_u16(),
            detail: &self.detail,
            instance: path,
            reason: &self.reason,
            correlation_id,
            errors: &self.errors,
            metadata: &self.metadata,
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(retry_after) = self.retry_after {
            headers.insert(RETRY_AFTER, whole_seconds(retry_after).into());
        }
        if let Some(Ok(allow)) = self.allow.map(|allow| HeaderValue::from_str(&allow)) {
            headers.insert(ALLOW, allow);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, challenge(&self.reason));
        }
        response
    }
}

impl From<&Status> for Problem {
    /// What an upstream refused. What it says of its insides stays here.
    fn from(status: &Status) -> Self {
        let code = status.code();
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| !info.reason.is_empty());
        let reason = match info {
            Some(info) if !is_fault(code) => Cow::Owned(info.reason.clone()),
            _ => Cow::Borrowed(code_name(code)),
        };
        let http = if reason == "IDEMPOTENCY_KEY_REUSED" {
            StatusCode::UNPROCESSABLE_ENTITY
        } else {
            http_status(code)
        };
        let of_service = info.is_some_and(|info| is_service(&info.domain));
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice());
        Self {
            status: http,
            reason,
            detail: public_detail(status, of_service),
            errors: violations.unwrap_or_default().iter().map(FieldError::from).collect(),
            metadata: info
                .filter(|_| !is_fault(code))
                .map(|info| info.metadata.clone().into_iter().collect())
                .unwrap_or_default(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
            of_service,
            allow: None,
        }
    }
}

impl From<&tonic_types::FieldViolation> for FieldError {
    fn from(violation: &tonic_types::FieldViolation) -> Self {
        Self {
            field: violation.field.clone(),
            rule: violation.reason.clone(),
            description: violation.description.clone(),
        }
    }
}

/// The JSON of a problem.
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

/// HTTP status of a gRPC code, as google.rpc maps them.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Whether the code tells of a fault in the callee, of which a client must learn nothing.
fn is_fault(code: Code) -> bool {
    matches!(code, Code::Unknown | Code::Internal | Code::DataLoss)
}

/// Whether errors of this domain are a service's own.
fn is_service(domain: &str) -> bool {
    domain.ends_with(DOMAIN_END) && domain != MESH_DOMAIN
}

/// What is wrong with these fields, in a sentence. What is wrong with the whole has no path.
fn about_fields(errors: &[FieldError]) -> Box<str> {
    match errors {
        [one] if one.field.is_empty() => one.description.as_str().into(),
        [one] => format!("{}: {}", one.field, one.description).into(),
        _ => "several fields are not valid".into(),
    }
}

fn public_detail(status: &Status, of_service: bool) -> Box<str> {
    Box::from(match status.code() {
        code if is_fault(code) => "the request failed inside",
        _ if of_service => status.message(),
        Code::Unavailable => "the service is unavailable",
        Code::DeadlineExceeded => "the service did not answer in time",
        _ => status.message(),
    })
}

/// Name of a code, for upstreams that give no reason.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::Aborted => "ABORTED",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Unavailable => "UNAVAILABLE",
        Code::Unauthenticated => "UNAUTHENTICATED",
        Code::Unknown | Code::Internal | Code::DataLoss => "INTERNAL",
    }
}

/// `INSUFFICIENT_FUNDS` as people read it: `Insufficient funds`.
fn title(reason: &str) -> String {
    let word = |word: &str| {
        if ACRONYMS.contains(&word) { word.to_owned() } else { word.to_ascii_lowercase() }
    };
    let mut title = reason.split('_').map(word).collect::<Vec<_>>().join(" ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

/// What a client must bring (RFC 6750 section 3).
fn challenge(reason: &str) -> HeaderValue {
    HeaderValue::from_static(match reason {
        "TOKEN_MISSING" => "Bearer",
        reason if reason.starts_with("TOKEN_") => "Bearer error=\"invalid_token\"",
        _ => "Bearer",
    })
}

/// Rounded up: a client that waits that long never comes too early.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;

    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use tonic_types::ErrorDetails;

    use super::*;

    async fn rendered(problem: Problem) -> (http::HeaderMap, Value) {
        let response = problem.into_response("/transactions", "c-1");
        let headers = response.headers().clone();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (headers, serde_json::from_slice(&body).unwrap())
    }

    fn refusal(code: Code, reason: &str, details: ErrorDetails) -> Status {
        let mut details = details;
        details.set_error_info(reason, "payments.malha", HashMap::new());
        Status::with_error_details(code, "the upstream's words", details)
    }

    #[test]
    fn codes_map_as_google_rpc_says() {
        let table = [
            (Code::InvalidArgument, 400),
            (Code::FailedPrecondition, 400),
            (Code::OutOfRange, 400),
            (Code::Unauthenticated, 401),
            (Code::PermissionDenied, 403),
            (Code::NotFound, 404),
            (Code::AlreadyExists, 409),
            (Code::Aborted, 409),
            (Code::ResourceExhausted, 429),
            (Code::Cancelled, 499),
            (Code::Internal, 500),
            (Code::Unknown, 500),
            (Code::DataLoss, 500),
            (Code::Unimplemented, 501),
            (Code::Unavailable, 503),
            (Code::DeadlineExceeded, 504),
        ];
        for (code, status) in table {
            let problem = Problem::from(&Status::new(code, "words"));
            assert_eq!(problem.status.as_u16(), status, "{code:?}");
        }
    }

    #[tokio::test]
    async fn a_refusal_shows_reason_detail_and_correlation_id() {
        let status = refusal(Code::FailedPrecondition, "INSUFFICIENT_FUNDS", ErrorDetails::new());
        let (headers, body) = rendered(Problem::from(&status)).await;

        assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
        assert_eq!(
            body,
            json!({
                "type": "/problems/insufficient-funds",
                "title": "Insufficient funds",
                "status": 400,
                "detail": "the upstream's words",
                "instance": "/transactions",
                "reason": "INSUFFICIENT_FUNDS",
                "correlationId": "c-1",
            })
        );
    }

    #[tokio::test]
    async fn faults_show_nothing_of_the_inside() {
        for code in [Code::Internal, Code::Unknown, Code::DataLoss] {
            let status = refusal(code, "SQL_BROKEN", ErrorDetails::new());
            let (_, body) = rendered(Problem::from(&status)).await;

            assert_eq!(body["reason"], "INTERNAL");
            assert!(!body.to_string().contains("upstream's words"), "{body}");
            assert!(!body.to_string().contains("SQL"), "{body}");
        }
    }

    /// A client that is told to come again does; it must not pay twice by that.
    #[tokio::test]
    async fn only_who_says_so_and_what_was_not_carried_out_is_asked_again() {
        let asked = ErrorDetails::with_retry_info(Some(Duration::from_millis(1200)));
        let told = Problem::from(&refusal(Code::Unavailable, "STORE_UNAVAILABLE", asked));
        assert_eq!(rendered(told).await.0[RETRY_AFTER], "2", "rounded up");

        let silent = refusal(Code::Unavailable, "CLOSED_TODAY", ErrorDetails::new());
        let (headers, body) = rendered(Problem::from(&silent).repeatable()).await;
        assert!(!headers.contains_key(RETRY_AFTER));
        assert_eq!(body["detail"], "the upstream's words");

        for status in [Status::unavailable("10.0.0.7"), Status::deadline_exceeded("10.0.0.7")] {
            let (headers, body) = rendered(Problem::from(&status)).await;
            assert!(!headers.contains_key(RETRY_AFTER), "{status}");
            assert!(!body.to_string().contains("10.0.0.7"), "{body}");
            let (headers, _) = rendered(Problem::from(&status).repeatable()).await;
            assert_eq!(headers[RETRY_AFTER], "1", "{status}");
        }
        let not_found = Problem::from(&Status::not_found("x")).repeatable();
        assert!(!rendered(not_found).await.0.contains_key(RETRY_AFTER));
    }

    #[test]
    fn what_people_read_is_spelled_as_they_do() {
        assert_eq!(title("MALFORMED_JSON"), "Malformed JSON");
        let whole = Problem::invalid_fields(vec![FieldError::new("", "must be an object")]);
        assert_eq!(&*whole.detail, "must be an object");
        let one = Problem::invalid_fields(vec![FieldError::new("email", "is no address")]);
        assert_eq!(&*one.detail, "email: is no address");
    }

    #[test]
    fn a_reused_idempotency_key_is_unprocessable() {
        let status = refusal(Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED", ErrorDetails::new());
        assert_eq!(Problem::from(&status).status, StatusCode::UNPROCESSABLE_ENTITY);
    }

    #[tokio::test]
    async fn metadata_and_field_violations_of_the_upstream_are_kept() {
        let mut details = ErrorDetails::with_bad_request_violation("amount", "must be positive");
        details.set_error_info(
            "INVALID_FIELD",
            "payments.malha",
            HashMap::from([("transactionId".to_owned(), "t-1".to_owned())]),
        );
        let status = Status::with_error_details(Code::InvalidArgument, "no", details);
        let (_, body) = rendered(Problem::from(&status)).await;

        assert_eq!(body["metadata"]["transactionId"], "t-1");
        assert_eq!(body["errors"], json!([{"field": "amount", "description": "must be positive"}]));
    }

    #[tokio::test]
    async fn unauthorized_carries_a_challenge() {
        let missing = Problem::new(StatusCode::UNAUTHORIZED, "TOKEN_MISSING", "no token");
        assert_eq!(rendered(missing).await.0[WWW_AUTHENTICATE], "Bearer");

        let expired = Problem::new(StatusCode::UNAUTHORIZED, "TOKEN_EXPIRED", "old");
        assert_eq!(rendered(expired).await.0[WWW_AUTHENTICATE], "Bearer error=\"invalid_token\"");
    }
}
