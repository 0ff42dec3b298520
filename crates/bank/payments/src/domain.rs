//! What a payment is, who may make it, and how it moves from state to state.

use auth::{Principal, TenantId, UserId};
use chrono::{DateTime, Utc};
use money::{Currency, Money};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::PaymentError;

/// Which way the money goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Transfer,
    Deposit,
    Withdrawal,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Transfer, Self::Deposit, Self::Withdrawal];

    /// Its name in the table and in JSON.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Transfer => "TRANSFER",
            Self::Deposit => "DEPOSIT",
            Self::Withdrawal => "WITHDRAWAL",
        }
    }

    /// Why the money moves, in the ledger. A release may add codes, never change one: asking the
    /// ledger again for a transfer under another code would not be the same question.
    fn ledger_code(self) -> u32 {
        match self {
            Self::Transfer => 1,
            Self::Deposit => 2,
            Self::Withdrawal => 3,
        }
    }
}

/// Ledger code of a reversal, beside those of [`Kind`].
const REVERSAL_CODE: u32 = 4;

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Status {
    Pending,
    Completed,
    Failed,
    Reversed,
}

impl Status {
    pub(crate) const ALL: [Self; 4] =
        [Self::Pending, Self::Completed, Self::Failed, Self::Reversed];

    /// Its name in the table and in JSON.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Reversed => "REVERSED",
        }
    }
}

/// Why money did not move, for good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    InsufficientFunds,
    AccountNotFound,
    BalanceOverflow,
    /// Refused earlier, and the reason was lost with the process that was told.
    RefusedByLedger,
    /// The ledger was never asked, and never will be. Not an answer of the ledger.
    LedgerUnavailable,
}

impl Refusal {
    const ALL: [Self; 5] = [
        Self::InsufficientFunds,
        Self::AccountNotFound,
        Self::BalanceOverflow,
        Self::RefusedByLedger,
        Self::LedgerUnavailable,
    ];

    /// The stable reason that clients read.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::InsufficientFunds => "INSUFFICIENT_FUNDS",
            Self::AccountNotFound => "ACCOUNT_NOT_FOUND",
            Self::BalanceOverflow => "BALANCE_OVERFLOW",
            Self::RefusedByLedger => "REFUSED_BY_LEDGER",
            Self::LedgerUnavailable => "LEDGER_UNAVAILABLE",
        }
    }

    /// The refusal recorded as `text`.
    pub(crate) fn parse(text: &str) -> Self {
        Self::ALL.into_iter().find(|one| one.as_str() == text).unwrap_or(Self::RefusedByLedger)
    }
}

/// What a user asks for.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) kind: Kind,
    pub(crate) sender: UserId,
    pub(crate) receiver: UserId,
    pub(crate) amount: Money,
    pub(crate) description: String,
    pub(crate) metadata: Option<serde_json::Value>,
}

/// A client's key for one request, with the SHA-256 of that request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct IdempotencyKey {
    pub(crate) key: String,
    pub(crate) fingerprint: [u8; 32],
}

impl IdempotencyKey {
    const LENGTH_MAX: usize = 255;

    /// Accepts a key of 1 to 255 printable ASCII characters.
    pub(crate) fn new(key: &str, fingerprint: [u8; 32]) -> Result<Self, PaymentError> {
        let printable = key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if key.is_empty() || key.len() > Self::LENGTH_MAX || !printable {
            return Err(PaymentError::InvalidIdempotencyKey);
        }
        Ok(Self { key: key.to_owned(), fingerprint })
    }
}

/// Reads an amount above zero and up to `max`, in its currency, digit by digit.
pub(crate) fn amount(text: &str, max: Money) -> Result<Money, PaymentError> {
    let amount = Money::parse(text, max.currency()).map_err(|_| PaymentError::InvalidAmount)?;
    match amount.minor() {
        ..=0 => Err(PaymentError::InvalidAmount),
        minor if minor > max.minor() => Err(PaymentError::AmountTooLarge { max }),
        _ => Ok(amount),
    }
}

/// Who receives the money, given whom the sender named.
pub(crate) fn receiver(
    kind: Kind,
    sender: UserId,
    named: Option<UserId>,
) -> Result<UserId, PaymentError> {
    const FIELD: &str = "receiver_user_id";
    match (kind, named) {
        (Kind::Transfer, None) => {
            Err(PaymentError::InvalidField { field: FIELD, rule: "is required for a transfer" })
        }
        (Kind::Transfer, Some(named)) if named == sender => Err(PaymentError::SameAccount),
        (Kind::Withdrawal, Some(named)) if named != sender => {
            Err(PaymentError::InvalidField { field: FIELD, rule: "must be the sender or absent" })
        }
        (_, named) => Ok(named.unwrap_or(sender)),
    }
}

/// Whose transactions `principal` lists, having named somebody or nobody; `None` stands for all.
pub(crate) fn listed_party(
    principal: &Principal,
    named: Option<UserId>,
) -> Result<Option<UserId>, PaymentError> {
    match named {
        None if principal.is_staff() => Ok(None),
        None => Ok(Some(principal.user)),
        Some(named) if principal.may_read(named) => Ok(Some(named)),
        Some(_) => Err(PaymentError::NotOwner),
    }
}

