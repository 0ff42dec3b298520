//! What is due, who takes it, and how it ended.

use std::collections::BTreeMap;
use std::time::Duration;

use auth::TenantId;
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use storage::named;
use uuid::Uuid;

use super::Store;
use crate::domain::answer::{Answer, Health, Next, Patience, Rest};
use crate::domain::endpoint::DisabledReason;
use crate::domain::pace::Pace;
use crate::domain::signature::Scheme;
use crate::error::WebhookError;
use crate::events;

/// Endpoints that one look takes up.
const ENDPOINTS_MAX: i64 = 64;

/// A delivery that this process attempts until its lease ends.
pub(crate) struct Claimed {
    pub(crate) tenant: TenantId,
    pub(crate) id: Uuid,
    pub(crate) endpoint: Uuid,
    pub(crate) message: Uuid,
    /// Which attempt this is; later ones end its claim.
    pub(crate) number: i32,
    /// Failures of the schedule so far.
    pub(crate) step: i32,
    pub(crate) url: String,
    pub(crate) payload: Vec<u8>,
    /// Newest first, encrypted.
    pub(crate) secrets: Vec<SealedSecret>,
}

/// A secret that signs, encrypted.
#[derive(Clone)]
pub(crate) struct SealedSecret {
    pub(crate) id: Uuid,
    pub(crate) scheme: Scheme,
    pub(crate) sealed: Vec<u8>,
}

/// How many deliveries may be taken: in all, and to one endpoint beside those under way.
pub(crate) struct Room<'a> {
    pub(crate) total: usize,
    pub(crate) each: usize,
    pub(crate) under_way: &'a BTreeMap<Uuid, usize>,
}

impl Room<'_> {
    /// Endpoints that have as many under way as they may.
    fn full(&self) -> Vec<Uuid> {
        let full = self.under_way.iter().filter(|(_, count)| **count >= self.each);
        full.map(|(endpoint, _)| *endpoint).collect()
    }

    /// Deliveries that an endpoint may get now. One that does not answer well gets one at a time.
    fn of(&self, endpoint: Uuid, is_broken: bool) -> usize {
        let under_way = self.under_way.get(&endpoint).copied().unwrap_or_default();
        let each = if is_broken { 1 } else { self.each };
        each.saturating_sub(under_way).min(self.total)
    }
}

/// An attempt that ended.
pub(crate) struct Finished<'a> {
    pub(crate) claimed: &'a Claimed,
    pub(crate) answer: &'a Answer,
    pub(crate) next: Next,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) now: DateTime<Utc>,
}

