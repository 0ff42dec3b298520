//! Why a call fails. A refused item is no failure: it is a result.

use std::time::Duration;

use tonic::{Code, Status};

use crate::journal::JournalError;

/// Why a call on the ledger failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum LedgerError {
    /// A field cannot be what it is, such as an id that is no UUID.
    #[error("{field}: {rule}")]
    InvalidField {
        /// Path of the field in the request.
        field: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The tenant has no such account.
    #[error("there is no such account")]
    AccountNotFound,
    /// The journal has failed. Whether what was asked for happened is not known.
    #[error("the ledger has stopped")]
    Stopped,
}

impl LedgerError {
    pub(crate) fn invalid(field: impl Into<String>, rule: &'static str) -> Self {
        Self::InvalidField { field: field.into(), rule }
    }

    fn code_and_reason(&self) -> (Code, &'static str) {
        match self {
            Self::InvalidField { .. } => (Code::InvalidArgument, "INVALID_FIELD"),
            Self::AccountNotFound => (Code::NotFound, "ACCOUNT_NOT_FOUND"),
            Self::Stopped => (Code::Unavailable, "JOURNAL_FAILED"),
        }
    }
}

impl From<LedgerError> for Status {
    fn from(error: LedgerError) -> Self {
        let (code, reason) = error.code_and_reason();
        let status = mesh::error::detailed(code, reason, "ledger.malha", error.to_string());
        match error {
            LedgerError::InvalidField { field, rule } => status.field(field, rule),
            LedgerError::AccountNotFound => status,
            LedgerError::Stopped => status.retry_after(Duration::from_secs(1)),
        }
        .build()
    }
}

/// Why the ledger cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The operating system gives no threads.
    #[error("the ledger could not be started: {0}")]
    Threads(#[from] std::io::Error),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_code_and_reason() {
        for (error, code, reason) in [
            (LedgerError::invalid("id", "must be a UUID"), Code::InvalidArgument, "INVALID_FIELD"),
            (LedgerError::AccountNotFound, Code::NotFound, "ACCOUNT_NOT_FOUND"),
            (LedgerError::Stopped, Code::Unavailable, "JOURNAL_FAILED"),
        ] {
            let status = Status::from(error);
            assert_eq!(status.code(), code);
            assert_eq!(mesh::error::reason(&status).as_deref(), Some(reason));
        }
        let status = Status::from(LedgerError::Stopped);
        assert_eq!(mesh::error::retry_after(&status), Some(Duration::from_secs(1)));
    }
}
