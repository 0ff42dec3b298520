//! All SQL on the schema `workflow`, which storage prepares.
//!
//! Whoever changes a workflow locks its row first, so changes come one after another.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};
use storage::Error;
use uuid::Uuid;

use crate::operator::{Cursor, Filter};
use crate::progress::{DEFINITION_UNKNOWN, Trouble};
use crate::row::{Entry, Workflow};

/// The columns of a [`Workflow`].
const COLUMNS: &str = "tenant_id, id, owner, definition, version, steps, kinds, correlation_id, \
     wait_until, due_at, created_at, updated_at, ended_at, status, position, attempts, undo, \
     failed_step, failed_reason, failed_message, halted_step, halted_reason, halted_message, \
     cancelled, state, is_leased, fence, entries";

/// Entries of a history that are shown at most: the newest.
const HISTORY_MAX: i64 = 1_000;

/// What a worker may take up.
pub(crate) struct Known {
    pub(crate) definitions: Vec<String>,
    pub(crate) versions: Vec<i32>,
}

/// A signal that no step has taken.
pub(crate) struct Signal {
    pub(crate) id: Uuid,
    pub(crate) payload: String,
}

/// How many workflows of a service stand still.
pub(crate) struct Halted {
    pub(crate) owner: String,
    pub(crate) parked: i64,
    pub(crate) manual: i64,
}

/// Channel on which the workers of a service hear of work.
pub(crate) fn channel(owner: &str) -> String {
    format!("workflow_{owner}")
}

/// A workflow before its first step.
pub(crate) struct New<'a> {
    pub(crate) id: Uuid,
    pub(crate) definition: &'a str,
    pub(crate) version: u32,
    pub(crate) steps: Vec<&'a str>,
    pub(crate) kinds: Vec<&'a str>,
    pub(crate) state: &'a str,
    pub(crate) input_hash: &'a [u8],
    pub(crate) correlation_id: &'a str,
    pub(crate) now: DateTime<Utc>,
}

/// Records a new workflow with the first entry of its history, and tells the workers. False, and
/// nothing is done, when the id is taken.
pub(crate) async fn workflow_insert(
    connection: &mut PgConnection,
    new: &New<'_>,
) -> Result<bool, Error> {
    let inserted = sqlx::query(
        "WITH started AS (
             INSERT INTO workflow.workflows (id, definition, version, steps, kinds, input_hash, state,
                 status, correlation_id, due_at, created_at, updated_at, entries)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 'RUNNING', $8, $9, $9, $9, 1)
             ON CONFLICT (tenant_id, id) DO NOTHING RETURNING id
         ), noted AS (
             INSERT INTO workflow.history (workflow_id, entry, at, event, step, attempt, reason,
                 message, comment)
             SELECT id, 1, $9, 'STARTED', '', 0, '', '', '' FROM started
         )
         SELECT pg_notify('workflow_' || current_user, '') FROM started",
    )
    .bind(new.id)
    .bind(new.definition)
    .bind(count(new.version))
    .bind(&new.steps)
    .bind(&new.kinds)
    .bind(new.input_hash)
    .bind(new.state)
    .bind(new.correlation_id)
    .bind(new.now)
    .fetch_optional(connection)
    .await?;
    Ok(inserted.is_some())
}

/// Definition and hash of the input of a workflow that the role may see.
pub(crate) async fn input_fetch(
    connection: &mut PgConnection,
    id: Uuid,
) -> Result<Option<(String, Vec<u8>)>, Error> {
    let found =
        sqlx::query_as("SELECT definition, input_hash FROM workflow.workflows WHERE id = $1")
            .bind(id)
            .fetch_optional(connection)
            .await?;
    Ok(found)
}

/// Reads a workflow.
pub(crate) async fn workflow_fetch(
    connection: &mut PgConnection,
    id: Uuid,
) -> Result<Option<Workflow>, Error> {
    let mut query = QueryBuilder::new(format!("SELECT {COLUMNS} FROM workflow.workflows"));
    query.push(" WHERE tenant_id = workflow.current_tenant() AND id = ").push_bind(id);
    Ok(query.build_query_as().fetch_optional(connection).await?)
}

