//! All SQL of payments.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use auth::{TenantId, UserId};
use chrono::{DateTime, Utc};
use events::{Event, Outbox};
use money::{Currency, Money};
use parking_lot::Mutex;
use rust_decimal::Decimal;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder, Row};
use storage::{Database, Error, named};
use uuid::Uuid;

use crate::domain::{IdempotencyKey, Kind, Refusal, Sides, Status, Transaction};
use crate::events::of_end;

/// The columns of a [`Transaction`].
const COLUMNS: &str = "id, sender_user_id, receiver_user_id, amount, currency, description, status, \
     type, metadata, created_at, processed_at, failure_reason, debit_account_id, credit_account_id, \
     reversal_attempts, reversal_refusal, reversed_at, recover_at";

/// Payments whose end is not recorded that are counted at most.
const OUTSTANDING_MAX: i64 = 10_000;

/// The table of transactions.
#[derive(Clone)]
pub(crate) struct Store {
    database: Database,
    outbox: Outbox,
    /// Tenants whose ledger is known to be followed.
    followed: Arc<Mutex<HashSet<TenantId>>>,
}

/// What became of a new row.
pub(crate) enum Inserted {
    /// It is on disk.
    New,
    /// The sender used the key before, for `first`, which had `fingerprint`.
    Repeated { first: Box<Transaction>, fingerprint: Vec<u8> },
    /// The commit failed, as when the connection is lost: it may be on disk or not.
    Unknown,
}

/// Which transactions to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Only those that this user sent or receives.
    pub(crate) party: Option<UserId>,
    /// Only these statuses; empty means all.
    pub(crate) statuses: Vec<Status>,
    /// Only these kinds; empty means all.
    pub(crate) kinds: Vec<Kind>,
    /// Only those recorded at or after this time.
    pub(crate) from: Option<DateTime<Utc>>,
    /// Only those recorded before this time.
    pub(crate) before: Option<DateTime<Utc>>,
}

/// Place of a row in the order of a listing, newest first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cursor {
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) id: Uuid,
}

/// Payments whose end is not recorded.
#[derive(Debug)]
pub(crate) struct Outstanding {
    pub(crate) count: i64,
    pub(crate) oldest: Option<DateTime<Utc>>,
}

impl Store {
    pub(crate) fn new(database: Database) -> Self {
        Self { outbox: Outbox::new(&database), database, followed: Arc::default() }
    }

    /// Records a payment before the ledger hears of it, at most once for each key of its sender.
    pub(crate) async fn transaction_insert(
        &self,
        tenant: TenantId,
        new: &Transaction,
        key: Option<&IdempotencyKey>,
    ) -> Result<Inserted, Error> {
        self.feed_ensure(tenant).await?;
        let mut txn = self.database.begin(tenant).await?;
        if !insert_in_txn(&mut txn, new, key).await? {
            let key = key.map(|key| key.key.as_str());
            let (first, fingerprint) = fetch_by_key_in_txn(&mut txn, new.sender, key).await?;
            return Ok(Inserted::Repeated { first: Box::new(first), fingerprint });
        }
        match txn.commit().await.map_err(Error::from) {
            Ok(()) => Ok(Inserted::New),
            // These two alone say that nothing was written.
            Err(error @ (Error::Conflict(_) | Error::Unique { .. })) => Err(error),
            Err(error) => {
                tracing::warn!(transactionId = %new.id, ?error, "a payment may be recorded or not");
                Ok(Inserted::Unknown)
            }
        }
    }

    /// Records that a payment was given up, if recovery has not taken it up: then the ledger may have
    /// been asked. Says whether it was recorded.
    pub(crate) async fn transaction_abandon(
        &self,
        tenant: TenantId,
        before: &Transaction,
        after: &Transaction,
    ) -> Result<bool, Error> {
        let mut txn = self.database.begin(tenant).await?;
        let abandoned = sqlx::query(
            "UPDATE transactions
             SET status = $1, processed_at = $2, failure_reason = $3, recover_at = NULL
             WHERE id = $4 AND status = 'PENDING' AND recover_at = $5",
        )
        .bind(after.status.as_str())
        .bind(after.processed_at)
        .bind(after.failure.map(Refusal::as_str))
        .bind(before.id)
        .bind(before.recover_at)
        .execute(&mut *txn)
        .await?;
        let abandoned = abandoned.rows_affected() == 1;
        if abandoned {
            let at = after.processed_at.unwrap_or(after.created_at);
            self.outbox.publish(&mut txn, &of_end(tenant, before, after, at)?).await?;
        }
        txn.commit().await?;
        Ok(abandoned)
    }

