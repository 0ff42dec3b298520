//! gRPC errors with `google.rpc` details, written and read.

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use contracts::{Validate, ValidationError};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// Domain of the errors that the mesh itself answers.
pub(crate) const DOMAIN: &str = "mesh.malha";

/// Why a service could not join or serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeshError {
    /// A file of the certificate folder cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The certificates of the folder cannot be used together.
    #[error("certificates of `{name}` in {folder} cannot be used: {reason}", folder = folder.display())]
    Certificates {
        /// Member whose certificate it is.
        name: String,
        /// Where the files are.
        folder: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The reflection service could not be built from the contracts.
    #[error("cannot describe the service: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// What the service cannot do without has failed, see [`Service::fatal`](crate::Service::fatal).
    #[error("{0}")]
    Fatal(String),
    /// The threads that serve could not be started.
    #[error("cannot serve: {0}")]
    Serve(#[from] std::io::Error),
}

/// A dependency that is away or busy is asked again after this long.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Builds a status with an `ErrorInfo`.
///
/// `reason` is stable and `SCREAMING_SNAKE`; `domain` names who says so, such as `payments.malha`.
pub fn status(code: Code, reason: &str, domain: &str, message: impl Into<String>) -> Status {
    detailed(code, reason, domain, message).build()
}

/// Begins a status with more details than an `ErrorInfo`.
pub fn detailed(
    code: Code,
    reason: &str,
    domain: &str,
    message: impl Into<String>,
) -> DetailedStatus {
    DetailedStatus {
        code,
        reason: reason.to_owned(),
        domain: domain.to_owned(),
        message: message.into(),
        metadata: HashMap::new(),
        violations: Vec::new(),
        retry_after: None,
    }
}

/// Begins the status that tells a service's own error; its text is the message.
///
/// What caused it is for engineers: it goes to the log alone. Where `code` says that a repeat may
/// succeed, the status says after how long.
pub fn report(code: Code, reason: &str, domain: &str, error: &dyn Error) -> DetailedStatus {
    let cause = error.source().map(|source| match source.source() {
        Some(root) => format!("{source}: {root}"),
        None => source.to_string(),
    });
    match (code, &cause) {
        (Code::Internal, _) => tracing::error!(domain, reason, cause, "a call failed"),
        (_, Some(_)) => tracing::warn!(domain, reason, cause, "a call failed"),
        (_, None) => {}
    }
    let status = detailed(code, reason, domain, error.to_string());
    match code {
        Code::Unavailable | Code::Aborted | Code::DeadlineExceeded => {
            status.retry_after(RETRY_AFTER)
        }
        _ => status,
    }
}

/// A status in the making; see [`detailed`] and [`report`].
#[derive(Debug)]
#[must_use = "call `build`"]
pub struct DetailedStatus {
    code: Code,
    reason: String,
    domain: String,
    message: String,
    metadata: HashMap<String, String>,
    violations: Vec<FieldViolation>,
    retry_after: Option<Duration>,
}

impl DetailedStatus {
    /// Adds a field that broke a rule (`BadRequest`).
    pub fn field(mut self, path: impl Into<String>, rule: impl Into<String>) -> Self {
        self.violations.push(FieldViolation::new(path, rule));
        self
    }

    /// Says when a repeat may succeed (`RetryInfo`).
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Adds a fact for programs to the `ErrorInfo`.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// The status.
    pub fn build(self) -> Status {
        let mut details = ErrorDetails::with_error_info(self.reason, self.domain, self.metadata);
        if !self.violations.is_empty() {
            details.set_bad_request(self.violations);
        }
        if self.retry_after.is_some() {
            details.set_retry_info(self.retry_after);
        }
        Status::with_error_details(self.code, self.message, details)
    }
}

/// Stable reason of an error, as its sender named it.
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// When a repeat may succeed, as the sender of the error said.
pub fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// Whether the call never left this process, so that nothing happened at the callee.
///
/// False means *unknown*: the call may have been carried out.
pub fn surely_not_sent(status: &Status) -> bool {
    unsent(status).is_some()
}

/// Whether the call was not sent because the upstream could not be reached.
pub(crate) fn is_unreachable(status: &Status) -> bool {
    matches!(unsent(status), Some(Unsent::Unreachable))
}

fn unsent(status: &Status) -> Option<&Unsent> {
    status.source()?.downcast_ref()
}

/// Why a call never left this process: the source of the status that its caller gets.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum Unsent {
    /// There was no connection to the upstream.
    #[error("the upstream cannot be reached")]
    Unreachable,
    /// The breaker or the deadline forbade it.
    #[error("the call was held back")]
    HeldBack,
}

