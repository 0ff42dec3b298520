//! What providers send: K-14, K-21.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use contracts::google::api::HttpBody;
use contracts::webhooks::v1 as pb;
use mesh::Context;
use testkit::{Role, TenantId, assert_refused};
use tonic::{Code, Request, Status};

use crate::world::{START, World};

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BODY: &[u8] = br#"{"type":"payment.settled","data":{"id":1}}"#;

/// The message as its provider signs it.
pub(crate) fn signed(id: &str, at: i64, body: &[u8]) -> Request<pb::ReceiveWebhookRequest> {
    let key = BASE64_STANDARD.decode(&SECRET["whsec_".len()..]).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signature = hmac::sign(&key, &[format!("{id}.{at}.").as_bytes(), body].concat());
    let mut request = Request::new(pb::ReceiveWebhookRequest {
        provider: "acme".into(),
        tenant_id: String::new(),
        body: Some(HttpBody {
            content_type: "application/json".into(),
            data: body.to_vec(),
            extensions: Vec::new(),
        }),
    });
    let metadata = request.metadata_mut();
    metadata.insert("webhook-id", id.parse().unwrap());
    metadata.insert("webhook-timestamp", at.to_string().parse().unwrap());
    let signature = format!("v1,{}", BASE64_STANDARD.encode(signature));
    metadata.insert("webhook-signature", signature.parse().unwrap());
    request
}

pub(crate) async fn admit(world: &World, context: Context) {
    let provider = pb::Provider {
        scheme: pb::ProviderScheme::Standard.into(),
        secrets: vec![SECRET.into()],
        ..Default::default()
    };
    let request = pb::SetProviderRequest { name: "acme".into(), provider: Some(provider) };
    let set = context.scope(world.client.clone().set_provider(request)).await.unwrap();
    let shown = set.into_inner().provider.unwrap();
    assert!(shown.secrets.is_empty(), "secrets are not shown");
}

pub(crate) async fn receive(
    world: &World,
    request: Request<pb::ReceiveWebhookRequest>,
) -> Result<pb::ReceiveWebhookResponse, Status> {
    let nobody = Context::system(TenantId::DEFAULT);
    let received = nobody.scope(world.client.clone().receive_webhook(request)).await;
    received.map(tonic::Response::into_inner)
}

