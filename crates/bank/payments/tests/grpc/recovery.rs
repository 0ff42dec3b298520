use std::time::Duration;

use contracts::payments::v1::{Transaction, TransactionStatus, TransactionType};
use contracts::policy::Role;
use testkit::assert_refused;
use tonic::Code;
use tonic_types::StatusExt;

use crate::bank::{Bank, RECOVERY_AFTER, order, reason};
use crate::fakes::Mode;
use TransactionType::Transfer;

/// L-36: the ledger moved the money, its answer was lost; the payment completes, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_answer_was_lost_is_completed_once() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.ledger.set(Mode::LoseAnswer);

    let row = alice.create(order(Transfer, Some(&bob), "4")).await.unwrap();

    assert_eq!(row.status(), TransactionStatus::Pending);
    assert_eq!(alice.get(&row.id).await.unwrap(), row);
    bank.ledger.set(Mode::Work);
    bank.recovered().await;
    assert_eq!(alice.get(&row.id).await.unwrap().status(), TransactionStatus::Completed);
    assert_eq!((bank.balance(&alice), bank.balance(&bob)), (600, 400));
}

/// L-36: the ledger heard nothing; the payment is carried out later.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_the_ledger_never_saw_is_carried_out_when_it_is_back() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.ledger.set(Mode::Down);
    let kept = alice.create(order(Transfer, Some(&bob), "4")).await.unwrap();
    let refused = alice.create(order(Transfer, Some(&bob), "40")).await.unwrap();
    assert_eq!(bank.balance(&bob), 0);

    bank.ledger.set(Mode::Work);
    bank.recovered().await;

    for (told, status, failure) in [
        (kept, TransactionStatus::Completed, ""),
        (refused, TransactionStatus::Failed, "INSUFFICIENT_FUNDS"),
    ] {
        assert_eq!(told.status(), TransactionStatus::Pending);
        let row = alice.get(&told.id).await.unwrap();
        assert_eq!((row.status(), row.failure_reason.as_str()), (status, failure));
    }
    assert_eq!((bank.balance(&alice), bank.balance(&bob)), (600, 400));
}

/// A ledger that does not answer costs the request its time, but not the name of its transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_ledger_is_answered_before_the_deadline() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.ledger.set(Mode::Hang);

    let hurried = alice.within(Duration::from_secs(1));
    let row = hurried.create(order(Transfer, Some(&bob), "4")).await.unwrap();
    assert_eq!(row.status(), TransactionStatus::Pending);
    let hurried = alice.within(Duration::from_secs(1));
    let unknown = hurried.create_under("k", order(Transfer, Some(&bob), "1")).await;
    assert_refused(unknown, Code::Unavailable, "OUTCOME_PENDING");
    bank.ledger.set(Mode::Work);
    bank.recovered().await;
    assert_eq!(bank.balance(&bob), 500);
}

/// A database that hangs once the ledger has answered does not cost the answer either.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_record_is_answered_before_the_deadline() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.run(
        "CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             PERFORM pg_sleep(3); RETURN NEW; END $$",
    )
    .await;
    bank.run(
        "CREATE TRIGGER hang BEFORE UPDATE ON transactions FOR EACH ROW EXECUTE FUNCTION hang()",
    )
    .await;

    let hurried = alice.within(Duration::from_secs(1));
    let row = hurried.create(order(Transfer, Some(&bob), "4")).await.unwrap();

    assert_eq!(row.status(), TransactionStatus::Pending);
    assert_eq!(bank.balance(&bob), 400, "it moved all the same");
    bank.run("DROP TRIGGER hang ON transactions").await;
    bank.recovered().await;
    assert_eq!(alice.get(&row.id).await.unwrap().status(), TransactionStatus::Completed);
}

/// A repeat without a key is another payment. It is asked for only when the first surely never moves.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_never_reached_the_ledger_is_given_up() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.stop_ledger().await;

    let refused = alice.create(order(Transfer, Some(&bob), "4")).await.unwrap_err();
    let under_key = alice.create_under("k", order(Transfer, Some(&bob), "1")).await.unwrap_err();

    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(reason(&refused), "LEDGER_UNAVAILABLE");
    assert!(mesh::error::retry_after(&refused).is_some());
    let id = &refused.get_details_error_info().unwrap().metadata["transactionId"];
    let row = alice.get(id).await.unwrap();
    assert_eq!(row.status(), TransactionStatus::Failed);
    assert_eq!(row.failure_reason, "LEDGER_UNAVAILABLE");
    assert_eq!(reason(&under_key), "OUTCOME_PENDING", "its repeat finds it");
    assert!(mesh::error::retry_after(&under_key).is_some());

    bank.serve_ledger().await;
    bank.recovered().await;
    assert_eq!(alice.get(id).await.unwrap(), row, "for good");
    assert!(!bank.ledger.has(id));
    assert_eq!(bank.balance(&bob), 100, "what came under a key");
}