/// The ledger accounts of one transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Sides {
    pub(crate) debit: Uuid,
    pub(crate) credit: Uuid,
}

/// One payment: a row of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Transaction {
    pub(crate) id: Uuid,
    pub(crate) sender: UserId,
    pub(crate) receiver: UserId,
    pub(crate) amount: Money,
    pub(crate) description: String,
    pub(crate) status: Status,
    pub(crate) kind: Kind,
    pub(crate) metadata: Option<serde_json::Value>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) processed_at: Option<DateTime<Utc>>,
    pub(crate) failure: Option<Refusal>,
    pub(crate) sides: Sides,
    pub(crate) reversal_attempts: i32,
    pub(crate) reversal_refusal: Option<Refusal>,
    pub(crate) reversed_at: Option<DateTime<Utc>>,
    /// When recovery asks the ledger again; `None` when nothing is outstanding.
    pub(crate) recover_at: Option<DateTime<Utc>>,
}

/// A ledger transfer that a transaction is waiting for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Movement {
    pub(crate) id: Uuid,
    pub(crate) transaction: Uuid,
    pub(crate) sides: Sides,
    pub(crate) amount: Money,
    pub(crate) code: u32,
}

/// What the ledger answered to a [`Movement`], for good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    Moved,
    Refused(Refusal),
}

impl Transaction {
    /// A new payment that asks for its transfer.
    pub(crate) fn pending(
        order: Order,
        sides: Sides,
        now: DateTime<Utc>,
        recover_at: DateTime<Utc>,
    ) -> Self {
        Self {
            id: Uuid::now_v7(),
            sender: order.sender,
            receiver: order.receiver,
            amount: order.amount,
            description: order.description,
            status: Status::Pending,
            kind: order.kind,
            metadata: order.metadata,
            created_at: now,
            processed_at: None,
            failure: None,
            sides,
            reversal_attempts: 0,
            reversal_refusal: None,
            reversed_at: None,
            recover_at: Some(recover_at),
        }
    }

    /// What the ledger is to be asked for, as often as it takes: the payment itself, then perhaps
    /// its reversal.
    pub(crate) fn outstanding(&self, tenant: TenantId) -> Option<Movement> {
        self.recover_at?;
        let (id, sides, code) = match self.status {
            Status::Pending => (self.id, self.sides, self.kind.ledger_code()),
            Status::Completed => {
                let back = Sides { debit: self.sides.credit, credit: self.sides.debit };
                (self.reversal_id(tenant), back, REVERSAL_CODE)
            }
            Status::Failed | Status::Reversed => return None,
        };
        Some(Movement { id, transaction: self.id, sides, amount: self.amount, code })
    }

    /// The transaction after the ledger answered to what was outstanding.
    pub(crate) fn settled(&self, outcome: Outcome, now: DateTime<Utc>) -> Self {
        let mut after = Self { recover_at: None, ..self.clone() };
        match (self.status, outcome) {
            (Status::Pending, Outcome::Moved) => {
                after.status = Status::Completed;
                after.processed_at = Some(now);
            }
            (Status::Pending, Outcome::Refused(refusal)) => {
                after.status = Status::Failed;
                after.processed_at = Some(now);
                after.failure = Some(refusal);
            }
            (_, Outcome::Moved) => {
                after.status = Status::Reversed;
                after.reversed_at = Some(now);
            }
            (_, Outcome::Refused(refusal)) => after.reversal_refusal = Some(refusal),
        }
        after
    }

    /// The payment given up, which the ledger was never asked for.
    pub(crate) fn abandoned(&self, now: DateTime<Utc>) -> Self {
        self.settled(Outcome::Refused(Refusal::LedgerUnavailable), now)
    }

    /// Whether the ledger refused the payment, or its last reversal.
    pub(crate) fn is_refused(&self) -> bool {
        self.failure.is_some() || self.reversal_refusal.is_some()
    }

    /// Whether `user` sent or receives the money.
    pub(crate) fn has_party(&self, user: UserId) -> bool {
        self.sender == user || self.receiver == user
    }

    /// Id of the ledger transfer of this attempt at a reversal. Each attempt has its own: the
    /// ledger refuses an id for ever that it refused once.
    fn reversal_id(&self, tenant: TenantId) -> Uuid {
        let attempt = self.reversal_attempts.to_string();
        derived_id(&["reversal", &tenant.to_string(), &self.id.to_string(), &attempt])
    }
}

/// Ledger account that stands for the outside world in one currency of a tenant.
pub(crate) fn settlement_account(tenant: TenantId, currency: Currency) -> Uuid {
    derived_id(&["settlement", &tenant.to_string(), currency.code()])
}

/// A UUID that anybody computes alike from `parts`.
pub(crate) fn derived_id(parts: &[&str]) -> Uuid {
    let digest = Sha256::digest(format!("malha.payments|{}", parts.join("|")));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests;