/// K-14, K-21: kept before the answer, once for each id of the provider's.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_message_is_kept_once() {
    let world = World::start().await;
    admit(&world, world.staff(Role::Admin)).await;

    let first = receive(&world, signed("evt_1", START, BODY)).await.unwrap();
    assert!(!first.duplicate);
    let repeat = receive(&world, signed("evt_1", START + 10, BODY)).await.unwrap();
    assert!(repeat.duplicate && repeat.id == first.id);
    let other = receive(&world, signed("evt_2", START, BODY)).await.unwrap();
    assert!(!other.duplicate && other.id != first.id);

    let mut txn = world.open().begin(TenantId::DEFAULT).await.unwrap();
    let kept: Vec<(String, Vec<u8>)> =
        sqlx::query_as("SELECT provider_id, body FROM inbound_message ORDER BY provider_id")
            .fetch_all(&mut *txn)
            .await
            .unwrap();
    assert_eq!(kept, [("evt_1".into(), BODY.to_vec()), ("evt_2".into(), BODY.to_vec())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_at_the_same_time_is_kept_once() {
    let world = World::start().await;
    admit(&world, world.staff(Role::Admin)).await;
    let calls = (0..20).map(|_| receive(&world, signed("evt_1", START, BODY)));
    let answers = futures::future::join_all(calls).await;
    let first = answers.iter().filter(|answer| !answer.as_ref().unwrap().duplicate);
    assert_eq!(first.count(), 1);
    let ids = answers.iter().map(|answer| &answer.as_ref().unwrap().id);
    assert_eq!(ids.collect::<std::collections::BTreeSet<_>>().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_providers_is_refused_and_not_kept() {
    let world = World::start().await;
    let unknown = receive(&world, signed("evt_1", START, BODY)).await;
    assert_refused(unknown, Code::NotFound, "PROVIDER_NOT_FOUND");
    admit(&world, world.staff(Role::Admin)).await;

    let mut forged = signed("evt_1", START, BODY);
    forged.get_mut().body.as_mut().unwrap().data = b"{}".to_vec();
    assert_refused(receive(&world, forged).await, Code::Unauthenticated, "SIGNATURE_INVALID");
    let mut unsigned = signed("evt_1", START, BODY);
    unsigned.metadata_mut().remove("webhook-signature");
    assert_refused(receive(&world, unsigned).await, Code::Unauthenticated, "SIGNATURE_INVALID");
    let mut twice = signed("evt_1", START, BODY);
    twice.metadata_mut().append("webhook-id", "evt_2".parse().unwrap());
    assert_refused(receive(&world, twice).await, Code::Unauthenticated, "SIGNATURE_INVALID");
    let old = receive(&world, signed("evt_1", START - 301, BODY)).await;
    assert_refused(old, Code::Unauthenticated, "TIMESTAMP_OUT_OF_TOLERANCE");

    let mut txn = world.open().begin(TenantId::DEFAULT).await.unwrap();
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM inbound_message")
        .fetch_one(&mut *txn)
        .await
        .unwrap();
    assert_eq!(kept, 0);
}

/// K-21: published with the row, once, and read by its id.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_received_is_published_in_the_same_transaction() {
    let world = World::start().await;
    admit(&world, world.staff(Role::Admin)).await;
    for _ in 0..3 {
        receive(&world, signed("evt_1", START, BODY)).await.unwrap();
    }
    let kept = receive(&world, signed("evt_1", START, BODY)).await.unwrap();

    let mut txn = world.open().begin(TenantId::DEFAULT).await.unwrap();
    let told: Vec<(String, String, serde_json::Value)> =
        sqlx::query_as("SELECT topic, event_type, payload FROM event_sourcing.outbox_events")
            .fetch_all(&mut *txn)
            .await
            .unwrap();
    let [(topic, kind, data)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((topic.as_str(), kind.as_str()), ("webhooks.inbound", "webhook.received"));
    assert_eq!((&data["id"], &data["providerId"]), (&kept.id.clone().into(), &"evt_1".into()));

    let get = || pb::GetReceivedRequest { id: kept.id.clone() };
    let received = world.ask(async |mut client| client.get_received(get()).await).await.unwrap();
    let received = received.received.unwrap();
    assert_eq!((received.body.as_slice(), &*received.provider), (BODY, "acme"));
    let stranger = world.stranger().scope(world.client.clone().get_received(get())).await;
    assert_refused(stranger, Code::NotFound, "MESSAGE_NOT_FOUND");
}

/// The tenant of the URL decides whose secret counts.
#[tokio::test(flavor = "multi_thread")]
async fn each_tenant_has_providers_of_its_own() {
    let world = World::start().await;
    let stranger = world.stranger();
    let tenant = stranger.tenant;
    admit(&world, stranger.clone()).await;

    let elsewhere = receive(&world, signed("evt_1", START, BODY)).await;
    assert_refused(elsewhere, Code::NotFound, "PROVIDER_NOT_FOUND");
    let mut request = signed("evt_1", START, BODY);
    request.get_mut().tenant_id = tenant.to_string();
    assert!(receive(&world, request).await.is_ok());

    let list = async |context: Context| {
        let mut client = world.client.clone();
        let listed = context.scope(client.list_providers(pb::ListProvidersRequest {})).await;
        listed.unwrap().into_inner().providers.len()
    };
    assert_eq!(list(world.staff(Role::Viewer)).await, 0);
    assert_eq!(list(stranger).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_deleted_is_received_no_more() {
    let world = World::start().await;
    admit(&world, world.staff(Role::Admin)).await;
    receive(&world, signed("evt_1", START, BODY)).await.unwrap();
    for _ in 0..2 {
        let request = pb::DeleteProviderRequest { name: "acme".into() };
        world.ask(async |mut client| client.delete_provider(request).await).await.unwrap();
    }
    let refused = receive(&world, signed("evt_1", START, BODY)).await;
    assert_refused(refused, Code::NotFound, "PROVIDER_NOT_FOUND");
}
