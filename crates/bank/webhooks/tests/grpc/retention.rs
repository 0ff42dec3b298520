//! What is old goes; what is outstanding stays.

use contracts::webhooks::v1 as pb;
use testkit::{TenantId, assert_refused};
use tonic::Code;

use crate::receiver::{Receiver, Reply};
use crate::world::World;

const DAY: u64 = 24 * 3600;

#[tokio::test(flavor = "multi_thread")]
async fn old_messages_are_deleted_with_their_log_unless_they_wait() {
    let world = World::start().await;
    let (good, bad) = (Receiver::start().await, Receiver::replying(Reply::of(500)).await);
    let good = world.register(&good.url(), &[]).await.endpoint.unwrap().id;
    let bad = world.register(&bad.url(), &[]).await.endpoint.unwrap().id;
    let (done, waiting) = (world.ping(&good).await, world.ping(&bad).await);
    world.await_attempts(&done.id, 1).await;
    world.await_attempts(&waiting.id, 1).await;
    let disable = pb::DisableEndpointRequest { id: bad };
    world.ask(async |mut client| client.disable_endpoint(disable).await).await.unwrap();
    world.advance(29 * DAY);
    let recent = world.ping(&good).await;
    world.await_attempts(&recent.id, 1).await;

    // Housekeeping begins with the service.
    world.advance(2 * DAY);
    world.kit.stop("webhooks").await;
    world.serve().await;
    let count = async |what: &'static str| -> i64 {
        let mut txn = world.open().begin(TenantId::DEFAULT).await.unwrap();
        sqlx::query_scalar(what).fetch_one(&mut *txn).await.unwrap()
    };
    let end = std::time::Instant::now() + crate::receiver::PATIENCE;
    while count("SELECT count(*) FROM message").await > 2 {
        assert!(std::time::Instant::now() < end, "old messages are still there");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let request = pb::GetDeliveryRequest { id: done.id };
    let gone = world.ask(async |mut client| client.get_delivery(request).await).await;
    assert_refused(gone, Code::NotFound, "DELIVERY_NOT_FOUND");
    assert_eq!(world.delivery(&waiting.id).await.state(), pb::DeliveryState::Pending);
    assert_eq!(world.delivery(&recent.id).await.state(), pb::DeliveryState::Delivered);
    assert_eq!(count("SELECT count(*) FROM attempt").await, 2);
}
