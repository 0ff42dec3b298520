//! How long a stream may last, and how its end is told.

use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, timeout_at};

use crate::config::{ErrorForm, Streams};
use crate::edge::{Exchange, User};
use crate::problem::Problem;

/// When a stream ends whatever comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    idle: Duration,
    token_expires: Option<Instant>,
}

/// What a silent stream does next.
#[derive(Debug)]
pub(crate) enum Silence {
    /// It shows that it lives.
    Beat,
    /// It ends.
    Over(Problem),
}

impl Until {
    /// The end of a stream of `user`.
    pub(crate) fn of(settings: &Streams, user: Option<&User>) -> Self {
        let left = user.map(|user| {
            let left = user.verified.expires_at.signed_duration_since(chrono::Utc::now());
            Instant::now() + left.to_std().unwrap_or_default()
        });
        Self { idle: settings.idle_timeout, token_expires: left }
    }

    /// What comes next, unless the stream has been silent since `last`, or its token expires.
    pub(crate) async fn next<T>(
        self,
        last: Instant,
        next: impl Future<Output = T>,
    ) -> Result<T, Problem> {
        match self.within(last, None, next).await {
            Ok(next) => Ok(next),
            Err(Silence::Over(problem)) => Err(problem),
            Err(Silence::Beat) => Err(Problem::internal()),
        }
    }

    /// The same, of a stream that shows every `beat` that it lives.
    pub(crate) async fn within<T>(
        self,
        last: Instant,
        beat: Option<Duration>,
        next: impl Future<Output = T>,
    ) -> Result<T, Silence> {
        let idle = last + self.idle;
        let over = self.token_expires.map_or(idle, |expires| idle.min(expires));
        let beat = beat.map(|beat| Instant::now() + beat).filter(|beat| *beat < over);
        match timeout_at(beat.unwrap_or(over), next).await {
            Ok(next) => Ok(next),
            Err(_) if beat.is_some() => Err(Silence::Beat),
            Err(_) if over == idle => Err(Silence::Over(Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                "STREAM_IDLE",
                "the stream was silent for too long",
            ))),
            Err(_) => Err(Silence::Over(Problem::new(
                StatusCode::UNAUTHORIZED,
                "TOKEN_EXPIRED",
                "the access token has expired",
            ))),
        }
    }
}

/// How a stream tells what went wrong.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    form: ErrorForm,
    path: Box<str>,
    correlation_id: Box<str>,
}

impl Outcome {
    /// Of the stream of that request.
    pub(crate) fn of(exchange: &Exchange, form: ErrorForm, path: &str) -> Self {
        let correlation_id = exchange.record.names.correlation_id().into();
        Self { form, path: path.into(), correlation_id }
    }

    /// The problem as a document of JSON.
    pub(crate) fn json(&self, problem: &Problem) -> bytes::Bytes {
        problem.json(self.form, &self.path, &self.correlation_id)
    }

    /// The correlation id of the request.
    pub(crate) fn correlation_id(&self) -> &str {
        &self.correlation_id
    }
}
