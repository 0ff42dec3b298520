#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use prost::Message;
use serde_json::{Value as Json, json};

use super::*;
use crate::corner;
use crate::pages::PAGES;
use crate::routes::{Endpoint, Routes};

struct Bench {
    routes: Routes,
    transcoder: Transcoder,
}

impl Bench {
    /// The test contract.
    fn corner() -> Self {
        Self::of(corner::pool())
    }

    /// The contracts of Malha.
    fn malha() -> Self {
        Self::of(contracts::pool())
    }

    fn of(pool: &DescriptorPool) -> Self {
        Self { routes: Routes::compile(pool, &PAGES).unwrap(), transcoder: Transcoder::new(pool) }
    }

    fn route(&self, verb: &Method, path: &str) -> (Arc<Route>, Vec<String>) {
        let found = self.routes.find(verb, path).unwrap();
        match found.endpoint {
            Endpoint::Route(route) => (route, found.values),
            Endpoint::Page(page) => panic!("{page:?}"),
        }
    }

    fn request(&self, verb: Method, target: &str, body: &str) -> Result<Json, Problem> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (route, values) = self.route(&verb, path);
        let message = self.transcoder.request(&route, &values, query, body.as_bytes())?;
        let json = self.transcoder.codec().write(&message).unwrap();
        Ok(serde_json::from_slice(&json).unwrap())
    }

    /// The fields that a request is refused for, with the reason.
    fn refusal(&self, verb: Method, target: &str, body: &str) -> (String, Vec<String>) {
        let problem = self.request(verb, target, body).unwrap_err();
        assert_eq!(problem.status, StatusCode::BAD_REQUEST, "{target}");
        (problem.reason.to_string(), problem.errors.into_iter().map(|error| error.field).collect())
    }
}

