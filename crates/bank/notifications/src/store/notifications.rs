//! What users are told.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::tell_in_txn;
use crate::domain::plan::Planned;
use crate::domain::{Channel, Order, Status, Variables};
use crate::templates::{Filled, Template};

/// A notification to record.
#[derive(Clone, Copy)]
pub(crate) struct New<'n> {
    pub(crate) id: Uuid,
    pub(crate) order: &'n Order,
    pub(crate) template: &'n Template,
    /// Its words in the app.
    pub(crate) words: &'n Filled,
    pub(crate) planned: &'n [Planned],
    pub(crate) now: DateTime<Utc>,
}

/// The notification that an order has led to, this time or before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Recorded {
    pub(crate) id: Uuid,
    pub(crate) repeated: bool,
}

/// Records a notification with its deliveries; under a key that was used, returns the first one and
/// changes nothing.
pub(crate) async fn notification_insert_in_txn(
    connection: &mut PgConnection,
    new: New<'_>,
) -> Result<Recorded, sqlx::Error> {
    let New { id, order, planned, .. } = new;
    if !insert_in_txn(connection, new).await? {
        let first = sqlx::query_scalar(
            "SELECT id FROM notification
             WHERE tenant_id = current_tenant() AND user_id = $1 AND dedup_key = $2",
        )
        .bind(order.user.as_uuid())
        .bind(&order.dedup_key)
        .fetch_one(connection)
        .await?;
        return Ok(Recorded { id: first, repeated: true });
    }
    if planned.iter().any(|it| (it.channel, it.status) == (Channel::InApp, Status::Sent)) {
        show_in_txn(connection, new).await?;
    }
    deliveries_insert_in_txn(connection, new).await?;
    // Also for who delivers.
    tell_in_txn(connection, order.user).await?;
    Ok(Recorded { id, repeated: false })
}

/// Whether the key is new.
async fn insert_in_txn(connection: &mut PgConnection, new: New<'_>) -> Result<bool, sqlx::Error> {
    let New { order, planned, .. } = new;
    // Filled in anew for every attempt, and kept no longer than there are any.
    let is_tried = planned.iter().any(|it| matches!(it.status, Status::Pending | Status::Standby));
    let inserted = sqlx::query(
        "INSERT INTO notification (id, user_id, dedup_key, category, template, locale,
                                   variables, recipient, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (tenant_id, user_id, dedup_key) DO NOTHING",
    )
    .bind(new.id)
    .bind(order.user.as_uuid())
    .bind(&order.dedup_key)
    .bind(new.template.category.as_str())
    .bind(new.template.name)
    .bind(new.words.locale)
    .bind(Json(if is_tried { order.variables.clone() } else { Variables::new() }))
    .bind(order.recipient.as_ref().filter(|_| is_tried).map(Json))
    .bind(new.now)
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Takes the user's next sequence.
async fn show_in_txn(connection: &mut PgConnection, new: New<'_>) -> Result<(), sqlx::Error> {
    let sequence: i64 = sqlx::query_scalar(
        "INSERT INTO inbox (user_id, sequence, unread) VALUES ($1, 1, 1)
         ON CONFLICT (tenant_id, user_id)
             DO UPDATE SET sequence = inbox.sequence + 1, unread = inbox.unread + 1
         RETURNING sequence",
    )
    .bind(new.order.user.as_uuid())
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE notification SET sequence = $2, title = $3, body = $4
         WHERE tenant_id = current_tenant() AND id = $1",
    )
    .bind(new.id)
    .bind(sequence)
    .bind(&new.words.title)
    .bind(&new.words.short)
    .execute(connection)
    .await?;
    Ok(())
}

async fn deliveries_insert_in_txn(
    connection: &mut PgConnection,
    new: New<'_>,
) -> Result<(), sqlx::Error> {
    let mut insert = QueryBuilder::<Postgres>::new(
        "INSERT INTO delivery (id, notification_id, user_id, category, template, channel, status,
                               reason, next_attempt_at, created_at, ended_at) ",
    );
    insert.push_values(new.planned, |mut row, planned| {
        let is_over = matches!(planned.status, Status::Sent | Status::Skipped);
        row.push_bind(Uuid::now_v7())
            .push_bind(new.id)
            .push_bind(new.order.user.as_uuid())
            .push_bind(new.template.category.as_str())
            .push_bind(new.template.name)
            .push_bind(planned.channel.as_str())
            .push_bind(planned.status.as_str())
            .push_bind(planned.reason)
            .push_bind((planned.status == Status::Pending).then_some(new.now))
            .push_bind(new.now)
            .push_bind(is_over.then_some(new.now));
    });
    insert.build().execute(connection).await?;
    Ok(())
}
