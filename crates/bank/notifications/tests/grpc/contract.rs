//! What is asked of notifications over the mesh, and by whom.

use std::collections::HashMap;

use auth::{Role, UserId};
use contracts::notifications::v1 as pb;
use futures::future::join_all;
use mesh::Context;
use testkit::assert_refused;
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{World, welcome};

/// K-13: one occasion, one notification, however often and at the same time it is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_returns_the_first_notification() {
    let world = World::start(|_| {}).await;
    let user = UserId::random();
    let first = world.send(welcome(user, "welcome")).await.unwrap();
    assert!(!first.repeated);

    let other = pb::SendNotificationRequest {
        template: "announcement".into(),
        variables: HashMap::from([
            ("headline".into(), "News".into()),
            ("message".into(), "None".into()),
        ]),
        ..welcome(user, "welcome")
    };
    let repeat = world.send(other).await.unwrap();
    assert_eq!((repeat.id, repeat.repeated), (first.id, true));

    let crowd = join_all((0..16).map(|_| world.send(welcome(user, "crowd")))).await;
    let ids: Vec<_> = crowd.into_iter().map(|it| it.unwrap()).collect();
    assert!(ids.iter().all(|it| it.id == ids[0].id));
    assert_eq!(ids.iter().filter(|it| !it.repeated).count(), 1);
    assert_eq!(world.inbox(user).await.len(), 2);
    assert_eq!(world.deliveries(user).await.len(), 4);
    // A key is the user's own.
    assert!(!world.send(welcome(UserId::random(), "welcome")).await.unwrap().repeated);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_is_refused_by_its_field_and_leaves_nothing() {
    let world = World::start(|_| {}).await;
    let user = UserId::random();
    let variables = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    };
    let recipient = |email: &str, phone: &str, name: &str| {
        Some(pb::Recipient { name: name.into(), email: email.into(), phone: phone.into() })
    };
    let base = || welcome(user, "key");
    let long = "k".repeat(201);
    for (request, field) in [
        (pb::SendNotificationRequest { user_id: "me".into(), ..base() }, "user_id"),
        (pb::SendNotificationRequest { dedup_key: String::new(), ..base() }, "dedup_key"),
        (pb::SendNotificationRequest { dedup_key: long, ..base() }, "dedup_key"),
        (pb::SendNotificationRequest { dedup_key: "a\0".into(), ..base() }, "dedup_key"),
        (
            pb::SendNotificationRequest { variables: variables(&[("color", "red")]), ..base() },
            "variables.color",
        ),
        (
            pb::SendNotificationRequest { template: "announcement".into(), ..base() },
            "variables.headline",
        ),
        (
            pb::SendNotificationRequest { recipient: recipient("nobody", "", ""), ..base() },
            "recipient.email",
        ),
        (
            pb::SendNotificationRequest { recipient: recipient("", "11987654321", ""), ..base() },
            "recipient.phone",
        ),
        (
            pb::SendNotificationRequest { recipient: recipient("", "", "a\0"), ..base() },
            "recipient.name",
        ),
    ] {
        let status = world.send(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status:?}");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field);
    }
    let unknown = pb::SendNotificationRequest { template: "nothing".into(), ..base() };
    assert_refused(world.send(unknown).await, Code::NotFound, "TEMPLATE_NOT_FOUND");
    assert_eq!(world.inbox(user).await.len(), 0);
    assert_eq!(world.deliveries(user).await.len(), 0);
}

/// Nobody tells users anything but those whom the contract names.
#[tokio::test(flavor = "multi_thread")]
async fn people_and_strangers_send_nothing() {
    let world = World::start(|_| {}).await;
    let user = UserId::random();
    for caller in ["gateway", "payments"] {
        let mut client = world.client(caller);
        let context = world.kit.user_context(user, &[Role::Admin]);
        let refused = context.scope(client.send_notification(welcome(user, "key"))).await;
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied, "{caller}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_see_templates_and_try_them() {
    let world = World::start(|_| {}).await;
    let mut client = world.client("gateway");
    let staff = |role| world.kit.user_context(UserId::random(), &[role]);

    let listed =
        staff(Role::Viewer).scope(client.list_templates(pb::ListTemplatesRequest {})).await;
    let templates = listed.unwrap().into_inner().templates;
    let sent = templates.iter().find(|it| it.name == "transfer-sent").unwrap();
    assert_eq!(sent.variables, ["amount", "completed_at", "currency", "transaction_id"]);
    assert_eq!(sent.locales, ["pt", "en"]);
    assert_eq!(sent.category(), pb::NotificationCategory::Transactions);
    assert_eq!(sent.fallback(), pb::Channel::Sms);

    let request = pb::PreviewTemplateRequest {
        template: "announcement".into(),
        locale: "en-GB".into(),
        variables: HashMap::from([
            ("headline".into(), "{{ 7*7 }}".into()),
            ("message".into(), "<script>".into()),
        ]),
        recipient_name: "Ana".into(),
    };
    let preview = staff(Role::Operator).scope(client.preview_template(request.clone())).await;
    let preview = preview.unwrap().into_inner();
    assert_eq!((preview.locale.as_str(), preview.title.as_str()), ("en", "{{ 7*7 }}"));
    assert_eq!(preview.short, "<script>");
    assert!(preview.text.starts_with("Hello Ana,") && preview.html.contains("&lt;script&gt;"));

    for context in [world.as_user(UserId::random()), staff(Role::Viewer)] {
        let refused = context.scope(client.preview_template(request.clone())).await;
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    }
    let nobody = Context::system(auth::TenantId::DEFAULT);
    let refused = nobody.scope(client.list_templates(pb::ListTemplatesRequest {})).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
}

/// The log is one's own, and shows addresses only as far as they tell apart.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_by_its_owner_and_by_staff() {
    let world = World::start(|_| {}).await;
    let (ana, bob) = (UserId::random(), UserId::random());
    for key in ["1", "2", "3"] {
        world.send(welcome(ana, key)).await.unwrap();
    }
    let mut client = world.client("gateway");
    let ask = |user_id: String, page_token: String| pb::ListDeliveriesRequest {
        user_id,
        page_size: 4,
        page_token,
        ..Default::default()
    };
    let refused =
        world.as_user(bob).scope(client.list_deliveries(ask(ana.to_string(), String::new())));
    assert_refused(refused.await, Code::PermissionDenied, "NOT_OWNER");

    let viewer = || world.kit.user_context(bob, &[Role::Viewer]);
    let first = viewer().scope(client.list_deliveries(ask(ana.to_string(), String::new()))).await;
    let first = first.unwrap().into_inner();
    let second =
        viewer().scope(client.list_deliveries(ask(ana.to_string(), first.next_page_token)));
    let second = second.await.unwrap().into_inner();
    assert_eq!((first.deliveries.len(), second.deliveries.len()), (4, 2));
    assert_eq!(second.next_page_token, "");
    let mut all = [first.deliveries, second.deliveries].concat();
    all.reverse();
    assert_eq!(all, world.deliveries(ana).await);

    let of_one = pb::ListDeliveriesRequest {
        notification_id: all[0].notification_id.clone(),
        ..Default::default()
    };
    let of_one = world.as_user(ana).scope(client.list_deliveries(of_one)).await;
    assert_eq!(of_one.unwrap().into_inner().deliveries.len(), 2);
}
