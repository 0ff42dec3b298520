//! Messages, and whom they go to.

use auth::TenantId;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::Store;
use crate::domain::message::{Delivery, PING};
use crate::error::WebhookError;

/// Messages that one replay of a span takes.
pub(crate) const REPLAYED_MAX: i64 = 10_000;

/// Whether an endpoint, `e`, asks for a message of type `$2`.
macro_rules! asks_for {
    ($kind:literal) => {
        concat!(
            "(cardinality(e.event_types) = 0 OR ",
            $kind,
            " = ANY(e.event_types)
              OR EXISTS (SELECT FROM unnest(e.event_types) AS pattern
                         WHERE pattern LIKE '%.*' AND starts_with(",
            $kind,
            ", left(pattern, -1))))"
        )
    };
}

/// A span of messages to send again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replay {
    pub(crate) endpoint: Uuid,
    pub(crate) from: DateTime<Utc>,
    pub(crate) before: DateTime<Utc>,
    pub(crate) include_delivered: bool,
}

/// Keeps a message in the caller's transaction, with a delivery to each enabled endpoint that asks for
/// it. A tenant without any endpoint keeps none, and nothing happens when the message is kept already.
/// Returns the number of deliveries.
pub(crate) async fn message_accept_in_txn(
    connection: &mut PgConnection,
    id: Uuid,
    event_type: &str,
    payload: &[u8],
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let kept = sqlx::query(
        "INSERT INTO message (id, event_type, payload, created_at)
         SELECT $1, $2, $3, $4 WHERE EXISTS (
             SELECT FROM endpoint WHERE tenant_id = current_tenant() AND state <> 'DELETED')
         ON CONFLICT (tenant_id, id) DO NOTHING",
    )
    .bind(id)
    .bind(event_type)
    .bind(payload)
    .bind(now)
    .execute(&mut *connection)
    .await?;
    if kept.rows_affected() == 0 {
        return Ok(0);
    }
    let endpoints: Vec<Uuid> = sqlx::query_scalar(concat!(
        "SELECT e.id FROM endpoint AS e
         WHERE e.tenant_id = current_tenant() AND e.state = 'ENABLED' AND ",
        asks_for!("$1")
    ))
    .bind(event_type)
    .fetch_all(&mut *connection)
    .await?;
    deliveries_insert_in_txn(connection, id, event_type, &endpoints, now).await
}

async fn deliveries_insert_in_txn(
    connection: &mut PgConnection,
    message: Uuid,
    event_type: &str,
    endpoints: &[Uuid],
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let ids: Vec<Uuid> = endpoints.iter().map(|_| Uuid::now_v7()).collect();
    let inserted = sqlx::query(
        "INSERT INTO delivery (id, message_id, endpoint_id, event_type, state, next_attempt_at,
             created_at)
         SELECT new.id, $1, new.endpoint_id, $2, 'PENDING', $3, $3
         FROM unnest($4::uuid[], $5::uuid[]) AS new (id, endpoint_id)",
    )
    .bind(message)
    .bind(event_type)
    .bind(now)
    .bind(&ids)
    .bind(endpoints)
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected())
}

impl Store {
    /// Keeps a message for one endpoint alone.
    pub(crate) async fn message_insert_for(
        &self,
        tenant: TenantId,
        endpoint: Uuid,
        event_type: &str,
        payload: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Delivery, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        require_enabled_in_txn(&mut txn, endpoint).await?;
        let id = Uuid::now_v7();
        sqlx::query(
            "INSERT INTO message (id, event_type, payload, created_at) VALUES ($1, $2, $3, $4)",
        )
        .bind(id)
        .bind(event_type)
        .bind(payload)
        .bind(now)
        .execute(&mut *txn)
        .await?;
        deliveries_insert_in_txn(&mut txn, id, event_type, &[endpoint], now).await?;
        let delivery = sqlx::query_as("SELECT * FROM delivery WHERE message_id = $1")
            .bind(id)
            .fetch_one(&mut *txn)
            .await?;
        txn.commit().await?;
        Ok(delivery)
    }

