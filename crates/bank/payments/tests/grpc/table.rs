//! What the table itself guarantees, whatever the program does.

use auth::TenantId;
use contracts::payments::v1::TransactionType::Transfer;
use uuid::Uuid;

use crate::bank::{Bank, order};
use crate::fakes::Mode;

/// L-39: every column promised.
#[tokio::test(flavor = "multi_thread")]
async fn the_table_has_the_columns_of_the_seed() {
    let bank = Bank::start().await;
    let mut txn = bank.database.begin(TenantId::DEFAULT).await.unwrap();
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT column_name::text, data_type::text FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = 'transactions'",
    )
    .fetch_all(&mut *txn)
    .await
    .unwrap();
    for (name, kind) in [
        ("id", "uuid"),
        ("sender_user_id", "uuid"),
        ("receiver_user_id", "uuid"),
        ("amount", "numeric"),
        ("description", "text"),
        ("status", "text"),
        ("type", "text"),
        ("metadata", "jsonb"),
        ("created_at", "timestamp with time zone"),
        ("processed_at", "timestamp with time zone"),
    ] {
        assert!(columns.contains(&(name.into(), kind.into())), "{name}");
    }
}

/// L-40, L-41: no other status, no other type.
#[tokio::test(flavor = "multi_thread")]
async fn statuses_and_types_are_exactly_those_of_the_seed() {
    let bank = Bank::start().await;
    bank.customer_with("10").await;
    for (change, constraint) in [
        ("UPDATE transactions SET status = 'DONE'", "transactions_status_check"),
        ("UPDATE transactions SET status = 'completed'", "transactions_status_check"),
        ("UPDATE transactions SET type = 'PIX'", "transactions_type_check"),
        ("UPDATE transactions SET amount = 0", "transactions_amount_check"),
    ] {
        let mut txn = bank.database.begin(TenantId::DEFAULT).await.unwrap();
        let refused = sqlx::query(change).execute(&mut *txn).await.unwrap_err();
        let named = refused.as_database_error().unwrap().constraint().map(str::to_owned);
        assert_eq!(named.as_deref(), Some(constraint), "{change}");
    }
}

/// L-37: the record of what was asked for stays.
#[tokio::test(flavor = "multi_thread")]
async fn no_row_can_be_deleted() {
    let bank = Bank::start().await;
    bank.customer_with("10").await;
    let mut txn = bank.database.begin(TenantId::DEFAULT).await.unwrap();

    let deleted = sqlx::query("DELETE FROM transactions").execute(&mut *txn).await.unwrap();

    assert_eq!(deleted.rows_affected(), 0);
    assert_eq!(rows_seen(&mut txn).await, 1);
}

/// A query without a WHERE sees nothing of another tenant, and a worker only what is outstanding.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_seen_by_their_tenant_alone() {
    let bank = Bank::start().await;
    let (alice, bob) = (bank.customer_with("10").await, bank.customer());
    bank.ledger.set(Mode::Down);
    alice.create(order(Transfer, Some(&bob), "4")).await.unwrap();
    let elsewhere = TenantId::from(Uuid::from_u128(2));

    assert_eq!(rows_seen(&mut bank.database.begin(TenantId::DEFAULT).await.unwrap()).await, 2);
    assert_eq!(rows_seen(&mut bank.database.begin(elsewhere).await.unwrap()).await, 0);
    let mut worker = bank.database.begin_worker().await.unwrap();
    assert_eq!(rows_seen(&mut worker).await, 1);
    let changed = sqlx::query("UPDATE transactions SET description = 'x'").execute(&mut *worker);
    assert_eq!(changed.await.unwrap().rows_affected(), 0);
}

async fn rows_seen(txn: &mut storage::Transaction) -> i64 {
    let count = sqlx::query_scalar("SELECT count(*) FROM transactions");
    count.fetch_one(&mut **txn).await.unwrap()
}
