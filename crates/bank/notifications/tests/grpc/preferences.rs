//! How users want to be told.

use auth::{Role, UserId};
use contracts::notifications::v1 as pb;
use contracts::notifications::v1::{Channel, NotificationCategory};
use mesh::Context;
use prost_types::FieldMask;
use testkit::assert_refused;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{World, welcome};

async fn update(
    world: &World,
    context: Context,
    preferences: pb::Preferences,
    paths: &[&str],
) -> Result<pb::Preferences, Status> {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    let request = pb::UpdatePreferencesRequest {
        user_id: String::new(),
        preferences: Some(preferences),
        update_mask: Some(FieldMask { paths }),
    };
    let mut client = world.client("gateway");
    let answer = context.scope(client.update_preferences(request)).await?;
    Ok(answer.into_inner().preferences.unwrap())
}

fn switched(
    category: NotificationCategory,
    channel: Channel,
    enabled: bool,
) -> pb::ChannelPreference {
    pb::ChannelPreference {
        category: category.into(),
        channel: channel.into(),
        enabled,
        fixed: category == NotificationCategory::Security,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn preferences_start_with_the_defaults_and_change_by_field() {
    let world = World::start(|_| {}).await;
    let user = UserId::random();
    let mut client = world.client("gateway");
    let request = pb::GetPreferencesRequest { user_id: String::new() };
    let defaults = world.as_user(user).scope(client.get_preferences(request)).await;
    let defaults = defaults.unwrap().into_inner().preferences.unwrap();
    assert_eq!(defaults.locale, "pt-BR");
    assert_eq!(defaults.time_zone, "America/Sao_Paulo");
    assert_eq!((defaults.quiet_hours.as_ref(), defaults.channels.len()), (None, 16));
    assert!(defaults.channels.iter().all(|it| it.enabled || !it.fixed));

    let wanted = pb::Preferences {
        locale: "en".into(),
        time_zone: "America/Manaus".into(),
        quiet_hours: Some(pb::QuietHours { from: "22:00".into(), until: "07:30".into() }),
        channels: vec![switched(NotificationCategory::Account, Channel::Email, false)],
    };
    let changed = update(&world, world.as_user(user), wanted.clone(), &[]).await.unwrap();
    assert_eq!((changed.locale.as_str(), changed.time_zone.as_str()), ("en", "America/Manaus"));
    assert_eq!(changed.quiet_hours, wanted.quiet_hours);
    assert!(changed.channels.contains(&wanted.channels[0]));

    // Everything read and written back changes nothing; what is named and empty is a default again.
    let same = update(&world, world.as_user(user), changed.clone(), &["*"]).await.unwrap();
    assert_eq!(same, changed);
    let empty = pb::Preferences::default();
    let reset = update(&world, world.as_user(user), empty, &["*"]).await.unwrap();
    assert_eq!(reset, defaults);
}

/// What a user switches off does not come, and the log says why.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(|config| {
        config.email = Some(notifications::Email {
            from: "no-reply@malha.example".into(),
            smtp: None,
            folder: Some(folder.path().into()),
        });
    })
    .await;
    let user = world.customers.add("Ana", "ana@example.com", "");
    let off = pb::Preferences {
        channels: vec![
            switched(NotificationCategory::Account, Channel::Email, false),
            switched(NotificationCategory::Account, Channel::InApp, false),
        ],
        ..Default::default()
    };
    update(&world, world.as_user(user), off, &[]).await.unwrap();
    world.send(welcome(user, "welcome")).await.unwrap();

    for channel in [Channel::Email, Channel::InApp] {
        let delivery = world.delivery(user, channel).await;
        assert_eq!(delivery.status(), pb::DeliveryStatus::Skipped);
        assert_eq!(delivery.reason, "SWITCHED_OFF");
    }
    assert_eq!(world.inbox(user).await.len(), 0);
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_meaning_is_refused_by_its_field() {
    let world = World::start(|_| {}).await;
    let user = UserId::random();
    let hours =
        |from: &str, until: &str| Some(pb::QuietHours { from: from.into(), until: until.into() });
    let security = switched(NotificationCategory::Security, Channel::Sms, false);
    let unknown = pb::ChannelPreference { category: 9, channel: 1, ..Default::default() };
    let empty = pb::Preferences::default;
    for (preferences, paths, field) in [
        (pb::Preferences { locale: "p".into(), ..empty() }, &[][..], "preferences.locale"),
        (
            pb::Preferences { time_zone: "Mars/Olympus".into(), ..empty() },
            &[],
            "preferences.time_zone",
        ),
        (
            pb::Preferences { time_zone: "../../etc/passwd".into(), ..empty() },
            &[],
            "preferences.time_zone",
        ),
        (
            pb::Preferences { quiet_hours: hours("24:00", "07:00"), ..empty() },
            &[],
            "preferences.quiet_hours.from",
        ),
        (
            pb::Preferences { quiet_hours: hours("22:00", ""), ..empty() },
            &[],
            "preferences.quiet_hours.until",
        ),
        (pb::Preferences { channels: vec![security], ..empty() }, &[], "preferences.channels"),
        (
            pb::Preferences { channels: vec![unknown], ..empty() },
            &[],
            "preferences.channels[0].category",
        ),
        (empty(), &["user_id"], "preferences.user_id"),
    ] {
        let status = update(&world, world.as_user(user), preferences, paths).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status:?}");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn preferences_are_their_owners_and_staffs() {
    let world = World::start(|_| {}).await;
    let owner = UserId::random();
    let mut client = world.client("gateway");
    let get = || pb::GetPreferencesRequest { user_id: owner.to_string() };
    let set = || pb::UpdatePreferencesRequest {
        user_id: owner.to_string(),
        preferences: Some(pb::Preferences { locale: "en".into(), ..Default::default() }),
        update_mask: None,
    };
    for (role, reads, writes) in [
        (Role::Customer, false, false),
        (Role::Viewer, true, false),
        (Role::Operator, true, true),
        (Role::Admin, true, true),
    ] {
        let context = || world.kit.user_context(UserId::random(), &[role]);
        let read = context().scope(client.get_preferences(get())).await;
        let written = context().scope(client.update_preferences(set())).await;
        assert_eq!(read.is_ok(), reads, "{role:?}");
        assert_eq!(written.is_ok(), writes, "{role:?}");
        if role == Role::Customer {
            assert_refused(read, Code::PermissionDenied, "NOT_OWNER");
        }
    }
}
