//! Publishing: the event is a row, written with the change itself.

use std::time::Duration;

use sqlx::raw_sql;
use storage::{Database, Error, Transaction};
use tokio::sync::mpsc;

use crate::Event;

/// Channel on which relays hear that there is something to do.
pub(crate) const OUTBOX_CHANNEL: &str = "malha_outbox";

/// When a relay is told of a new event: most transactions have committed by the first time, nearly
/// all by the second, and the rest is found by the relay itself.
const NUDGE_AFTER: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(18)];

/// Where a service puts what others should hear of. Clones share it.
///
/// The relay brings it to the bus when the transaction has committed, and never when it has not.
#[derive(Clone)]
pub struct Outbox {
    nudge: mpsc::Sender<()>,
}

impl Outbox {
    /// The outbox of the service whose database this is. It tells relays of new events in the
    /// background, until the last clone is dropped.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn new(database: &Database) -> Self {
        let (nudge, wanted) = mpsc::channel(1);
        tokio::spawn(nudge_relays(database.clone(), wanted));
        Self { nudge }
    }

    /// Publishes events with whatever else the transaction does: all of it happens, or nothing. One
    /// round trip. The only way to publish.
    ///
    /// Events of one subject are delivered in the order in which they were published. For
    /// transactions that overlap, that order is theirs only if each writes the row that it tells of
    /// before it publishes.
    ///
    /// An event whose id is there already is left out.
    ///
    /// # Errors
    /// When the database failed; when an event is of another tenant than the transaction, or its data
    /// are larger than 512 KiB.
    pub async fn publish(
        &self,
        transaction: &mut Transaction,
        events: &[Event],
    ) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(());
        }
        events.iter().try_for_each(Event::check_size)?;
        insert(transaction, events).await?;
        // A relay that is about to be told will find these too.
        let _ = self.nudge.try_send(());
        Ok(())
    }
}

async fn insert(transaction: &mut Transaction, events: &[Event]) -> Result<(), Error> {
    let registered: Vec<_> = events.iter().map(Event::event_type).collect();
    let of_type = |name: fn(&'static contracts::events::EventType) -> &'static str| -> Vec<&str> {
        registered.iter().map(|registered| registered.map_or("", name)).collect()
    };
    sqlx::query(
        "INSERT INTO event_sourcing.outbox_events
             (id, aggregate_type, aggregate_id, event_type, payload, metadata, created_at, tenant_id, topic)
         SELECT id, aggregate_type, aggregate_id, event_type, payload::jsonb, metadata::jsonb,
                created_at, tenant_id, topic
         FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[],
                     $7::timestamptz[], $8::uuid[], $9::text[]) WITH ORDINALITY
             AS event (id, aggregate_type, aggregate_id, event_type, payload, metadata, created_at,
                       tenant_id, topic, place)
         ORDER BY place
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(events.iter().map(|event| event.id).collect::<Vec<_>>())
    .bind(of_type(|registered| &registered.aggregate))
    .bind(events.iter().map(|event| event.subject).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(Event::data).collect::<Vec<_>>())
    .bind(events.iter().map(metadata).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.time).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.tenant.as_uuid()).collect::<Vec<_>>())
    .bind(of_type(|registered| &registered.topic))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

#[expect(clippy::expect_used, reason = "it is made of strings")]
fn metadata(event: &Event) -> String {
    serde_json::to_string(&event.metadata()).expect("metadata are JSON")
}

/// Tells relays of new events: from a transaction of its own, because one that notifies holds a lock
/// of the whole database until its commit is on disk, and business would queue for it.
async fn nudge_relays(database: Database, mut wanted: mpsc::Receiver<()>) {
    while wanted.recv().await.is_some() {
        for pause in NUDGE_AFTER {
            tokio::time::sleep(pause).await;
            if let Err(error) = nudge(&database).await {
                tracing::debug!(%error, "relays are not told of new events; they will look");
            }
        }
    }
}

async fn nudge(database: &Database) -> Result<(), Error> {
    let mut connection = database.connection().await?;
    raw_sql("BEGIN; SET LOCAL synchronous_commit = off; NOTIFY malha_outbox; COMMIT")
        .execute(&mut *connection)
        .await?;
    Ok(())
}
