//! What happens elsewhere, told to endpoints; and what is told of webhooks themselves.

use std::sync::Arc;

use ::events::{Bus, Consumer, ConsumerConfig, Event, EventError, Handler, HandlerError};
use auth::TenantId;
use chrono::{DateTime, Utc};
use clock::Clock;
use contracts::webhooks::v1 as pb;
use serde_json::value::RawValue;
use storage::{Database, Transaction};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::domain::endpoint::DisabledReason;
use crate::domain::message::Occurrence;
use crate::store::{Received, message_accept_in_txn};
use crate::wire;

/// Under this name stands how far the events have been taken up.
const CONSUMER: &str = "outbound";

/// Makes a message of each event, with a delivery to each endpoint that asks for it.
///
/// The message has the event's id: an operator's replay, which forgets the inbox row, tells nobody twice
/// and makes no second id of what was told.
struct Outbound {
    clock: Clock,
    wake: Arc<Notify>,
}

/// Takes up the events of these topics.
pub(crate) fn consumer(
    topics: &[String],
    database: Database,
    bus: Arc<dyn Bus>,
    clock: Clock,
    wake: Arc<Notify>,
) -> Consumer {
    let outbound: Arc<dyn Handler> = Arc::new(Outbound { clock, wake });
    let consumer = Consumer::builder(CONSUMER, database, bus, ConsumerConfig::default());
    let on = |consumer: ::events::Builder, topic: &String| {
        consumer.on_topic(topic, Arc::clone(&outbound))
    };
    topics.iter().fold(consumer, on).build()
}

#[tonic::async_trait]
impl Handler for Outbound {
    async fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Event,
    ) -> Result<(), HandlerError> {
        let data: &RawValue = serde_json::from_str(event.data())?;
        let occurrence = Occurrence { kind: &event.kind, at: event.time, data };
        let (payload, now) = (occurrence.payload(), self.clock.now());
        let told = message_accept_in_txn(transaction, event.id, &event.kind, &payload, now).await?;
        if told > 0 {
            // What is not committed by then is found by the next look.
            self.wake.notify_one();
        }
        Ok(())
    }
}

/// Tells that something was received.
pub(crate) fn received(tenant: TenantId, received: &Received<'_>) -> Result<Event, EventError> {
    let message = pb::WebhookReceived {
        id: received.id.to_string(),
        provider: received.provider.to_owned(),
        provider_id: received.provider_id.to_owned(),
        received_at: Some(mesh::wire::timestamp(received.at)),
    };
    Event::new(tenant, received.at, &message)
}

/// Tells that nothing more is sent to an endpoint.
pub(crate) fn disabled(
    tenant: TenantId,
    endpoint: Uuid,
    reason: DisabledReason,
    now: DateTime<Utc>,
) -> Result<Event, EventError> {
    let message = pb::WebhookEndpointDisabled {
        endpoint_id: endpoint.to_string(),
        reason: wire::disabled_reason(reason).into(),
    };
    Event::new(tenant, now, &message)
}
