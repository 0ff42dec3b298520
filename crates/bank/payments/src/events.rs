//! What others hear of a payment (L-38, L-42, K-17).

use auth::{TenantId, UserId};
use chrono::{DateTime, Utc};
use contracts::payments::v1 as pb;
use events::{Event, EventError};
use mesh::wire::timestamp;
use uuid::Uuid;

use crate::domain::{Kind, Refusal, Status, Transaction, derived_id};

/// A side of a payment that is a user's account.
struct Side {
    account: Uuid,
    user: UserId,
    direction: &'static str,
}

/// The events of a payment that came to an end: one for each account of a user, in the order of the
/// account, and one for the payment. None when only a reversal was refused.
pub(crate) fn of_end(
    tenant: TenantId,
    before: &Transaction,
    after: &Transaction,
    now: DateTime<Utc>,
) -> Result<Vec<Event>, EventError> {
    if before.status == after.status {
        return Ok(Vec::new());
    }
    let mut events = Vec::with_capacity(3);
    // The commit may be lost after the events were read: then they are told again, as the same.
    let id = |of: Uuid| {
        let parts = [tenant.to_string(), after.id.to_string(), of.to_string()];
        derived_id(&["event", &parts[0], &parts[1], after.status.as_str(), &parts[2]])
    };
    for side in sides(after) {
        let account = side.account;
        events.push(of_side(tenant, side, after, now)?.with_id(id(account)));
    }
    let processed = pb::PaymentProcessed {
        payment_id: after.id.to_string(),
        transaction: Some(summary(after)),
        status: after.status.as_str().into(),
        reason: reason(after),
    };
    events.push(Event::new(tenant, now, &processed)?.with_id(id(after.id)));
    Ok(events)
}

fn of_side(
    tenant: TenantId,
    side: Side,
    after: &Transaction,
    now: DateTime<Utc>,
) -> Result<Event, EventError> {
    let (account_id, user_id) = (side.account.to_string(), side.user.to_string());
    let direction = side.direction.to_owned();
    let transaction = Some(summary(after));
    match after.status {
        Status::Reversed => {
            let reversed_at = after.reversed_at.map(timestamp);
            let told = pb::TransactionReversed {
                account_id,
                user_id,
                direction,
                transaction,
                reversed_at,
            };
            Event::new(tenant, now, &told)
        }
        Status::Failed => {
            let reason = reason(after);
            let told =
                pb::TransactionFailed { account_id, user_id, direction, transaction, reason };
            Event::new(tenant, now, &told)
        }
        Status::Pending | Status::Completed => {
            let told = pb::TransactionCompleted { account_id, user_id, direction, transaction };
            Event::new(tenant, now, &told)
        }
    }
}

/// The accounts of users; the other side of a deposit or a withdrawal is the world's.
fn sides(of: &Transaction) -> Vec<Side> {
    let [out, into] =
        if of.status == Status::Reversed { ["CREDIT", "DEBIT"] } else { ["DEBIT", "CREDIT"] };
    let debit = Side { account: of.sides.debit, user: of.sender, direction: out };
    let credit = Side { account: of.sides.credit, user: of.receiver, direction: into };
    match of.kind {
        Kind::Transfer => vec![debit, credit],
        Kind::Deposit => vec![credit],
        Kind::Withdrawal => vec![debit],
    }
}

fn summary(of: &Transaction) -> pb::TransactionSummary {
    pb::TransactionSummary {
        id: of.id.to_string(),
        r#type: of.kind.as_str().into(),
        sender_user_id: of.sender.to_string(),
        receiver_user_id: of.receiver.to_string(),
        amount: of.amount.to_string(),
        currency: of.amount.currency().code().into(),
        created_at: Some(timestamp(of.created_at)),
        processed_at: of.processed_at.map(timestamp),
    }
}

fn reason(of: &Transaction) -> String {
    of.failure.map(Refusal::as_str).unwrap_or_default().into()
}
