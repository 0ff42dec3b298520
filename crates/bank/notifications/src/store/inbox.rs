//! What users have in the app.

use auth::{TenantId, UserId};
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{FromRow, Postgres, QueryBuilder, Row};
use storage::named;
use uuid::Uuid;

use super::{Store, tell_in_txn};
use crate::domain::Category;
use crate::error::NotificationError;

/// One notification in the app.
#[derive(Clone, Debug)]
pub(crate) struct InboxRow {
    pub(crate) id: Uuid,
    pub(crate) sequence: i64,
    pub(crate) category: Category,
    pub(crate) template: String,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) is_read: bool,
    pub(crate) created_at: DateTime<Utc>,
}

/// How much a user has.
#[derive(Clone, Copy, Debug, Default, Eq, FromRow, PartialEq)]
pub(crate) struct Counts {
    /// Of the newest; 0 for none.
    pub(crate) sequence: i64,
    pub(crate) unread: i32,
}

/// Which part of a user's notifications to read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Page {
    /// Older than this sequence, newest first.
    Before {
        /// `i64::MAX` for all.
        sequence: i64,
        unread_only: bool,
    },
    /// Newer than this sequence, oldest first.
    After(i64),
}

const COLUMNS: &str =
    "id, sequence, category, template, title, body, read_at IS NOT NULL AS is_read, created_at";

impl Store {
    /// Reads how much `user` has.
    pub(crate) async fn inbox_counts(
        &self,
        tenant: TenantId,
        user: UserId,
    ) -> Result<Counts, NotificationError> {
        let mut transaction = self.database.begin(tenant).await?;
        Ok(counts_in_txn(&mut transaction, user).await?)
    }

    /// Reads how much `user` has, and `limit` notifications of those.
    pub(crate) async fn inbox_page(
        &self,
        tenant: TenantId,
        user: UserId,
        page: Page,
        limit: i64,
    ) -> Result<(Vec<InboxRow>, Counts), NotificationError> {
        let mut transaction = self.database.begin(tenant).await?;
        let counts = counts_in_txn(&mut transaction, user).await?;
        let mut query =
            QueryBuilder::<Postgres>::new(format!("SELECT {COLUMNS} FROM notification"));
        query.push(" WHERE tenant_id = current_tenant() AND user_id = ").push_bind(user.as_uuid());
        // What came since is not counted yet.
        query.push(" AND sequence <= ").push_bind(counts.sequence);
        match page {
            Page::Before { sequence, unread_only } => {
                query.push(" AND sequence < ").push_bind(sequence);
                query.push(if unread_only { " AND read_at IS NULL" } else { "" });
                query.push(" ORDER BY sequence DESC LIMIT ");
            }
            Page::After(sequence) => {
                query.push(" AND sequence > ").push_bind(sequence);
                query.push(" ORDER BY sequence LIMIT ");
            }
        }
        query.push_bind(limit);
        let rows = query.build_query_as().fetch_all(&mut *transaction).await?;
        Ok((rows, counts))
    }

    /// Marks notifications of `user` as read: those of `ids`, and all up to `through`. Returns how
    /// many are left.
    pub(crate) async fn inbox_mark_read(
        &self,
        tenant: TenantId,
        user: UserId,
        ids: &[Uuid],
        through: i64,
        now: DateTime<Utc>,
    ) -> Result<i32, NotificationError> {
        let mut transaction = self.database.begin(tenant).await?;
        // Takes the turn before it looks, so that nothing is counted twice.
        let turn: Option<i32> = sqlx::query_scalar(
            "SELECT unread FROM inbox WHERE tenant_id = current_tenant() AND user_id = $1 FOR UPDATE",
        )
        .bind(user.as_uuid())
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(unread) = turn else { return Ok(0) };
        let read = sqlx::query(
            "UPDATE notification SET read_at = $4
             WHERE tenant_id = current_tenant() AND user_id = $1 AND sequence IS NOT NULL
               AND read_at IS NULL AND (id = ANY($2) OR sequence <= $3)",
        )
        .bind(user.as_uuid())
        .bind(ids)
        .bind(through)
        .bind(now)
        .execute(&mut *transaction)
        .await?;
        let read = i32::try_from(read.rows_affected()).unwrap_or(i32::MAX).min(unread);
        if read > 0 {
            sqlx::query(
                "UPDATE inbox SET unread = unread - $2
                 WHERE tenant_id = current_tenant() AND user_id = $1",
            )
            .bind(user.as_uuid())
            .bind(read)
            .execute(&mut *transaction)
            .await?;
            tell_in_txn(&mut transaction, user).await?;
        }
        transaction.commit().await?;
        Ok(unread - read)
    }
}

async fn counts_in_txn(connection: &mut PgConnection, user: UserId) -> Result<Counts, sqlx::Error> {
    let counts = sqlx::query_as(
        "SELECT sequence, unread FROM inbox WHERE tenant_id = current_tenant() AND user_id = $1",
    )
    .bind(user.as_uuid())
    .fetch_optional(connection)
    .await?;
    Ok(counts.unwrap_or_default())
}

impl FromRow<'_, PgRow> for InboxRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            sequence: row.try_get("sequence")?,
            category: named(row, "category", Category::ALL, Category::as_str)?,
            template: row.try_get("template")?,
            title: row.try_get("title")?,
            body: row.try_get("body")?,
            is_read: row.try_get("is_read")?,
            created_at: row.try_get("created_at")?,
        })
    }
}
