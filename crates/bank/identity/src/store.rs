//! All SQL. Functions run in one transaction of their own, save those that end in `_in_txn`.

mod attempts;
mod keys;
mod sessions;

use auth::{Role, TenantId, UserId, role_from_name, role_name};
use chrono::{DateTime, Utc};
use contracts::identity::v1 as pb;
use contracts::notifications::v1::NotificationRequested;
use events::{Event, Outbox};
use mesh::wire::timestamp;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use storage::{Database, Error, Transaction};
use uuid::Uuid;

use crate::config::LockoutConfig;
use crate::domain::{Email, Profile, User};

pub(crate) use keys::key_replace_in_txn;
pub(crate) use sessions::{NewToken, Rotation};

/// Users, sessions and attempts of every tenant.
#[derive(Clone)]
pub(crate) struct Store {
    database: Database,
    outbox: Outbox,
}

impl Store {
    pub(crate) fn new(database: Database) -> Self {
        Self { outbox: Outbox::new(&database), database }
    }

    async fn begin(&self, tenant: TenantId) -> Result<Transaction, Error> {
        self.database.begin(tenant).await
    }

    /// Inserts a user, or leaves and returns the one who has the e-mail.
    pub(crate) async fn user_insert_or_fetch(
        &self,
        tenant: TenantId,
        user: User,
        now: DateTime<Utc>,
    ) -> Result<User, Error> {
        let mut tx = self.begin(tenant).await?;
        let profile = user.unprovisioned.as_ref();
        let inserted = sqlx::query(
            "INSERT INTO users (id, email, password_hash, roles, name, address, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT ON CONSTRAINT users_email_key DO NOTHING",
        )
        .bind(user.id.as_uuid())
        .bind(user.email.as_str())
        .bind(&user.password_hash)
        .bind(role_names(&user.roles))
        .bind(profile.map(|profile| &profile.name))
        .bind(profile.map(|profile| &profile.address))
        .bind(now)
        .execute(&mut *tx)
        .await?;
        if inserted.rows_affected() == 1 {
            tx.commit().await?;
            return Ok(user);
        }
        let user = user_fetch_in_txn(&mut tx, &user.email).await?;
        tx.commit().await?;
        // Users are never deleted while somebody registers their e-mail.
        user.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    /// Has the owner of an e-mail told, once a day at most, that somebody registered it again.
    pub(crate) async fn owner_tell(
        &self,
        tenant: TenantId,
        owner: UserId,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let request = NotificationRequested {
            user_id: owner.to_string(),
            template: "already-registered".to_owned(),
            dedup_key: format!("already-registered:{}", now.date_naive()),
            ..NotificationRequested::default()
        };
        let mut tx = self.begin(tenant).await?;
        self.outbox.publish(&mut tx, &[Event::new(tenant, now, &request)?]).await?;
        Ok(tx.commit().await?)
    }

    pub(crate) async fn user_by_email(
        &self,
        tenant: TenantId,
        email: &Email,
    ) -> Result<Option<User>, Error> {
        let mut tx = self.begin(tenant).await?;
        let user = user_fetch_in_txn(&mut tx, email).await?;
        tx.commit().await?;
        Ok(user)
    }

    /// Notes that account and profile exist, and forgets what the profile knows now. Tells of the user,
    /// once: who hears of it finds account and profile there.
    pub(crate) async fn user_set_provisioned(
        &self,
        tenant: TenantId,
        user: UserId,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let mut tx = self.begin(tenant).await?;
        let created_at: Option<DateTime<Utc>> = sqlx::query_scalar(
            "UPDATE users SET provisioned_at = $2, name = NULL, address = NULL
             WHERE id = $1 AND provisioned_at IS NULL RETURNING created_at",
        )
        .bind(user.as_uuid())
        .bind(now)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(created_at) = created_at {
            let (user_id, created_at) = (user.to_string(), Some(timestamp(created_at)));
            let event = Event::new(tenant, now, &pb::UserCreated { user_id, created_at })?;
            self.outbox.publish(&mut tx, &[event]).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Replaces the password hash, unless somebody else already did.
    pub(crate) async fn user_set_password_hash(
        &self,
        tenant: TenantId,
        user: &User,
        hash: &str,
    ) -> Result<(), Error> {
        let mut tx = self.begin(tenant).await?;
        sqlx::query("UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2")
            .bind(user.id.as_uuid())
            .bind(&user.password_hash)
            .bind(hash)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Replaces the roles of a user; false when there is none.
    pub(crate) async fn user_set_roles(
        &self,
        tenant: TenantId,
        user: UserId,
        roles: &[Role],
    ) -> Result<bool, Error> {
        let mut tx = self.begin(tenant).await?;
        let updated = sqlx::query("UPDATE users SET roles = $2 WHERE id = $1")
            .bind(user.as_uuid())
            .bind(role_names(roles))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(updated.rows_affected() == 1)
    }

    /// Removes what no longer means anything, of all tenants.
    pub(crate) async fn expired_delete(
        &self,
        lockout: &LockoutConfig,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let mut tx = self.database.begin_worker().await?;
        sqlx::query("DELETE FROM refresh_token WHERE expires_at <= $1")
            .bind(now)
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM session WHERE expires_at <= $1")
            .bind(now)
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM attempt WHERE last_at <= $1 AND locked_until <= $2")
            .bind(now - lockout.forget_after)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}

async fn user_fetch_in_txn(
    connection: &mut PgConnection,
    email: &Email,
) -> Result<Option<User>, Error> {
    let row =
        sqlx::query("SELECT id, password_hash, roles, name, address FROM users WHERE email = $1")
            .bind(email.as_str())
            .fetch_optional(connection)
            .await?;
    let Some(row) = row else { return Ok(None) };
    let name: Option<String> = row.try_get("name")?;
    let address: Option<String> = row.try_get("address")?;
    Ok(Some(User {
        id: row.try_get::<Uuid, _>("id")?.into(),
        email: email.clone(),
        password_hash: row.try_get("password_hash")?,
        roles: roles(&row)?,
        unprovisioned: name.map(|name| Profile { name, address: address.unwrap_or_default() }),
    }))
}

fn roles(row: &PgRow) -> Result<Vec<Role>, Error> {
    let names: Vec<String> = row.try_get("roles")?;
    Ok(names.iter().filter_map(|name| role_from_name(name)).collect())
}

fn role_names(roles: &[Role]) -> Vec<&'static str> {
    roles.iter().map(|role| role_name(*role)).collect()
}
