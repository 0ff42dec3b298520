//! The relay on each bus, and the way from a commit to a consumer, beside a plain loop that polls row
//! by row.

mod brokers;
mod flow;
mod relay;

use anyhow::{Context, Result};
use auth::TenantId;
use contracts::payments::v1::{TransactionCompleted, TransactionSummary};
use events::{Event, Outbox, RelayConfig};
use sqlx::Connection;
use storage::{Database, PrivateCluster};
use uuid::Uuid;

use crate::measure;
use crate::report::Row;

/// Events of one transaction when the outbox is filled.
const CHUNK: usize = 1_000;

/// Accounts that things happen to.
const ACCOUNTS: usize = 10_000;

/// Runs it; `quick` moves a tenth.
pub(crate) async fn run(seconds: u32, quick: bool) -> Result<Vec<Row>> {
    let count = if quick { 20_000 } else { 200_000 };
    let folder = measure::folder()?;
    say("a PostgreSQL");
    let cluster = PrivateCluster::start(folder.path().join("postgres")).await?;
    let house = House { cluster };

    let mut rows = relay::run(&house, folder.path(), count, seconds).await?;
    rows.extend(flow::run(&house, seconds).await?);
    Ok(rows)
}

/// A server with a new database for each figure.
struct House {
    cluster: PrivateCluster,
}

/// The databases of those who take part.
struct Roles {
    producer: Database,
    relay: Database,
    consumer: Database,
}

impl House {
    /// An empty database, as its services see it.
    async fn roles(&self, name: &str) -> Result<Roles> {
        let administrator = self.cluster.administrator();
        administrator.provision(name, &["payments", "webhooks"], None).await?;
        let config = administrator.config(name);
        Ok(Roles {
            producer: Database::open("payments", &config),
            relay: Database::open("events", &config),
            consumer: Database::open("webhooks", &config),
        })
    }

    /// Lets the server do what it would do by and by, before something is measured.
    async fn tidy(&self, database: &str) -> Result<()> {
        let url = self.cluster.url("postgres", database);
        let mut connection = sqlx::PgConnection::connect(&url).await?;
        for statement in ["VACUUM ANALYZE event_sourcing.outbox_events", "CHECKPOINT"] {
            sqlx::raw_sql(statement).execute(&mut connection).await?;
        }
        Ok(())
    }
}

/// Publishes `count` events of accounts in turn.
async fn fill(roles: &Roles, count: usize) -> Result<()> {
    let outbox = Outbox::new(&roles.producer);
    let accounts: Vec<_> = (0..ACCOUNTS).map(|_| Uuid::now_v7()).collect();
    for chunk in 0..count / CHUNK {
        let events: Result<Vec<_>, _> = (0..CHUNK)
            .map(|place| completed(accounts[(chunk * CHUNK + place) % ACCOUNTS]))
            .collect();
        let mut transaction = roles.producer.begin(TenantId::DEFAULT).await?;
        outbox.publish(&mut transaction, &events?).await?;
        transaction.commit().await?;
    }
    Ok(())
}

/// As large as those of payments.
fn completed(account: Uuid) -> Result<Event, events::EventError> {
    let now = clock::Clock::system().now();
    let told = TransactionCompleted {
        account_id: account.to_string(),
        user_id: account.to_string(),
        direction: "DEBIT".into(),
        transaction: Some(TransactionSummary {
            id: Uuid::now_v7().to_string(),
            r#type: "TRANSFER".into(),
            sender_user_id: account.to_string(),
            receiver_user_id: Uuid::now_v7().to_string(),
            amount: "100.50".into(),
            currency: "BRL".into(),
            ..TransactionSummary::default()
        }),
    };
    Event::new(TenantId::DEFAULT, now, &told)
}

/// How many events are not on the bus yet.
async fn pending(relay: &Database) -> Result<bool> {
    let mut transaction = relay.begin_worker().await?;
    let asked = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM outbox_events WHERE status = 'PENDING' ORDER BY sequence LIMIT 1)",
    );
    asked.fetch_one(&mut *transaction).await.context("cannot look into the outbox")
}

fn row(metric: &'static str, value: f64, unit: &'static str) -> Row {
    Row::alone("events", metric, value, unit)
}

fn config() -> RelayConfig {
    RelayConfig::default()
}

/// Tells whoever waits what is going on.
fn say(what: &str) {
    eprintln!("events: {what}");
}
