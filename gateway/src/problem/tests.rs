#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use http_body_util::BodyExt;
use serde_json::{Value, json};
use tonic_types::ErrorDetails;

use http::header::CONTENT_TYPE;

use super::*;

async fn rendered(problem: Problem) -> (http::HeaderMap, Value) {
    let response = problem.into_answer(ErrorForm::Problem, "/transactions", "c-1");
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
    assert_eq!(form::title("MALFORMED_JSON"), "Malformed JSON");
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
