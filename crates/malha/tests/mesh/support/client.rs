//! People with an HTTP client.

use std::time::Duration;

use reqwest::{
    Certificate, Client, ClientBuilder, Method, RequestBuilder, Response, Result, StatusCode,
};
use serde_json::{Value, json};

use super::eventually;

const PASSWORD: &str = "correct horse battery";

/// Longest wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The gateway, seen from outside.
#[derive(Clone)]
pub(crate) struct Edge {
    client: Client,
    base: String,
}

/// A registered person who is logged in.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) edge: Edge,
    pub(crate) id: String,
    pub(crate) token: String,
    email: String,
}

/// An HTTP client.
pub(crate) fn client() -> ClientBuilder {
    // Fails when another test of this process has installed it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::builder().timeout(ANSWER_TIMEOUT)
}

impl Edge {
    pub(super) fn http(address: &str) -> Self {
        Self { client: client().build().unwrap(), base: format!("http://{address}") }
    }

    pub(super) fn https(address: &str, authorities: &[Certificate]) -> Self {
        let client = client().tls_certs_only(authorities.iter().cloned()).build().unwrap();
        Self { client, base: format!("https://{address}") }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Response> {
        self.request(Method::GET, path).send().await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Response> {
        self.request(Method::POST, path).json(body).send().await
    }

    /// Waits until `path` answers 200.
    pub(crate) async fn await_ok(&self, path: &str) {
        let is_ok = async || self.get(path).await.is_ok_and(|it| it.status() == StatusCode::OK);
        eventually(path, is_ok).await;
    }

    /// Registers a person and logs in.
    pub(crate) async fn register(&self, name: &str) -> Person {
        let email = format!("{name}@example.com");
        let registration = json!({ "name": name, "email": email, "password": PASSWORD });
        let answer = self.post("/auth/register", &registration).await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let id = text(&body(answer).await["id"]);
        let mut person = Person { edge: self.clone(), id, token: String::new(), email };
        person.log_in().await;
        person
    }
}

impl Person {
    /// Takes a fresh token.
    pub(crate) async fn log_in(&mut self) {
        let login = json!({ "email": self.email, "password": PASSWORD });
        let answer = self.edge.post("/auth/login", &login).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        self.token = text(&body(answer).await["accessToken"]);
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.edge.request(method, path).bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub(crate) async fn transact(&self, transaction: Value) -> Response {
        self.request(Method::POST, "/transactions").json(&transaction).send().await.unwrap()
    }

    /// Sends a transaction under an idempotency key.
    pub(crate) async fn transact_once(&self, key: &str, transaction: &Value) -> Result<Response> {
        let request = self.request(Method::POST, "/transactions").header("idempotency-key", key);
        request.json(transaction).send().await
    }

    pub(crate) async fn deposit(&self, amount: &str) -> Response {
        self.transact(json!({ "type": "DEPOSIT", "amount": amount })).await
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
