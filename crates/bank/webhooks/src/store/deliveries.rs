//! The delivery log.

use auth::TenantId;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, QueryBuilder, Row};
use storage::named;
use uuid::Uuid;

use super::Store;
use crate::domain::answer::Outcome;
use crate::domain::message::{Delivery, DeliveryState};
use crate::error::WebhookError;

/// What to list.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) endpoint: Option<Uuid>,
    pub(crate) message: Option<Uuid>,
    pub(crate) state: Option<DeliveryState>,
}

/// One attempt, as it is logged.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) number: i32,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<i32>,
    pub(crate) latency_ms: i32,
    pub(crate) response: String,
}

impl Store {
    /// Finds a delivery.
    pub(crate) async fn delivery_fetch(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Delivery, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        let found = sqlx::query_as("SELECT * FROM delivery WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut *txn)
            .await?;
        found.ok_or(WebhookError::DeliveryNotFound)
    }

    /// Up to `limit` deliveries that are older than `before`, newest first.
    pub(crate) async fn delivery_list(
        &self,
        tenant: TenantId,
        filter: Filter,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Delivery>, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        let mut query =
            QueryBuilder::new("SELECT * FROM delivery WHERE tenant_id = current_tenant()");
        if let Some(endpoint) = filter.endpoint {
            query.push(" AND endpoint_id = ").push_bind(endpoint);
        }
        if let Some(message) = filter.message {
            query.push(" AND message_id = ").push_bind(message);
        }
        // A word of the statement, not a value: the index of what failed holds that word alone.
        if let Some(state) = filter.state {
            query.push(" AND state = '").push(state.as_str()).push("'");
        }
        if let Some(before) = before {
            query.push(" AND id < ").push_bind(before);
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(limit);
        Ok(query.build_query_as().fetch_all(&mut *txn).await?)
    }

    /// The attempts of a delivery, oldest first.
    pub(crate) async fn attempt_list(
        &self,
        tenant: TenantId,
        delivery: Uuid,
    ) -> Result<Vec<Attempt>, WebhookError> {
        self.delivery_fetch(tenant, delivery).await?;
        let mut txn = self.database.begin(tenant).await?;
        let attempts =
            sqlx::query_as("SELECT * FROM attempt WHERE delivery_id = $1 ORDER BY number")
                .bind(delivery)
                .fetch_all(&mut *txn)
                .await?;
        Ok(attempts)
    }
}

impl FromRow<'_, PgRow> for Delivery {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            message: row.try_get("message_id")?,
            endpoint: row.try_get("endpoint_id")?,
            event_type: row.try_get("event_type")?,
            state: named(row, "state", &DeliveryState::ALL, DeliveryState::as_str)?,
            attempts: row.try_get("attempts")?,
            next_attempt_at: row.try_get("next_attempt_at")?,
            created_at: row.try_get("created_at")?,
            finished_at: row.try_get("finished_at")?,
        })
    }
}

impl FromRow<'_, PgRow> for Attempt {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            number: row.try_get("number")?,
            started_at: row.try_get("started_at")?,
            outcome: named(row, "outcome", &Outcome::ALL, Outcome::as_str)?,
            status: row.try_get("status")?,
            latency_ms: row.try_get("latency_ms")?,
            response: row.try_get("response")?,
        })
    }
}