    /// Begins the deliveries of a message anew, those to enabled endpoints, or that to one. Returns
    /// their number, without those that wait for an attempt already.
    pub(crate) async fn message_replay(
        &self,
        tenant: TenantId,
        message: Uuid,
        endpoint: Option<Uuid>,
        now: DateTime<Utc>,
    ) -> Result<i64, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        if let Some(endpoint) = endpoint {
            require_enabled_in_txn(&mut txn, endpoint).await?;
        }
        let known: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM delivery
                 WHERE message_id = $1 AND ($2::uuid IS NULL OR endpoint_id = $2))",
        )
        .bind(message)
        .bind(endpoint)
        .fetch_one(&mut *txn)
        .await?;
        if !known {
            return Err(WebhookError::MessageNotFound);
        }
        let replayed = sqlx::query(
            "UPDATE delivery AS d
             SET state = 'PENDING', step = 0, next_attempt_at = $3, finished_at = NULL
             FROM endpoint AS e
             WHERE d.message_id = $1 AND ($2::uuid IS NULL OR d.endpoint_id = $2)
               AND e.id = d.endpoint_id AND e.state = 'ENABLED' AND d.state <> 'PENDING'",
        )
        .bind(message)
        .bind(endpoint)
        .bind(now)
        .execute(&mut *txn)
        .await?;
        txn.commit().await?;
        Ok(count(replayed.rows_affected()))
    }

    /// Sends the messages of a span to an endpoint that asks for their types: those that it never got,
    /// or all. Returns their number, without those that wait for an attempt already.
    pub(crate) async fn range_replay(
        &self,
        tenant: TenantId,
        replay: Replay,
        now: DateTime<Utc>,
    ) -> Result<i64, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        require_enabled_in_txn(&mut txn, replay.endpoint).await?;
        let messages = range_find_in_txn(&mut txn, &replay).await?;
        let found = count(messages.len() as u64);
        if found > REPLAYED_MAX {
            return Err(WebhookError::RangeTooLarge { max: REPLAYED_MAX });
        }
        let (messages, types): (Vec<Uuid>, Vec<String>) = messages.into_iter().unzip();
        let ids: Vec<Uuid> = messages.iter().map(|_| Uuid::now_v7()).collect();
        sqlx::query(
            "INSERT INTO delivery (id, message_id, endpoint_id, event_type, state,
                 next_attempt_at, created_at)
             SELECT new.id, new.message_id, $1, new.event_type, 'PENDING', $2, $2
             FROM unnest($3::uuid[], $4::uuid[], $5::text[]) AS new (id, message_id, event_type)
             ON CONFLICT (message_id, endpoint_id) DO UPDATE
                 SET state = 'PENDING', step = 0, next_attempt_at = $2, finished_at = NULL
                 WHERE delivery.state <> 'PENDING'",
        )
        .bind(replay.endpoint)
        .bind(now)
        .bind(&ids)
        .bind(&messages)
        .bind(&types)
        .execute(&mut *txn)
        .await?;
        txn.commit().await?;
        Ok(found)
    }
}

/// Messages of a span that its endpoint asks for, with their types: at most one more than a replay
/// takes.
async fn range_find_in_txn(
    connection: &mut PgConnection,
    replay: &Replay,
) -> Result<Vec<(Uuid, String)>, sqlx::Error> {
    sqlx::query_as(concat!(
        "SELECT m.id, m.event_type FROM message AS m, endpoint AS e
             WHERE m.tenant_id = current_tenant() AND m.created_at >= $2 AND m.created_at < $3
               AND e.id = $1 AND ",
        asks_for!("m.event_type"),
        " AND NOT EXISTS (SELECT FROM delivery AS d
                 WHERE d.message_id = m.id AND d.endpoint_id = e.id
                   AND (d.state = 'PENDING' OR (d.state = 'DELIVERED' AND NOT $4)))
               -- What was for one endpoint alone stays its own.
               AND (m.event_type <> $5 OR EXISTS (SELECT FROM delivery AS d
                 WHERE d.message_id = m.id AND d.endpoint_id = e.id))
             LIMIT $6"
    ))
    .bind(replay.endpoint)
    .bind(replay.from)
    .bind(replay.before)
    .bind(replay.include_delivered)
    .bind(PING)
    .bind(REPLAYED_MAX + 1)
    .fetch_all(connection)
    .await
}

async fn require_enabled_in_txn(
    connection: &mut PgConnection,
    endpoint: Uuid,
) -> Result<(), WebhookError> {
    let state: Option<String> =
        sqlx::query_scalar("SELECT state FROM endpoint WHERE id = $1 AND state <> 'DELETED'")
            .bind(endpoint)
            .fetch_optional(connection)
            .await?;
    match state.as_deref() {
        None => Err(WebhookError::EndpointNotFound),
        Some("ENABLED") => Ok(()),
        Some(_) => Err(WebhookError::EndpointDisabled),
    }
}

fn count(rows: u64) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
