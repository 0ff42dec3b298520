use tonic::{Code, Status};

/// Why a call on customers was refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CustomerError {
    /// There is no such profile.
    #[error("there is no such profile")]
    NotFound,
    /// Another profile has the e-mail address.
    #[error("the e-mail address belongs to another profile")]
    EmailTaken,
    /// A field breaks a rule.
    #[error("{field}: {rule}")]
    InvalidField {
        /// Path of the field in the request.
        field: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The database did not do it.
    #[error("{0}")]
    Store(#[from] storage::Error),
}

impl CustomerError {
    pub(crate) fn invalid(field: &str, rule: &'static str) -> Self {
        Self::InvalidField { field: field.to_owned(), rule }
    }

    fn code_and_reason(&self) -> (Code, &'static str) {
        match self {
            Self::NotFound => (Code::NotFound, "CUSTOMER_NOT_FOUND"),
            Self::EmailTaken => (Code::AlreadyExists, "EMAIL_TAKEN"),
            Self::InvalidField { .. } => (Code::InvalidArgument, "INVALID_FIELD"),
            Self::Store(error) => error.code_and_reason(),
        }
    }
}

impl From<sqlx::Error> for CustomerError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<CustomerError> for Status {
    fn from(error: CustomerError) -> Self {
        let (code, reason) = error.code_and_reason();
        let status = mesh::error::report(code, reason, "customers.malha", &error);
        match error {
            CustomerError::InvalidField { field, rule } => status.field(field, rule),
            _ => status,
        }
        .build()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Reasons are part of the contract: programs branch on them.
    #[test]
    fn every_refusal_has_its_code_and_reason() {
        let unavailable = storage::Error::Unavailable(sqlx::Error::PoolClosed);
        let bug = storage::Error::Other(sqlx::Error::RowNotFound);
        for (error, code, reason, is_retryable) in [
            (CustomerError::NotFound, Code::NotFound, "CUSTOMER_NOT_FOUND", false),
            (CustomerError::EmailTaken, Code::AlreadyExists, "EMAIL_TAKEN", false),
            (CustomerError::invalid("x", "y"), Code::InvalidArgument, "INVALID_FIELD", false),
            (CustomerError::Store(unavailable), Code::Unavailable, "STORE_UNAVAILABLE", true),
            (CustomerError::Store(bug), Code::Internal, "STORE_FAILED", false),
        ] {
            let status = Status::from(error);
            assert_eq!(status.code(), code, "{reason}");
            assert_eq!(mesh::error::reason(&status).as_deref(), Some(reason));
            assert_eq!(mesh::error::retry_after(&status).is_some(), is_retryable, "{reason}");
        }
    }
}
