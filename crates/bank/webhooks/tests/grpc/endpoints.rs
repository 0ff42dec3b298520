//! Endpoints and their secrets.

use contracts::webhooks::v1 as pb;
use prost_types::FieldMask;
use sqlx::Row;
use testkit::{Role, assert_refused};
use tonic::Code;
use tonic_types::StatusExt;

use crate::receiver::Receiver;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_registered_read_changed_and_deleted() {
    let world = World::start().await;
    let created = world.register("http://127.0.0.1:9/hook", &["transaction.completed"]).await;
    let endpoint = created.endpoint.unwrap();
    assert!(created.secret.starts_with("whsec_"));
    assert_eq!(endpoint.state(), pb::EndpointState::Enabled);
    assert_eq!(world.endpoint(&endpoint.id).await, endpoint);

    let request = pb::UpdateEndpointRequest {
        id: endpoint.id.clone(),
        endpoint: Some(pb::Endpoint {
            url: "http://127.0.0.1:9/other".into(),
            rate_per_second: 7,
            ..Default::default()
        }),
        update_mask: Some(FieldMask { paths: vec!["url".into(), "event_types".into()] }),
    };
    let changed = world.ask(async |mut client| client.update_endpoint(request).await).await;
    let changed = changed.unwrap().endpoint.unwrap();
    assert_eq!(changed.url, "http://127.0.0.1:9/other");
    assert_eq!((changed.event_types.len(), changed.rate_per_second), (0, 0), "only what is named");

    let delete = || pb::DeleteEndpointRequest { id: endpoint.id.clone() };
    for _ in 0..2 {
        world.ask(async |mut client| client.delete_endpoint(delete()).await).await.unwrap();
    }
    let request = pb::GetEndpointRequest { id: endpoint.id.clone() };
    let gone = world.ask(async |mut client| client.get_endpoint(request).await).await;
    assert_refused(gone, Code::NotFound, "ENDPOINT_NOT_FOUND");
    let request = pb::PingEndpointRequest { id: endpoint.id };
    let gone = world.ask(async |mut client| client.ping_endpoint(request).await).await;
    assert_refused(gone, Code::NotFound, "ENDPOINT_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_listed_page_by_page() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for port in 1..=5 {
        let created = world.register(&format!("http://127.0.0.1:{port}/"), &[]).await;
        ids.insert(0, created.endpoint.unwrap().id);
    }
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListEndpointsRequest { page_size: 2, page_token };
        let page = world.ask(async |mut client| client.list_endpoints(request).await).await;
        let page = page.unwrap();
        assert!(page.endpoints.iter().all(|endpoint| endpoint.signing_keys.len() == 1));
        listed.extend(page.endpoints.into_iter().map(|endpoint| endpoint.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, ids);
}

/// B-20: a secret is shown once, and encrypted at rest.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_never_shown_again_and_never_stored_as_they_are() {
    let world = World::start().await;
    let created = world.register("http://127.0.0.1:9/", &[]).await;
    let secret = created.secret.strip_prefix("whsec_").unwrap().to_owned();
    let endpoint = world.endpoint(&created.endpoint.unwrap().id).await;
    assert!(!format!("{endpoint:?}").contains(&secret));

    let mut txn = world.open().begin(testkit::TenantId::DEFAULT).await.unwrap();
    let row = sqlx::query("SELECT sealed, row_to_json(s)::text FROM endpoint_secret AS s");
    let row = row.fetch_one(&mut *txn).await.unwrap();
    let sealed: Vec<u8> = row.get(0);
    let plain = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, &secret).unwrap();
    assert!(!sealed.windows(plain.len()).any(|window| window == plain));
    assert!(!row.get::<String, _>(1).contains(&secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_leads_inside_is_refused_by_its_field() {
    let config = webhooks::Config { development_targets: false, ..crate::world::quick() };
    let world = World::with(config).await;
    for url in [
        "",
        "http://hooks.example.com/",
        "https://127.0.0.1/",
        "https://[::ffff:169.254.169.254]/",
        "https://0x7f000001/",
        "https://user:secret@hooks.example.com/",
    ] {
        let endpoint = Some(pb::Endpoint { url: url.into(), ..Default::default() });
        let request = pb::CreateEndpointRequest { endpoint, scheme: 0 };
        let status = world.register_with(request).await.unwrap_err();
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, "endpoint.url", "{url}");
        assert!(!status.message().contains("secret"));
    }
}

/// Who manages webhooks is staff; who may only read changes nothing; a tenant sees its own alone.
#[tokio::test(flavor = "multi_thread")]
async fn roles_and_tenants_keep_endpoints_apart() {
    let world = World::start().await;
    let receiver = Receiver::start().await;
    let id = world.register(&receiver.url(), &[]).await.endpoint.unwrap().id;
    let delivery = world.ping(&id).await;
    receiver.await_got(1).await;

    let get = || pb::GetEndpointRequest { id: id.clone() };
    let ping = || pb::PingEndpointRequest { id: id.clone() };
    let mut client = world.client.clone();
    let customer = world.staff(Role::Customer);
    let refused = customer.scope(client.get_endpoint(get())).await;
    assert_refused(refused, Code::PermissionDenied, "ROLE_MISSING");
    assert!(world.staff(Role::Viewer).scope(client.get_endpoint(get())).await.is_ok());
    let refused = world.staff(Role::Viewer).scope(client.ping_endpoint(ping())).await;
    assert_refused(refused, Code::PermissionDenied, "ROLE_MISSING");

    let stranger = world.stranger();
    let other = stranger.clone().scope(client.get_endpoint(get())).await;
    assert_refused(other, Code::NotFound, "ENDPOINT_NOT_FOUND");
    let other = stranger.clone().scope(client.ping_endpoint(ping())).await;
    assert_refused(other, Code::NotFound, "ENDPOINT_NOT_FOUND");
    let request = pb::GetDeliveryRequest { id: delivery.id.clone() };
    let other = stranger.clone().scope(client.get_delivery(request)).await;
    assert_refused(other, Code::NotFound, "DELIVERY_NOT_FOUND");
    let request = pb::ReplayMessageRequest { id: delivery.message_id, ..Default::default() };
    let other = stranger.clone().scope(client.replay_message(request)).await;
    assert_refused(other, Code::NotFound, "MESSAGE_NOT_FOUND");
    for request in [pb::DeleteEndpointRequest { id: id.clone() }] {
        stranger.clone().scope(client.delete_endpoint(request)).await.unwrap();
    }
    let listed = stranger.scope(client.list_deliveries(pb::ListDeliveriesRequest::default())).await;
    assert!(listed.unwrap().into_inner().deliveries.is_empty());
    assert_eq!(world.endpoint(&id).await.signing_keys.len(), 1, "nothing of it was deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_rule_is_refused_by_its_field() {
    let world = World::start().await;
    let endpoint = |change: fn(&mut pb::Endpoint)| {
        let mut endpoint = pb::Endpoint { url: "http://127.0.0.1:9/".into(), ..Default::default() };
        change(&mut endpoint);
        pb::CreateEndpointRequest { endpoint: Some(endpoint), scheme: 0 }
    };
    for (request, field) in [
        (pb::CreateEndpointRequest::default(), "endpoint"),
        (endpoint(|it| it.description = "a\0b".into()), "endpoint.description"),
        (endpoint(|it| it.event_types = vec!["*".into()]), "endpoint.event_types[0]"),
        (endpoint(|it| it.event_types = vec!["a b".into()]), "endpoint.event_types[0]"),
        (endpoint(|it| it.rate_per_second = -1), "endpoint.rate_per_second"),
    ] {
        let status = world.register_with(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, field);
    }
}