    /// Reads a transaction.
    pub(crate) async fn transaction_fetch(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Option<Transaction>, Error> {
        let mut txn = self.database.begin(tenant).await?;
        let found = QueryBuilder::new(format!("SELECT {COLUMNS} FROM transactions WHERE id = "))
            .push_bind(id)
            .build_query_as()
            .fetch_optional(&mut *txn)
            .await?;
        Ok(found)
    }

    /// Reads up to `limit` transactions after `cursor`, newest first.
    pub(crate) async fn transaction_list(
        &self,
        tenant: TenantId,
        filter: &Filter,
        cursor: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<Transaction>, Error> {
        let mut txn = self.database.begin(tenant).await?;
        let mut query = list_query(filter, cursor, limit);
        Ok(query.build_query_as().fetch_all(&mut *txn).await?)
    }

    /// Records what became of what was outstanding, each time only if nobody else did, and
    /// publishes it with that. Says for each pair of before and after whether it was recorded by
    /// this call.
    ///
    /// That money moved is on disk in the ledger: a record that the database loses in a crash leaves
    /// the payment outstanding, and recovery makes it again. The reason of a refusal would be lost.
    pub(crate) async fn transactions_settle(
        &self,
        tenant: TenantId,
        settled: &[(&Transaction, &Transaction)],
    ) -> Result<Vec<bool>, Error> {
        let moved = settled.iter().all(|(_, after)| !after.is_refused());
        let mut txn = if moved {
            self.database.begin_relaxed(tenant).await?
        } else {
            self.database.begin(tenant).await?
        };
        let mut recorded = Vec::with_capacity(settled.len());
        let mut events = Vec::new();
        for (before, after) in settled {
            let settled = settle_in_txn(&mut txn, before, after).await?;
            if settled {
                let at = after.reversed_at.or(after.processed_at).unwrap_or(after.created_at);
                events.extend(of_end(tenant, before, after, at)?);
            }
            recorded.push(settled);
        }
        self.outbox.publish(&mut txn, &events).await?;
        txn.commit().await?;
        Ok(recorded)
    }

    /// Records the wish to reverse a COMPLETED transaction, unless that is outstanding already.
    /// `None` when there was nothing to record.
    pub(crate) async fn reversal_request(
        &self,
        tenant: TenantId,
        id: Uuid,
        now: DateTime<Utc>,
        recover_at: DateTime<Utc>,
    ) -> Result<Option<Transaction>, Error> {
        let mut txn = self.database.begin(tenant).await?;
        let mut query = QueryBuilder::new("UPDATE transactions SET recover_at = ");
        query.push_bind(recover_at).push(", reversal_requested_at = ").push_bind(now);
        query.push(
            ", reversal_attempts = reversal_attempts + 1, reversal_refusal = NULL WHERE id = ",
        );
        query.push_bind(id).push(" AND status = 'COMPLETED' AND recover_at IS NULL RETURNING ");
        let requested = query.push(COLUMNS).build_query_as().fetch_optional(&mut *txn).await?;
        txn.commit().await?;
        Ok(requested)
    }

    /// Finds up to `limit` transactions of all tenants that recovery is due to take up.
    pub(crate) async fn recovery_due(
        &self,
        now: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<(TenantId, Uuid)>, Error> {
        let mut txn = self.database.begin_worker().await?;
        let due = sqlx::query(
            "SELECT tenant_id, id FROM transactions WHERE recover_at <= $1
             ORDER BY recover_at LIMIT $2",
        )
        .bind(now)
        .bind(limit)
        .try_map(|row: PgRow| Ok((TenantId::from(row.try_get::<Uuid, _>(0)?), row.try_get(1)?)))
        .fetch_all(&mut *txn)
        .await?;
        Ok(due)
    }

    /// Takes up those of `ids` that nobody else has taken up, until `now + lease`.
    pub(crate) async fn recovery_claim(
        &self,
        tenant: TenantId,
        ids: &[Uuid],
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Vec<Transaction>, Error> {
        let mut txn = self.database.begin(tenant).await?;
        let mut query = QueryBuilder::new("UPDATE transactions SET recover_at = ");
        query
            .push_bind(now + lease)
            .push(" WHERE id IN (SELECT id FROM transactions WHERE id = ANY(");
        query.push_bind(ids).push(") AND recover_at <= ").push_bind(now);
        query.push(" FOR UPDATE SKIP LOCKED) RETURNING ").push(COLUMNS);
        let claimed = query.build_query_as().fetch_all(&mut *txn).await?;
        txn.commit().await?;
        Ok(claimed)
    }

    /// Has the ledger of a tenant followed, from its first payment on. Once for each process.
    async fn feed_ensure(&self, tenant: TenantId) -> Result<(), Error> {
        if self.followed.lock().contains(&tenant) {
            return Ok(());
        }
        let mut txn = self.database.begin(tenant).await?;
        sqlx::query("INSERT INTO ledger_feed DEFAULT VALUES ON CONFLICT DO NOTHING")
            .execute(&mut *txn)
            .await?;
        txn.commit().await?;
        self.followed.lock().insert(tenant);
        Ok(())
    }

    /// Tenants whose ledger is followed.
    pub(crate) async fn feed_tenants(&self) -> Result<Vec<TenantId>, Error> {
        let mut txn = self.database.begin_worker().await?;
        let tenants: Vec<Uuid> =
            sqlx::query_scalar("SELECT tenant_id FROM ledger_feed").fetch_all(&mut *txn).await?;
        Ok(tenants.into_iter().map(TenantId::from).collect())
    }

    /// Number of the last change of the ledger that was told.
    pub(crate) async fn feed_place(&self, tenant: TenantId) -> Result<u64, Error> {
        let mut txn = self.database.begin(tenant).await?;
        let place: i64 =
            sqlx::query_scalar("SELECT sequence FROM ledger_feed").fetch_one(&mut *txn).await?;
        Ok(place.cast_unsigned())
    }

    /// Publishes what happened between two changes, unless somebody else did. Says whether.
    ///
    /// The ledger has it on disk: what a crash of the database loses is told again from there.
    pub(crate) async fn feed_publish(
        &self,
        tenant: TenantId,
        after: u64,
        last: u64,
        events: &[Event],
    ) -> Result<bool, Error> {
        let mut txn = self.database.begin_relaxed(tenant).await?;
        let moved = sqlx::query("UPDATE ledger_feed SET sequence = $1 WHERE sequence = $2")
            .bind(last.cast_signed())
            .bind(after.cast_signed())
            .execute(&mut *txn)
            .await?;
        if moved.rows_affected() == 0 {
            return Ok(false);
        }
        self.outbox.publish(&mut txn, events).await?;
        txn.commit().await?;
        Ok(true)
    }

    /// Counts the payments whose end is not recorded, of all tenants, up to [`OUTSTANDING_MAX`].
    pub(crate) async fn recovery_outstanding(&self) -> Result<Outstanding, Error> {
        let mut txn = self.database.begin_worker().await?;
        // In the order of the partial index, whatever the statistics say: it holds these rows alone.
        let row = sqlx::query(
            "SELECT count(*), min(since) FROM (
                 SELECT coalesce(reversal_requested_at, created_at) AS since FROM transactions
                 WHERE recover_at IS NOT NULL ORDER BY recover_at LIMIT $1
             ) AS outstanding",
        )
        .bind(OUTSTANDING_MAX)
        .fetch_one(&mut *txn)
        .await?;
        Ok(Outstanding { count: row.try_get(0)?, oldest: row.try_get(1)? })
    }
}

/// False when the sender has used the key before.
async fn insert_in_txn(
    connection: &mut PgConnection,
    new: &Transaction,
    key: Option<&IdempotencyKey>,
) -> Result<bool, Error> {
    let inserted = sqlx::query(
        "INSERT INTO transactions (id, sender_user_id, receiver_user_id, amount, currency,
             description, status, type, metadata, created_at, debit_account_id, credit_account_id,
             idempotency_key, fingerprint, recover_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
         ON CONFLICT (tenant_id, sender_user_id, idempotency_key)
             WHERE idempotency_key IS NOT NULL DO NOTHING",
    )
    .bind(new.id)
    .bind(new.sender.as_uuid())
    .bind(new.receiver.as_uuid())
    .bind(new.amount.to_decimal())
    .bind(new.amount.currency().code())
    .bind(&new.description)
    .bind(new.status.as_str())
    .bind(new.kind.as_str())
    .bind(&new.metadata)
    .bind(new.created_at)
    .bind(new.sides.debit)
    .bind(new.sides.credit)
    .bind(key.map(|key| &key.key))
    .bind(key.map(|key| &key.fingerprint[..]))
    .bind(new.recover_at)
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

async fn fetch_by_key_in_txn(
    connection: &mut PgConnection,
    sender: UserId,
    key: Option<&str>,
) -> Result<(Transaction, Vec<u8>), Error> {
    let mut query = QueryBuilder::new(format!("SELECT {COLUMNS}, fingerprint FROM transactions"));
    query.push(" WHERE tenant_id = current_tenant() AND sender_user_id = ");
    query.push_bind(sender.as_uuid()).push(" AND idempotency_key = ").push_bind(key);
    let row = query.build().fetch_one(connection).await?;
    Ok((Transaction::from_row(&row)?, row.try_get("fingerprint")?))
}

/// The conditions name the very movement that was asked for, so whoever comes second changes nothing.
async fn settle_in_txn(
    connection: &mut PgConnection,
    before: &Transaction,
    after: &Transaction,
) -> Result<bool, Error> {
    let settled = sqlx::query(
        "UPDATE transactions SET status = $1, processed_at = $2, failure_reason = $3,
             reversed_at = $4, reversal_refusal = $5, recover_at = NULL
         WHERE id = $6 AND status = $7 AND reversal_attempts = $8 AND recover_at IS NOT NULL",
    )
    .bind(after.status.as_str())
    .bind(after.processed_at)
    .bind(after.failure.map(Refusal::as_str))
    .bind(after.reversed_at)
    .bind(after.reversal_refusal.map(Refusal::as_str))
    .bind(before.id)
    .bind(before.status.as_str())
    .bind(before.reversal_attempts)
    .execute(connection)
    .await?;
    Ok(settled.rows_affected() == 1)
}

/// A party's transactions are two ranges of two indexes, those it sent and those it receives; each
/// is cut to `limit` before they are merged, however long its history is.
fn list_query(filter: &Filter, cursor: Option<Cursor>, limit: i64) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("");
    let Some(party) = filter.party else {
        query
            .push(format!("SELECT {COLUMNS} FROM transactions WHERE tenant_id = current_tenant()"));
        push_range(&mut query, filter, cursor, limit);
        return query;
    };
    query.push(format!("(SELECT {COLUMNS} FROM transactions WHERE sender_user_id = "));
    query.push_bind(party.as_uuid());
    push_range(&mut query, filter, cursor, limit);
    query
        .push(format!(") UNION ALL (SELECT {COLUMNS} FROM transactions WHERE receiver_user_id = "));
    query.push_bind(party.as_uuid()).push(" AND sender_user_id <> receiver_user_id");
    push_range(&mut query, filter, cursor, limit);
    query.push(") ORDER BY created_at DESC, id DESC LIMIT ").push_bind(limit);
    query
}

fn push_range(
    query: &mut QueryBuilder<Postgres>,
    filter: &Filter,
    cursor: Option<Cursor>,
    limit: i64,
) {
    if !filter.statuses.is_empty() {
        let statuses: Vec<_> = filter.statuses.iter().map(|status| status.as_str()).collect();
        query.push(" AND status = ANY(").push_bind(statuses).push(")");
    }
    if !filter.kinds.is_empty() {
        let kinds: Vec<_> = filter.kinds.iter().map(|kind| kind.as_str()).collect();
        query.push(" AND type = ANY(").push_bind(kinds).push(")");
    }
    if let Some(from) = filter.from {
        query.push(" AND created_at >= ").push_bind(from);
    }
    if let Some(before) = filter.before {
        query.push(" AND created_at < ").push_bind(before);
    }
    if let Some(Cursor { created_at, id }) = cursor {
        query.push(" AND (created_at, id) < (").push_bind(created_at).push(", ");
        query.push_bind(id).push(")");
    }
    query.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(limit);
}

impl<'r> FromRow<'r, PgRow> for Transaction {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        let refusal = |column| {
            let text: Option<&str> = row.try_get(column)?;
            Ok::<_, sqlx::Error>(text.map(Refusal::parse))
        };
        Ok(Self {
            id: row.try_get("id")?,
            sender: UserId::from(row.try_get::<Uuid, _>("sender_user_id")?),
            receiver: UserId::from(row.try_get::<Uuid, _>("receiver_user_id")?),
            amount: amount(row)?,
            description: row.try_get("description")?,
            status: named(row, "status", &Status::ALL, Status::as_str)?,
            kind: named(row, "type", &Kind::ALL, Kind::as_str)?,
            metadata: row.try_get("metadata")?,
            created_at: row.try_get("created_at")?,
            processed_at: row.try_get("processed_at")?,
            failure: refusal("failure_reason")?,
            sides: Sides {
                debit: row.try_get("debit_account_id")?,
                credit: row.try_get("credit_account_id")?,
            },
            reversal_attempts: row.try_get("reversal_attempts")?,
            reversal_refusal: refusal("reversal_refusal")?,
            reversed_at: row.try_get("reversed_at")?,
            recover_at: row.try_get("recover_at")?,
        })
    }
}

fn amount(row: &PgRow) -> Result<Money, sqlx::Error> {
    let amount: Decimal = row.try_get("amount")?;
    let currency = Currency::from_code(row.try_get("currency")?)
        .ok_or_else(|| sqlx::Error::Decode("a currency that Malha does not know".into()))?;
    Money::from_decimal(amount, currency).map_err(|error| sqlx::Error::Decode(error.into()))
}
