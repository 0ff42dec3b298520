//! `malha gateway`: the edge as a process of its own, in front of a service that never heard of Malha.

use std::fs;

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use testkit::greeter::{self, Greeter};

use crate::support::{Malha, malha};

/// A gateway in front of a greeter, as docs/gateway.md sets one up.
struct Alone {
    gateway: Malha,
    url: String,
    client: Client,
}

impl Alone {
    fn start(folder: &std::path::Path, settings: &str) -> Self {
        fs::write(folder.join("edge.toml"), settings).unwrap();
        let mut command = malha(folder);
        command.args(["gateway", "--config", "edge.toml"]);
        let gateway = Malha::start(command.env("MALHA_TELEMETRY__FORMAT", "json"));
        let ready = gateway.await_log("ready", |line| line["message"] == "ready");
        let url = format!("http://{}", ready["http"].as_str().unwrap());
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self { gateway, url, client: Client::builder().no_proxy().build().unwrap() }
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn settings(endpoint: &str) -> String {
    format!(
        r#"
        [gateway]
        http = "127.0.0.1:0"

        [gateway.upstreams.greeter]
        endpoints = ["{endpoint}"]

        [[gateway.policies]]
        methods = "greeter.v1.GreeterService/SayHello"
        access = "public"
        "#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_alone_serves_what_a_service_shows_of_itself() {
    let home = tempfile::tempdir().unwrap();
    let greeter = Greeter::start().await;
    let mut alone = Alone::start(home.path(), &settings(&greeter.endpoint()));

    let (status, greeting) = answer(alone.get("/v1/hello/Ana%20Maria")).await;
    assert_eq!((status, &greeting["message"]), (200, &json!("Hello, Ana Maria!")));
    let url = format!("{}/v1/hello", alone.url);
    let (status, greeting) = answer(alone.client.post(&url).json(&json!({"name": "Bia"}))).await;
    assert_eq!((status, &greeting["message"]), (200, &json!("Hello, Bia!")));
    let wrong = alone.client.post(&url).json(&json!({"nam": "Bia"}));
    let (status, problem) = answer(wrong).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!("nam")));

    // What no policy opens needs a token.
    let goodbye = format!("{}/greeter.v1.GreeterService/SayGoodbye", alone.url);
    let (status, problem) = answer(alone.client.post(goodbye).json(&json!({}))).await;
    assert_eq!((status, &problem["reason"]), (401, &json!("TOKEN_MISSING")));
    let (_, document) = answer(alone.get("/openapi.json")).await;
    assert_eq!(document["paths"]["/v1/hello/{name}"]["get"]["security"], json!([]));
    assert_eq!(answer(alone.get("/readyz")).await.0, 200);

    assert!(alone.gateway.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_prints_the_routes_and_names_what_is_wrong() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("greeter.binpb"), greeter::descriptors()).unwrap();
    let run = |settings: &str, flag: &str| {
        fs::write(home.path().join("edge.toml"), settings).unwrap();
        let output = malha(home.path()).args(["gateway", "--config", "edge.toml", flag]).output();
        let output = output.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let contracts = "[gateway.contracts]\ndescriptors = 'greeter.binpb'\n";
    let right = settings("http://127.0.0.1:1") + contracts;

    let (success, routes) = run(&right, "--check");
    assert!(success, "{routes}");
    let hello = "GET    /v1/hello/{name} → /greeter.v1.GreeterService/SayHello at greeter, public";
    assert!(routes.lines().any(|line| line == hello), "{routes}");
    assert!(routes.contains("SayHellos at greeter, streams answers, any token"), "{routes}");
    let (_, document) = run(&right, "--openapi");
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["openapi"], "3.1.0");

    let wrong = [
        (right.replace("greeter.binpb", "other.binpb"), "other.binpb"),
        (right.replace("access", "acess"), "acess"),
        (right.replace("\"public\"", "\"secret\""), "secret"),
        (format!("{right}[gateway.nonsense]"), "there is no setting `gateway.nonsense`"),
        (format!("{right}[ledger]"), "there is no setting `ledger`"),
        (
            format!(
                "{right}[[gateway.issuers]]\nissuer = 'malha'\naudiences = ['malha']\nkeys = 'mesh'"
            ),
            "gateway.issuers[0].keys: there is no mesh here",
        ),
        (right.replace("[gateway]", "[gateway]\nhttps = '127.0.0.1:0'"), "edge.pem"),
        (settings("http://127.0.0.1:1"), "does not show its contracts"),
    ];
    for (settings, named) in wrong {
        let (success, error) = run(&settings, "--check");
        assert!(!success && error.contains(named), "{named}: {error}");
    }
}

/// K-40, C-48: what the settings file says of policies and upstreams counts while the process runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_takes_its_settings_over_when_they_change() {
    let home = tempfile::tempdir().unwrap();
    let greeter = Greeter::start().await;
    let open = settings(&greeter.endpoint());
    let mut alone = Alone::start(home.path(), &open);
    assert_eq!(answer(alone.get("/v1/hello/Ana")).await.0, 200);

    let write = |text: &str| fs::write(home.path().join("edge.toml"), text).unwrap();
    write(&open.replace("greeter.v1", "greeter.v2"));
    let refused = |line: &Value| line["message"] == "settings not reloaded, those before stay";
    let error = alone.gateway.await_log("the refusal", refused)["error"].to_string();
    assert!(error.contains("gateway.policies[0].methods"), "{error}");
    assert_eq!(answer(alone.get("/v1/hello/Ana")).await.0, 200);

    write(&open.replace("access = \"public\"", "roles = [\"clerk\"]"));
    alone.gateway.await_log("the reload", |line| line["message"] == "settings reloaded");
    assert_eq!(answer(alone.get("/v1/hello/Ana")).await.0, 401);

    // Asked to, it looks whether or not the file changed.
    alone.gateway.signal("HUP");
    alone.gateway.await_log("the second one", |line| line["message"] == "settings reloaded");
    assert!(alone.gateway.terminate().await.success());
}
