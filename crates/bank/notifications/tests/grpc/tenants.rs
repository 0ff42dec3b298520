//! One tenant's notifications are no other's, whatever a statement forgets.

use auth::{Role, TenantId, UserId};
use contracts::notifications::v1 as pb;
use contracts::notifications::v1::Channel::Push;
use contracts::notifications::v1::DeliveryStatus::Sent;
use uuid::Uuid;

use crate::support::{Answer, Provider, World, eventually, welcome};

#[tokio::test(flavor = "multi_thread")]
async fn tenants_share_a_database_and_nothing_in_it() {
    let push = Provider::start(Answer::OK).await;
    let world = World::start(|config| config.push = Some(push.config())).await;
    let (own, other) = (TenantId::DEFAULT, TenantId::from(Uuid::now_v7()));
    // The same person in both, by the same key.
    let user = UserId::random();
    let locked = || pb::SendNotificationRequest {
        template: "sign-in-locked".into(),
        variables: [("until".to_owned(), "2026-06-10T16:00:00Z".to_owned())].into(),
        ..welcome(user, "key")
    };
    let first = world.send_in(own, locked()).await.unwrap();
    let second = world.send_in(other, locked()).await.unwrap();
    assert!(!second.repeated && first.id != second.id);
    // Both are delivered, by one dispatcher that works for each as that tenant.
    push.await_posted(2).await;

    let mut claims = world.kit.claims(user, &[Role::Customer]);
    claims.tenant = other;
    let stranger = || world.kit.context(&claims);
    let mut client = world.client("gateway");
    let listed =
        stranger().scope(client.list_notifications(pb::ListNotificationsRequest::default()));
    let listed = listed.await.unwrap().into_inner().notifications;
    assert_eq!(listed.iter().map(|it| &it.id).collect::<Vec<_>>(), [&second.id]);
    let read = pb::MarkReadRequest { ids: vec![first.id.clone()], through: 0 };
    let read = stranger().scope(client.mark_read(read)).await.unwrap().into_inner();
    assert_eq!(read.unread, 1, "the other tenant's own is not read");
    assert!(!world.inbox(user).await[0].read);
    eventually("it is settled", async || {
        (world.delivery(user, Push).await.status() == Sent).then_some(())
    })
    .await;
}

/// Every table, asked without a condition.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_condition_shows_nothing_of_another_tenant() {
    let world = World::start(|_| {}).await;
    let user = UserId::random();
    world.send(welcome(user, "key")).await.unwrap();
    let update = pb::UpdatePreferencesRequest {
        preferences: Some(pb::Preferences { locale: "en".into(), ..Default::default() }),
        ..Default::default()
    };
    let mut client = world.client("gateway");
    world.as_user(user).scope(client.update_preferences(update)).await.unwrap();

    for table in ["notification", "inbox", "delivery", "preferences"] {
        for (tenant, is_there) in
            [(TenantId::DEFAULT, true), (TenantId::from(Uuid::now_v7()), false)]
        {
            let mut transaction = world.database.begin(tenant).await.unwrap();
            let count = format!("SELECT count(*) FROM {table}");
            let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count))
                .fetch_one(&mut *transaction)
                .await
                .unwrap();
            assert_eq!(count > 0, is_there, "{table}");
            let emptied =
                sqlx::query(sqlx::AssertSqlSafe(format!("UPDATE {table} SET user_id = user_id")))
                    .execute(&mut *transaction)
                    .await
                    .unwrap();
            assert_eq!(emptied.rows_affected() > 0, is_there, "{table}");
        }
        // Background work sees what is due, and nothing that says more.
        let mut worker = world.database.begin_worker().await.unwrap();
        let count = format!("SELECT count(*) FROM {table}");
        let count: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&mut *worker).await.unwrap();
        assert_eq!(count > 0, table == "delivery", "{table}");
    }
}