#[test]
fn path_variables_set_fields_however_deep() {
    let bench = Bench::corner();
    for (target, expected) in [
        ("/v1/shelves/1/books", json!({"parent": "shelves/1"})),
        ("/v1/books/Machado%20de%20Assis", json!({"filter": {"author": "Machado de Assis"}})),
    ] {
        assert_eq!(bench.request(Method::GET, target, "").unwrap(), expected, "{target}");
    }
    let published =
        bench.request(Method::POST, "/v1/shelves/1/books/2:publish", r#"{"note":"x"}"#).unwrap();
    assert_eq!(published, json!({"name": "shelves/1/books/2", "note": "x"}));
}

#[test]
fn query_parameters_set_the_rest() {
    let bench = Bench::corner();
    for (query, expected) in [
        ("pageSize=5", json!({"pageSize": 5})),
        ("page_size=5", json!({"pageSize": 5})),
        (
            "colours=RED&colours=2&colours=COLOUR_RED",
            json!({"colours": ["RED", "DARK_BLUE", "RED"]}),
        ),
        (
            "filter.author=A+B&filter.nested.shape=SHAPE_ROUND",
            json!({"filter": {"author": "A B", "nested": {"shape": "SHAPE_ROUND"}}}),
        ),
        ("filter.years=1&filter.years=2", json!({"filter": {"years": ["1", "2"]}})),
        (
            "since=2026-01-31T12:00:00Z&within=1.5s",
            json!({"since": "2026-01-31T12:00:00Z", "within": "1.500s"}),
        ),
        ("mask=name,deeper.name", json!({"mask": "name,deeper.name"})),
        ("wrapped=7&all=true&key=AAE=", json!({"wrapped": "7", "all": true, "key": "AAE="})),
        ("left=x", json!({"left": "x"})),
    ] {
        let request = bench.request(Method::GET, &format!("/v1/any?{query}"), "").unwrap();
        assert_eq!(request, expected, "{query}");
    }
    let exact = Bench::malha().request(Method::GET, "/transactions?status=PENDING&status=COMPLETED&type=TRANSFER&createdFrom=2026-01-01T00:00:00Z", "");
    assert_eq!(exact.unwrap()["status"], json!(["PENDING", "COMPLETED"]));
}

#[test]
fn parameters_that_the_contract_does_not_know_are_named() {
    let bench = Bench::corner();
    for (target, field) in [
        ("/v1/any?nope=1", "nope"),
        ("/v1/any?filter.nope=1", "filter.nope"),
        ("/v1/any?pageSize.x=1", "pageSize.x"),
        ("/v1/any?pageSize=x", "pageSize"),
        ("/v1/any?pageSize=1&page_size=2", "page_size"),
        ("/v1/any?colours=GREEN", "colours"),
        ("/v1/any?all=1", "all"),
        ("/v1/any?filter=x", "filter"),
        ("/v1/any?inners=x", "inners"),
        ("/v1/any?data=x", "data"),
        ("/v1/any?labels=x", "labels"),
        ("/v1/any?left=a&right=b", "right"),
        ("/v1/any?since=now", "since"),
        ("/v1/shelves/1/books?parent=x", "parent"),
        ("/v1/books/x?filter.author=y", "filter.author"),
    ] {
        let (reason, fields) = bench.refusal(Method::GET, target, "");
        assert_eq!(
            (reason.as_str(), fields),
            ("INVALID_FIELD", vec![field.to_owned()]),
            "{target}"
        );
    }
    assert_eq!(bench.refusal(Method::GET, "/v1/any?left=%ff", "").0, "MALFORMED_QUERY");
    let (_, fields) = bench.refusal(Method::POST, "/v1/shelves/1/books/2:publish?note=x", "");
    assert_eq!(fields, ["note"], "a whole body leaves nothing to the query");
    let (_, fields) =
        bench.refusal(Method::PATCH, "/v1/things/x?thing.bool=true", r#"{"bool":true}"#);
    assert_eq!(fields, ["thing.bool"], "the body's field is not the query's");
}

#[test]
fn bodies_are_the_whole_message_or_one_field() {
    let bench = Bench::corner();
    let put = |body| bench.request(Method::PUT, "/v1/tags?owner=me", body);
    assert_eq!(put(r#"["a","b"]"#).unwrap(), json!({"owner": "me", "tags": ["a", "b"]}));
    assert_eq!(put("").unwrap(), json!({"owner": "me"}));

    let reverse = "/transactions/0199c0de-0000-7000-8000-000000000001/reverse";
    for body in ["", "{}"] {
        assert!(Bench::malha().request(Method::POST, reverse, body).is_ok(), "{body:?}");
    }
    let (_, fields) = Bench::malha().refusal(Method::POST, reverse, r#"{"id":"x"}"#);
    assert_eq!(fields, ["id"], "the path's field is not the body's");

    let (reason, _) = bench.refusal(Method::GET, "/v1/any", "{}");
    assert_eq!(reason, "UNEXPECTED_BODY");
    let problem = bench.request(Method::PUT, "/v1/tags", "[\"a\",").unwrap_err();
    let response = problem.into_response("/v1/tags", "c");
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[test]
fn a_patch_without_a_mask_changes_the_fields_that_it_names() {
    let bench = Bench::malha();
    let target = "/users/me";
    let patch = |body| {
        bench.request(Method::PATCH, target, body).map(|request| request["updateMask"].clone())
    };
    assert_eq!(patch(r#"{"name":"Ana","profilePicture":null}"#).unwrap(), "name,profilePicture");
    assert_eq!(patch(r#"{"bankingDetails":{"agency":"0001","accountNumber":"12345-6","accountType":"CHECKING"}}"#).unwrap(), "bankingDetails");

    let given = bench.request(
        Method::PATCH,
        "/users/me?updateMask=name",
        r#"{"name":"Ana","address":"x"}"#,
    );
    assert_eq!(given.unwrap()["updateMask"], "name");
    for body in ["", "{}"] {
        assert_eq!(bench.refusal(Method::PATCH, target, body).0, "EMPTY_UPDATE", "{body:?}");
    }
}

/// L-07.
#[test]
fn the_rules_of_the_contract_are_kept_and_named_as_the_client_knows_them() {
    let bench = Bench::malha();
    let (reason, fields) = bench.refusal(
        Method::POST,
        "/auth/register",
        r#"{"name":"Ana","email":"no-mail","password":"hunter2"}"#,
    );
    assert_eq!(
        (reason.as_str(), fields),
        ("INVALID_FIELD", vec!["email".to_owned(), "password".to_owned()])
    );

    let body =
        r#"{"bankingDetails":{"agency":"x","accountNumber":"12345-6","accountType":"SAVINGS"}}"#;
    assert_eq!(bench.refusal(Method::PATCH, "/users/me", body).1, ["bankingDetails.agency"]);
    assert_eq!(bench.refusal(Method::GET, "/users/42", "").1, ["id"]);
    assert_eq!(bench.refusal(Method::GET, "/users/me/statement?pageSize=101", "").1, ["pageSize"]);

    let problem = bench
        .request(
            Method::POST,
            "/auth/register",
            r#"{"name":"Ana","email":"a@b.c","password":"hunter2"}"#,
        )
        .unwrap_err();
    assert_eq!(problem.errors[0].rule, "string.min_len");
    assert!(!format!("{problem:?}").contains("hunter2"), "no value is shown");
}

#[test]
fn a_pattern_is_introduced_to_its_reader() {
    let problem = Bench::malha().request(Method::GET, "/users/42/balance", "").unwrap_err();
    let error = &problem.errors[0];
    assert_eq!((error.field.as_str(), error.rule.as_str()), ("userId", "string.pattern"));
    assert_eq!(
        error.description,
        "must have the form that is documented for this field: ^(me|[0-9a-fA-F-]{36})$"
    );
}

/// Metadata is returned as given, or refused.
#[test]
fn a_number_that_a_double_cannot_keep_is_refused() {
    let read = |number: &str| {
        let body = format!(r#"{{"type":"DEPOSIT","amount":1,"metadata":{{"a":[{number}]}}}}"#);
        Bench::malha().request(Method::POST, "/transactions", &body)
    };
    for number in [
        "0",
        "-0.0",
        "5",
        "1.50",
        "0.1",
        "1e3",
        "100E-2",
        "9007199254740991",
        "9007199254740994",
        "1e300",
        "-2.5e-7",
    ] {
        let shown = read(number).unwrap()["metadata"]["a"][0].as_f64();
        assert_eq!(shown, number.parse().ok(), "{number}");
    }
    for number in ["9007199254740993", "-12345678901234567890", "0.1234567890123456789", "1e-400"] {
        let problem = read(number).unwrap_err();
        assert_eq!(problem.errors[0].field, "metadata.a[0]", "{number}");
        assert_eq!(problem.errors[0].description, "is a number that cannot be kept exactly");
    }
}

#[test]
fn amounts_reach_the_service_digit_for_digit() {
    let bench = Bench::malha();
    for amount in ["100.50", "\"100.50\"", "0.1", "9999999999999999.99"] {
        let (route, values) = bench.route(&Method::POST, "/transactions");
        let body = format!("{{\"type\":\"DEPOSIT\",\"amount\":{amount}}}");
        let message = bench.transcoder.request(&route, &values, "", body.as_bytes()).unwrap();
        let sent = message.get_field_by_name("amount").unwrap();
        assert_eq!(sent.as_str(), Some(amount.trim_matches('"')));
    }
    for amount in ["1e2", "-1", "\"\"", "\"abc\"", "1.0000000000000000001"] {
        let body = format!("{{\"type\":\"DEPOSIT\",\"amount\":{amount}}}");
        assert_eq!(bench.refusal(Method::POST, "/transactions", &body).1, ["amount"], "{amount}");
    }
}

/// Trap 2: a bare array as a response body.
#[test]
fn the_response_body_is_the_field_that_the_contract_names() {
    let bench = Bench::corner();
    let (route, _) = bench.route(&Method::PATCH, "/v1/things/x");
    let codec = bench.transcoder.codec();
    let listing =
        codec.read(&corner::message("Listing"), br#"{"things":[{"name":"a"},{}]}"#).unwrap();
    let body = bench.transcoder.response(&route, listing.encode_to_vec().into()).unwrap();
    assert_eq!(body, br#"[{"name":"a"},{}]"#);
}

#[test]
fn an_answer_that_is_no_message_is_an_internal_problem() {
    let bench = Bench::corner();
    let (route, _) = bench.route(&Method::PUT, "/v1/tags");
    let problem = bench.transcoder.response(&route, Bytes::from_static(b"\xff\xff")).unwrap_err();
    assert_eq!(problem.status, StatusCode::INTERNAL_SERVER_ERROR);
}
