//! Why a payment call was refused, and how that is told.

use std::time::Duration;

use mesh::error::{DetailedStatus, detailed, report};
use money::Money;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::domain::Refusal;

/// Who says so, in the `ErrorInfo` of an answer.
const DOMAIN: &str = "payments.malha";

/// Why a call was refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PaymentError {
    #[error("the amount must be above zero, with no more decimals than the currency has")]
    InvalidAmount,
    #[error("the amount must be at most {max}")]
    AmountTooLarge { max: Money },
    #[error("{field} {rule}")]
    InvalidField { field: &'static str, rule: &'static str },
    #[error("an idempotency key has 1 to 255 printable characters")]
    InvalidIdempotencyKey,
    #[error("the page token belongs to another listing")]
    InvalidPageToken,
    #[error("sender and receiver are the same")]
    SameAccount,
    #[error("customers cannot deposit or withdraw by themselves")]
    CashNotAllowed,
    #[error("these are the transactions of somebody else")]
    NotOwner,
    #[error("the sender has no account")]
    SenderHasNoAccount,
    #[error("the receiver has no account")]
    ReceiverNotFound,
    #[error("there is no such transaction")]
    NotFound,
    /// The ledger refused; nothing moved, now or later.
    #[error("the ledger refused to move the money: {}", .refusal.as_str())]
    Refused { transaction: Uuid, refusal: Refusal },
    /// The ledger was not asked and will not be; the transaction is FAILED.
    #[error("the ledger cannot be reached; nothing was moved, and nothing will be")]
    LedgerUnavailable { transaction: Uuid },
    /// The transaction is, or may be, recorded: recovery drives it to its end. Where a repeat is
    /// another payment, nobody must be invited to it.
    #[error("the outcome is not known yet; the transaction will be driven to its end")]
    OutcomePending { transaction: Uuid, repeatable: bool },
    #[error("the idempotency key was used for another request")]
    KeyReused,
    #[error("only a completed transaction can be reversed")]
    NotReversible,
    /// A neighbour failed before anything was recorded.
    #[error("another service failed")]
    Upstream(#[source] Status),
    /// The database failed; nothing was recorded.
    #[error("the payment store failed")]
    Store(#[from] storage::Error),
}

impl PaymentError {
    fn code_and_reason(&self) -> (Code, &'static str) {
        match self {
            Self::InvalidAmount | Self::AmountTooLarge { .. } => {
                (Code::InvalidArgument, "INVALID_AMOUNT")
            }
            Self::InvalidField { .. } => (Code::InvalidArgument, "INVALID_FIELD"),
            Self::InvalidIdempotencyKey => (Code::InvalidArgument, "INVALID_IDEMPOTENCY_KEY"),
            Self::InvalidPageToken => (Code::InvalidArgument, "INVALID_PAGE_TOKEN"),
            Self::SameAccount => (Code::InvalidArgument, "SAME_ACCOUNT"),
            Self::CashNotAllowed => (Code::PermissionDenied, "CASH_NOT_ALLOWED"),
            Self::NotOwner => (Code::PermissionDenied, "NOT_OWNER"),
            Self::SenderHasNoAccount => (Code::FailedPrecondition, "SENDER_HAS_NO_ACCOUNT"),
            Self::ReceiverNotFound => (Code::NotFound, "RECEIVER_NOT_FOUND"),
            Self::NotFound => (Code::NotFound, "TRANSACTION_NOT_FOUND"),
            Self::Refused { refusal, .. } => (Code::FailedPrecondition, refusal.as_str()),
            Self::LedgerUnavailable { .. } => {
                (Code::Unavailable, Refusal::LedgerUnavailable.as_str())
            }
            Self::OutcomePending { .. } => (Code::Unavailable, "OUTCOME_PENDING"),
            Self::KeyReused => (Code::FailedPrecondition, "IDEMPOTENCY_KEY_REUSED"),
            Self::NotReversible => (Code::FailedPrecondition, "NOT_REVERSIBLE"),
            Self::Upstream(status) => match status.code() {
                Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => {
                    (Code::Unavailable, "UPSTREAM_UNAVAILABLE")
                }
                _ => (Code::Internal, "INTERNAL"),
            },
            Self::Store(error) => error.code_and_reason(),
        }
    }

    fn detail(&self, status: DetailedStatus) -> DetailedStatus {
        match self {
            Self::InvalidAmount | Self::AmountTooLarge { .. } => {
                status.field("amount", self.to_string())
            }
            Self::InvalidField { field, rule } => status.field(*field, *rule),
            Self::InvalidPageToken => status.field("page_token", self.to_string()),
            Self::SameAccount => status.field("receiver_user_id", self.to_string()),
            Self::LedgerUnavailable { transaction }
            | Self::OutcomePending { transaction, repeatable: true } => {
                let status = status.metadata("transactionId", transaction.to_string());
                status.retry_after(Duration::from_secs(1))
            }
            Self::Refused { transaction, .. }
            | Self::OutcomePending { transaction, repeatable: false } => {
                status.metadata("transactionId", transaction.to_string())
            }
            _ => status,
        }
    }
}

impl From<PaymentError> for Status {
    fn from(error: PaymentError) -> Self {
        let (code, reason) = error.code_and_reason();
        // It has no cause to log, and says itself whether to come again.
        let status = if matches!(error, PaymentError::OutcomePending { .. }) {
            detailed(code, reason, DOMAIN, error.to_string())
        } else {
            report(code, reason, DOMAIN, &error)
        };
        error.detail(status).build()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tonic_types::StatusExt;

    use super::*;

    #[test]
    fn a_refusal_names_its_reason_and_its_transaction() {
        let transaction = Uuid::now_v7();
        let refused = PaymentError::Refused { transaction, refusal: Refusal::InsufficientFunds };

        let status = Status::from(refused);

        assert_eq!(status.code(), Code::FailedPrecondition);
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INSUFFICIENT_FUNDS", DOMAIN));
        assert_eq!(info.metadata["transactionId"], transaction.to_string());
    }

    #[test]
    fn only_what_a_repeat_does_not_double_is_asked_for_again() {
        let transaction = Uuid::now_v7();
        for (error, is_repeatable) in [
            (PaymentError::OutcomePending { transaction, repeatable: true }, true),
            (PaymentError::OutcomePending { transaction, repeatable: false }, false),
            (PaymentError::LedgerUnavailable { transaction }, true),
        ] {
            let status = Status::from(error);

            assert_eq!(status.code(), Code::Unavailable);
            assert_eq!(mesh::error::retry_after(&status).is_some(), is_repeatable);
            let info = status.get_details_error_info().unwrap();
            assert_eq!(info.metadata["transactionId"], transaction.to_string());
        }
    }

    #[test]
    fn a_neighbours_text_is_not_passed_on() {
        for (code, told) in [
            (Code::Unavailable, Code::Unavailable),
            (Code::DeadlineExceeded, Code::Unavailable),
            (Code::PermissionDenied, Code::Internal),
        ] {
            let status = Status::from(PaymentError::Upstream(Status::new(code, "secret")));
            assert_eq!(status.code(), told);
            assert!(!status.message().contains("secret"));
        }
    }

    /// Reasons are part of the contract: programs branch on them.
    #[test]
    fn a_store_that_failed_is_told_with_its_reason() {
        let unavailable = storage::Error::Unavailable(sqlx::Error::PoolClosed);
        let bug = storage::Error::Other(sqlx::Error::RowNotFound);
        for (error, code, reason, is_retryable) in [
            (unavailable, Code::Unavailable, "STORE_UNAVAILABLE", true),
            (bug, Code::Internal, "STORE_FAILED", false),
        ] {
            let status = Status::from(PaymentError::Store(error));
            assert_eq!(status.code(), code, "{reason}");
            assert_eq!(mesh::error::reason(&status).as_deref(), Some(reason));
            assert_eq!(mesh::error::retry_after(&status).is_some(), is_retryable, "{reason}");
        }
    }
}
