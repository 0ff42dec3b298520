//! A person with an HTTP client.

use std::time::Instant;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use super::PATIENCE;

pub(crate) const PASSWORD: &str = "correct horse battery";

/// The gateway, seen from outside.
#[derive(Clone)]
pub(crate) struct Edge {
    client: reqwest::Client,
    base: String,
}

/// A registered person who is logged in.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) edge: Edge,
    pub(crate) id: String,
    pub(crate) token: String,
}

impl Edge {
    pub(crate) fn new(address: &str) -> Self {
        // Fails when another test of this process has installed it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self { client: reqwest::Client::new(), base: format!("http://{address}") }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Response {
        self.request(Method::POST, path).json(&body).send().await.unwrap()
    }

    /// Waits until `path` answers 200.
    pub(crate) async fn await_ok(&self, path: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.request(Method::GET, path).send().await;
            if answer.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                return;
            }
            assert!(Instant::now() < end, "{path} does not answer");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Registers a person and logs in.
    pub(crate) async fn register(&self, name: &str) -> Person {
        let email = format!("{name}@example.com");
        let registration = json!({ "name": name, "email": email, "password": PASSWORD });
        let answer = self.post("/auth/register", registration).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        let id = text(&body(answer).await["id"]);
        let login = json!({ "email": email, "password": PASSWORD });
        let answer = self.post("/auth/login", login).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let token = text(&body(answer).await["accessToken"]);
        Person { edge: self.clone(), id, token }
    }
}

impl Person {
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.edge.request(method, path).bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub(crate) async fn transact(&self, transaction: Value) -> Response {
        self.request(Method::POST, "/transactions").json(&transaction).send().await.unwrap()
    }

    /// The balance as it stands in the JSON, digit by digit.
    pub(crate) async fn balance(&self) -> String {
        let answer = self.get(&format!("/users/{}/balance", self.id)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let text = answer.text().await.unwrap();
        let balance = text.strip_prefix("{\"balance\":").and_then(|rest| rest.strip_suffix('}'));
        balance.unwrap_or_else(|| panic!("{text}")).to_owned()
    }
}

pub(crate) async fn body(answer: Response) -> Value {
    answer.json().await.unwrap()
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