/// Reads a workflow and keeps others from changing it until the transaction ends.
pub(crate) async fn workflow_lock(
    connection: &mut PgConnection,
    id: Uuid,
) -> Result<Option<Workflow>, Error> {
    let mut query = QueryBuilder::new(format!("SELECT {COLUMNS} FROM workflow.workflows"));
    query.push(" WHERE tenant_id = workflow.current_tenant() AND id = ").push_bind(id);
    query.push(" FOR UPDATE");
    Ok(query.build_query_as().fetch_optional(connection).await?)
}

/// Writes all of a locked workflow that changes, with what happened to it.
pub(crate) async fn workflow_save(
    connection: &mut PgConnection,
    workflow: &mut Workflow,
    now: DateTime<Utc>,
    entries: &[Entry],
) -> Result<(), Error> {
    for entry in entries {
        workflow.entries += 1;
        entry_insert(connection, workflow, entry).await?;
    }
    workflow.updated_at = now;
    workflow.ended_at = workflow.status().is_end().then_some(now);
    let progress = &workflow.progress;
    let undo: Vec<_> = progress.undo.iter().map(|position| count(*position)).collect();
    let mut query = QueryBuilder::new("UPDATE workflow.workflows SET state = ");
    query.push_bind(&workflow.state);
    query.push(", status = ").push_bind(progress.status.as_str());
    query.push(", position = ").push_bind(count(progress.position));
    query.push(", attempts = ").push_bind(count(progress.attempts));
    query.push(", undo = ").push_bind(undo);
    query.push(", cancelled = ").push_bind(progress.cancelled);
    push_trouble(&mut query, "failed", progress.failed.as_ref());
    push_trouble(&mut query, "halted", progress.halted.as_ref());
    query.push(", wait_until = ").push_bind(workflow.wait_until);
    query.push(", due_at = ").push_bind(workflow.due_at);
    query.push(", is_leased = ").push_bind(workflow.is_leased);
    query.push(", entries = ").push_bind(workflow.entries);
    query.push(", updated_at = ").push_bind(workflow.updated_at);
    query.push(", ended_at = ").push_bind(workflow.ended_at);
    query.push(" WHERE tenant_id = workflow.current_tenant() AND id = ").push_bind(workflow.id);
    query.build().execute(connection).await?;
    Ok(())
}

fn push_trouble(query: &mut QueryBuilder<Postgres>, of: &str, trouble: Option<&Trouble>) {
    let part = |part: fn(&Trouble) -> &String| trouble.map(|trouble| part(trouble).clone());
    query.push(format!(", {of}_step = ")).push_bind(part(|trouble| &trouble.step));
    query.push(format!(", {of}_reason = ")).push_bind(part(|trouble| &trouble.reason));
    query.push(format!(", {of}_message = ")).push_bind(part(|trouble| &trouble.message));
}

async fn entry_insert(
    connection: &mut PgConnection,
    workflow: &Workflow,
    entry: &Entry,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO workflow.history (workflow_id, entry, owner, at, event, step, attempt, reason,
             message, actor_id, comment)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(workflow.id)
    .bind(workflow.entries)
    .bind(&workflow.owner)
    .bind(entry.at)
    .bind(entry.event.as_str())
    .bind(&entry.step)
    .bind(count(entry.attempt))
    .bind(&entry.reason)
    .bind(&entry.message)
    .bind(entry.actor.map(auth::UserId::as_uuid))
    .bind(&entry.comment)
    .execute(connection)
    .await?;
    Ok(())
}

/// Tells the workers of a service, once the transaction is committed, that there is work.
pub(crate) async fn workers_wake(connection: &mut PgConnection, owner: &str) -> Result<(), Error> {
    sqlx::query("SELECT pg_notify($1, '')").bind(channel(owner)).execute(connection).await?;
    Ok(())
}

