#![allow(clippy::unwrap_used)]

use contracts::policy::Role;

use super::*;

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn user(number: u128) -> UserId {
    UserId::from(uuid(number))
}

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

fn pending() -> Transaction {
    let order = Order {
        kind: Kind::Transfer,
        sender: user(1),
        receiver: user(2),
        amount: Money::new(10_050, Currency::BRL),
        description: String::new(),
        metadata: None,
    };
    let sides = Sides { debit: uuid(11), credit: uuid(12) };
    Transaction { id: uuid(7), ..Transaction::pending(order, sides, time(0), time(10)) }
}

fn completed() -> Transaction {
    pending().settled(Outcome::Moved, time(1))
}

fn reversal_requested(attempt: i32) -> Transaction {
    Transaction { reversal_attempts: attempt, recover_at: Some(time(20)), ..completed() }
}

/// L-39: the amount is a decimal, exactly the one that was written.
#[test]
fn amounts_are_read_digit_by_digit() {
    for (text, minor) in [
        ("100.5", Some(10_050)),
        ("100.50", Some(10_050)),
        ("0.01", Some(1)),
        ("0100", Some(10_000)),
        ("9999999999999999.99", Some(999_999_999_999_999_999)),
        ("0", None),
        ("0.00", None),
        ("-1", None),
        ("1e2", None),
        ("0.001", None),
        ("100.500", None),
        ("99999999999999999999", None),
        ("NaN", None),
        ("1,5", None),
        (" 1", None),
        ("", None),
    ] {
        let read = amount(text, Money::new(i64::MAX, Currency::BRL)).ok().map(Money::minor);
        assert_eq!(read, minor, "{text:?}");
    }
}

#[test]
fn an_amount_has_a_bound() {
    let max = Money::new(10_000, Currency::BRL);
    assert!(amount("100.00", max).is_ok());
    let refused = tonic::Status::from(amount("100.01", max).unwrap_err());
    assert_eq!(mesh::error::reason(&refused).as_deref(), Some("INVALID_AMOUNT"));
    assert!(refused.message().ends_with("at most 100.00"), "{}", refused.message());
}

/// L-41.
#[test]
fn each_kind_has_its_receiver() {
    use Kind::{Deposit, Transfer, Withdrawal};
    let (sender, other) = (user(1), user(2));
    for (kind, named, expected) in [
        (Transfer, Some(other), Ok(other)),
        (Transfer, Some(sender), Err("SAME_ACCOUNT")),
        (Transfer, None, Err("INVALID_FIELD")),
        (Deposit, None, Ok(sender)),
        (Deposit, Some(sender), Ok(sender)),
        (Deposit, Some(other), Ok(other)),
        (Withdrawal, None, Ok(sender)),
        (Withdrawal, Some(sender), Ok(sender)),
        (Withdrawal, Some(other), Err("INVALID_FIELD")),
    ] {
        let found = receiver(kind, sender, named);
        let found = found.map_err(|error| mesh::error::reason(&error.into()).unwrap());
        assert_eq!(found, expected.map_err(str::to_owned), "{kind:?} {named:?}");
    }
}

/// K-35: keys are 1 to 255 printable characters.
#[test]
fn idempotency_keys_are_short_and_printable() {
    for (key, accepted) in [
        ("k".to_owned(), true),
        ("0190-a b/c~".to_owned(), true),
        ("k".repeat(255), true),
        (String::new(), false),
        ("k".repeat(256), false),
        ("tab\t".to_owned(), false),
        ("é".to_owned(), false),
    ] {
        assert_eq!(IdempotencyKey::new(&key, [0; 32]).is_ok(), accepted, "{key:?}");
    }
}

/// L-64: a customer reaches only what it owns.
#[test]
fn customers_list_their_own_and_staff_anybodys() {
    let (caller, other) = (user(1), user(2));
    for (role, named, expected) in [
        (Role::Customer, None, Some(Some(caller))),
        (Role::Customer, Some(caller), Some(Some(caller))),
        (Role::Customer, Some(other), None),
        (Role::Viewer, None, Some(None)),
        (Role::Viewer, Some(other), Some(Some(other))),
    ] {
        let principal = Principal { user: caller, tenant: TenantId::DEFAULT, roles: vec![role] };
        assert_eq!(listed_party(&principal, named).ok(), expected, "{role:?} {named:?}");
    }
}

/// L-36, L-40: every end of every step.
#[test]
fn an_answer_of_the_ledger_ends_the_step_it_was_asked_for() {
    use Outcome::{Moved, Refused};
    let refusal = Refusal::InsufficientFunds;
    for (before, outcome, status, failure, reversal_refusal) in [
        (pending(), Moved, Status::Completed, None, None),
        (pending(), Refused(refusal), Status::Failed, Some(refusal), None),
        (reversal_requested(1), Moved, Status::Reversed, None, None),
        (reversal_requested(1), Refused(refusal), Status::Completed, None, Some(refusal)),
    ] {
        let after = before.settled(outcome, time(5));

        let seen = (after.status, after.failure, after.reversal_refusal);
        assert_eq!(seen, (status, failure, reversal_refusal), "{:?} {outcome:?}", before.status);
        assert_eq!(after.recover_at, None);
        assert_eq!(after.outstanding(TenantId::DEFAULT), None);
        assert_eq!(after.reversed_at.is_some(), status == Status::Reversed);
        let processed = if before.status == Status::Pending { time(5) } else { time(1) };
        assert_eq!(after.processed_at, Some(processed));
    }
}

#[test]
fn a_payment_asks_for_its_own_id_and_a_reversal_for_a_new_one_each_time() {
    let tenant = TenantId::DEFAULT;
    let forth = pending().outstanding(tenant).unwrap();
    assert_eq!((forth.id, forth.transaction), (uuid(7), uuid(7)));
    assert_eq!(forth.sides, Sides { debit: uuid(11), credit: uuid(12) });

    let back = reversal_requested(1).outstanding(tenant).unwrap();
    assert_eq!(back.sides, Sides { debit: uuid(12), credit: uuid(11) });
    assert_eq!((back.transaction, back.amount), (uuid(7), forth.amount));
    assert_ne!(back.code, forth.code);

    let again = reversal_requested(2).outstanding(tenant).unwrap();
    let elsewhere = reversal_requested(1).outstanding(TenantId::from(uuid(9))).unwrap();
    assert_ne!(back.id, again.id);
    assert_ne!(back.id, elsewhere.id);
}

/// Another release must ask the ledger for the same ids, or money would move twice.
#[test]
fn derived_ids_never_change() {
    let reversal = reversal_requested(1).outstanding(TenantId::DEFAULT).unwrap();
    let settlement = settlement_account(TenantId::DEFAULT, Currency::BRL);

    assert_eq!(reversal.id.to_string(), "ffc70ad3-b27e-8abd-93aa-bdf6a84e1801");
    assert_eq!(settlement.to_string(), "12131a38-61a4-81bf-b743-538716a4ffe3");
    assert_ne!(settlement, settlement_account(TenantId::from(uuid(9)), Currency::BRL));
}
