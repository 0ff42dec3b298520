//! The mesh of a test.

use std::sync::Arc;
use std::time::Duration;

use auth::{Role, TenantId, UserId};
use chrono::{DateTime, Utc};
use clock::Clock;
use contracts::notifications::v1 as pb;
use contracts::notifications::v1::notifications_service_client::NotificationsServiceClient;
use events::{Bus, Event, PostgresBus, Record};
use mesh::{Channel, Context};
use notifications::Config;
use prost::Name;
use storage::Database;
use testkit::Testkit;
use tonic::Status;

use super::{Customers, eventually};

/// Noon in São Paulo, where users are unless they say otherwise.
pub(crate) const START: &str = "2026-06-10T15:00:00Z";

pub(crate) type Client = NotificationsServiceClient<Channel>;

/// Notifications and who they need, on a clock that the test sets.
pub(crate) struct World {
    pub(crate) kit: Testkit,
    pub(crate) customers: Customers,
    pub(crate) database: Database,
    storage: storage::Config,
    config: Config,
}

impl World {
    pub(crate) async fn start(configure: impl FnOnce(&mut Config)) -> Self {
        let start: DateTime<Utc> = START.parse().unwrap();
        Self::start_at(Clock::manual(start), configure).await
    }

    /// On another clock: that of the system, where streams are to last.
    pub(crate) async fn start_at(clock: Clock, configure: impl FnOnce(&mut Config)) -> Self {
        let kit = Testkit::start_at(clock).await;
        let customers = Customers::default();
        kit.serve(&kit.mesh("customers"), customers.service()).await;
        let storage = kit.storage(&["notifications"]).await;
        let database = Database::open("notifications", &storage);
        let mut config = Config {
            interval: Duration::from_millis(50),
            attempt_timeout: Duration::from_secs(5),
            ..Config::default()
        };
        configure(&mut config);
        let world = Self { kit, customers, database, storage, config };
        world.serve().await;
        world
    }

    /// Starts the service, also after [`Self::stop`].
    pub(crate) async fn serve(&self) {
        let service = self.service().await;
        self.kit.serve(&self.kit.mesh("notifications"), service).await;
    }

    /// The service, to be served: one more process on the same database.
    pub(crate) async fn service(&self) -> mesh::Service {
        let mesh = self.kit.mesh("notifications");
        // Of its own, as a process has it: what the last one left open does not help.
        let database = Database::open("notifications", &self.storage);
        let bus: Arc<dyn Bus> = Arc::new(PostgresBus::new(database.clone()));
        let (config, clock) = (self.config.clone(), self.kit.clock());
        let kept = Duration::from_hours(7 * 24);
        notifications::start(config, &mesh, database, bus, kept, clock).await.unwrap()
    }

    pub(crate) async fn stop(&self) {
        self.kit.stop("notifications").await;
    }

    pub(crate) fn client(&self, caller: &str) -> Client {
        NotificationsServiceClient::new(self.kit.channel(caller, "notifications"))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.kit.clock().advance(by);
    }

    pub(crate) fn as_user(&self, user: UserId) -> Context {
        self.kit.user_context(user, &[Role::Customer])
    }

    pub(crate) async fn send(
        &self,
        request: pb::SendNotificationRequest,
    ) -> Result<pb::SendNotificationResponse, Status> {
        self.send_in(TenantId::DEFAULT, request).await
    }

    pub(crate) async fn send_in(
        &self,
        tenant: TenantId,
        request: pb::SendNotificationRequest,
    ) -> Result<pb::SendNotificationResponse, Status> {
        let mut client = self.client("engineer");
        let answer = Context::system(tenant).scope(client.send_notification(request)).await?;
        Ok(answer.into_inner())
    }

    /// What `user` has in the app, newest first.
    pub(crate) async fn inbox(&self, user: UserId) -> Vec<pb::Notification> {
        let mut client = self.client("gateway");
        let request = pb::ListNotificationsRequest::default();
        let answer = self.as_user(user).scope(client.list_notifications(request)).await;
        answer.unwrap().into_inner().notifications
    }

    /// The log of `user`, oldest first.
    pub(crate) async fn deliveries(&self, user: UserId) -> Vec<pb::Delivery> {
        let mut client = self.client("gateway");
        let request = pb::ListDeliveriesRequest::default();
        let answer = self.as_user(user).scope(client.list_deliveries(request)).await;
        let mut deliveries = answer.unwrap().into_inner().deliveries;
        deliveries.reverse();
        deliveries
    }

    /// The one delivery of `user` on `channel`.
    pub(crate) async fn delivery(&self, user: UserId, channel: pb::Channel) -> pb::Delivery {
        let deliveries = self.deliveries(user).await;
        let mut on_channel = deliveries.into_iter().filter(|it| it.channel() == channel);
        let found = on_channel.next().expect("there is a delivery on the channel");
        assert!(on_channel.next().is_none(), "there is one delivery on the channel");
        found
    }

    /// Waits until the one delivery of `user` on `channel` is as wanted.
    pub(crate) async fn await_delivery(
        &self,
        user: UserId,
        channel: pb::Channel,
        is_wanted: impl Fn(&pb::Delivery) -> bool,
    ) -> pb::Delivery {
        eventually("a delivery goes on", async || {
            Some(self.delivery(user, channel).await).filter(|it| is_wanted(it))
        })
        .await
    }

    /// Puts events on the bus, as the relay does.
    pub(crate) async fn append(&self, events: &[&Event]) {
        let bus = PostgresBus::new(Database::open("events", &self.storage));
        let records = events.iter().map(|event| Record {
            topic: event.event_type().unwrap().topic.clone(),
            key: event.subject,
            id: event.id,
            value: event.to_json(),
        });
        bus.append(&records.collect::<Vec<_>>()).await.unwrap();
    }

    /// An event of the default tenant.
    pub(crate) fn event<M: prost::Message + Name>(&self, message: &M) -> Event {
        Event::new(TenantId::DEFAULT, self.kit.clock().now(), message).unwrap()
    }
}

/// Asks to welcome `user`.
pub(crate) fn welcome(user: UserId, dedup_key: &str) -> pb::SendNotificationRequest {
    pb::SendNotificationRequest {
        user_id: user.to_string(),
        template: "welcome".into(),
        dedup_key: dedup_key.into(),
        ..Default::default()
    }
}
