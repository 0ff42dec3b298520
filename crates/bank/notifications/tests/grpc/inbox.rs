//! What users have in the app.

use std::time::Duration;

use auth::{Role, UserId};
use contracts::notifications::v1 as pb;
use futures::stream;
use mesh::Mesh;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Streaming};
use uuid::Uuid;

use crate::support::{Client, PATIENCE, World, welcome};

async fn next<T>(stream: &mut Streaming<T>) -> T {
    timeout(PATIENCE, stream.message()).await.expect("it is told in time").unwrap().unwrap()
}

async fn watch(
    world: &World,
    client: &mut Client,
    user: UserId,
    after: Option<i64>,
) -> Streaming<pb::WatchNotificationsResponse> {
    let request = pb::WatchNotificationsRequest { after };
    world.as_user(user).scope(client.watch_notifications(request)).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_is_listed_counted_and_read() {
    let world = World::start(|_| {}).await;
    let (ana, bob) = (UserId::random(), UserId::random());
    for key in 1..=5 {
        world.send(welcome(ana, &key.to_string())).await.unwrap();
    }
    let mut client = world.client("gateway");
    let list = |unread_only, page_token: &str| pb::ListNotificationsRequest {
        unread_only,
        page_size: 3,
        page_token: page_token.into(),
    };
    let first = world.as_user(ana).scope(client.list_notifications(list(false, ""))).await;
    let first = first.unwrap().into_inner();
    let sequences =
        |page: &[pb::Notification]| -> Vec<i64> { page.iter().map(|it| it.sequence).collect() };
    assert_eq!(sequences(&first.notifications), [5, 4, 3]);
    let newest = &first.notifications[0];
    assert_eq!(newest.title, "Boas-vindas ao Malha");
    assert_eq!(newest.body, "Sua conta no Malha está aberta.");
    assert_eq!((newest.category(), newest.read), (pb::NotificationCategory::Account, false));
    let second = list(false, &first.next_page_token);
    let second = world.as_user(ana).scope(client.list_notifications(second)).await;
    let second = second.unwrap().into_inner();
    assert_eq!(
        (sequences(&second.notifications), second.next_page_token.as_str()),
        (vec![2, 1], "")
    );

    let read = |ids: &[&str], through| pb::MarkReadRequest {
        ids: ids.iter().map(|id| (*id).into()).collect(),
        through,
    };
    let (newest, strange) = (newest.id.clone(), Uuid::now_v7().to_string());
    for (request, unread) in [
        (read(&[&newest, &strange], 0), 4),
        (read(&[&newest], 0), 4),
        (read(&[], 2), 2),
        (read(&[], 2), 2),
        (read(&[], 0), 2),
    ] {
        let answer = world.as_user(ana).scope(client.mark_read(request.clone())).await;
        assert_eq!(answer.unwrap().into_inner().unread, unread, "{request:?}");
    }
    let left = world.as_user(ana).scope(client.list_notifications(list(true, ""))).await;
    assert_eq!(sequences(&left.unwrap().into_inner().notifications), [4, 3]);

    // What is Ana's is nobody else's to read or to mark.
    let theft = world.as_user(bob).scope(client.mark_read(read(&[&strange], 99))).await;
    assert_eq!(theft.unwrap().into_inner().unread, 0);
    assert_eq!(world.inbox(bob).await.len(), 0);
    let count =
        world.as_user(ana).scope(client.get_unread_count(pb::GetUnreadCountRequest {})).await;
    assert_eq!(count.unwrap().into_inner().unread, 2);
}

/// L-79: news come at once, in their order, from any place on, and to their owner alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_what_comes() {
    let world = World::start(|_| {}).await;
    let (ana, bob) = (UserId::random(), UserId::random());
    world.send(welcome(ana, "1")).await.unwrap();
    let mut client = world.client("gateway");
    let mut live = watch(&world, &mut client, ana, None).await;
    let begin = next(&mut live).await;
    assert_eq!((begin.notification, begin.unread, begin.sequence), (None, 1, 1));

    world.send(welcome(bob, "1")).await.unwrap();
    world.send(welcome(ana, "2")).await.unwrap();
    let told = next(&mut live).await;
    assert_eq!((told.notification.unwrap().sequence, told.unread, told.sequence), (2, 2, 2));

    // Read elsewhere, it counts here too.
    let read = pb::MarkReadRequest { through: 2, ..Default::default() };
    world.as_user(ana).scope(client.mark_read(read)).await.unwrap();
    let told = next(&mut live).await;
    assert_eq!((told.notification, told.unread, told.sequence), (None, 0, 2));

    for (after, sequences) in [(0, vec![1, 2]), (1, vec![2]), (2, vec![]), (99, vec![])] {
        let mut resumed = watch(&world, &mut client, ana, Some(after)).await;
        assert_eq!(next(&mut resumed).await.sequence, after.min(2));
        for sequence in sequences {
            assert_eq!(next(&mut resumed).await.notification.unwrap().sequence, sequence);
        }
        let silence = timeout(Duration::from_millis(100), resumed.message()).await;
        assert!(silence.is_err(), "{silence:?}");
    }

    world.stop().await;
    let end = timeout(PATIENCE, live.message()).await.unwrap().unwrap_err();
    assert_eq!(end.code(), Code::Unavailable);
}