impl Store {
    /// Finds endpoints of all tenants for which something is due and which may be sent to, at most
    /// [`ENDPOINTS_MAX`], in any order: each gets its turn however many there are.
    pub(crate) async fn due_endpoints(
        &self,
        room: &Room<'_>,
        now: DateTime<Utc>,
    ) -> Result<BTreeMap<TenantId, Vec<Uuid>>, WebhookError> {
        let mut txn = self.database.begin_worker().await?;
        // From endpoint to endpoint along the index of what is pending, whose rows of one endpoint
        // may be many.
        let due: Vec<(Uuid, Uuid)> = sqlx::query_as(
            "WITH RECURSIVE waiting (endpoint_id) AS (
                 (SELECT endpoint_id FROM delivery WHERE state = 'PENDING'
                  ORDER BY endpoint_id LIMIT 1)
                 UNION ALL
                 SELECT (SELECT endpoint_id FROM delivery
                         WHERE state = 'PENDING' AND endpoint_id > waiting.endpoint_id
                         ORDER BY endpoint_id LIMIT 1)
                 FROM waiting WHERE waiting.endpoint_id IS NOT NULL
             )
             SELECT e.tenant_id, e.id FROM waiting JOIN endpoint AS e ON e.id = waiting.endpoint_id
             WHERE e.state = 'ENABLED' AND e.id <> ALL($2)
               AND (e.paused_until IS NULL OR e.paused_until <= $1)
               AND EXISTS (SELECT FROM delivery AS d
                           WHERE d.state = 'PENDING' AND d.endpoint_id = e.id
                             AND d.next_attempt_at <= $1)
             ORDER BY random() LIMIT $3",
        )
        .bind(now)
        .bind(room.full())
        .bind(ENDPOINTS_MAX)
        .fetch_all(&mut *txn)
        .await?;
        let mut by_tenant: BTreeMap<TenantId, Vec<Uuid>> = BTreeMap::new();
        for (tenant, endpoint) in due {
            by_tenant.entry(tenant.into()).or_default().push(endpoint);
        }
        Ok(by_tenant)
    }

    /// Takes up what is due to these endpoints, as much as there is room for, until `now + lease`.
    /// What another process is taking up is left to it.
    pub(crate) async fn due_claim(
        &self,
        tenant: TenantId,
        endpoints: &[Uuid],
        room: &Room<'_>,
        patience: &Patience,
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Vec<Claimed>, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        let locked = sqlx::query(
            "SELECT id, rate_per_second, paced_until, failures FROM endpoint
             WHERE id = ANY($1) AND state = 'ENABLED'
               AND (paused_until IS NULL OR paused_until <= $2)
             ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
        )
        .bind(endpoints)
        .bind(now)
        .fetch_all(&mut *txn)
        .await?;
        let mut claimed = Vec::new();
        for row in locked {
            let id: Uuid = row.try_get("id")?;
            let rate: i32 = row.try_get("rate_per_second")?;
            let pace =
                Pace { rate_per_second: rate.unsigned_abs(), until: row.try_get("paced_until")? };
            let failures: i32 = row.try_get("failures")?;
            let is_broken = patience.is_broken(failures.unsigned_abs());
            let wanted = room.of(id, is_broken).min(room.total.saturating_sub(claimed.len()));
            let quota = pace.room(now, wanted);
            let taken = claim_in_txn(&mut txn, tenant, id, quota, now, lease).await?;
            if let Some(until) = pace.after(now, taken.len()).filter(|_| !taken.is_empty()) {
                sqlx::query("UPDATE endpoint SET paced_until = $2 WHERE id = $1")
                    .bind(id)
                    .bind(until)
                    .execute(&mut *txn)
                    .await?;
            }
            claimed.extend(taken);
        }
        txn.commit().await?;
        Ok(claimed)
    }

    /// Logs an attempt, and records what becomes of its delivery and of the endpoint. Nothing changes
    /// when the lease ended and a later attempt was begun, or the delivery was replayed since.
    ///
    /// What a URL answers that the endpoint has no more says nothing of it: the delivery is due at the
    /// new one.
    pub(crate) async fn attempt_finish(
        &self,
        finished: &Finished<'_>,
        patience: &Patience,
    ) -> Result<(), WebhookError> {
        let claimed = finished.claimed;
        let mut txn = self.database.begin(claimed.tenant).await?;
        let has_moved = !finished.answer.is_delivered() && moved_in_txn(&mut txn, claimed).await?;
        let next = if has_moved { Next::Retry(finished.now) } else { finished.next };
        if settle_in_txn(&mut txn, finished, next).await? {
            log_in_txn(&mut txn, finished).await?;
            if !has_moved
                && let Some(reason) = rate_endpoint_in_txn(&mut txn, finished, patience).await?
            {
                let (tenant, endpoint) = (claimed.tenant, claimed.endpoint);
                let event = events::disabled(tenant, endpoint, reason, finished.now)?;
                self.outbox.publish(&mut txn, &[event]).await?;
            }
        }
        Ok(txn.commit().await?)
    }
}

async fn claim_in_txn(
    connection: &mut PgConnection,
    tenant: TenantId,
    endpoint: Uuid,
    quota: usize,
    now: DateTime<Utc>,
    lease: Duration,
) -> Result<Vec<Claimed>, sqlx::Error> {
    if quota == 0 {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        // Materialized: in a subquery the limit would count anew each time that a plan runs it.
        "WITH due AS MATERIALIZED (
             SELECT id FROM delivery
             WHERE endpoint_id = $1 AND state = 'PENDING' AND next_attempt_at <= $2
             ORDER BY next_attempt_at LIMIT $3 FOR UPDATE SKIP LOCKED
         )
         UPDATE delivery AS d SET attempts = d.attempts + 1, next_attempt_at = $4
         FROM due, message AS m, endpoint AS e
         WHERE d.id = due.id AND m.tenant_id = d.tenant_id AND m.id = d.message_id AND e.id = d.endpoint_id
         RETURNING d.id, d.message_id, d.attempts, d.step, m.payload, e.url",
    )
    .bind(endpoint)
    .bind(now)
    .bind(i64::try_from(quota).unwrap_or(i64::MAX))
    .bind(now + lease)
    .fetch_all(&mut *connection)
    .await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let secrets = sqlx::query(
        "SELECT id, scheme, sealed FROM endpoint_secret
         WHERE endpoint_id = $1 AND (expires_at IS NULL OR expires_at > $2) ORDER BY id DESC",
    )
    .bind(endpoint)
    .bind(now)
    .try_map(|row: PgRow| {
        let scheme = named(&row, "scheme", &Scheme::ALL, Scheme::as_str)?;
        Ok(SealedSecret { id: row.try_get("id")?, scheme, sealed: row.try_get("sealed")? })
    })
    .fetch_all(connection)
    .await?;
    let claimed = |row: PgRow| {
        Ok(Claimed {
            tenant,
            id: row.try_get("id")?,
            endpoint,
            message: row.try_get("message_id")?,
            number: row.try_get("attempts")?,
            step: row.try_get("step")?,
            url: row.try_get("url")?,
            payload: row.try_get("payload")?,
            secrets: secrets.clone(),
        })
    };
    rows.into_iter().map(claimed).collect()
}