/// Takes up to `limit` workflows that are due, of all tenants, until `now + lease`. Those of versions
/// that are not known only once they have been due for `grace`.
///
/// Whose lease ran out may have begun its step: that counts as an attempt.
pub(crate) async fn workflows_claim(
    connection: &mut PgConnection,
    known: &Known,
    now: DateTime<Utc>,
    (lease, grace): (Duration, Duration),
    limit: i64,
) -> Result<Vec<Workflow>, Error> {
    let mut query = QueryBuilder::new("UPDATE workflow.workflows SET is_leased = true, due_at = ");
    query.push_bind(now + lease).push(
        ", fence = fence + 1, attempts = attempts + CASE WHEN is_leased THEN 1 ELSE 0 END
         WHERE (tenant_id, id) IN (
             SELECT tenant_id, id FROM workflow.workflows WHERE owner = current_user AND due_at <= ",
    );
    query.push_bind(now).push(" AND (");
    push_known(&mut query, known);
    query.push(" OR due_at <= ").push_bind(now - grace);
    query.push(") ORDER BY due_at LIMIT ").push_bind(limit);
    query.push(" FOR UPDATE SKIP LOCKED) RETURNING ").push(COLUMNS);
    Ok(query.build_query_as().fetch_all(connection).await?)
}

/// Takes those that were parked because nobody knew their version, and that somebody knows now.
pub(crate) async fn parked_claim(
    connection: &mut PgConnection,
    known: &Known,
    now: DateTime<Utc>,
    lease: Duration,
    limit: i64,
) -> Result<Vec<Workflow>, Error> {
    let mut query = QueryBuilder::new("UPDATE workflow.workflows SET is_leased = true, due_at = ");
    query.push_bind(now + lease).push(
        ", fence = fence + 1 WHERE (tenant_id, id) IN (
             SELECT tenant_id, id FROM workflow.workflows
             WHERE owner = current_user AND status = 'PARKED' AND NOT is_leased
               AND halted_reason = ",
    );
    query.push_bind(DEFINITION_UNKNOWN).push(" AND ");
    push_known(&mut query, known);
    query.push(" LIMIT ").push_bind(limit).push(" FOR UPDATE SKIP LOCKED) RETURNING ");
    query.push(COLUMNS);
    Ok(query.build_query_as().fetch_all(connection).await?)
}

fn push_known(query: &mut QueryBuilder<Postgres>, known: &Known) {
    query.push("(definition, version) IN (SELECT * FROM unnest(");
    query.push_bind(known.definitions.clone()).push(", ").push_bind(known.versions.clone());
    query.push("))");
}

/// Keeps a lease until `until`. False when another worker has taken it over.
pub(crate) async fn lease_renew(
    connection: &mut PgConnection,
    id: Uuid,
    fence: i64,
    until: DateTime<Utc>,
) -> Result<bool, Error> {
    let renewed = sqlx::query(
        "UPDATE workflow.workflows SET due_at = $1
         WHERE tenant_id = workflow.current_tenant() AND id = $2 AND fence = $3 AND is_leased",
    )
    .bind(until)
    .bind(id)
    .bind(fence)
    .execute(connection)
    .await?;
    Ok(renewed.rows_affected() == 1)
}

/// Name of the role, which is that of the service.
pub(crate) async fn owner_fetch(connection: &mut PgConnection) -> Result<String, Error> {
    Ok(sqlx::query_scalar("SELECT current_user::text").fetch_one(connection).await?)
}

/// Counts what stands still, of all tenants.
pub(crate) async fn halted_count(connection: &mut PgConnection) -> Result<Halted, Error> {
    let row = sqlx::query(
        "SELECT current_user::text, count(*) FILTER (WHERE status = 'PARKED'),
             count(*) FILTER (WHERE status = 'MANUAL_INTERVENTION')
         FROM workflow.workflows
         WHERE owner = current_user AND status IN ('PARKED', 'MANUAL_INTERVENTION')",
    )
    .fetch_one(connection)
    .await?;
    Ok(Halted { owner: row.try_get(0)?, parked: row.try_get(1)?, manual: row.try_get(2)? })
}

/// Deletes up to `limit` workflows of all tenants that ended before `before`, with their history and
/// signals. Says how many.
pub(crate) async fn ended_delete(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<u64, Error> {
    let deleted = sqlx::query(
        "DELETE FROM workflow.workflows WHERE (tenant_id, id) IN (
             SELECT tenant_id, id FROM workflow.workflows
             WHERE owner = current_user AND ended_at < $1
             LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(before)
    .bind(limit)
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

/// Keeps a signal. False when this one came before.
pub(crate) async fn signal_insert(
    connection: &mut PgConnection,
    workflow: &Workflow,
    signal: &Signal,
    name: &str,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let inserted = sqlx::query(
        "INSERT INTO workflow.signals (workflow_id, id, owner, name, payload, received_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, workflow_id, id) DO NOTHING",
    )
    .bind(workflow.id)
    .bind(signal.id)
    .bind(&workflow.owner)
    .bind(name)
    .bind(&signal.payload)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Whether a signal with this id came before.
pub(crate) async fn signal_exists(
    connection: &mut PgConnection,
    workflow: Uuid,
    id: Uuid,
) -> Result<bool, Error> {
    let exists = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM workflow.signals
         WHERE tenant_id = workflow.current_tenant() AND workflow_id = $1 AND id = $2)",
    )
    .bind(workflow)
    .bind(id)
    .fetch_one(connection)
    .await?;
    Ok(exists)
}

/// The first signal of this name that no step has taken.
pub(crate) async fn signal_next(
    connection: &mut PgConnection,
    workflow: Uuid,
    name: &str,
) -> Result<Option<Signal>, Error> {
    let found: Option<(Uuid, String)> = sqlx::query_as(
        "SELECT id, payload FROM workflow.signals
         WHERE tenant_id = workflow.current_tenant() AND workflow_id = $1 AND name = $2
           AND taken_at IS NULL
         ORDER BY received_at, id LIMIT 1",
    )
    .bind(workflow)
    .bind(name)
    .fetch_optional(connection)
    .await?;
    Ok(found.map(|(id, payload)| Signal { id, payload }))
}

/// Marks a signal as taken.
pub(crate) async fn signal_take(
    connection: &mut PgConnection,
    workflow: Uuid,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE workflow.signals SET taken_at = $1
         WHERE tenant_id = workflow.current_tenant() AND workflow_id = $2 AND id = $3",
    )
    .bind(now)
    .bind(workflow)
    .bind(id)
    .execute(connection)
    .await?;
    Ok(())
}

/// The newest entries of a history, oldest first.
pub(crate) async fn history_fetch(
    connection: &mut PgConnection,
    workflow: Uuid,
) -> Result<Vec<Entry>, Error> {
    let entries = sqlx::query_as(
        "SELECT * FROM (
             SELECT entry, at, event, step, attempt, reason, message, actor_id, comment
             FROM workflow.history
             WHERE tenant_id = workflow.current_tenant() AND workflow_id = $1
             ORDER BY entry DESC LIMIT $2
         ) AS newest ORDER BY entry",
    )
    .bind(workflow)
    .bind(HISTORY_MAX)
    .fetch_all(connection)
    .await?;
    Ok(entries)
}

/// Up to `limit` workflows after `cursor`, newest first.
pub(crate) async fn workflow_list(
    connection: &mut PgConnection,
    filter: &Filter,
    cursor: Option<Cursor>,
    limit: i64,
) -> Result<Vec<Workflow>, Error> {
    let mut query = QueryBuilder::new(format!("SELECT {COLUMNS} FROM workflow.workflows"));
    query.push(" WHERE tenant_id = workflow.current_tenant()");
    if !filter.statuses.is_empty() {
        let statuses: Vec<_> = filter.statuses.iter().map(|status| status.as_str()).collect();
        query.push(" AND status = ANY(").push_bind(statuses).push(")");
    }
    if let Some(definition) = &filter.definition {
        query.push(" AND definition = ").push_bind(definition);
    }
    if let Some(owner) = &filter.owner {
        query.push(" AND owner = ").push_bind(owner);
    }
    if let Some(from) = filter.created_from {
        query.push(" AND created_at >= ").push_bind(from);
    }
    if let Some(before) = filter.created_before {
        query.push(" AND created_at < ").push_bind(before);
    }
    if let Some(Cursor { created_at, id }) = cursor {
        query.push(" AND (created_at, id) < (").push_bind(created_at).push(", ");
        query.push_bind(id).push(")");
    }
    query.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(limit);
    Ok(query.build_query_as().fetch_all(connection).await?)
}

/// Counts are far below the limit of the column.
fn count<T: TryInto<i32>>(number: T) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}
