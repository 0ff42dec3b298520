//! From what happens in the bank to its endpoints, and from a provider to the bus: K-14, K-21, B-20.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use contracts::payments::v1::{TransactionCompleted, TransactionSummary};
use contracts::webhooks::v1 as pb;
use events::{Event, Operator, Outbox, PostgresBus, Relay, RelayConfig};
use storage::Database;
use testkit::TenantId;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::receiver::{Receiver, Reply};
use crate::world::World;

/// Payments and the relay of the house.
struct House {
    payments: Database,
    _relay: AbortOnDropHandle<()>,
}

impl House {
    fn start(world: &World) -> Self {
        let own = Database::open("events", &world.database);
        let bus = Arc::new(PostgresBus::new(own.clone()));
        let relay = Relay::new(own, bus, RelayConfig::default());
        let relay = tokio::spawn(async move { relay.run().await });
        let payments = Database::open("payments", &world.database);
        Self { payments, _relay: AbortOnDropHandle::new(relay) }
    }

    /// Tells that money moved into an account.
    async fn complete(&self, world: &World, tenant: TenantId) -> Event {
        self.complete_of(world, tenant, Uuid::now_v7()).await
    }

    /// Tells that money moved into this account.
    async fn complete_of(&self, world: &World, tenant: TenantId, account: Uuid) -> Event {
        let message = TransactionCompleted {
            account_id: account.to_string(),
            user_id: Uuid::now_v7().to_string(),
            direction: "CREDIT".into(),
            transaction: Some(TransactionSummary {
                id: Uuid::now_v7().to_string(),
                amount: "100.50".into(),
                ..TransactionSummary::default()
            }),
        };
        let event = Event::new(tenant, world.clock.now(), &message).unwrap();
        let mut txn = self.payments.begin(tenant).await.unwrap();
        let outbox = Outbox::new(&self.payments);
        outbox.publish(&mut txn, std::slice::from_ref(&event)).await.unwrap();
        txn.commit().await.unwrap();
        event
    }
}

/// B-20: a webhook per completed transaction, to each endpoint of the tenant that asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_reaches_each_endpoint_that_asks_for_it_once() {
    let world = World::start().await;
    let house = House::start(&world);
    let (exact, family, all) =
        (Receiver::start().await, Receiver::start().await, Receiver::start().await);
    let other = Receiver::start().await;
    world.register(&exact.url(), &["user.created", "transaction.completed"]).await;
    world.register(&family.url(), &["transaction.*"]).await;
    let id = world.register(&all.url(), &[]).await.endpoint.unwrap().id;
    for types in [["transaction"], ["transaction.complete"], ["transactions.*"], ["user.*"]] {
        world.register(&other.url(), &types).await;
    }

    let event = house.complete(&world, TenantId::DEFAULT).await;
    for receiver in [&exact, &family, &all] {
        let got = receiver.await_got(1).await.pop().unwrap();
        let body: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
        assert_eq!(body["type"], "transaction.completed");
        assert_eq!(body["data"]["direction"], "CREDIT");
        assert_eq!(body["data"]["accountId"], event.subject.to_string());
        assert_eq!(body["data"]["transaction"]["amount"], serde_json::json!("100.50"));
    }
    // One message: the same id for every endpoint.
    assert_eq!(exact.got()[0].id, all.got()[0].id);

    // An event that is delivered again, as a bus may, has no further effect.
    let bus = PostgresBus::new(Database::open("events", &world.database));
    let record = events::Record {
        topic: "transaction-events".into(),
        key: event.subject,
        id: event.id,
        value: event.to_json(),
    };
    events::Bus::append(&bus, &[record]).await.unwrap();
    house.complete(&world, TenantId::DEFAULT).await;
    all.await_got(2).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((exact.got().len(), all.got().len(), other.got().len()), (2, 2, 0));
    assert_eq!(world.deliveries(&id).await.len(), 2);
}

/// An operator's replay of the consumer makes no second message, which partners would take for news.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_replayed_is_told_once_under_its_id() {
    let world = World::start().await;
    let house = House::start(&world);
    let receiver = Receiver::start().await;
    let id = world.register(&receiver.url(), &[]).await.endpoint.unwrap().id;
    let account = Uuid::now_v7();
    let event = house.complete_of(&world, TenantId::DEFAULT, account).await;
    receiver.await_got(1).await;

    let own = Database::open("events", &world.database);
    let operator = Operator::new(own.clone(), Arc::new(PostgresBus::new(own)));
    let replayed = operator.replay("transaction-events", DateTime::UNIX_EPOCH, Some("outbound"));
    assert_eq!(replayed.await.unwrap(), ["webhooks/outbound"]);
    // What comes behind it in its partition was consumed after it.
    let later = house.complete_of(&world, TenantId::DEFAULT, account).await;
    receiver.await_got(2).await;
    let message = |event: &Event| format!("msg_{}", event.id.simple());
    let told: Vec<_> = world.deliveries(&id).await.into_iter().map(|it| it.message_id).collect();
    assert_eq!(told, [message(&later), message(&event)]);
    assert_eq!(receiver.got()[0].id, message(&event));
}

/// No tenant's endpoint hears of another tenant's events.
#[tokio::test(flavor = "multi_thread")]
async fn events_stay_with_their_tenant() {
    let world = World::start().await;
    let house = House::start(&world);
    let (ours, theirs) = (Receiver::start().await, Receiver::start().await);
    world.register(&ours.url(), &[]).await;
    let stranger = world.stranger();
    let tenant = stranger.tenant;
    let request = pb::CreateEndpointRequest {
        endpoint: Some(pb::Endpoint { url: theirs.url(), ..Default::default() }),
        scheme: 0,
    };
    stranger.scope(world.client.clone().create_endpoint(request)).await.unwrap();

    let event = house.complete(&world, tenant).await;
    let got = theirs.await_got(1).await.pop().unwrap();
    let body: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(body["data"]["accountId"], event.subject.to_string());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(ours.got().is_empty());
}

/// B-20: what happened while an endpoint was disabled, or before it was registered, is replayed.
#[tokio::test(flavor = "multi_thread")]
async fn a_span_is_replayed_to_an_endpoint_that_missed_it() {
    let world = World::start().await;
    let house = House::start(&world);
    let receiver = Receiver::replying(Reply::of(200)).await;
    let id = world.register(&receiver.url(), &["transaction.*"]).await.endpoint.unwrap().id;
    let disable = pb::DisableEndpointRequest { id: id.clone() };
    world.ask(async |mut client| client.disable_endpoint(disable).await).await.unwrap();
    let witness = Receiver::start().await;
    world.register(&witness.url(), &[]).await;
    let since = world.clock.now();
    house.complete(&world, TenantId::DEFAULT).await;
    witness.await_got(1).await;
    let enable = pb::EnableEndpointRequest { id: id.clone() };
    world.ask(async |mut client| client.enable_endpoint(enable).await).await.unwrap();
    let late = Receiver::start().await;
    let late_id = world.register(&late.url(), &[]).await.endpoint.unwrap().id;
    world.advance(1);
    assert!(receiver.got().is_empty() && late.got().is_empty());

    for (id, receiver) in [(id, &receiver), (late_id, &late)] {
        let request = pb::ReplayRangeRequest {
            id,
            from: Some(mesh::wire::timestamp(since)),
            ..Default::default()
        };
        let replayed = world.ask(async |mut client| client.replay_range(request).await).await;
        assert_eq!(replayed.unwrap().replayed, 1);
        let got = receiver.await_got(1).await;
        assert_eq!(got[0].id, witness.got()[0].id, "the same message");
    }
}
