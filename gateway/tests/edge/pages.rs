//! The pages of the edge itself, and the headers of every answer.

use auth::Role;
use gateway::Rule;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::greeter::Greeter;

use crate::alone::Alone;
use crate::house::{House, problem};

/// L-17, L-61.
#[tokio::test(flavor = "multi_thread")]
async fn health_shows_each_service_and_its_dependencies() {
    let house = House::start().await;
    let response = house.request(Method::GET, "/health").send().await.unwrap();
    let (status, health) = (response.status(), response.json::<Value>().await.unwrap());
    assert_eq!(status, 200, "{health}");
    assert_eq!(health["status"], "UP");
    assert_eq!(
        health["services"]["ledger"],
        json!({"status": "UP", "breaker": "CLOSED", "dependencies": {"disk": "UP"}})
    );
    for name in ["identity", "customers", "accounts", "payments"] {
        assert_eq!(health["services"][name]["status"], "UP", "{health}");
    }
    for path in ["/livez", "/readyz"] {
        let response = house.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), r#"{"status":"UP"}"#);
    }
}

/// L-18.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_by_route_and_never_by_path() {
    let house = House::start().await;
    let secret = "c0ffee00-0000-4000-8000-00000000cafe";
    house.signed(Method::GET, &format!("/users/{secret}/balance")).send().await.unwrap();
    house.request(Method::GET, &format!("/nothing/{secret}")).send().await.unwrap();

    let metrics =
        house.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let counted = |labels: [&str; 3]| {
        metrics.lines().any(|line| {
            line.starts_with("malha_edge_requests_total")
                && labels.iter().all(|label| line.contains(label))
        })
    };
    assert!(
        counted([r#"method="GET""#, r#"route="/users/{user_id}/balance""#, r#"status="2xx""#]),
        "{metrics}"
    );
    assert!(counted([r#"method="GET""#, r#"route="unmatched""#, r#"status="4xx""#]), "{metrics}");
    assert!(metrics.contains("malha_edge_duration_seconds_bucket"));
    assert!(metrics.contains("malha_edge_in_flight"));
    assert!(!metrics.contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_shown_only_where_they_are_meant_to_be() {
    let house = House::start_with(|config| config.metrics = false, |_| {}).await;
    let hidden = house.request(Method::GET, "/metrics").send().await.unwrap();
    problem(hidden, 404, "ROUTE_NOT_FOUND").await;
    assert_eq!(house.request(Method::GET, "/livez").send().await.unwrap().status(), 200);
}

/// L-10.
#[tokio::test(flavor = "multi_thread")]
async fn the_contracts_are_shown_to_programs_and_to_people() {
    let house = House::start().await;
    let openapi = house.request(Method::GET, "/openapi.json").send().await.unwrap();
    assert_eq!(openapi.headers()["content-type"], "application/json");
    let openapi: Value = openapi.json().await.unwrap();
    assert_eq!(openapi["openapi"], "3.1.0");
    assert!(openapi["paths"]["/transactions"]["post"].is_object());

    let docs = house.request(Method::GET, "/docs").send().await.unwrap();
    let policy = docs.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; connect-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(docs.headers()["content-type"], "text/html; charset=utf-8");
}

/// L-11.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_security_headers() {
    let house = House::start().await;
    for path in ["/livez", "/nothing", "/users/me/balance"] {
        let local = house.request(Method::GET, path).send().await.unwrap();
        assert!(!local.headers().contains_key("strict-transport-security"), "this machine's name");
        let url = house.url(path).replace("localhost", "gateway");
        let response = house.client.get(url).send().await.unwrap();
        let headers = response.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(
            headers["content-security-policy"],
            "default-src 'none'; frame-ancestors 'none'"
        );
        assert_eq!(headers["strict-transport-security"], "max-age=31536000; includeSubDomains");
        assert_eq!(headers["cache-control"], "no-store");
        assert!(headers.contains_key("x-correlation-id"));
        assert!(!headers.contains_key("server"), "{path}");
    }
}

/// L-11.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_known_origins_may_call() {
    let origins = vec!["https://app.example".to_owned()];
    let house = House::start_with(|config| config.cors_origins = origins, |_| {}).await;
    let preflight = |origin: &str| {
        let request = house.request(Method::OPTIONS, "/transactions").header("origin", origin);
        request.header("access-control-request-method", "POST").send()
    };
    let admitted = preflight("https://app.example").await.unwrap();
    assert_eq!(admitted.status(), 204);
    assert_eq!(admitted.headers()["access-control-allow-origin"], "https://app.example");
    assert_eq!(admitted.headers()["access-control-allow-methods"], "GET, HEAD, OPTIONS, POST");
    assert!(
        admitted.headers()["access-control-allow-headers"]
            .to_str()
            .unwrap()
            .contains("authorization")
    );

    let stranger = preflight("https://evil.example").await.unwrap();
    assert!(!stranger.headers().contains_key("access-control-allow-origin"));
    assert!(!stranger.headers().contains_key("access-control-allow-methods"));

    let request =
        house.request(Method::GET, "/users/me/balance").header("origin", "https://app.example");
    let refused = request.send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(
        refused.headers()["access-control-allow-origin"],
        "https://app.example",
        "problems are seen too"
    );
    assert_eq!(refused.headers()["vary"], "origin");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_alone_see_the_upstreams() {
    let house = House::start().await;
    let see = |roles: &[Role]| {
        let token = house.token(roles);
        house.request(Method::GET, "/admin/upstreams").bearer_auth(token).send()
    };
    let nobody = house.request(Method::GET, "/admin/upstreams").send().await.unwrap();
    problem(nobody, 401, "TOKEN_MISSING").await;
    problem(see(&[Role::Customer]).await.unwrap(), 403, "ROLE_MISSING").await;

    house.signed(Method::GET, "/users/me/balance").send().await.unwrap();
    let seen: Value = see(&[Role::Viewer]).await.unwrap().json().await.unwrap();
    let upstreams = seen["upstreams"].as_array().unwrap();
    let accounts = upstreams.iter().find(|upstream| upstream["name"] == "accounts").unwrap();
    assert!(accounts["endpoints"][0]["calls"].as_u64().unwrap() >= 1, "{accounts}");
}

/// L-11: a page may send what the method lets through, and to gRPC-Web metadata of its own.
#[tokio::test(flavor = "multi_thread")]
async fn pages_may_send_the_headers_that_pass_on() {
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |config| {
        config.cors_origins = vec!["https://app.example".to_owned()];
        config.policies.push(Rule {
            methods: "*/SayHello".to_owned(),
            request_headers: Some(vec!["x-shop-*".to_owned(), "x-user-id".to_owned()]),
            ..Rule::default()
        });
    })
    .await;
    let allowed = async |path: &str| {
        let request = alone.client.request(Method::OPTIONS, alone.url(path));
        let request = request.header("origin", "https://app.example");
        let request = request.header("access-control-request-method", "POST");
        let asked = "content-type, if-match, x-shop-till, x-other, x-user-id, x-forwarded-for";
        let request = request.header("access-control-request-headers", asked);
        let answer = request.send().await.unwrap();
        let allowed = answer.headers()["access-control-allow-headers"].to_str().unwrap();
        allowed.split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    let has = |allowed: &[String], name: &str| allowed.iter().any(|it| it == name);
    let rest = allowed("/v1/hello").await;
    assert!(has(&rest, "if-match") && has(&rest, "x-shop-till") && !has(&rest, "x-other"));
    let web = allowed("/greeter.v1.GreeterService/SayHello").await;
    assert!(has(&web, "x-shop-till") && has(&web, "x-other"));
    for allowed in [rest, web] {
        assert!(!has(&allowed, "x-user-id") && !has(&allowed, "x-forwarded-for"));
    }
}
