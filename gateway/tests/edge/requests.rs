//! What goes in and what comes out.

use std::time::Duration;

use auth::{Role, TenantId};
use gateway::{ErrorForm, Rule};
use reqwest::{Method, Version};
use serde_json::json;

use crate::codings::{CODINGS, packed, unpacked};
use crate::house::{House, deposit, problem};

const ANA: &str = r#"{"name":"Ana","email":"ana@example.com","password":"a long password"}"#;

/// L-02, L-12: over HTTPS, 201 and the exact JSON.
#[tokio::test(flavor = "multi_thread")]
async fn register_answers_created_with_the_exact_json() {
    let house = House::start().await;
    let request = house.request(Method::POST, "/auth/register");
    let response =
        request.header("content-type", "application/json").body(ANA).send().await.unwrap();

    assert_eq!(response.status(), 201);
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(
        response.text().await.unwrap(),
        r#"{"id":"6f1c1a52-7d0b-4c8e-9f0e-2a3b4c5d6e7f","name":"Ana","email":"ana@example.com"}"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_is_served_too_on_either_listener() {
    let house = House::start().await;
    let client = reqwest::Client::builder().http1_only().no_proxy().build().unwrap();
    let url = format!("http://{}/auth/register", house.http);
    let response = client.post(url).body(ANA).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (201, Version::HTTP_11));
    assert!(!response.headers().contains_key("strict-transport-security"));
}

/// Trap 1: `{"balance": 1000.00}` is a number with both its zeros.
#[tokio::test(flavor = "multi_thread")]
async fn a_balance_is_a_json_number_digit_for_digit() {
    let house = House::start().await;
    let response = house.signed(Method::GET, "/users/me/balance").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.text().await.unwrap(), r#"{"balance":1000.00}"#);
}

