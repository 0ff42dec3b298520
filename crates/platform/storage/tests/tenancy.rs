//! Row-level security, proved from below the queries.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use auth::TenantId;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};
use storage::{Config, Database, Error, MigrateError};
use support::{provisioned, tenant};
use uuid::Uuid;

const NOTES: &str = "
    CREATE TABLE note (
        tenant_id uuid NOT NULL DEFAULT current_tenant(),
        body text NOT NULL,
        PRIMARY KEY (tenant_id, body)
    );
    ALTER TABLE note ENABLE ROW LEVEL SECURITY;
    ALTER TABLE note FORCE ROW LEVEL SECURITY;
    CREATE POLICY tenant ON note
        USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());";

const NOTES_FOR_WORKERS: &str = "CREATE POLICY worker ON note FOR SELECT USING (is_worker());";

fn migrator(sql: &'static [&'static str]) -> Migrator {
    let migration = |(version, sql): (i64, &&'static str)| {
        Migration::new(version, "test".into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations((1..).zip(sql).map(migration).collect())
}

async fn payments() -> Database {
    let (_, config) = provisioned(&["payments"]).await;
    Database::open("payments", &config)
}

async fn with_notes(tenants: &[(TenantId, &str)]) -> Database {
    let database = payments().await;
    database.migrate(&migrator(&[NOTES])).await.unwrap();
    for (tenant, body) in tenants {
        let mut transaction = database.begin(*tenant).await.unwrap();
        sqlx::query("INSERT INTO note (body) VALUES ($1)")
            .bind(body)
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
    }
    database
}

async fn bodies(transaction: &mut storage::Transaction) -> Vec<String> {
    sqlx::query_scalar("SELECT body FROM note ORDER BY body")
        .fetch_all(&mut **transaction)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_without_a_where_sees_nothing_of_another_tenant() {
    let (ours, theirs) = (tenant(), tenant());
    let database = with_notes(&[(ours, "ours"), (theirs, "theirs")]).await;

    let mut transaction = database.begin(ours).await.unwrap();

    assert_eq!(bodies(&mut transaction).await, ["ours"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_and_a_delete_without_a_where_leave_another_tenant_alone() {
    let (ours, theirs) = (tenant(), tenant());
    let database = with_notes(&[(ours, "ours"), (theirs, "theirs")]).await;

    let mut transaction = database.begin(ours).await.unwrap();
    let updated =
        sqlx::query("UPDATE note SET body = 'changed'").execute(&mut *transaction).await.unwrap();
    let deleted = sqlx::query("DELETE FROM note").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();

    assert_eq!((updated.rows_affected(), deleted.rows_affected()), (1, 1));
    let mut transaction = database.begin(theirs).await.unwrap();
    assert_eq!(bodies(&mut transaction).await, ["theirs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_cannot_be_written_into_another_tenant() {
    let (ours, theirs) = (tenant(), tenant());
    let database = with_notes(&[(ours, "ours")]).await;

    for statement in
        ["INSERT INTO note (tenant_id, body) VALUES ($1, 'x')", "UPDATE note SET tenant_id = $1"]
    {
        let mut transaction = database.begin(ours).await.unwrap();
        let written =
            sqlx::query(statement).bind(theirs.as_uuid()).execute(&mut *transaction).await;
        let refusal = written.unwrap_err().into_database_error().unwrap();
        assert!(refusal.message().contains("row-level security"), "{statement}: {refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn background_work_sees_across_tenants_only_where_a_policy_says_so() {
    let tenants = [(tenant(), "a"), (tenant(), "b")];
    let database = with_notes(&tenants).await;

    let mut before = database.begin_worker().await.unwrap();
    assert!(bodies(&mut before).await.is_empty(), "without a tenant nothing is seen");
    drop(before);
    database.migrate(&migrator(&[NOTES, NOTES_FOR_WORKERS])).await.unwrap();
    let mut after = database.begin_worker().await.unwrap();
    assert_eq!(bodies(&mut after).await, ["a", "b"]);
    let deleted = sqlx::query("DELETE FROM note").execute(&mut *after).await.unwrap();
    assert_eq!(deleted.rows_affected(), 0, "it may look, not touch");
    drop(after);

    let mut tenant = database.begin(tenants[0].0).await.unwrap();
    assert_eq!(bodies(&mut tenant).await, ["a"], "the policy is for background work alone");
}

/// Process id of the backend, `current_tenant()`, `is_worker()`.
type Seen = (i32, Option<Uuid>, bool);

#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_ends_with_its_transaction() {
    let (_, config) = provisioned(&["payments"]).await;
    let database =
        Database::open("payments", &Config { pool_max: 1.try_into().unwrap(), ..config });
    let backend_and_tenant = "SELECT pg_backend_pid(), current_tenant(), is_worker()";
    let ours = tenant();
    let mut first = database.begin(ours).await.unwrap();
    let (backend, seen, worker): Seen =
        sqlx::query_as(backend_and_tenant).fetch_one(&mut *first).await.unwrap();
    assert_eq!((seen, worker), (Some(ours.as_uuid()), false));
    first.commit().await.unwrap();

    let mut second = database.begin_worker().await.unwrap();
    let seen: Seen = sqlx::query_as(backend_and_tenant).fetch_one(&mut *second).await.unwrap();
    assert_eq!(seen, (backend, None, true), "the same connection, no tenant");
    drop(second);

    let theirs = tenant();
    let mut third = database.begin(theirs).await.unwrap();
    let seen: Seen = sqlx::query_as(backend_and_tenant).fetch_one(&mut *third).await.unwrap();
    assert_eq!(
        seen,
        (backend, Some(theirs.as_uuid()), false),
        "the same connection, another tenant"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relaxed_commit_ends_with_its_transaction() {
    let (_, config) = provisioned(&["payments"]).await;
    let database =
        Database::open("payments", &Config { pool_max: 1.try_into().unwrap(), ..config });
    let ours = tenant();
    let seen = "SELECT current_setting('synchronous_commit') = 'off', current_tenant()";

    let mut relaxed = database.begin_relaxed(ours).await.unwrap();
    let relaxed_seen: (bool, Option<Uuid>) =
        sqlx::query_as(seen).fetch_one(&mut *relaxed).await.unwrap();
    relaxed.commit().await.unwrap();
    let mut durable = database.begin(ours).await.unwrap();
    let durable_seen: (bool, Option<Uuid>) =
        sqlx::query_as(seen).fetch_one(&mut *durable).await.unwrap();

    assert_eq!(relaxed_seen, (true, Some(ours.as_uuid())));
    // A scratch cluster commits relaxed everywhere; a server of one's own does not.
    let by_default: (bool,) = sqlx::query_as(
        "SELECT reset_val = 'off' FROM pg_settings WHERE name = 'synchronous_commit'",
    )
    .fetch_one(&mut *durable)
    .await
    .unwrap();
    assert_eq!(durable_seen, (by_default.0, Some(ours.as_uuid())));
}

/// T-42, C-25.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_cannot_reach_the_schema_of_another() {
    let (_, config) = provisioned(&["payments", "identity"]).await;
    let identity = Database::open("identity", &config);
    identity.migrate(&migrator(&["CREATE TABLE secret (id int)"])).await.unwrap();
    let payments = Database::open("payments", &config);

    for statement in [
        "SELECT * FROM identity.secret",
        "INSERT INTO identity.secret VALUES (1)",
        "CREATE TABLE identity.mine (id int)",
        "SELECT identity.current_tenant()",
        "CREATE TABLE public.mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "SET ROLE identity",
        "CREATE SCHEMA mine",
        "ALTER ROLE payments BYPASSRLS",
    ] {
        let mut transaction = payments.begin(tenant()).await.unwrap();
        let outcome = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *transaction).await;
        let code = outcome
            .map_err(|error| error.into_database_error().unwrap().code().unwrap().into_owned());
        assert_eq!(code.map(|_| ()), Err("42501".into()), "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_table_without_forced_security_is_refused() {
    let database = payments().await;
    let careless = &[
        NOTES,
        "CREATE TABLE open (tenant_id uuid);
         CREATE TABLE shared (id int);
         CREATE TABLE enabled (tenant_id uuid); ALTER TABLE enabled ENABLE ROW LEVEL SECURITY;",
    ];

    let error = database.migrate(&migrator(careless)).await.unwrap_err();

    assert_eq!(error.to_string(), "without forced row-level security: enabled, open");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_together_migrate_once() {
    let (_, config) = provisioned(&["payments"]).await;
    let slow =
        &["CREATE TABLE once (id int); INSERT INTO once VALUES (1); SELECT pg_sleep(0.2)", NOTES];
    let replicas = (0..8)
        .map(|_| Database::open("payments", &config))
        .map(|replica| tokio::spawn(async move { replica.migrate(&migrator(slow)).await }));

    for replica in replicas.collect::<Vec<_>>() {
        replica.await.unwrap().unwrap();
    }

    let mut transaction = Database::open("payments", &config).begin_worker().await.unwrap();
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM once").fetch_one(&mut *transaction).await.unwrap();
    assert_eq!(rows, 1);
}

/// K-40.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_starts_beside_a_newer_one() {
    let database = payments().await;
    database.migrate(&migrator(&[NOTES, NOTES_FOR_WORKERS])).await.unwrap();

    database.migrate(&migrator(&[NOTES])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_was_changed_afterwards_is_refused() {
    let database = payments().await;
    database.migrate(&migrator(&["CREATE TABLE first ()"])).await.unwrap();

    let changed = database.migrate(&migrator(&["CREATE TABLE second ()"])).await;

    assert!(matches!(changed, Err(MigrateError::Migration(_))), "{changed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioning_is_idempotent_and_safe_for_several_processes_at_once() {
    let (administrator, config) = provisioned(&["payments"]).await;
    let again = (0..6).map(|_| {
        let (administrator, database) = (administrator.clone(), config.database.clone());
        tokio::spawn(async move {
            administrator.provision(&database, &["payments", "accounts"], None).await
        })
    });

    for provisioned in again.collect::<Vec<_>>() {
        provisioned.await.unwrap().unwrap();
    }

    Database::open("accounts", &config).ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_row_with_a_key_names_the_constraint() {
    let ours = tenant();
    let database = with_notes(&[(ours, "ours")]).await;

    let mut transaction = database.begin(ours).await.unwrap();
    let repeated =
        sqlx::query("INSERT INTO note (body) VALUES ('ours')").execute(&mut *transaction).await;

    let error = Error::from(repeated.unwrap_err());
    assert!(
        matches!(&error, Error::Unique { constraint } if constraint == "note_pkey"),
        "{error:?}"
    );
}

/// L-59.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_not_committed_leaves_nothing() {
    let ours = tenant();
    let database = with_notes(&[]).await;

    let mut transaction = database.begin(ours).await.unwrap();
    sqlx::query("INSERT INTO note (body) VALUES ('lost')")
        .execute(&mut *transaction)
        .await
        .unwrap();
    sqlx::query("INSERT INTO missing DEFAULT VALUES").execute(&mut *transaction).await.unwrap_err();
    drop(transaction);

    let mut transaction = database.begin(ours).await.unwrap();
    assert!(bodies(&mut transaction).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_cancelled_while_it_begins_leaves_no_transaction_behind() {
    let (_, config) = provisioned(&["payments"]).await;
    let database =
        Database::open("payments", &Config { pool_max: 1.try_into().unwrap(), ..config });
    database.ping().await.unwrap();

    for polls in 1..10 {
        {
            let mut begin = std::pin::pin!(database.begin(tenant()));
            for _ in 0..polls {
                if futures::poll!(begin.as_mut()).is_ready() {
                    break;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }

    let mut transaction = database.begin(tenant()).await.unwrap();
    let fresh: bool = sqlx::query_scalar("SELECT clock_timestamp() - now() < '25 ms'")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    assert!(fresh, "the transaction began before its BEGIN");
}

/// What services share, each sees its own of; nobody takes back what is recorded.
#[tokio::test]
async fn in_a_shared_schema_a_service_reaches_what_it_owns() {
    let (_, config) = provisioned(&["payments", "accounts"]).await;
    let tenant = tenant();
    let insert =
        "INSERT INTO workflow.workflows (id, definition, version, steps, kinds, input_hash,
            state, status, correlation_id, created_at, updated_at)
        VALUES (gen_random_uuid(), 'x', 1, '{a}', '{STEP}', '', '{}', 'RUNNING', '', now(), now())";
    let payments = Database::open("payments", &config);
    let mut txn = payments.begin(tenant).await.unwrap();
    sqlx::query(insert).execute(&mut *txn).await.unwrap();
    txn.commit().await.unwrap();

    let count = async |service: &str, tenant| -> i64 {
        let mut txn = Database::open(service, &config).begin(tenant).await.unwrap();
        let counted = sqlx::query_scalar("SELECT count(*) FROM workflow.workflows");
        counted.fetch_one(&mut *txn).await.unwrap()
    };
    assert_eq!(count("payments", tenant).await, 1);
    assert_eq!(count("accounts", tenant).await, 0, "of another service");
    assert_eq!(count("workflows", tenant).await, 1, "operators see all");
    assert_eq!(count("workflows", support::tenant()).await, 0, "of their tenant");
    for forbidden in [
        "DELETE FROM workflow.history",
        "UPDATE workflow.history SET reason = ''",
        "UPDATE workflow.workflows SET owner = 'accounts'",
        "CREATE TABLE workflow.mine (id uuid)",
    ] {
        let mut txn = payments.begin(tenant).await.unwrap();
        assert!(sqlx::query(forbidden).execute(&mut *txn).await.is_err(), "{forbidden}");
    }
    // Background work deletes what has ended, and nothing else.
    let delete = async |mut txn: storage::Transaction| {
        let deleted = sqlx::query("DELETE FROM workflow.workflows").execute(&mut *txn).await;
        deleted.unwrap().rows_affected()
    };
    assert_eq!(delete(payments.begin(tenant).await.unwrap()).await, 0);
    assert_eq!(delete(payments.begin_worker().await.unwrap()).await, 0);
}