/// Marks the status of a call that never left this process.
pub(crate) fn mark_unsent(mut status: Status, why: Unsent) -> Status {
    status.set_source(Arc::new(why));
    status
}

/// Takes the mark away: an earlier attempt of the same call may have been carried out.
pub(crate) fn unmark(status: &Status) -> Status {
    let (message, details) = (status.message(), status.details().to_vec().into());
    Status::with_details_and_metadata(status.code(), message, details, status.metadata().clone())
}

/// A status of the mesh itself.
pub(crate) fn mesh_status(code: Code, reason: &str, message: &str) -> Status {
    status(code, reason, DOMAIN, message)
}

/// The answer to a call whose time is over.
pub(crate) fn deadline_exceeded() -> Status {
    mesh_status(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the call took longer than allowed")
}

/// Takes the message out of a request after checking the rules of its contract.
///
/// # Errors
/// `INVALID_ARGUMENT`, reason `INVALID_FIELD`, with a violation per field.
pub fn valid<T: Validate>(request: tonic::Request<T>) -> Result<T, Status> {
    let message = request.into_inner();
    match message.validate() {
        Ok(()) => Ok(message),
        Err(error) => Err(invalid(&error)),
    }
}

fn invalid(error: &ValidationError) -> Status {
    let message = "the request breaks a rule of its contract";
    let status = detailed(Code::InvalidArgument, "INVALID_FIELD", DOMAIN, message);
    error
        .violations()
        .iter()
        .fold(status, |status, violation| {
            status
                .field(violation.field_path(), rule_text(violation.message(), violation.rule_id()))
        })
        .build()
}

fn rule_text<'a>(message: &'a str, rule_id: &'a str) -> &'a str {
    if message.is_empty() { rule_id } else { message }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use contracts::accounts::v1::OpenAccountRequest;

    use super::*;

    #[test]
    fn details_survive_the_wire() {
        let status = detailed(Code::Unavailable, "STORE_UNAVAILABLE", "x.malha", "no store")
            .retry_after(Duration::from_millis(200))
            .metadata("store", "main")
            .build();

        let response: http::Response<tonic::body::Body> = status.into_http();
        let read = Status::from_header_map(response.headers()).unwrap();

        assert_eq!(read.code(), Code::Unavailable);
        assert_eq!(reason(&read).as_deref(), Some("STORE_UNAVAILABLE"));
        assert_eq!(retry_after(&read), Some(Duration::from_millis(200)));
        assert_eq!(read.get_details_error_info().unwrap().metadata["store"], "main");
    }

    #[test]
    fn an_error_is_told_without_its_cause_and_with_a_time_where_a_repeat_may_succeed() {
        #[derive(Debug, thiserror::Error)]
        #[error("the store failed")]
        struct StoreFailed(#[source] std::io::Error);

        let error = StoreFailed(std::io::Error::other("secret"));
        for (code, is_retryable) in [
            (Code::Unavailable, true),
            (Code::Aborted, true),
            (Code::DeadlineExceeded, true),
            (Code::Internal, false),
            (Code::NotFound, false),
        ] {
            let status = report(code, "X", "x.malha", &error).build();
            assert_eq!((status.code(), reason(&status).as_deref()), (code, Some("X")));
            assert_eq!(status.message(), "the store failed");
            assert_eq!(retry_after(&status).is_some(), is_retryable, "{code:?}");
        }
    }

    #[test]
    fn every_broken_rule_is_named_with_its_field() {
        let request = OpenAccountRequest { user_id: "nobody".into(), currency: "brl".into() };

        let status = valid(tonic::Request::new(request)).unwrap_err();

        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(reason(&status).as_deref(), Some("INVALID_FIELD"));
        let broken = status.get_details_bad_request().unwrap().field_violations;
        let fields: Vec<_> = broken.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["user_id", "currency"]);
        assert!(broken.iter().all(|violation| !violation.description.is_empty()));
    }

    #[test]
    fn only_marked_errors_were_surely_not_sent() {
        let status = mesh_status(Code::Unavailable, "UPSTREAM_LOST", "gone");
        assert!(!surely_not_sent(&status));
        assert!(surely_not_sent(&mark_unsent(status, Unsent::HeldBack)));
    }
}
