//! Sending again (B-20).

use contracts::webhooks::v1 as pb;
use prost_types::Timestamp;
use testkit::assert_refused;
use tonic::Code;

use crate::receiver::{Receiver, Reply};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_sent_again_under_its_id() {
    let world = World::start().await;
    let receiver = Receiver::start().await;
    let id = world.register(&receiver.url(), &[]).await.endpoint.unwrap().id;
    let delivery = world.ping(&id).await;
    world.await_attempts(&delivery.id, 1).await;

    let request =
        pb::ReplayMessageRequest { id: delivery.message_id.clone(), endpoint_id: id.clone() };
    let replayed = world.ask(async |mut client| client.replay_message(request).await).await;
    assert_eq!(replayed.unwrap().replayed, 1);
    let got = receiver.await_got(2).await;
    assert_eq!((&got[0].id, &got[0].body), (&got[1].id, &got[1].body));
    let attempts = world.await_attempts(&delivery.id, 2).await;
    assert_eq!([attempts[0].number, attempts[1].number], [1, 2]);

    let unknown = pb::ReplayMessageRequest {
        id: format!("msg_{}", uuid::Uuid::now_v7().simple()),
        ..Default::default()
    };
    let refused = world.ask(async |mut client| client.replay_message(unknown).await).await;
    assert_refused(refused, Code::NotFound, "MESSAGE_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_failures_of_a_span_are_sent_again_and_nothing_else() {
    let world = World::start().await;
    let receiver = Receiver::replying(Reply::of(410)).await;
    let id = world.register(&receiver.url(), &[]).await.endpoint.unwrap().id;
    let enable = || pb::EnableEndpointRequest { id: id.clone() };
    let mut sent = Vec::new();
    for status in [410, 200, 410] {
        receiver.reply(Reply::of(status));
        world.ask(async |mut client| client.enable_endpoint(enable()).await).await.unwrap();
        let delivery = world.ping(&id).await;
        world.await_attempts(&delivery.id, 1).await;
        sent.push(delivery);
        world.advance(10);
    }
    receiver.reply(Reply::of(200));
    world.ask(async |mut client| client.enable_endpoint(enable()).await).await.unwrap();
    let replay = async |from: usize, include_delivered| {
        let request = pb::ReplayRangeRequest {
            id: id.clone(),
            from: sent[from].created_at,
            before: None,
            include_delivered,
        };
        let replayed = world.ask(async |mut client| client.replay_range(request).await).await;
        replayed.unwrap().replayed
    };

    assert_eq!(replay(1, false).await, 1, "the last one failed");
    assert_eq!(receiver.await_got(4).await[3].id, sent[2].message_id);
    world.await_attempts(&sent[2].id, 2).await;
    assert_eq!(replay(0, false).await, 1, "the first one failed");
    world.await_attempts(&sent[0].id, 2).await;
    assert_eq!(replay(0, false).await, 0, "all have arrived");
    assert_eq!(replay(0, true).await, 3);
    receiver.await_got(8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_endpoint_is_not_sent_to_until_it_is_enabled() {
    let world = World::start().await;
    let receiver = Receiver::replying(Reply::of(500)).await;
    let id = world.register(&receiver.url(), &[]).await.endpoint.unwrap().id;
    let delivery = world.ping(&id).await;
    world.await_attempts(&delivery.id, 1).await;
    let disable = pb::DisableEndpointRequest { id: id.clone() };
    let disabled = world.ask(async |mut client| client.disable_endpoint(disable).await).await;
    let disabled = disabled.unwrap().endpoint.unwrap();
    assert_eq!(disabled.disabled_reason(), pb::DisabledReason::Requested);

    world.advance(3600);
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    assert_eq!(receiver.got().len(), 1);
    let request = pb::ReplayRangeRequest {
        id: id.clone(),
        from: Some(Timestamp::default()),
        ..Default::default()
    };
    let refused = world.ask(async |mut client| client.replay_range(request).await).await;
    assert_refused(refused, Code::FailedPrecondition, "ENDPOINT_DISABLED");

    let enable = pb::EnableEndpointRequest { id };
    world.ask(async |mut client| client.enable_endpoint(enable).await).await.unwrap();
    receiver.await_got(2).await;
}
