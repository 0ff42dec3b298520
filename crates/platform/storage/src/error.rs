//! What a caller can do about a failed statement. The only reader of SQLSTATE.

use std::io;

use tonic::Code;

/// A failure of the database, sorted by what the caller can do about it.
///
/// Messages carry neither SQL nor values; the source does, and is for the log of an engineer at
/// most.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server cannot be reached, is starting, stopping or overloaded, or a time limit of a
    /// statement ran out.
    ///
    /// When it came from a commit, whether the commit happened is not known: try again only under
    /// the same id.
    #[error("the database is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// Another transaction was in the way. Nothing was written; the transaction can be run again at
    /// once.
    #[error("a concurrent transaction was in the way")]
    Conflict(#[source] sqlx::Error),
    /// A row with this key exists already. Nothing was written.
    #[error("a row breaks the unique constraint {constraint}")]
    Unique {
        /// Name of the constraint, or of the index behind it.
        constraint: String,
    },
    /// A mistake of ours: a statement, a type or a policy that the database refused.
    #[error("the database refused a statement")]
    Other(#[source] sqlx::Error),
}

impl Error {
    /// How a service tells its caller of it: a gRPC code and a stable reason.
    pub fn code_and_reason(&self) -> (Code, &'static str) {
        match self {
            Self::Unavailable(_) => (Code::Unavailable, "STORE_UNAVAILABLE"),
            Self::Conflict(_) => (Code::Aborted, "WRITE_CONFLICT"),
            // A key that may be taken is a refusal of the service's own.
            Self::Unique { .. } | Self::Other(_) => (Code::Internal, "STORE_FAILED"),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Unavailable(error),
            sqlx::Error::Database(refusal) => match refusal.code().as_deref().map(class) {
                Some(Class::Conflict) => Self::Conflict(error),
                Some(Class::Unavailable) => Self::Unavailable(error),
                Some(Class::Unique) => {
                    Self::Unique { constraint: refusal.constraint().unwrap_or_default().into() }
                }
                Some(Class::Other) | None => Self::Other(error),
            },
            _ => Self::Other(error),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        sqlx::Error::Io(error).into()
    }
}

#[derive(Debug, PartialEq)]
enum Class {
    Unavailable,
    Conflict,
    Unique,
    Other,
}

fn class(sqlstate: &str) -> Class {
    match sqlstate {
        // serialization_failure, deadlock_detected
        "40001" | "40P01" => Class::Conflict,
        "23505" => Class::Unique,
        // read_only_sql_transaction: the server became a standby. invalid_catalog_name: it is being
        // restored. idle_in_transaction_session_timeout, lock_not_available, query_canceled: a time
        // limit of the role.
        "25006" | "3D000" | "25P03" | "55P03" | "57014" => Class::Unavailable,
        // connection_exception, insufficient_resources, system_error; admin_shutdown,
        // crash_shutdown, cannot_connect_now, database_dropped, idle_session_timeout
        code if ["08", "53", "58", "57P"].iter().any(|class| code.starts_with(class)) => {
            Class::Unavailable
        }
        _ => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_are_sorted_by_what_the_caller_can_do() {
        for (sqlstate, expected) in [
            ("40001", Class::Conflict),
            ("40P01", Class::Conflict),
            ("23505", Class::Unique),
            ("08006", Class::Unavailable),
            ("53300", Class::Unavailable),
            ("57P01", Class::Unavailable),
            ("57P03", Class::Unavailable),
            ("57014", Class::Unavailable),
            ("55P03", Class::Unavailable),
            ("25006", Class::Unavailable),
            ("23503", Class::Other),
            ("42501", Class::Other),
            ("42601", Class::Other),
        ] {
            assert_eq!(class(sqlstate), expected, "{sqlstate}");
        }
    }

    #[test]
    fn callers_are_told_whether_a_repeat_may_succeed() {
        let source = || sqlx::Error::RowNotFound;
        for (error, told) in [
            (Error::Unavailable(source()), (Code::Unavailable, "STORE_UNAVAILABLE")),
            (Error::Conflict(source()), (Code::Aborted, "WRITE_CONFLICT")),
            (Error::Unique { constraint: "x".into() }, (Code::Internal, "STORE_FAILED")),
            (Error::Other(source()), (Code::Internal, "STORE_FAILED")),
        ] {
            assert_eq!(error.code_and_reason(), told);
        }
    }

    #[test]
    fn a_lost_connection_and_a_full_pool_are_unavailable() {
        let lost = io::Error::from(io::ErrorKind::BrokenPipe);

        assert!(matches!(Error::from(lost), Error::Unavailable(_)));
        assert!(matches!(Error::from(sqlx::Error::PoolTimedOut), Error::Unavailable(_)));
    }
}
