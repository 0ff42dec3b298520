use auth::{TenantId, UserId};
use chrono::{DateTime, Utc};
use contracts::accounts::v1 as pb;
use events::{Event, Outbox};
use mesh::wire::timestamp;
use money::Currency;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{FromRow, Row};
use storage::Database;
use uuid::Uuid;

use crate::domain::{Account, AccountNumber};
use crate::error::AccountError;

/// Everything that accounts keep in PostgreSQL. Row-level security picks the tenant.
pub(crate) struct Store {
    database: Database,
    outbox: Outbox,
}

impl Store {
    pub(crate) fn new(database: Database) -> Self {
        Self { outbox: Outbox::new(&database), database }
    }

    /// The account of a user in a currency, open or not; inserted when there is none.
    pub(crate) async fn account_ensure(
        &self,
        tenant: TenantId,
        owner: UserId,
        currency: Currency,
        agency: &str,
        now: DateTime<Utc>,
    ) -> Result<Account, AccountError> {
        let mut transaction = self.database.begin(tenant).await?;
        // Looked for first, so that repeats do not burn account numbers.
        if let Some(account) = account_fetch_in_txn(&mut transaction, owner, currency).await? {
            return Ok(account);
        }
        let inserted = sqlx::query_as(
            "INSERT INTO account (id, user_id, currency, agency, created_at)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (tenant_id, user_id, currency) DO NOTHING
             RETURNING *",
        )
        .bind(Uuid::now_v7())
        .bind(owner.as_uuid())
        .bind(currency.code())
        .bind(agency)
        .bind(now)
        .fetch_optional(&mut *transaction)
        .await?;
        let account = match inserted {
            Some(account) => Some(account),
            // Somebody else was faster.
            None => account_fetch_in_txn(&mut transaction, owner, currency).await?,
        };
        transaction.commit().await?;
        // Accounts are never deleted: the one in the way is still there.
        account.ok_or(AccountError::NotFound)
    }

    /// Notes that the ledger holds the account, and tells of it (K-19). The first time stays.
    pub(crate) async fn account_open(
        &self,
        tenant: TenantId,
        id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<Account, AccountError> {
        let mut transaction = self.database.begin(tenant).await?;
        let opened: Option<Account> = sqlx::query_as(
            "UPDATE account SET opened_at = $2 WHERE id = $1 AND opened_at IS NULL RETURNING *",
        )
        .bind(id)
        .bind(now)
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(account) = opened else {
            let found = sqlx::query_as("SELECT * FROM account WHERE id = $1").bind(id);
            return Ok(found.fetch_one(&mut *transaction).await?);
        };
        let event = opened_event(tenant, &account, now).map_err(storage::Error::from)?;
        self.outbox.publish(&mut transaction, &[event]).await?;
        transaction.commit().await?;
        Ok(account)
    }

    /// The open accounts of users in one currency, in no order.
    pub(crate) async fn accounts_resolve(
        &self,
        tenant: TenantId,
        owners: &[UserId],
        currency: Currency,
    ) -> Result<Vec<Account>, AccountError> {
        let owners: Vec<Uuid> = owners.iter().map(|owner| owner.as_uuid()).collect();
        let mut transaction = self.database.begin(tenant).await?;
        sqlx::query_as(
            "SELECT * FROM account
             WHERE user_id = ANY($1) AND currency = $2 AND opened_at IS NOT NULL",
        )
        .bind(owners)
        .bind(currency.code())
        .fetch_all(&mut *transaction)
        .await
        .map_err(AccountError::from)
    }

    /// The open accounts of one user, oldest first.
    pub(crate) async fn accounts_list(
        &self,
        tenant: TenantId,
        owner: UserId,
    ) -> Result<Vec<Account>, AccountError> {
        let mut transaction = self.database.begin(tenant).await?;
        sqlx::query_as(
            "SELECT * FROM account WHERE user_id = $1 AND opened_at IS NOT NULL
             ORDER BY opened_at, id",
        )
        .bind(owner.as_uuid())
        .fetch_all(&mut *transaction)
        .await
        .map_err(AccountError::from)
    }
}

fn opened_event(
    tenant: TenantId,
    account: &Account,
    now: DateTime<Utc>,
) -> Result<Event, events::EventError> {
    let opened = pb::AccountOpened {
        account_id: account.id.to_string(),
        user_id: account.owner.to_string(),
        currency: account.currency.code().into(),
        opened_at: Some(timestamp(now)),
    };
    Event::new(tenant, now, &opened)
}

/// Finds an account by its id.
pub(crate) async fn account_by_id_in_txn(
    connection: &mut PgConnection,
    id: Uuid,
) -> Result<Option<Account>, storage::Error> {
    let found = sqlx::query_as("SELECT * FROM account WHERE id = $1").bind(id);
    Ok(found.fetch_optional(connection).await?)
}

async fn account_fetch_in_txn(
    connection: &mut PgConnection,
    owner: UserId,
    currency: Currency,
) -> Result<Option<Account>, AccountError> {
    sqlx::query_as("SELECT * FROM account WHERE user_id = $1 AND currency = $2")
        .bind(owner.as_uuid())
        .bind(currency.code())
        .fetch_optional(connection)
        .await
        .map_err(AccountError::from)
}

impl FromRow<'_, PgRow> for Account {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let number: i32 = row.try_get("number")?;
        let currency = Currency::from_code(row.try_get("currency")?);
        Ok(Self {
            id: row.try_get("id")?,
            owner: row.try_get::<Uuid, _>("user_id")?.into(),
            currency: currency.ok_or_else(|| sqlx::Error::Decode("no active currency".into()))?,
            agency: row.try_get("agency")?,
            number: AccountNumber(number.unsigned_abs()),
            opened_at: row.try_get("opened_at")?,
        })
    }
}
