//! What can go wrong, and how it is told.

use ::events::EventError;
use sealing::SealError;
use tonic::{Code, Status};

use crate::domain::Broken;
use crate::domain::inbound::Refused;
use crate::domain::signature::Forged;

/// Domain of this service's errors.
const DOMAIN: &str = "webhooks.malha";

/// Why a call on webhooks was refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    /// A field breaks a rule that its contract cannot say.
    #[error("{}: {}", .0.field, .0.rule)]
    InvalidField(Broken),
    /// There is no such endpoint.
    #[error("there is no such endpoint")]
    EndpointNotFound,
    /// There is no such delivery.
    #[error("there is no such delivery")]
    DeliveryNotFound,
    /// There is no such message, or it was sent to no such endpoint.
    #[error("there is no such message, or it was not for this endpoint")]
    MessageNotFound,
    /// There is no such provider.
    #[error("there is no such provider")]
    ProviderNotFound,
    /// The endpoint is disabled: what is asked for would only wait.
    #[error("the endpoint is disabled; enable it first")]
    EndpointDisabled,
    /// The span holds more messages than one replay takes.
    #[error("the span holds more than {max} messages; ask for shorter ones, one after the other")]
    RangeTooLarge { max: i64 },
    /// No secret of the provider made the signature.
    #[error("no secret of the provider made the signature")]
    SignatureInvalid,
    /// The signature is too old or too new.
    #[error("the signature was made too long ago, or its time is yet to come")]
    TimestampOutOfTolerance,
    /// The message has no id where its provider's messages have one.
    #[error("the message has no id where its provider's messages have one")]
    MessageIdMissing,
    /// A body is larger than what is kept.
    #[error("the body is larger than {max} bytes")]
    BodyTooLarge { max: usize },
    /// What happened cannot be published: a mistake of ours.
    #[error("an event cannot be told")]
    Event(#[from] EventError),
    /// A secret cannot be encrypted or decrypted.
    #[error("a secret cannot be used")]
    Secret,
    /// The database did not do it.
    #[error("the store failed")]
    Store(#[from] storage::Error),
}

impl WebhookError {
    fn code_and_reason(&self) -> (Code, &'static str) {
        match self {
            Self::InvalidField(_) => (Code::InvalidArgument, "INVALID_FIELD"),
            Self::EndpointNotFound => (Code::NotFound, "ENDPOINT_NOT_FOUND"),
            Self::DeliveryNotFound => (Code::NotFound, "DELIVERY_NOT_FOUND"),
            Self::MessageNotFound => (Code::NotFound, "MESSAGE_NOT_FOUND"),
            Self::ProviderNotFound => (Code::NotFound, "PROVIDER_NOT_FOUND"),
            Self::EndpointDisabled => (Code::FailedPrecondition, "ENDPOINT_DISABLED"),
            Self::RangeTooLarge { .. } => (Code::InvalidArgument, "RANGE_TOO_LARGE"),
            Self::SignatureInvalid => (Code::Unauthenticated, "SIGNATURE_INVALID"),
            Self::TimestampOutOfTolerance => (Code::Unauthenticated, "TIMESTAMP_OUT_OF_TOLERANCE"),
            Self::MessageIdMissing => (Code::InvalidArgument, "MESSAGE_ID_MISSING"),
            Self::BodyTooLarge { .. } => (Code::InvalidArgument, "BODY_TOO_LARGE"),
            Self::Event(_) => (Code::Internal, "EVENT_INVALID"),
            Self::Secret => (Code::Internal, "SECRET_UNUSABLE"),
            Self::Store(error) => error.code_and_reason(),
        }
    }
}

impl From<WebhookError> for Status {
    fn from(error: WebhookError) -> Self {
        let (code, reason) = error.code_and_reason();
        let status = mesh::error::report(code, reason, DOMAIN, &error);
        match error {
            WebhookError::InvalidField(Broken { field, rule }) => status.field(field, rule),
            _ => status,
        }
        .build()
    }
}

impl From<Broken> for WebhookError {
    fn from(broken: Broken) -> Self {
        Self::InvalidField(broken)
    }
}

impl From<Refused> for WebhookError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Forged(Forged::Signature) => Self::SignatureInvalid,
            Refused::Forged(Forged::Timestamp) => Self::TimestampOutOfTolerance,
            Refused::NoId => Self::MessageIdMissing,
        }
    }
}

impl From<SealError> for WebhookError {
    fn from(_: SealError) -> Self {
        Self::Secret
    }
}

impl From<sqlx::Error> for WebhookError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Reasons are part of the contract: programs branch on them.
    #[test]
    fn every_refusal_has_its_code_and_reason() {
        let broken = Broken { field: "endpoint.url", rule: "must be a URL" };
        let unavailable = storage::Error::Unavailable(sqlx::Error::PoolClosed);
        for (error, code, reason, is_retryable) in [
            (broken.into(), Code::InvalidArgument, "INVALID_FIELD", false),
            (WebhookError::EndpointNotFound, Code::NotFound, "ENDPOINT_NOT_FOUND", false),
            (WebhookError::DeliveryNotFound, Code::NotFound, "DELIVERY_NOT_FOUND", false),
            (WebhookError::MessageNotFound, Code::NotFound, "MESSAGE_NOT_FOUND", false),
            (WebhookError::ProviderNotFound, Code::NotFound, "PROVIDER_NOT_FOUND", false),
            (WebhookError::EndpointDisabled, Code::FailedPrecondition, "ENDPOINT_DISABLED", false),
            (
                WebhookError::RangeTooLarge { max: 1 },
                Code::InvalidArgument,
                "RANGE_TOO_LARGE",
                false,
            ),
            (WebhookError::BodyTooLarge { max: 1 }, Code::InvalidArgument, "BODY_TOO_LARGE", false),
            (Refused::NoId.into(), Code::InvalidArgument, "MESSAGE_ID_MISSING", false),
            (
                Refused::Forged(Forged::Signature).into(),
                Code::Unauthenticated,
                "SIGNATURE_INVALID",
                false,
            ),
            (
                Refused::Forged(Forged::Timestamp).into(),
                Code::Unauthenticated,
                "TIMESTAMP_OUT_OF_TOLERANCE",
                false,
            ),
            (SealError.into(), Code::Internal, "SECRET_UNUSABLE", false),
            (WebhookError::Store(unavailable), Code::Unavailable, "STORE_UNAVAILABLE", true),
        ] {
            let status = Status::from(error);
            assert_eq!(status.code(), code, "{reason}");
            assert_eq!(mesh::error::reason(&status).as_deref(), Some(reason));
            assert_eq!(mesh::error::retry_after(&status).is_some(), is_retryable, "{reason}");
        }
    }
}
