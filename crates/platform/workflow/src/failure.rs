//! Why an attempt failed, and whether another may succeed.

use tonic::Code;

/// Longest message that is kept, in bytes.
const MESSAGE_MAX: usize = 1_000;

/// Why an attempt at a step failed. Reason and message are stored and shown to operators: neither holds
/// secrets or personal data.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message} ({reason})")]
pub struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) reason: String,
    pub(crate) message: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FailureKind {
    /// Another attempt may succeed; whether this one had its effect is not known.
    Again,
    /// Under this key nothing was done, and nothing will be.
    Refused,
    /// The stored state is not what the definition reads.
    Unreadable,
}

impl Failure {
    /// The attempt brought no answer, or one that may change: the step is tried again as its
    /// [`Retry`](crate::Retry) says. Once it is given up, its effect is in doubt, so its compensation
    /// runs too.
    pub fn again(reason: &str, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Again, reason, message.into())
    }

    /// The step was refused for good: under its key nothing was done, and nothing will be. It is not
    /// tried again, and there is nothing of it to compensate.
    pub fn refused(reason: &str, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Refused, reason, message.into())
    }

    pub(crate) fn unreadable(error: &serde_json::Error) -> Self {
        // The category alone: the text of the error may show what was read.
        let message = format!("the stored state cannot be read ({:?})", error.classify());
        Self::new(FailureKind::Unreadable, "STATE_UNREADABLE", message)
    }

    /// A stable name, `SCREAMING_SNAKE`.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// A sentence for operators.
    pub fn message(&self) -> &str {
        &self.message
    }

    fn new(kind: FailureKind, reason: &str, mut message: String) -> Self {
        // PostgreSQL keeps no U+0000.
        message.retain(|character| character != '\0');
        message.truncate(message.floor_char_boundary(MESSAGE_MAX));
        Self { kind, reason: reason.replace('\0', ""), message }
    }
}

/// What a callee says in its contract decides: an answer that a repeat would get too is a refusal.
impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        let code = status.code();
        let reason = mesh::error::reason(&status);
        let reason = reason.unwrap_or_else(|| format!("{code:?}").to_uppercase());
        match code {
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented => Self::refused(&reason, status.message()),
            _ => Self::again(&reason, status.message()),
        }
    }
}

impl From<storage::Error> for Failure {
    fn from(error: storage::Error) -> Self {
        tracing::warn!(?error, "a step could not use its database");
        Self::again(error.code_and_reason().1, error.to_string())
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        storage::Error::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_repeat_would_not_change_is_refused() {
        for (code, kind) in [
            (Code::FailedPrecondition, FailureKind::Refused),
            (Code::NotFound, FailureKind::Refused),
            (Code::InvalidArgument, FailureKind::Refused),
            (Code::Unavailable, FailureKind::Again),
            (Code::DeadlineExceeded, FailureKind::Again),
            (Code::Internal, FailureKind::Again),
            (Code::Unknown, FailureKind::Again),
            (Code::Aborted, FailureKind::Again),
        ] {
            let status = mesh::error::status(code, "A_REASON", "x.malha", "told");
            let failure = Failure::from(status);
            assert_eq!((failure.kind, failure.reason()), (kind, "A_REASON"), "{code:?}");
        }
        assert_eq!(Failure::from(tonic::Status::unavailable("gone")).reason(), "UNAVAILABLE");
    }

    #[test]
    fn what_is_kept_is_short_and_can_be_stored() {
        let failure = Failure::again("R", format!("\0{}", "é".repeat(2_000)));
        assert_eq!(failure.message(), "é".repeat(500));
    }
}