/// Whether the endpoint's URL has changed since it was claimed. It does not until the transaction ends.
async fn moved_in_txn(
    connection: &mut PgConnection,
    claimed: &Claimed,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT url <> $2 FROM endpoint WHERE id = $1 FOR NO KEY UPDATE")
        .bind(claimed.endpoint)
        .bind(&claimed.url)
        .fetch_one(connection)
        .await
}

/// False when this attempt is no longer the delivery's.
async fn settle_in_txn(
    connection: &mut PgConnection,
    finished: &Finished<'_>,
    next: Next,
) -> Result<bool, sqlx::Error> {
    let (state, step, next_attempt_at) = match next {
        Next::Delivered => ("DELIVERED", 0, None),
        Next::Failed => ("FAILED", 1, None),
        Next::Retry(at) => ("PENDING", 1, Some(at)),
    };
    let settled = sqlx::query(
        "UPDATE delivery SET state = $3, step = step + $4, next_attempt_at = $5, finished_at = $6
         WHERE id = $1 AND attempts = $2 AND state = 'PENDING'",
    )
    .bind(finished.claimed.id)
    .bind(finished.claimed.number)
    .bind(state)
    .bind(step)
    .bind(next_attempt_at)
    .bind(next_attempt_at.is_none().then_some(finished.now))
    .execute(connection)
    .await?;
    Ok(settled.rows_affected() == 1)
}

async fn log_in_txn(
    connection: &mut PgConnection,
    finished: &Finished<'_>,
) -> Result<(), sqlx::Error> {
    let answer = finished.answer;
    sqlx::query(
        "INSERT INTO attempt (delivery_id, number, started_at, outcome, status, latency_ms, response)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(finished.claimed.id)
    .bind(finished.claimed.number)
    .bind(finished.started_at)
    .bind(answer.outcome.as_str())
    .bind(answer.status.map(i32::from))
    .bind(i32::try_from(answer.latency.as_millis()).unwrap_or(i32::MAX))
    .bind(&answer.response)
    .execute(connection)
    .await?;
    Ok(())
}

/// Records how the endpoint does; says why it is disabled, if it is by this.
///
/// Writes only when something of it changes: many deliveries of an endpoint end at once.
async fn rate_endpoint_in_txn(
    connection: &mut PgConnection,
    finished: &Finished<'_>,
    patience: &Patience,
) -> Result<Option<DisabledReason>, sqlx::Error> {
    let id = finished.claimed.endpoint;
    if finished.answer.is_delivered() {
        sqlx::query(
            "UPDATE endpoint SET failures = 0, failing_since = NULL, paused_until = NULL
             WHERE id = $1 AND url = $2 AND failures > 0",
        )
        .bind(id)
        .bind(&finished.claimed.url)
        .execute(connection)
        .await?;
        return Ok(None);
    }
    let row = sqlx::query(
        "UPDATE endpoint
         SET failures = least(failures, 1000000) + 1, failing_since = coalesce(failing_since, $2)
         WHERE id = $1 RETURNING failures, failing_since",
    )
    .bind(id)
    .bind(finished.now)
    .fetch_one(&mut *connection)
    .await?;
    let failures: i32 = row.try_get("failures")?;
    let health =
        Health { failures: failures.unsigned_abs(), failing_since: row.try_get("failing_since")? };
    let (paused_until, disabled) = match patience.rest(finished.answer, health, finished.now) {
        Rest::None => return Ok(None),
        Rest::PauseUntil(until) => (Some(until), None),
        Rest::Gone => (None, Some(DisabledReason::Gone)),
        Rest::Failing => (None, Some(DisabledReason::Failing)),
    };
    let changed = sqlx::query(
        "UPDATE endpoint
         SET paused_until = greatest(paused_until, $2),
             state = CASE WHEN $3::text IS NULL THEN state ELSE 'DISABLED' END,
             disabled_reason = coalesce($3, disabled_reason), updated_at = $4
         WHERE id = $1 AND state = 'ENABLED'",
    )
    .bind(id)
    .bind(paused_until)
    .bind(disabled.map(DisabledReason::as_str))
    .bind(finished.now)
    .execute(connection)
    .await?;
    Ok(disabled.filter(|_| changed.rows_affected() == 1))
}