/// What the ledger may have been asked for meanwhile is not given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_recovery_has_taken_up_is_not_given_up() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    // Stands in for recovery: whatever is recorded is taken up at once.
    bank.run(
        "CREATE FUNCTION take_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             NEW.recover_at := NEW.recover_at + interval '1 second'; RETURN NEW; END $$",
    )
    .await;
    bank.run(
        "CREATE TRIGGER take_up BEFORE INSERT ON transactions FOR EACH ROW
         EXECUTE FUNCTION take_up()",
    )
    .await;
    bank.stop_ledger().await;

    let row = alice.create(order(Transfer, Some(&bob), "4")).await.unwrap();

    assert_eq!(row.status(), TransactionStatus::Pending);
    bank.serve_ledger().await;
    bank.recovered().await;
    assert_eq!(alice.get(&row.id).await.unwrap().status(), TransactionStatus::Completed);
    assert_eq!(bank.balance(&bob), 400);
}

/// Whether a failed commit was one is not known; only under a key may it be asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_record_is_not_known_to_be_is_never_doubled() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.run(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE 'as told'; END $$",
    )
    .await;
    bank.run(
        "CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON transactions
         DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    .await;
    let asked = || order(Transfer, Some(&bob), "4");

    let unkeyed = alice.create(asked()).await.unwrap_err();
    let keyed = alice.create_under("k", asked()).await.unwrap_err();

    for (unknown, may_repeat) in [(unkeyed, false), (keyed, true)] {
        assert_eq!(reason(&unknown), "OUTCOME_PENDING");
        assert_eq!(mesh::error::retry_after(&unknown).is_some(), may_repeat);
        assert!(unknown.get_details_error_info().unwrap().metadata.contains_key("transactionId"));
    }
    assert_eq!(bank.balance(&bob), 0, "the ledger was not asked");
}

/// L-59: the process dies between its record and the ledger's answer; the next one ends the payment.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_of_a_dead_process_is_ended_by_the_next() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.ledger.set(Mode::Hang);
    let asked = bank.ledger.asked();
    let asking = tokio::spawn({
        let (alice, asked) = (alice.clone(), order(Transfer, Some(&bob), "4"));
        async move { alice.create(asked).await }
    });
    while bank.ledger.asked() == asked {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    asking.abort();

    bank.stop_payments().await;
    bank.ledger.set(Mode::Work);
    bank.serve_payments().await;
    bank.recovered().await;

    let rows = alice.list_all().await;
    let statuses: Vec<_> = rows.iter().map(Transaction::status).collect();
    assert_eq!(statuses, [TransactionStatus::Completed; 2]);
    assert_eq!((bank.balance(&alice), bank.balance(&bob)), (600, 400));
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_leaves_young_payments_to_their_requests() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.ledger.set(Mode::Down);
    alice.create(order(Transfer, Some(&bob), "4")).await.unwrap();
    bank.ledger.set(Mode::Work);

    let just_before = RECOVERY_AFTER.checked_sub(Duration::from_millis(1)).unwrap();
    bank.clock.advance(just_before);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bank.balance(&bob), 0);

    bank.recovered().await;
    assert_eq!(bank.balance(&bob), 400);
}

/// K-31: several workers share what is due; none of it is left, none taken up twice.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_the_recovery() {
    let mut bank = Bank::start().await;
    bank.serve_replica().await;
    bank.serve_replica().await;
    let (alice, bob) = (bank.customer_with("100").await, bank.customer());
    bank.ledger.set(Mode::Down);
    for _ in 0..40 {
        alice.create(order(Transfer, Some(&bob), "1")).await.unwrap();
    }
    bank.ledger.set(Mode::Work);
    let asked = bank.ledger.asked();

    bank.clock.advance(RECOVERY_AFTER);
    bank.settled().await;

    assert_eq!(bank.ledger.asked() - asked, 40);
    assert_eq!(bank.balance(&bob), 4_000);
    let rows = alice.list_all().await;
    assert!(rows.iter().all(|row| row.status() == TransactionStatus::Completed));
}

/// Whoever comes second with an answer changes nothing, however late.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_does_not_undo_what_happened_since() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    let operator = bank.caller(Role::Operator);
    bank.ledger.set(Mode::Hold);
    let asked = bank.ledger.asked();
    let asking = tokio::spawn({
        let (alice, asked) = (alice.clone(), order(Transfer, Some(&bob), "4"));
        async move { alice.create(asked).await }
    });
    while bank.ledger.asked() == asked {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let row = alice.list_all().await.remove(0);
    assert_eq!(row.status(), TransactionStatus::Pending);
    bank.ledger.set(Mode::Work);
    bank.recovered().await;
    operator.reverse(&row.id).await.unwrap();

    bank.ledger.release();

    let told = asking.await.unwrap().unwrap();
    assert_eq!(told.status(), TransactionStatus::Reversed);
    assert_eq!(alice.get(&row.id).await.unwrap(), told);
}

/// An answer that is no end of this payment leaves it as it is, for people to look at.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_another_question_settles_nothing() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.ledger.set(Mode::Differ);

    let unknown = alice.create(order(Transfer, Some(&bob), "4")).await.unwrap();
    let asked = bank.ledger.asked();
    bank.clock.advance(RECOVERY_AFTER);
    while bank.ledger.asked() == asked {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    assert_eq!(unknown.status(), TransactionStatus::Pending);
    assert_eq!(alice.list_all().await[0].status(), TransactionStatus::Pending);
    bank.ledger.set(Mode::Work);
    bank.recovered().await;
    assert_eq!(bank.balance(&bob), 400);
}
