//! Collects answers, and finds those that must not be.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use reqwest::Response;
use serde_json::Value;

/// What the edge may say of a service that is not well.
const REASONS: [&str; 9] = [
    "UPSTREAM_UNREACHABLE",
    "UPSTREAM_LOST",
    "UPSTREAM_BROKEN",
    "UPSTREAM_MESSAGE_TOO_LARGE",
    "CIRCUIT_OPEN",
    "DEADLINE_EXCEEDED",
    "UNAVAILABLE",
    "INTERNAL",
    "CANCELLED",
];

/// Answers so far.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// Answers of the service that is well.
    steady: AtomicUsize,
    /// Answers of the other one, by their reason.
    erratic: Mutex<BTreeMap<String, usize>>,
    /// Requests that were too large, refused.
    refused: AtomicUsize,
    /// What must not be; the first few.
    wrong: Mutex<Vec<String>>,
}

impl Judge {
    /// Nothing was wrong, and there was something of everything.
    pub(super) fn check(&self) {
        let wrong = self.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(self.steady.load(Ordering::Relaxed) > 100);
        assert!(self.refused.load(Ordering::Relaxed) > 0);
        let erratic = self.erratic.lock().unwrap();
        for reason in ["OK", "DEADLINE_EXCEEDED", "UPSTREAM_LOST", "CIRCUIT_OPEN"] {
            assert!(erratic.contains_key(reason), "{reason}: {erratic:?}");
        }
    }

    fn wrong(&self, what: String) {
        let mut wrong = self.wrong.lock().unwrap();
        if wrong.len() < 10 {
            wrong.push(what);
        }
    }

    /// The answer of the service that is well, which greets `name`.
    pub(super) async fn steady(&self, name: &str, answer: reqwest::Result<Response>) {
        match read(answer).await {
            Ok((StatusCode::OK, body)) if greets(&body, name) => {
                self.steady.fetch_add(1, Ordering::Relaxed);
            }
            other => self.wrong(format!("for {name}: {other:?}")),
        }
    }

    /// The answer of the service that is not: it greets `name`, or is a problem of the edge's.
    pub(super) async fn erratic(&self, name: &str, answer: reqwest::Result<Response>) {
        let reason = match read(answer).await {
            Ok((StatusCode::OK, body)) if greets(&body, name) => "OK".to_owned(),
            Ok((_, body)) => match reason(&body) {
                Some(reason) => reason,
                None => return self.wrong(format!("for {name}: {body}")),
            },
            Err(error) => return self.wrong(format!("for {name}: {error}")),
        };
        *self.erratic.lock().unwrap().entry(reason).or_default() += 1;
    }

    /// A request that is too large is refused with its reason.
    pub(super) async fn too_large(&self, answer: reqwest::Result<Response>) {
        // Who still sends may find the connection closed before it reads why.
        let Ok((status, body)) = read(answer).await else { return };
        match (status.as_u16(), reason_of(&body)) {
            (413, Some("BODY_TOO_LARGE")) => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
            _ => self.wrong(format!("too large: {status} {body}")),
        }
    }
}

/// The status, and the body: JSON, or lines of JSON.
async fn read(answer: reqwest::Result<Response>) -> Result<(StatusCode, Value), String> {
    let shown = |error: reqwest::Error| format!("{error:?}");
    let answer = answer.map_err(shown)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = answer.text().await.map_err(shown)?;
    let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    let lines = lines.map_err(|error| format!("{error}: {text}"))?;
    let is_problem = headers["content-type"] == "application/problem+json";
    if status.as_u16() >= 400 && (!is_problem || lines[0]["status"] != status.as_u16()) {
        return Err(format!("{status} is no problem: {text}"));
    }
    Ok((status, if lines.len() == 1 { lines[0].clone() } else { Value::Array(lines) }))
}

fn greets(body: &Value, name: &str) -> bool {
    let greeting = format!("Hello, {name}!");
    match body {
        Value::Array(lines) => {
            lines.len() == 3 && lines.iter().all(|line| line["message"] == *greeting)
        }
        line => line["message"] == *greeting,
    }
}

/// The known reason of a problem, be it the answer or the last line of a stream.
fn reason(body: &Value) -> Option<String> {
    let last = body.as_array().map_or(Some(body), |lines| lines.last())?;
    let problem = last.get("error").unwrap_or(last);
    let known = reason_of(problem).filter(|reason| REASONS.contains(reason))?;
    let is_told = problem["correlationId"].is_string() && !problem.to_string().contains("secret");
    is_told.then(|| known.to_owned())
}

fn reason_of(problem: &Value) -> Option<&str> {
    problem["reason"].as_str()
}
