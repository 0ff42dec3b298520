use auth::{TenantId, UserId};
use chrono::{DateTime, Utc};
use contracts::customers::v1 as pb;
use events::{Event, Outbox};
use mesh::wire::timestamp;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::types::Json;
use sqlx::{FromRow, Row};
use storage::Database;
use uuid::Uuid;

use crate::domain::{Changes, Customer};
use crate::error::CustomerError;

/// Everything that customers keep in PostgreSQL. Row-level security picks the tenant.
pub(crate) struct Store {
    database: Database,
    outbox: Outbox,
}

impl Store {
    pub(crate) fn new(database: Database) -> Self {
        Self { outbox: Outbox::new(&database), database }
    }

    /// Inserts a profile, or returns the one that has its id already.
    pub(crate) async fn customer_insert(
        &self,
        tenant: TenantId,
        customer: &Customer,
    ) -> Result<Customer, CustomerError> {
        let mut transaction = self.database.begin(tenant).await?;
        let inserted = sqlx::query_as(
            "INSERT INTO customer (id, name, email, address, profile_picture,
                                   banking_details, is_active, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT DO NOTHING
             RETURNING *",
        )
        .bind(customer.id.as_uuid())
        .bind(&customer.name)
        .bind(&customer.email)
        .bind(&customer.address)
        .bind(&customer.profile_picture)
        .bind(Json(&customer.banking_details))
        .bind(customer.is_active)
        .bind(customer.created_at)
        .bind(customer.updated_at)
        .fetch_optional(&mut *transaction)
        .await?;
        let stored = match inserted {
            Some(customer) => Some(customer),
            None => customer_fetch_in_txn(&mut transaction, customer.id).await?,
        };
        transaction.commit().await?;
        // Profiles are never deleted: what was in the way, if not this id, was the address.
        stored.ok_or(CustomerError::EmailTaken)
    }

    /// Finds a profile.
    pub(crate) async fn customer_fetch(
        &self,
        tenant: TenantId,
        id: UserId,
    ) -> Result<Option<Customer>, CustomerError> {
        let mut transaction = self.database.begin(tenant).await?;
        customer_fetch_in_txn(&mut transaction, id).await
    }

    /// Changes a profile, or returns `None` when there is none. The last write wins. Tells of new bank
    /// details (L-32).
    pub(crate) async fn customer_update(
        &self,
        tenant: TenantId,
        id: UserId,
        changes: &Changes,
        now: DateTime<Utc>,
    ) -> Result<Option<Customer>, CustomerError> {
        let mut transaction = self.database.begin(tenant).await?;
        let customer = sqlx::query_as(
            "UPDATE customer
             SET name = coalesce($2, name),
                 address = coalesce($3, address),
                 profile_picture = coalesce($4, profile_picture),
                 phone = coalesce($5, phone),
                 banking_details = coalesce($6, banking_details),
                 updated_at = $7
             WHERE id = $1
             RETURNING *",
        )
        .bind(id.as_uuid())
        .bind(&changes.name)
        .bind(&changes.address)
        .bind(&changes.profile_picture)
        .bind(&changes.phone)
        .bind(changes.banking_details.as_ref().map(Json))
        .bind(now)
        .fetch_optional(&mut *transaction)
        .await?;
        if customer.is_some() && changes.banking_details.is_some() {
            let (user_id, updated_at) = (id.to_string(), Some(timestamp(now)));
            let updated = pb::UserBankingDetailsUpdated { user_id, updated_at };
            let event = Event::new(tenant, now, &updated).map_err(storage::Error::from)?;
            self.outbox.publish(&mut transaction, &[event]).await?;
        }
        transaction.commit().await?;
        Ok(customer)
    }
}

async fn customer_fetch_in_txn(
    connection: &mut PgConnection,
    id: UserId,
) -> Result<Option<Customer>, CustomerError> {
    sqlx::query_as("SELECT * FROM customer WHERE id = $1")
        .bind(id.as_uuid())
        .fetch_optional(connection)
        .await
        .map_err(CustomerError::from)
}

impl FromRow<'_, PgRow> for Customer {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let Json(banking_details) = row.try_get("banking_details")?;
        Ok(Self {
            id: row.try_get::<Uuid, _>("id")?.into(),
            name: row.try_get("name")?,
            email: row.try_get("email")?,
            address: row.try_get("address")?,
            profile_picture: row.try_get("profile_picture")?,
            phone: row.try_get("phone")?,
            banking_details,
            is_active: row.try_get("is_active")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}
