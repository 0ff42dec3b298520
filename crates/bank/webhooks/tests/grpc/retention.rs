//! What is old goes; what is outstanding stays.

use std::time::{Duration, Instant};

use contracts::webhooks::v1 as pb;
use testkit::{Role, TenantId, assert_refused};
use tonic::Code;
use webhooks::Config;

use crate::inbound::{admit, receive, signed};
use crate::receiver::{PATIENCE, Receiver, Reply};
use crate::world::{START, World, quick};

const DAY: u64 = 24 * 3600;

async fn count(world: &World, what: &'static str) -> i64 {
    let mut txn = world.open().begin(TenantId::DEFAULT).await.unwrap();
    sqlx::query_scalar(what).fetch_one(&mut *txn).await.unwrap()
}

/// Housekeeping begins with the service.
async fn keep_house(world: &World) {
    world.kit.stop("webhooks").await;
    world.serve().await;
}

async fn await_count(world: &World, what: &'static str, wanted: i64) {
    let end = Instant::now() + PATIENCE;
    while count(world, what).await != wanted {
        assert!(Instant::now() < end, "{what} is not {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_messages_are_deleted_with_their_log_unless_they_wait() {
    let config = Config { disable_after: Duration::from_secs(100 * DAY), ..quick() };
    let world = World::with(config).await;
    let (good, bad) = (Receiver::start().await, Receiver::replying(Reply::of(500)).await);
    let good = world.register(&good.url(), &[]).await.endpoint.unwrap().id;
    let off = world.register(&bad.url(), &[]).await.endpoint.unwrap().id;
    let bad = world.register(&bad.url(), &[]).await.endpoint.unwrap().id;
    let (done, waiting) = (world.ping(&good).await, world.ping(&bad).await);
    let hopeless = world.ping(&off).await;
    for delivery in [&done, &waiting, &hopeless] {
        world.await_attempts(&delivery.id, 1).await;
    }
    let disable = pb::DisableEndpointRequest { id: off };
    world.ask(async |mut client| client.disable_endpoint(disable).await).await.unwrap();
    world.advance(29 * DAY);
    let recent = world.ping(&good).await;
    world.await_attempts(&recent.id, 1).await;

    world.advance(2 * DAY);
    keep_house(&world).await;
    await_count(&world, "SELECT count(*) FROM message", 2).await;
    for gone in [done, hopeless] {
        let request = pb::GetDeliveryRequest { id: gone.id };
        let gone = world.ask(async |mut client| client.get_delivery(request).await).await;
        assert_refused(gone, Code::NotFound, "DELIVERY_NOT_FOUND");
    }
    assert_eq!(world.delivery(&waiting.id).await.state(), pb::DeliveryState::Pending);
    assert_eq!(world.delivery(&recent.id).await.state(), pb::DeliveryState::Delivered);
    let orphans = "SELECT count(*) FROM attempt WHERE delivery_id NOT IN (SELECT id FROM delivery)";
    assert_eq!(count(&world, orphans).await, 0);
}

/// K-21: the body of what was received goes, its id stays: who sends it again a month later has no
/// effect. Both go of a tenant whose last provider is gone as well.
#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_what_was_received_is_kept_longer_than_its_body() {
    let world = World::start().await;
    admit(&world, world.staff(Role::Admin)).await;
    let first = receive(&world, signed("evt_1", START, b"{}")).await.unwrap();
    world.advance(31 * DAY);
    keep_house(&world).await;
    await_count(&world, "SELECT count(*) FROM inbound_message WHERE body IS NULL", 1).await;

    let get = pb::GetReceivedRequest { id: first.id.clone() };
    let gone = world.ask(async |mut client| client.get_received(get).await).await;
    assert_refused(gone, Code::NotFound, "MESSAGE_NOT_FOUND");
    let now = world.clock.now().timestamp();
    let repeat = receive(&world, signed("evt_1", now, b"{}")).await.unwrap();
    assert!(repeat.duplicate && repeat.id == first.id);
    let told = "SELECT count(*) FROM event_sourcing.outbox_events";
    assert_eq!(count(&world, told).await, 1);

    let delete = pb::DeleteProviderRequest { name: "acme".into() };
    world.ask(async |mut client| client.delete_provider(delete).await).await.unwrap();
    world.advance(335 * DAY);
    keep_house(&world).await;
    await_count(&world, "SELECT count(*) FROM inbound_message", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_sign_no_more_are_deleted() {
    let world = World::start().await;
    let id = world.register("http://127.0.0.1:9/", &[]).await.endpoint.unwrap().id;
    let rotate = pb::RotateSecretRequest { id: id.clone(), ..Default::default() };
    world.ask(async |mut client| client.rotate_secret(rotate).await).await.unwrap();
    world.advance(DAY - 1);
    keep_house(&world).await;
    assert_eq!(world.endpoint(&id).await.signing_keys.len(), 2);
    world.advance(1);
    keep_house(&world).await;
    await_count(&world, "SELECT count(*) FROM endpoint_secret", 1).await;
    assert_eq!(
        count(&world, "SELECT count(*) FROM endpoint_secret WHERE expires_at IS NULL").await,
        1
    );
}

/// What goes with a row that is deleted is found by an index that begins with the reference to it; the
/// tenant alone finds all of a tenant's.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_with_a_row_is_found_by_an_index() {
    let world = World::start().await;
    let cascades = "SELECT count(*) FROM pg_constraint
        WHERE confdeltype = 'c' AND connamespace = current_schema()::regnamespace";
    let quick = "SELECT count(*) FROM pg_constraint AS c
        WHERE c.confdeltype = 'c' AND c.connamespace = current_schema()::regnamespace AND EXISTS (
            SELECT FROM pg_index AS i JOIN pg_attribute AS a
                ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = c.conrelid AND i.indpred IS NULL
              AND a.attnum = ANY(c.conkey) AND a.attname <> 'tenant_id')";
    assert_eq!(count(&world, cascades).await, 2);
    assert_eq!(count(&world, quick).await, 2);
}
