//! Why a call failed.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;
use tonic::{Code, Status};

/// A call that failed, at the upstream or on the way to it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The code of gRPC.
    pub code: Code,
    /// What the upstream says, or we do.
    pub message: Cow<'static, str>,
    /// The `google.rpc.Status` that the upstream sent along, in wire form; may be empty.
    pub details: Bytes,
    /// Stable reason of a failure that is the edge's own; `None` when the upstream itself answered.
    pub reason: Option<Reason>,
    /// Whether the call was surely not carried out. False means *unknown*, or that it was answered.
    pub surely_not_sent: bool,
    /// When a repeat may succeed.
    pub retry_after: Option<Duration>,
    /// Metadata of the upstream's answer.
    pub metadata: Option<Box<HeaderMap>>,
}

/// Why a call failed that the upstream itself did not answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// No upstream or endpoint of this name is known.
    Unknown,
    /// No connection could be made.
    Unreachable,
    /// The connection or the stream was lost while the call was under way.
    Lost,
    /// What came back is not gRPC.
    Broken,
    /// The message of the upstream is larger than allowed.
    TooLarge,
    /// The circuit breaker is open.
    CircuitOpen,
    /// Time was over.
    Deadline,
}

impl Reason {
    /// The reason as answers show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UPSTREAM_UNKNOWN",
            Self::Unreachable => "UPSTREAM_UNREACHABLE",
            Self::Lost => "UPSTREAM_LOST",
            Self::Broken => "UPSTREAM_BROKEN",
            Self::TooLarge => "UPSTREAM_MESSAGE_TOO_LARGE",
            Self::CircuitOpen => "CIRCUIT_OPEN",
            Self::Deadline => "DEADLINE_EXCEEDED",
        }
    }
}

impl Failure {
    /// A failure of our own.
    pub(crate) fn own(code: Code, reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Bytes::new(),
            reason: Some(reason),
            surely_not_sent: false,
            retry_after: None,
            metadata: None,
        }
    }

    /// The same failure of a call that surely was not carried out.
    pub(crate) fn unsent(mut self) -> Self {
        self.surely_not_sent = true;
        self
    }

    /// Time was over before an answer came.
    pub(crate) fn deadline() -> Self {
        Self::own(Code::DeadlineExceeded, Reason::Deadline, "the call took longer than allowed")
    }

    /// The failure of a call that was to end by `deadline`. An upstream that is told the deadline may
    /// be the first to give up; some then say that the call was cancelled, some break it off.
    pub(crate) fn by(self, deadline: Instant) -> Self {
        let gave_up = match self.reason {
            None => self.code == Code::Cancelled,
            Some(reason) => reason == Reason::Lost && !self.surely_not_sent,
        };
        let is_over = deadline <= Instant::now() + TOLD_EARLY;
        if gave_up && is_over { Self::deadline() } else { self }
    }

    /// What came back is not an answer of gRPC.
    pub(crate) fn broken(message: impl Into<Cow<'static, str>>) -> Self {
        Self::own(Code::Internal, Reason::Broken, message)
    }

    /// Whether the upstream got the call and said that it did not look at it: it closes the
    /// connection in good order (GOAWAY), or refused the stream.
    pub(crate) fn is_left_out(&self) -> bool {
        self.surely_not_sent && self.reason == Some(Reason::Lost)
    }

    /// Whether the upstream is to blame, as its breaker counts.
    ///
    /// A refusal shows that it works, and so does an error that it explains itself.
    pub(crate) fn is_fault(&self) -> bool {
        match self.reason {
            None => mesh::breaker::is_fault(&self.status()),
            Some(Reason::Unreachable | Reason::Lost | Reason::Broken | Reason::Deadline) => true,
            Some(Reason::Unknown | Reason::TooLarge | Reason::CircuitOpen) => false,
        }
    }

    /// The same as a status of tonic. One of our own carries its reason as an `ErrorInfo`.
    pub fn status(&self) -> Status {
        let Some(reason) = self.reason else {
            return Status::with_details(self.code, self.message.clone(), self.details.clone());
        };
        let detailed = mesh::error::detailed(self.code, reason.as_str(), DOMAIN, &*self.message);
        match self.retry_after {
            Some(wait) => detailed.retry_after(wait).build(),
            None => detailed.build(),
        }
    }
}

/// The time that upstreams are told is rounded down, by less than this where a call is not for days.
const TOLD_EARLY: Duration = Duration::from_millis(1);

/// Domain of the failures that are our own.
const DOMAIN: &str = "gateway.malha";
