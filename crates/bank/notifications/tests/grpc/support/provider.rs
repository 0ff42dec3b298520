//! A provider of text messages or pushes, over HTTP.

use std::future::pending;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;

use super::eventually;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// How the provider answers.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<&'static str>,
    pub(crate) body: &'static str,
    pub(crate) hangs: bool,
}

impl Answer {
    pub(crate) const OK: Self = Self::of(200);

    pub(crate) const fn of(status: u16) -> Self {
        Self { status, retry_after: None, body: r#"{"id":"SM-1"}"#, hangs: false }
    }
}

/// What was posted, and how it is answered.
#[derive(Clone)]
pub(crate) struct Provider {
    url: String,
    state: Posts,
}

#[derive(Clone)]
struct Posts {
    posted: Arc<Mutex<Vec<Value>>>,
    answer: Arc<Mutex<Answer>>,
}

impl Provider {
    pub(crate) async fn start(answer: Answer) -> Self {
        let state = Posts { posted: Arc::default(), answer: Arc::new(Mutex::new(answer)) };
        let router = Router::new()
            .route("/messages", post(take))
            .route("/elsewhere", post(take))
            .with_state(state.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/messages", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, state }
    }

    pub(crate) fn config(&self) -> notifications::Provider {
        notifications::Provider { url: self.url.clone(), secret: SECRET.into() }
    }

    pub(crate) fn answers(&self, answer: Answer) {
        *self.state.answer.lock().unwrap() = answer;
    }

    /// What was posted so far.
    pub(crate) fn posted(&self) -> Vec<Value> {
        self.state.posted.lock().unwrap().clone()
    }

    /// Waits until this much was posted.
    pub(crate) async fn await_posted(&self, count: usize) -> Vec<Value> {
        eventually("messages are posted", async || {
            Some(self.posted()).filter(|posted| posted.len() >= count)
        })
        .await
    }
}

/// Takes what is signed as the specification has it, by the library of its authors.
async fn take(State(posts): State<Posts>, headers: HeaderMap, body: String) -> Response {
    let text = |name| headers[name].to_str().unwrap().to_owned();
    let mut message: Value = serde_json::from_str(&body).unwrap();
    let (id, seconds) = (text("webhook-id"), text("webhook-timestamp"));
    assert_eq!(message["id"], id);
    // Not `verify`: the clock of the test stands elsewhere than that of the machine.
    let signed = Webhook::new(SECRET).unwrap().sign(&id, seconds.parse().unwrap(), body.as_bytes());
    assert_eq!(text("webhook-signature"), signed.unwrap());
    message["at"] = seconds.into();
    posts.posted.lock().unwrap().push(message);
    let Answer { status, retry_after, body, hangs } = *posts.answer.lock().unwrap();
    if hangs {
        pending::<()>().await;
    }
    let status = StatusCode::from_u16(status).unwrap();
    let mut answer = (status, body).into_response();
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert("retry-after", seconds.parse().unwrap());
    }
    if status.is_redirection() {
        answer.headers_mut().insert("location", "/elsewhere".parse().unwrap());
    }
    answer
}
