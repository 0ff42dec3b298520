use tonic::{Code, Status};

/// Why a call on accounts was refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    /// The user has no open account in the currency.
    #[error("there is no such account")]
    NotFound,
    /// A field breaks a rule.
    #[error("{field}: {rule}")]
    InvalidField {
        /// Path of the field in the request.
        field: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The page token is none, or of another account.
    #[error("the page token is not one of this statement")]
    InvalidPageToken,
    /// The ledger did not answer, or could not do it now.
    #[error("the ledger did not do it")]
    Ledger(#[source] Box<Status>),
    /// The ledger's answer contradicts what accounts know.
    #[error("the ledger holds something else for this account")]
    LedgerInconsistent,
    /// The database did not do it.
    #[error("{0}")]
    Store(#[from] storage::Error),
}

impl AccountError {
    pub(crate) fn invalid(field: &'static str, rule: &'static str) -> Self {
        Self::InvalidField { field, rule }
    }

    fn code_and_reason(&self) -> (Code, &'static str) {
        match self {
            Self::NotFound => (Code::NotFound, "ACCOUNT_NOT_FOUND"),
            Self::InvalidField { .. } => (Code::InvalidArgument, "INVALID_FIELD"),
            Self::InvalidPageToken => (Code::InvalidArgument, "INVALID_PAGE_TOKEN"),
            Self::Ledger(status) => match status.code() {
                Code::Unavailable | Code::ResourceExhausted | Code::Aborted => {
                    (Code::Unavailable, "LEDGER_UNAVAILABLE")
                }
                Code::DeadlineExceeded => (Code::DeadlineExceeded, "LEDGER_TIMEOUT"),
                _ => (Code::Internal, "LEDGER_FAILED"),
            },
            Self::LedgerInconsistent => (Code::Internal, "LEDGER_INCONSISTENT"),
            Self::Store(error) => error.code_and_reason(),
        }
    }
}

impl From<sqlx::Error> for AccountError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<AccountError> for Status {
    fn from(error: AccountError) -> Self {
        let (code, reason) = error.code_and_reason();
        let status = mesh::error::report(code, reason, "accounts.malha", &error);
        match error {
            AccountError::InvalidField { field, rule } => status.field(field, rule),
            _ => status,
        }
        .build()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn unavailable() -> storage::Error {
        storage::Error::Unavailable(sqlx::Error::PoolClosed)
    }

    /// Reasons are part of the contract: programs branch on them.
    #[test]
    fn every_refusal_has_its_code_and_reason() {
        let ledger = |code| AccountError::Ledger(Box::new(Status::new(code, "secret")));
        for (error, code, reason, is_retryable) in [
            (AccountError::NotFound, Code::NotFound, "ACCOUNT_NOT_FOUND", false),
            (AccountError::invalid("x", "y"), Code::InvalidArgument, "INVALID_FIELD", false),
            (AccountError::InvalidPageToken, Code::InvalidArgument, "INVALID_PAGE_TOKEN", false),
            (AccountError::LedgerInconsistent, Code::Internal, "LEDGER_INCONSISTENT", false),
            (ledger(Code::Unavailable), Code::Unavailable, "LEDGER_UNAVAILABLE", true),
            (ledger(Code::ResourceExhausted), Code::Unavailable, "LEDGER_UNAVAILABLE", true),
            (ledger(Code::DeadlineExceeded), Code::DeadlineExceeded, "LEDGER_TIMEOUT", true),
            (ledger(Code::PermissionDenied), Code::Internal, "LEDGER_FAILED", false),
            (AccountError::Store(unavailable()), Code::Unavailable, "STORE_UNAVAILABLE", true),
        ] {
            let status = Status::from(error);
            assert_eq!(status.code(), code, "{reason}");
            assert_eq!(mesh::error::reason(&status).as_deref(), Some(reason));
            assert_eq!(mesh::error::retry_after(&status).is_some(), is_retryable, "{reason}");
            assert!(!status.message().contains("secret"));
        }
    }
}
