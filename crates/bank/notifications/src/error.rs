use tonic::{Code, Status};

/// Why a call on notifications was refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotificationError {
    /// There is no template of that name.
    #[error("there is no such template")]
    UnknownTemplate,
    /// A field breaks a rule.
    #[error("{field}: {rule}")]
    InvalidField {
        /// Path of the field in the request.
        field: String,
        /// The rule that it breaks.
        rule: String,
    },
    /// The service ends, and with it the stream.
    #[error("the service is stopping")]
    Stopping,
    /// A template of ours cannot be filled in.
    #[error("a template is wrong")]
    Template(#[source] minijinja::Error),
    /// The database did not do it.
    #[error("{0}")]
    Store(#[from] storage::Error),
}

impl NotificationError {
    pub(crate) fn invalid(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::InvalidField { field: field.into(), rule: rule.into() }
    }

    fn code_and_reason(&self) -> (Code, &'static str) {
        match self {
            Self::UnknownTemplate => (Code::NotFound, "TEMPLATE_NOT_FOUND"),
            Self::InvalidField { .. } => (Code::InvalidArgument, "INVALID_FIELD"),
            Self::Stopping => (Code::Unavailable, "STOPPING"),
            Self::Template(_) => (Code::Internal, "TEMPLATE_FAILED"),
            Self::Store(error) => error.code_and_reason(),
        }
    }
}

impl From<sqlx::Error> for NotificationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<NotificationError> for Status {
    fn from(error: NotificationError) -> Self {
        let (code, reason) = error.code_and_reason();
        let status = mesh::error::report(code, reason, "notifications.malha", &error);
        match error {
            NotificationError::InvalidField { field, rule } => status.field(field, rule),
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
        let template = minijinja::Error::new(minijinja::ErrorKind::UndefinedError, "secret");
        for (error, code, reason) in [
            (NotificationError::UnknownTemplate, Code::NotFound, "TEMPLATE_NOT_FOUND"),
            (NotificationError::invalid("x", "y"), Code::InvalidArgument, "INVALID_FIELD"),
            (NotificationError::Stopping, Code::Unavailable, "STOPPING"),
            (NotificationError::Template(template), Code::Internal, "TEMPLATE_FAILED"),
            (NotificationError::Store(unavailable), Code::Unavailable, "STORE_UNAVAILABLE"),
        ] {
            let status = Status::from(error);
            assert_eq!(status.code(), code, "{reason}");
            assert_eq!(mesh::error::reason(&status).as_deref(), Some(reason));
            assert!(!status.message().contains("secret"));
        }
    }
}
