//! SQL about sessions and their refresh tokens.

use auth::{Role, TenantId, UserId};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use storage::Error;
use uuid::Uuid;

use super::{Store, roles};
use crate::domain::{TokenHash, TokenState, Verdict};

/// A refresh token to store.
pub(crate) struct NewToken {
    pub(crate) hash: TokenHash,
    pub(crate) now: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
}

/// What came of showing a refresh token.
pub(crate) enum Rotation {
    /// It was replaced by the new one, for this user with its present roles.
    Rotated { user: UserId, roles: Vec<Role> },
    /// It was used before; its session is over now.
    Revoked { user: UserId },
    /// It is not valid.
    Refused,
}

impl Store {
    /// Opens a session with its first refresh token.
    pub(crate) async fn session_open(
        &self,
        tenant: TenantId,
        user: UserId,
        token: &NewToken,
    ) -> Result<(), Error> {
        let mut tx = self.begin(tenant).await?;
        let session = Uuid::now_v7();
        sqlx::query(
            "INSERT INTO session (id, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
        )
        .bind(session)
        .bind(user.as_uuid())
        .bind(token.now)
        .bind(token.expires_at)
        .execute(&mut *tx)
        .await?;
        token_insert_in_txn(&mut tx, session, token).await?;
        Ok(tx.commit().await?)
    }

    /// Replaces a refresh token by the next, or ends its session when it was used before.
    pub(crate) async fn token_rotate(
        &self,
        tenant: TenantId,
        shown: &TokenHash,
        next: &NewToken,
    ) -> Result<Rotation, Error> {
        let mut tx = self.begin(tenant).await?;
        // Both rows are locked: of two that show the same token at once, the second sees the first.
        let found = sqlx::query(
            "SELECT s.id, s.user_id, t.expires_at, u.roles,
                    t.rotated_at IS NOT NULL AS rotated, s.revoked_at IS NOT NULL AS revoked
             FROM refresh_token t
             JOIN session s ON s.id = t.session_id
             JOIN users u ON u.id = s.user_id
             WHERE t.hash = $1 FOR UPDATE OF t, s",
        )
        .bind(shown.as_bytes())
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = found else { return Ok(Rotation::Refused) };
        let (session, user) = (row.try_get("id")?, row.try_get::<Uuid, _>("user_id")?.into());
        let rotation = match token_state(&row)?.judge(next.now) {
            Verdict::Refuse => Rotation::Refused,
            Verdict::Revoke => {
                session_revoke_in_txn(&mut tx, session, next.now).await?;
                Rotation::Revoked { user }
            }
            Verdict::Rotate => {
                token_mark_rotated_in_txn(&mut tx, session, shown, next).await?;
                token_insert_in_txn(&mut tx, session, next).await?;
                Rotation::Rotated { user, roles: roles(&row)? }
            }
        };
        tx.commit().await?;
        Ok(rotation)
    }

    /// Ends the session of a refresh token, whatever state the token is in.
    pub(crate) async fn session_end(
        &self,
        tenant: TenantId,
        shown: &TokenHash,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let mut tx = self.begin(tenant).await?;
        let session = sqlx::query_scalar("SELECT session_id FROM refresh_token WHERE hash = $1")
            .bind(shown.as_bytes())
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(session) = session {
            session_revoke_in_txn(&mut tx, session, now).await?;
        }
        Ok(tx.commit().await?)
    }
}

async fn token_insert_in_txn(
    connection: &mut PgConnection,
    session: Uuid,
    token: &NewToken,
) -> Result<(), Error> {
    sqlx::query("INSERT INTO refresh_token (hash, session_id, expires_at) VALUES ($1, $2, $3)")
        .bind(token.hash.as_bytes())
        .bind(session)
        .bind(token.expires_at)
        .execute(connection)
        .await?;
    Ok(())
}

async fn token_mark_rotated_in_txn(
    connection: &mut PgConnection,
    session: Uuid,
    shown: &TokenHash,
    next: &NewToken,
) -> Result<(), Error> {
    sqlx::query("UPDATE refresh_token SET rotated_at = $2 WHERE hash = $1")
        .bind(shown.as_bytes())
        .bind(next.now)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE session SET expires_at = $2 WHERE id = $1")
        .bind(session)
        .bind(next.expires_at)
        .execute(connection)
        .await?;
    Ok(())
}

async fn session_revoke_in_txn(
    connection: &mut PgConnection,
    session: Uuid,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query("UPDATE session SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
        .bind(session)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

fn token_state(row: &PgRow) -> Result<TokenState, Error> {
    Ok(TokenState {
        expires_at: row.try_get("expires_at")?,
        rotated: row.try_get("rotated")?,
        revoked: row.try_get("revoked")?,
    })
}