/// The stream of one process tells what another one recorded.
#[tokio::test(flavor = "multi_thread")]
async fn news_cross_processes() {
    let world = World::start(|_| {}).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut elsewhere = world.kit.mesh_config("gateway");
    let address = listener.local_addr().unwrap().to_string();
    elsewhere.endpoints.insert("notifications".into(), vec![address]);
    let (second, mesh) = (world.service().await, world.kit.mesh("notifications"));
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(async move { mesh.serve(second, listener, stop).await });
    let mut client =
        Client::new(Mesh::join("gateway", &elsewhere).unwrap().channel("notifications"));

    let user = UserId::random();
    let mut live = watch(&world, &mut client, user, None).await;
    assert_eq!(next(&mut live).await.sequence, 0);
    world.send(welcome(user, "1")).await.unwrap();
    assert_eq!(next(&mut live).await.notification.unwrap().sequence, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_goes_both_ways() {
    let world = World::start(|_| {}).await;
    let user = UserId::random();
    for key in ["1", "2"] {
        world.send(welcome(user, key)).await.unwrap();
    }
    let (say, mut said) = mpsc::channel::<pb::ConnectNotificationsRequest>(1);
    let said = stream::poll_fn(move |context| said.poll_recv(context));
    let mut client = world.client("gateway");
    let connected = world.as_user(user).scope(client.connect_notifications(said)).await;
    let mut heard = connected.unwrap().into_inner();
    let begin = next(&mut heard).await;
    assert_eq!((begin.notification, begin.unread, begin.sequence), (None, 2, 2));

    say.send(pb::ConnectNotificationsRequest { after: Some(1), ..Default::default() })
        .await
        .unwrap();
    assert_eq!(next(&mut heard).await.sequence, 1);
    let missed = next(&mut heard).await.notification.unwrap();
    assert_eq!(missed.sequence, 2);

    let read = pb::ConnectNotificationsRequest { read_ids: vec![missed.id], ..Default::default() };
    say.send(read).await.unwrap();
    assert_eq!(next(&mut heard).await.unread, 1);
    let read = pb::ConnectNotificationsRequest { read_through: 2, ..Default::default() };
    say.send(read).await.unwrap();
    assert_eq!(next(&mut heard).await.unread, 0);

    let wrong =
        pb::ConnectNotificationsRequest { read_ids: vec!["x".into()], ..Default::default() };
    say.send(wrong).await.unwrap();
    let refused = timeout(PATIENCE, heard.message()).await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

/// An analyst reads and changes nothing, its own notifications too.
#[tokio::test(flavor = "multi_thread")]
async fn who_changes_nothing_marks_nothing() {
    let world = World::start(|_| {}).await;
    let analyst = world.kit.user_context(UserId::random(), &[Role::Analyst]);
    let mut client = world.client("gateway");
    let refused = analyst.scope(client.mark_read(pb::MarkReadRequest::default())).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
}
