//! What can go wrong, and how it is told.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use auth::SignerError;
use sealing::SealError;
use tonic::{Code, Status};

use crate::passwords::HashError;

/// Domain of this service's errors.
const DOMAIN: &str = "identity.malha";

/// Wait before a repeat of a registration that is not complete.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// A refused or failed call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// A field breaks a rule that its contract cannot say.
    #[error("the request has a field that cannot be accepted")]
    InvalidField { field: &'static str, rule: &'static str },
    /// No such e-mail, or not its password.
    #[error("e-mail or password is wrong")]
    InvalidCredentials,
    /// Unknown, expired, used before, or of a session that has ended.
    #[error("the refresh token is not valid")]
    InvalidRefreshToken,
    /// The e-mail is locked.
    #[error("too many attempts; wait before the next")]
    TooManyAttempts { retry_after: Duration },
    /// No user with this id in the tenant.
    #[error("there is no such user")]
    UserNotFound,
    /// The setting is off.
    #[error("development tokens are switched off")]
    DevelopmentTokensOff,
    /// Account or profile of the user could not be made yet. A repeat completes them.
    #[error("the registration is not complete yet; repeat it")]
    Provisioning,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] storage::Error),
    /// The signing key was sealed under another key-encryption key.
    #[error("the signing key cannot be opened with this key-encryption key")]
    SealedKey { kid: String },
    /// A key or a hash could not be made or used.
    #[error("a cryptographic operation failed")]
    Crypto,
}

impl IdentityError {
    fn code_and_reason(&self) -> (Code, &'static str) {
        match self {
            Self::InvalidField { .. } => (Code::InvalidArgument, "INVALID_FIELD"),
            Self::InvalidCredentials => (Code::Unauthenticated, "INVALID_CREDENTIALS"),
            Self::InvalidRefreshToken => (Code::Unauthenticated, "INVALID_REFRESH_TOKEN"),
            Self::TooManyAttempts { .. } => (Code::ResourceExhausted, "TOO_MANY_ATTEMPTS"),
            Self::UserNotFound => (Code::NotFound, "USER_NOT_FOUND"),
            Self::DevelopmentTokensOff => (Code::PermissionDenied, "DEVELOPMENT_TOKENS_OFF"),
            Self::Provisioning => (Code::Unavailable, "PROVISIONING_INCOMPLETE"),
            Self::Store(error) => error.code_and_reason(),
            Self::SealedKey { .. } | Self::Crypto => (Code::Internal, "CRYPTO_FAILED"),
        }
    }
}

impl From<IdentityError> for Status {
    fn from(error: IdentityError) -> Self {
        let (code, reason) = error.code_and_reason();
        let status = mesh::error::report(code, reason, DOMAIN, &error);
        match error {
            IdentityError::InvalidField { field, rule } => status.field(field, rule),
            IdentityError::TooManyAttempts { retry_after } => status.retry_after(retry_after),
            IdentityError::Provisioning => status.retry_after(RETRY_DELAY),
            _ => status,
        }
        .build()
    }
}

impl From<sqlx::Error> for IdentityError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<HashError> for IdentityError {
    fn from(_: HashError) -> Self {
        Self::Crypto
    }
}

impl From<SealError> for IdentityError {
    fn from(_: SealError) -> Self {
        Self::Crypto
    }
}

impl From<SignerError> for IdentityError {
    fn from(_: SignerError) -> Self {
        Self::Crypto
    }
}

/// Why identity could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key-encryption key cannot be read.
    #[error("cannot read identity.key_encryption_key {path}: {source}", path = path.display())]
    KeyEncryptionKey {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// The cost of Argon2id is outside its limits.
    #[error("identity.passwords must be a valid cost of Argon2id (RFC 9106)")]
    Passwords,
    /// The schema could not be brought up to date.
    #[error(transparent)]
    Migrate(#[from] storage::MigrateError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] storage::Error),
    /// The signing key in the database was sealed under another key-encryption key.
    #[error("the signing key {kid} cannot be opened with identity.key_encryption_key")]
    SealedKey {
        /// Id of the signing key.
        kid: String,
    },
    /// A signing key could not be made.
    #[error("cannot make a signing key")]
    Crypto,
}

impl From<IdentityError> for StartError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Store(error) => Self::Store(error),
            IdentityError::SealedKey { kid } => Self::SealedKey { kid },
            _ => Self::Crypto,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn errors_carry_stable_reasons_and_hide_their_source() {
        let database = |error| IdentityError::Store(storage::Error::Other(error));
        let table = [
            (IdentityError::InvalidCredentials, Code::Unauthenticated, "INVALID_CREDENTIALS"),
            (IdentityError::InvalidRefreshToken, Code::Unauthenticated, "INVALID_REFRESH_TOKEN"),
            (IdentityError::UserNotFound, Code::NotFound, "USER_NOT_FOUND"),
            (IdentityError::Provisioning, Code::Unavailable, "PROVISIONING_INCOMPLETE"),
            (sqlx::Error::PoolTimedOut.into(), Code::Unavailable, "STORE_UNAVAILABLE"),
            (
                database(sqlx::Error::Protocol("secret text".to_owned())),
                Code::Internal,
                "STORE_FAILED",
            ),
        ];
        for (error, code, reason) in table {
            let status = Status::from(error);

            assert_eq!(status.code(), code);
            assert_eq!(mesh::error::reason(&status).as_deref(), Some(reason));
            assert!(!status.message().contains("secret"));
        }
    }

    #[test]
    fn a_lock_says_when_it_ends() {
        let retry_after = Duration::from_secs(42);

        let status = Status::from(IdentityError::TooManyAttempts { retry_after });

        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(mesh::error::retry_after(&status), Some(retry_after));
    }
}
