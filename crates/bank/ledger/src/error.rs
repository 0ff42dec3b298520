//! Why a call fails. A refused item is no failure: it is a result.

use std::borrow::Cow;
use std::time::Duration;

use engine::{OpenError, QueryError};
use tonic::{Code, Status};

/// When a call may come back that found the ledger stopped or being stopped.
const RESTART_RETRY: Duration = Duration::from_secs(1);

/// Why a call on the ledger failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum LedgerError {
    /// A field cannot be what it is, such as an id that is no UUID.
    #[error("{field}: {rule}")]
    InvalidField {
        /// Path of the field in the request.
        field: String,
        /// The rule that it breaks.
        rule: Cow<'static, str>,
    },
    /// The tenant has no such account.
    #[error("there is no such account")]
    AccountNotFound,
    /// The tenant has no such transfer.
    #[error("there is no such transfer")]
    TransferNotFound,
    /// The ledger has never had that size.
    #[error("the ledger has no head of this size")]
    HeadNotFound,
    /// The journal has failed. Whether what was asked for happened is not known.
    #[error("the ledger has stopped")]
    Stopped,
    /// What is on disk cannot be read.
    #[error("the ledger cannot read its files")]
    Unreadable(#[source] QueryError),
    /// Somebody has as many change streams as anybody may have at a time.
    #[error("there are {max} streams of yours already: close one")]
    TooManyStreams {
        /// How many there may be.
        max: usize,
    },
    /// The service is being stopped while somebody watches.
    #[error("the ledger is being stopped")]
    Stopping,
}

impl LedgerError {
    pub(crate) fn invalid(field: impl Into<String>, rule: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidField { field: field.into(), rule: rule.into() }
    }

    /// Completes the path of a field of an item: `id` becomes `transfers[3].id`.
    pub(crate) fn within(self, list: &str, index: usize) -> Self {
        match self {
            Self::InvalidField { field, rule } if field.is_empty() => {
                Self::invalid(format!("{list}[{index}]"), rule)
            }
            Self::InvalidField { field, rule } => {
                Self::invalid(format!("{list}[{index}].{field}"), rule)
            }
            error => error,
        }
    }

    fn code_and_reason(&self) -> (Code, &'static str) {
        match self {
            Self::InvalidField { .. } => (Code::InvalidArgument, "INVALID_FIELD"),
            Self::AccountNotFound => (Code::NotFound, "ACCOUNT_NOT_FOUND"),
            Self::TransferNotFound => (Code::NotFound, "TRANSFER_NOT_FOUND"),
            Self::HeadNotFound => (Code::NotFound, "HEAD_NOT_FOUND"),
            Self::Stopped => (Code::Unavailable, "JOURNAL_FAILED"),
            Self::Unreadable(_) => (Code::Internal, "JOURNAL_UNREADABLE"),
            Self::TooManyStreams { .. } => (Code::ResourceExhausted, "TOO_MANY_STREAMS"),
            Self::Stopping => (Code::Unavailable, "STOPPING"),
        }
    }
}

impl From<engine::Stopped> for LedgerError {
    fn from(_: engine::Stopped) -> Self {
        Self::Stopped
    }
}

impl From<QueryError> for LedgerError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Stopped => Self::Stopped,
            error @ QueryError::Unreadable(_) => Self::Unreadable(error),
        }
    }
}

impl From<LedgerError> for Status {
    fn from(error: LedgerError) -> Self {
        let (code, reason) = error.code_and_reason();
        let status = mesh::error::report(code, reason, "ledger.malha", &error);
        match error {
            LedgerError::InvalidField { field, rule } => status.field(field, rule),
            LedgerError::Stopped | LedgerError::Stopping => status.retry_after(RESTART_RETRY),
            LedgerError::AccountNotFound
            | LedgerError::TransferNotFound
            | LedgerError::HeadNotFound
            | LedgerError::TooManyStreams { .. }
            | LedgerError::Unreadable(_) => status,
        }
        .build()
    }
}

/// Why the ledger cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its files cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Opening it came to no end.
    #[error("the ledger could not be started: {0}")]
    Cut(#[from] tokio::task::JoinError),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_code_and_reason() {
        let unreadable = QueryError::Unreadable("/secret/path".to_owned());
        for (error, code, reason, retry_ms) in [
            (LedgerError::invalid("id", "no"), Code::InvalidArgument, "INVALID_FIELD", None),
            (LedgerError::AccountNotFound, Code::NotFound, "ACCOUNT_NOT_FOUND", None),
            (LedgerError::TransferNotFound, Code::NotFound, "TRANSFER_NOT_FOUND", None),
            (LedgerError::HeadNotFound, Code::NotFound, "HEAD_NOT_FOUND", None),
            (engine::Stopped.into(), Code::Unavailable, "JOURNAL_FAILED", Some(1_000)),
            (QueryError::Stopped.into(), Code::Unavailable, "JOURNAL_FAILED", Some(1_000)),
            (unreadable.into(), Code::Internal, "JOURNAL_UNREADABLE", None),
            (LedgerError::Stopping, Code::Unavailable, "STOPPING", Some(1_000)),
        ] {
            let status = Status::from(error);
            assert_eq!(status.code(), code);
            assert_eq!(mesh::error::reason(&status).as_deref(), Some(reason));
            let retry = mesh::error::retry_after(&status);
            assert_eq!(retry, retry_ms.map(Duration::from_millis), "{reason}");
            assert!(!status.message().contains("secret"), "what is on disk is for engineers");
        }
    }

    #[test]
    fn a_field_of_an_item_is_named_with_its_place() {
        for (inner, path) in [("id", "transfers[3].id"), ("", "transfers[3]")] {
            let error = LedgerError::invalid(inner, "must be so").within("transfers", 3);
            assert_eq!(error.to_string(), format!("{path}: must be so"));
        }
    }
}
