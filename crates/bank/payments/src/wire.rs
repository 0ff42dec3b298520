//! Messages of the contract, to and from the domain.

use auth::UserId;
use chrono::{DateTime, Utc};
use contracts::payments::v1 as pb;
use money::Money;
use prost::Message;
use prost_types::Timestamp;
use sha2::{Digest, Sha256};

use crate::domain::{self, IdempotencyKey, Kind, Order, Refusal, Status, Transaction};
use crate::error::PaymentError;
use crate::json;
use crate::store::Filter;

/// Metadata of a caller, at most, as JSON.
const METADATA_BYTES_MAX: usize = 16 * 1024;

/// Reads what `sender` asks for.
pub(crate) fn order(
    request: pb::CreateTransactionRequest,
    sender: UserId,
    amount_max: Money,
) -> Result<Order, tonic::Status> {
    let kind = kind(request.r#type())?;
    let named = optional_user(&request.receiver_user_id, "receiver_user_id")?;
    if request.description.contains('\0') {
        return Err(PaymentError::InvalidField { field: "description", rule: json::NO_NUL }.into());
    }
    Ok(Order {
        kind,
        sender,
        receiver: domain::receiver(kind, sender, named)?,
        amount: domain::amount(&request.amount, amount_max)?,
        description: request.description,
        metadata: request.metadata.map(metadata).transpose()?,
    })
}

/// Reads an idempotency key together with what it is used for: equal orders have equal fingerprints,
/// however their amounts and ids were written.
pub(crate) fn key(key: &str, order: &Order) -> Result<IdempotencyKey, PaymentError> {
    let canonical = pb::CreateTransactionRequest {
        r#type: kind_out(order.kind).into(),
        receiver_user_id: order.receiver.to_string(),
        amount: format!("{} {}", order.amount, order.amount.currency().code()),
        description: order.description.clone(),
        metadata: order.metadata.as_ref().map(json::to_struct),
    };
    IdempotencyKey::new(key, Sha256::digest(canonical.encode_to_vec()).into())
}

/// Shows a transaction.
pub(crate) fn transaction(transaction: Transaction) -> pb::Transaction {
    pb::Transaction {
        id: transaction.id.to_string(),
        sender_user_id: transaction.sender.to_string(),
        receiver_user_id: transaction.receiver.to_string(),
        amount: transaction.amount.to_string(),
        description: transaction.description,
        status: status_out(transaction.status).into(),
        r#type: kind_out(transaction.kind).into(),
        metadata: transaction.metadata.as_ref().map(json::to_struct),
        created_at: Some(mesh::wire::timestamp(transaction.created_at)),
        processed_at: transaction.processed_at.map(mesh::wire::timestamp),
        currency: transaction.amount.currency().code().to_owned(),
        failure_reason: transaction.failure.map(Refusal::as_str).unwrap_or_default().to_owned(),
    }
}

/// Reads the filters of a listing; `None` for its party means that none was named.
pub(crate) fn filter(request: &pb::ListTransactionsRequest) -> Result<Filter, tonic::Status> {
    Ok(Filter {
        party: optional_user(&request.user_id, "user_id")?,
        statuses: request.status().map(status).collect::<Result<_, _>>()?,
        kinds: request.r#type().map(kind).collect::<Result<_, _>>()?,
        from: request.created_from.as_ref().map(|at| time(at, "created_from")).transpose()?,
        before: request.created_before.as_ref().map(|at| time(at, "created_before")).transpose()?,
    })
}

fn optional_user(text: &str, field: &str) -> Result<Option<UserId>, tonic::Status> {
    if text.is_empty() { Ok(None) } else { mesh::wire::id(field, text).map(Some) }
}

fn metadata(given: prost_types::Struct) -> Result<serde_json::Value, PaymentError> {
    let invalid = |rule| PaymentError::InvalidField { field: "metadata", rule };
    let value = json::from_struct(given).map_err(invalid)?;
    if value.to_string().len() > METADATA_BYTES_MAX {
        return Err(invalid("must be at most 16 KiB as JSON"));
    }
    Ok(value)
}

fn kind(wire: pb::TransactionType) -> Result<Kind, PaymentError> {
    match wire {
        pb::TransactionType::Transfer => Ok(Kind::Transfer),
        pb::TransactionType::Deposit => Ok(Kind::Deposit),
        pb::TransactionType::Withdrawal => Ok(Kind::Withdrawal),
        pb::TransactionType::Unspecified => {
            Err(PaymentError::InvalidField { field: "type", rule: "is required" })
        }
    }
}

fn kind_out(kind: Kind) -> pb::TransactionType {
    match kind {
        Kind::Transfer => pb::TransactionType::Transfer,
        Kind::Deposit => pb::TransactionType::Deposit,
        Kind::Withdrawal => pb::TransactionType::Withdrawal,
    }
}

fn status(wire: pb::TransactionStatus) -> Result<Status, PaymentError> {
    match wire {
        pb::TransactionStatus::Pending => Ok(Status::Pending),
        pb::TransactionStatus::Completed => Ok(Status::Completed),
        pb::TransactionStatus::Failed => Ok(Status::Failed),
        pb::TransactionStatus::Reversed => Ok(Status::Reversed),
        pb::TransactionStatus::Unspecified => {
            Err(PaymentError::InvalidField { field: "status", rule: "is none" })
        }
    }
}

fn status_out(status: Status) -> pb::TransactionStatus {
    match status {
        Status::Pending => pb::TransactionStatus::Pending,
        Status::Completed => pb::TransactionStatus::Completed,
        Status::Failed => pb::TransactionStatus::Failed,
        Status::Reversed => pb::TransactionStatus::Reversed,
    }
}

fn time(at: &Timestamp, field: &'static str) -> Result<DateTime<Utc>, PaymentError> {
    mesh::wire::time(at).ok_or(PaymentError::InvalidField { field, rule: "is no time" })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use money::Currency;
    use prost_types::Struct;
    use serde_json::json;
    use tonic_types::StatusExt;
    use uuid::Uuid;

    use super::*;

    fn request() -> pb::CreateTransactionRequest {
        pb::CreateTransactionRequest {
            r#type: pb::TransactionType::Transfer.into(),
            receiver_user_id: "0190f3a0-0000-7000-8000-00000000000a".into(),
            amount: "100.50".into(),
            description: "rent".into(),
            metadata: Some(json::to_struct(&json!({"a": 1.0, "b": [true]}))),
        }
    }

    fn read(request: pb::CreateTransactionRequest) -> Result<Order, tonic::Status> {
        order(request, UserId::from(Uuid::from_u128(1)), Money::new(1_000_000, Currency::BRL))
    }

    /// The field for which a request is refused.
    fn refused(request: Result<Order, tonic::Status>) -> String {
        let violations = request.unwrap_err().get_details_bad_request().unwrap().field_violations;
        violations[0].field.clone()
    }

    fn fingerprint(request: pb::CreateTransactionRequest) -> [u8; 32] {
        key("key", &read(request).unwrap()).unwrap().fingerprint
    }

    /// K-35: a key is bound to what it was used for, not to how that was written.
    #[test]
    fn a_fingerprint_is_that_of_the_content() {
        let first = fingerprint(request());
        let upper = request().receiver_user_id.to_uppercase();
        for same in [
            pb::CreateTransactionRequest { amount: "100.5".into(), ..request() },
            pb::CreateTransactionRequest { receiver_user_id: upper, ..request() },
        ] {
            assert_eq!(fingerprint(same), first);
        }
        for other in [
            pb::CreateTransactionRequest { amount: "100.51".into(), ..request() },
            pb::CreateTransactionRequest { description: "Rent".into(), ..request() },
            pb::CreateTransactionRequest { metadata: None, ..request() },
            pb::CreateTransactionRequest { metadata: Some(Struct::default()), ..request() },
            pb::CreateTransactionRequest {
                r#type: pb::TransactionType::Deposit.into(),
                ..request()
            },
            pb::CreateTransactionRequest {
                receiver_user_id: Uuid::from_u128(2).to_string(),
                ..request()
            },
        ] {
            assert_ne!(fingerprint(other.clone()), first, "{other:?}");
        }
    }

    #[test]
    fn metadata_is_at_most_16_kib_of_json() {
        let around = json!({"k": ""}).to_string().len();
        let of = |length: usize| {
            let metadata = json::to_struct(&json!({"k": "x".repeat(length)}));
            read(pb::CreateTransactionRequest { metadata: Some(metadata), ..request() })
        };
        assert!(of(METADATA_BYTES_MAX - around).is_ok());
        assert_eq!(refused(of(METADATA_BYTES_MAX - around + 1)), "metadata");
    }

    #[test]
    fn a_description_that_the_table_cannot_keep_is_refused() {
        let nul = pb::CreateTransactionRequest { description: "a\0".into(), ..request() };
        assert_eq!(refused(read(nul)), "description");
    }

    #[test]
    fn a_time_outside_the_calendar_is_refused() {
        for (seconds, nanos) in [(i64::MAX, 0), (0, -1), (0, i32::MAX)] {
            let from = Some(Timestamp { seconds, nanos });
            let request = pb::ListTransactionsRequest { created_from: from, ..Default::default() };
            assert!(filter(&request).is_err(), "{from:?}");
        }
    }
}