/// L-16, traps 1, 3, 4, 9.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_goes_through_exactly() {
    let house = House::start().await;
    let body = r#"{"type":"DEPOSIT","amount":100.50,"metadata":{"n":5,"note":"R$ 5.000 à vista"}}"#;
    let request = house.signed(Method::POST, "/transactions");
    let response =
        request.header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(
        response.text().await.unwrap(),
        concat!(
            r#"{"id":"0199c0de-0000-7000-8000-000000000001","amount":100.50,"description":"","#,
            r#""status":"COMPLETED","type":"DEPOSIT","metadata":{"n":5,"note":"R$ 5.000 à vista"}}"#
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_without_a_body_has_none() {
    let house = House::start().await;
    let request = house.request(Method::POST, "/auth/logout");
    let response = request.json(&json!({"refreshToken": "r"})).send().await.unwrap();
    assert_eq!(response.status(), 204);
    assert!(!response.headers().contains_key("content-type"));
    assert_eq!(response.text().await.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_says_which_fields_change() {
    let house = House::start().await;
    let request = house.signed(Method::PATCH, "/users/me");
    let response =
        request.json(&json!({"name": "Ana", "profilePicture": null})).send().await.unwrap();
    assert_eq!(
        response.json::<serde_json::Value>().await.unwrap(),
        json!({"name": "Ana", "address": "name profile_picture", "isActive": false})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_paths_and_methods_are_told_apart() {
    let house = House::start().await;
    let send = |method, path| house.request(method, path).send();

    problem(send(Method::GET, "/nothing").await.unwrap(), 404, "ROUTE_NOT_FOUND").await;
    problem(send(Method::GET, "/users/%ff").await.unwrap(), 400, "MALFORMED_PATH").await;
    let refused = send(Method::DELETE, "/users/me").await.unwrap();
    assert_eq!(refused.headers()["allow"], "GET, HEAD, OPTIONS, PATCH");
    problem(refused, 405, "METHOD_NOT_ALLOWED").await;
    let refused = send(Method::POST, "/health").await.unwrap();
    assert_eq!(refused.headers()["allow"], "GET, HEAD, OPTIONS");

    let options = send(Method::OPTIONS, "/transactions").await.unwrap();
    assert_eq!(
        (options.status().as_u16(), &options.headers()["allow"]),
        (204, &"GET, HEAD, OPTIONS, POST".parse().unwrap())
    );

    let head = house.signed(Method::HEAD, "/users/me/balance").send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-length"], "19");
    assert_eq!(head.text().await.unwrap(), "");
}

/// L-07.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_break_the_contract_never_reach_a_service() {
    let house = House::start().await;
    let send = |body: &'static str| {
        house
            .signed(Method::POST, "/transactions")
            .header("content-type", "application/json")
            .body(body)
            .send()
    };
    let unknown = problem(
        send(r#"{"type":"DEPOSIT","amount":1,"metadata":{},"colour":"red"}"#).await.unwrap(),
        400,
        "INVALID_FIELD",
    )
    .await;
    assert_eq!(unknown["errors"][0]["field"], "colour");

    let malformed =
        problem(send("{\n \"amount\": 1,,}").await.unwrap(), 400, "MALFORMED_JSON").await;
    assert_eq!(malformed["detail"], "the body is not JSON: line 2, column 14");

    let invalid = problem(send(r#"{"amount":1e2}"#).await.unwrap(), 400, "INVALID_FIELD").await;
    assert_eq!(invalid["errors"][0]["field"], "amount");

    let rules =
        problem(send(r#"{"amount":1,"receiverUserId":"x"}"#).await.unwrap(), 400, "INVALID_FIELD")
            .await;
    let fields: Vec<_> =
        rules["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
    assert_eq!(fields, ["type", "receiverUserId"]);

    let parameter = house.signed(Method::GET, "/transactions?colour=red").send().await.unwrap();
    assert_eq!(problem(parameter, 400, "INVALID_FIELD").await["errors"][0]["field"], "colour");

    let form = house.signed(Method::POST, "/transactions").body("amount=1");
    let form =
        form.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
    problem(form, 415, "UNSUPPORTED_MEDIA_TYPE").await;
    assert_eq!(house.calls.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_a_service_are_problems_and_faults_show_nothing() {
    let house = House::start().await;
    let send = |description: &str| {
        let request = house.signed(Method::POST, "/transactions");
        request.header("content-type", "application/json").body(deposit(description)).send()
    };
    let refused = problem(send("no funds").await.unwrap(), 400, "INSUFFICIENT_FUNDS").await;
    assert_eq!(refused["type"], "/problems/insufficient-funds");
    assert_eq!(refused["metadata"], json!({"transactionId": "t-1"}));
    assert_eq!(refused["errors"][0]["field"], "banking_details.x");

    let refused = problem(send("bad receiver").await.unwrap(), 400, "INVALID_FIELD").await;
    assert_eq!(refused["detail"], "receiverUserId: is required");

    problem(send("other body").await.unwrap(), 422, "IDEMPOTENCY_KEY_REUSED").await;
    for description in ["fault", "panic"] {
        let fault = problem(send(description).await.unwrap(), 500, "INTERNAL").await;
        assert!(
            !fault.to_string().contains("SELECT") && !fault.to_string().contains("wishes"),
            "{fault}"
        );
    }
}

/// A payment without a key that nobody answered may be carried out still: its client must not be
/// asked to send it again.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_may_be_repeated_is_asked_for_again() {
    let house = House::start().await;
    let pay = |description: &str| {
        let request = house.signed(Method::POST, "/transactions");
        request.header("content-type", "application/json").body(deposit(description))
    };
    let closed = pay("closed").send().await.unwrap();
    assert!(!closed.headers().contains_key("retry-after"), "the service did not say so");
    let closed = problem(closed, 503, "CLOSED_TODAY").await;
    assert_eq!(closed["detail"], "not carried out", "the service's own words");

    let late = pay("late").send().await.unwrap();
    assert!(!late.headers().contains_key("retry-after"));
    let late = problem(late, 504, "DEADLINE_EXCEEDED").await;
    assert!(!late.to_string().contains("SELECT"), "{late}");
    let late = pay("late").header("idempotency-key", "k-1").send().await.unwrap();
    assert_eq!(late.headers()["retry-after"], "30", "then its lock has ended");

    house.kit.stop("payments").await;
    let unreachable = pay("").send().await.unwrap();
    assert_eq!(unreachable.status(), 503);
    let was_sent = unreachable.headers().get("retry-after").is_none();
    let reason = unreachable.json::<serde_json::Value>().await.unwrap()["reason"].clone();
    assert_eq!(was_sent, reason == "UPSTREAM_LOST", "{reason}");
}

/// L-08, L-71.
#[tokio::test(flavor = "multi_thread")]
async fn the_correlation_id_goes_from_the_client_to_the_service_and_back() {
    let house = House::start().await;
    let request = house.signed(Method::GET, "/transactions").header("x-correlation-id", "mine-1");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let response = request.header("traceparent", parent).send().await.unwrap();
    assert_eq!(response.headers()["x-correlation-id"], "mine-1");
    let (context, metadata) = house.calls.last();
    assert_eq!(&*context.correlation_id, "mine-1");
    assert!(metadata["traceparent"].contains("0af7651916cd43dd8448eb211c80319c"), "{metadata:?}");

    let request =
        house.signed(Method::GET, "/transactions").header("x-correlation-id", "two words");
    let response = request.send().await.unwrap();
    let made = response.headers()["x-correlation-id"].to_str().unwrap().to_owned();
    assert_eq!(made.len(), 36, "a new one in place of one that is not well formed");
    assert_eq!(&*house.calls.last().0.correlation_id, made);
}

/// K-39: a client says of itself only what its token proves.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_client_says_of_itself_is_passed_on() {
    let house = House::start().await;
    let mut request = house.signed(Method::GET, "/transactions");
    for name in ["x-malha-tenant", "x-malha-user", "x-user-id", "x-forwarded-user", "grpc-timeout"]
    {
        request = request.header(name, "11111111-1111-4111-8111-111111111111");
    }
    assert_eq!(request.send().await.unwrap().status(), 200);
    let (context, metadata) = house.calls.last();
    assert_eq!(context.tenant, TenantId::DEFAULT);
    assert!(!metadata.values().any(|value| value.contains("11111111")), "{metadata:?}");

    let request = house
        .request(Method::POST, "/auth/register")
        .header("x-malha-tenant", "11111111-1111-4111-8111-111111111111");
    let response =
        request.header("content-type", "application/json").body(ANA).send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(house.calls.last().0.tenant, TenantId::DEFAULT);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_idempotency_key_is_passed_on_and_a_replay_says_so() {
    let house = House::start().await;
    let send = |key: &str, description: &str| {
        let request = house.signed(Method::POST, "/transactions").header("idempotency-key", key);
        request.header("content-type", "application/json").body(deposit(description)).send()
    };
    let first = send("k-1", "").await.unwrap();
    assert!(!first.headers().contains_key("x-idempotent-replay"));
    assert!(!first.headers().contains_key("x-inside"), "nothing else of the inside comes out");
    assert_eq!(house.calls.last().0.idempotency_key.as_deref(), Some("k-1"));

    let again = send("k-1", "again").await.unwrap();
    assert_eq!(again.headers()["x-idempotent-replay"], "true");
    let again = send("k-1", "refused again").await.unwrap();
    assert_eq!(again.headers()["x-idempotent-replay"], "true", "a refusal is repeated too");
    problem(again, 400, "INSUFFICIENT_FUNDS").await;

    let refused = problem(send("two words", "").await.unwrap(), 400, "INVALID_FIELD").await;
    assert_eq!(refused["errors"][0]["field"], "Idempotency-Key");
}

/// K-35 to K-38: the edge answers repeats by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_under_a_key_gets_the_first_answer() {
    let house = House::start().await;
    let (ana, bob) = (house.token(&[Role::Customer]), house.token(&[Role::Customer]));
    let send = |token: &str, key: &str, body: String| {
        let request = house.request(Method::POST, "/transactions").bearer_auth(token);
        let request = request.header("idempotency-key", key);
        request.header("content-type", "application/json").body(body).send()
    };
    let first = send(&ana, "k-1", deposit("rent")).await.unwrap();
    assert!(!first.headers().contains_key("x-idempotent-replay"));
    let first = (first.status(), first.text().await.unwrap());

    let again = send(&ana, "k-1", deposit("rent")).await.unwrap();
    assert_eq!(again.headers()["x-idempotent-replay"], "true");
    assert_eq!(again.headers()["content-type"], "application/json");
    assert_eq!((again.status(), again.text().await.unwrap()), first);
    assert_eq!(house.calls.count(), 1, "the service was asked once");

    let other = send(&ana, "k-1", deposit("food")).await.unwrap();
    problem(other, 422, "IDEMPOTENCY_KEY_REUSED").await;
    assert_eq!(send(&bob, "k-1", deposit("rent")).await.unwrap().status(), 201, "another user");

    let (slow, early) = tokio::join!(send(&ana, "k-2", deposit("slow")), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        send(&ana, "k-2", deposit("slow")).await
    });
    assert_eq!(slow.unwrap().status(), 201);
    let early = problem(early.unwrap(), 409, "REQUEST_IN_PROGRESS").await;
    assert_eq!(early["detail"], "Request already in progress");

    // What was refused was not carried out, and may be tried again.
    for _ in 0..2 {
        let refused = send(&ana, "k-3", deposit("no funds")).await.unwrap();
        assert!(!refused.headers().contains_key("x-idempotent-replay"));
        problem(refused, 400, "INSUFFICIENT_FUNDS").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_client_has_is_not_sent_again() {
    let rule =
        Rule { methods: "*/GetBalance".to_owned(), conditional: Some(true), ..Rule::default() };
    let house = House::start_with(|config| config.policies = vec![rule], |_| {}).await;
    let first = house.signed(Method::GET, "/users/me/balance").send().await.unwrap();
    let tag = first.headers()["etag"].clone();
    assert_eq!(first.headers()["cache-control"], "private, no-cache");

    let again = house.signed(Method::GET, "/users/me/balance").header("if-none-match", &tag);
    let again = again.send().await.unwrap();
    assert_eq!((again.status().as_u16(), &again.headers()["etag"]), (304, &tag));
    assert!(!again.headers().contains_key("content-type"));
    assert_eq!(again.text().await.unwrap(), "");

    let other = house.signed(Method::GET, "/users/me/balance").header("if-none-match", "\"x\"");
    assert_eq!(other.send().await.unwrap().status(), 200);
    let unmarked = house.signed(Method::GET, "/transactions").send().await.unwrap();
    assert!(!unmarked.headers().contains_key("etag"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_compressed_both_ways() {
    let house = House::start().await;
    let plain = house.request(Method::GET, "/openapi.json").send().await.unwrap();
    assert!(!plain.headers().contains_key("content-encoding"));
    let plain = plain.bytes().await.unwrap();
    for coding in CODINGS {
        let small = house.request(Method::GET, "/openapi.json").header("accept-encoding", coding);
        let small = small.send().await.unwrap();
        assert_eq!(small.headers()["content-encoding"], coding);
        assert!(small.headers()["etag"].to_str().unwrap().ends_with(&format!("-{coding}\"")));
        let small = small.bytes().await.unwrap();
        assert!(small.len() * 3 < plain.len(), "{coding}");
        assert_eq!(unpacked(coding, &small), plain, "{coding}");

        let send = |body: Vec<u8>| {
            let request = house.signed(Method::POST, "/transactions");
            let request = request.header("content-type", "application/json");
            request.header("content-encoding", coding).body(body).send()
        };
        let paid = send(packed(coding, deposit("rent").as_bytes())).await.unwrap();
        assert_eq!(paid.status(), 201, "{coding}");
        let bomb = send(packed(coding, &vec![b' '; 20 << 20])).await.unwrap();
        problem(bomb, 413, "BODY_TOO_LARGE").await;
        problem(send(b"no such thing".to_vec()).await.unwrap(), 400, "BODY_BROKEN").await;
    }
    let unknown = house.signed(Method::POST, "/transactions").header("content-encoding", "lzma");
    let unknown = unknown.body(deposit("rent")).send().await.unwrap();
    problem(unknown, 415, "UNSUPPORTED_ENCODING").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_the_form_of_google_rpc_where_a_setting_says_so() {
    let house = House::start_with(|config| config.errors = ErrorForm::Status, |_| {}).await;
    let refused = house.signed(Method::GET, "/transactions?colour=red").send().await.unwrap();
    assert_eq!(refused.headers()["content-type"], "application/json");
    let id = refused.headers()["x-correlation-id"].to_str().unwrap().to_owned();
    let refused: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(refused["code"], 3);
    let details = refused["details"].as_array().unwrap();
    assert_eq!(details[0]["reason"], "INVALID_FIELD");
    assert_eq!(details[1]["fieldViolations"][0]["field"], "colour");
    assert_eq!(details[2]["requestId"], id);
}

/// B-07: what the service says of its answer becomes headers, and nothing else does; a repeat says the
/// same.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_may_say_where_its_answer_is() {
    let house = House::start().await;
    let token = house.token(&[Role::Customer]);
    for replay in [None, Some("true")] {
        let request = house.request(Method::POST, "/transactions").bearer_auth(&token);
        let request = request.header("idempotency-key", "k-1").body(deposit(""));
        let answer = request.header("content-type", "application/json").send().await.unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(answer.headers()["location"], "/transactions/1");
        assert!(!answer.headers().contains_key("x-inside"));
        let told = answer.headers().get("x-idempotent-replay");
        assert_eq!(told.map(|told| told.to_str().unwrap()), replay);
    }
}

/// B-07: services learn the address of the client, and not what it claims; and `If-Match` where the
/// policy lets it through.
#[tokio::test(flavor = "multi_thread")]
async fn services_learn_where_a_request_comes_from() {
    let proxy = |config: &mut gateway::Config| {
        config.policies.push(Rule {
            methods: "*/CreateTransaction".to_owned(),
            request_headers: Some(vec!["if-match".to_owned()]),
            ..Rule::default()
        });
    };
    let house = House::start_with(proxy, |_| {}).await;
    let request = house.signed(Method::POST, "/transactions").body(deposit(""));
    let request = request.header("content-type", "application/json");
    let request = request.header("x-forwarded-for", "192.0.2.1").header("if-match", "\"7\"");
    assert_eq!(request.send().await.unwrap().status(), 201);
    let (_, metadata) = house.calls.last();
    assert_eq!(metadata["x-forwarded-for"], "127.0.0.1");
    assert_eq!(metadata["if-match"], "\"7\"");

    let trusting = |config: &mut gateway::Config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    };
    let house = House::start_with(trusting, |_| {}).await;
    let request = house.signed(Method::GET, "/transactions").header("x-forwarded-for", "192.0.2.1");
    assert_eq!(request.send().await.unwrap().status(), 200);
    assert_eq!(house.calls.last().1["x-forwarded-for"], "192.0.2.1");
}
