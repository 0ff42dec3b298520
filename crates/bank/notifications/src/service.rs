//! Serves `malha.notifications.v1`: decode, call, encode.

use std::sync::Arc;

use auth::{Principal, UserId};
use contracts::notifications::v1 as pb;
use contracts::notifications::v1::notifications_service_server::NotificationsService;
use futures::stream::{BoxStream, Stream, try_unfold};
use mesh::{Context, owner, wire as fields};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::error::NotificationError;
use crate::hub::Hub;
use crate::recorder::Recorder;
use crate::store::{DeliveryPage, Page, Store};
use crate::streams::Place;
use crate::templates::{Reader, TEMPLATES, Template};
use crate::wire;

/// The answers of a stream.
type Told<T> = BoxStream<'static, Result<T, Status>>;

/// Entries of a page when no number is asked for.
const PAGE_DEFAULT: usize = 50;

/// The service.
pub(crate) struct Notifications {
    pub(crate) store: Store,
    pub(crate) recorder: Recorder,
    pub(crate) hub: Arc<Hub>,
    /// Ends the streams.
    pub(crate) stop: CancellationToken,
}

impl Notifications {
    /// A stream of what comes for the caller.
    fn place(&self, after: Option<i64>) -> Result<(Principal, Place), Status> {
        let principal = Context::principal()?;
        let reader = (principal.tenant, principal.user);
        let subscription = self.hub.subscribe(principal.tenant, principal.user);
        Ok((principal, Place::new(self.store.clone(), reader, subscription, after)))
    }

    fn shown(&self, preferences: &crate::domain::preferences::Preferences) -> pb::Preferences {
        let zone = self.recorder.zone.iana_name().unwrap_or("UTC");
        wire::preferences_out(preferences, self.recorder.library.locale(), zone)
    }
}

/// The user that is named, or the caller where nobody is.
fn target(user_id: &str) -> &str {
    if user_id.is_empty() { "me" } else { user_id }
}

#[tonic::async_trait]
impl NotificationsService for Notifications {
    async fn list_notifications(
        &self,
        request: Request<pb::ListNotificationsRequest>,
    ) -> Result<Response<pb::ListNotificationsResponse>, Status> {
        let request = mesh::valid(request)?;
        let principal = Context::principal()?;
        let sequence = match request.page_token.as_str() {
            "" => i64::MAX,
            token => token
                .parse()
                .map_err(|_| NotificationError::invalid("page_token", "is none of ours"))?,
        };
        let size = fields::page_size(request.page_size, PAGE_DEFAULT);
        let page = Page::Before { sequence, unread_only: request.unread_only };
        let limit = i64::try_from(size).unwrap_or(i64::MAX);
        let (rows, _) =
            self.store.inbox_page(principal.tenant, principal.user, page, limit).await?;
        let last = rows.last().filter(|_| rows.len() == size);
        let next_page_token = last.map(|row| row.sequence.to_string()).unwrap_or_default();
        let notifications = rows.into_iter().map(wire::notification).collect();
        Ok(Response::new(pb::ListNotificationsResponse { notifications, next_page_token }))
    }

    async fn get_unread_count(
        &self,
        _: Request<pb::GetUnreadCountRequest>,
    ) -> Result<Response<pb::GetUnreadCountResponse>, Status> {
        let principal = Context::principal()?;
        let counts = self.store.inbox_counts(principal.tenant, principal.user).await?;
        Ok(Response::new(pb::GetUnreadCountResponse { unread: counts.unread }))
    }

    async fn mark_read(
        &self,
        request: Request<pb::MarkReadRequest>,
    ) -> Result<Response<pb::MarkReadResponse>, Status> {
        let request = mesh::valid(request)?;
        let principal = Context::principal()?;
        let ids = wire::ids("ids", &request.ids)?;
        let now = self.recorder.clock.now();
        let unread = self
            .store
            .inbox_mark_read(principal.tenant, principal.user, &ids, request.through, now)
            .await?;
        Ok(Response::new(pb::MarkReadResponse { unread }))
    }

    async fn watch_notifications(
        &self,
        request: Request<pb::WatchNotificationsRequest>,
    ) -> Result<Response<Told<pb::WatchNotificationsResponse>>, Status> {
        let request = mesh::valid(request)?;
        let (_, place) = self.place(request.after)?;
        let stream = try_unfold((place, self.stop.clone()), |(mut place, stop)| async move {
            let change = tokio::select! {
                change = place.next() => change,
                () = stop.cancelled() => Err(NotificationError::Stopping),
            };
            Ok(Some((wire::watched(change?), (place, stop))))
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn connect_notifications(
        &self,
        request: Request<Streaming<pb::ConnectNotificationsRequest>>,
    ) -> Result<Response<Told<pb::ConnectNotificationsResponse>>, Status> {
        let (principal, place) = self.place(None)?;
        let connection = Connection {
            principal,
            place,
            said: request.into_inner(),
            store: self.store.clone(),
            clock: self.recorder.clock.clone(),
            stop: self.stop.clone(),
        };
        Ok(Response::new(Box::pin(connection.run())))
    }

    async fn get_preferences(
        &self,
        request: Request<pb::GetPreferencesRequest>,
    ) -> Result<Response<pb::GetPreferencesResponse>, Status> {
        let request = mesh::valid(request)?;
        let principal = Context::principal()?;
        let user = owner::readable(&principal, "user_id", target(&request.user_id))?;
        let preferences = self.store.preferences_fetch(principal.tenant, user).await?;
        let preferences = Some(self.shown(&preferences));
        Ok(Response::new(pb::GetPreferencesResponse { preferences }))
    }

    async fn update_preferences(
        &self,
        request: Request<pb::UpdatePreferencesRequest>,
    ) -> Result<Response<pb::UpdatePreferencesResponse>, Status> {
        let request = mesh::valid(request)?;
        let principal = Context::principal()?;
        let user = owner::writable(&principal, "user_id", target(&request.user_id))?;
        let proposal = wire::preferences(request.preferences.unwrap_or_default())?;
        let paths = request.update_mask.unwrap_or_default().paths;
        let now = self.recorder.clock.now();
        let preferences = self
            .store
            .preferences_update(principal.tenant, user, now, |it| it.change(&proposal, &paths))
            .await?;
        let preferences = Some(self.shown(&preferences));
        Ok(Response::new(pb::UpdatePreferencesResponse { preferences }))
    }

    async fn list_deliveries(
        &self,
        request: Request<pb::ListDeliveriesRequest>,
    ) -> Result<Response<pb::ListDeliveriesResponse>, Status> {
        let request = mesh::valid(request)?;
        let principal = Context::principal()?;
        let user: UserId = owner::readable(&principal, "user_id", target(&request.user_id))?;
        let optional = |field: &str, id: &str| {
            if id.is_empty() { Ok(None) } else { fields::id::<Uuid>(field, id).map(Some) }
        };
        let size = fields::page_size(request.page_size, PAGE_DEFAULT);
        let page = DeliveryPage {
            user,
            notification: optional("notification_id", &request.notification_id)?,
            before: optional("page_token", &request.page_token)?,
            limit: i64::try_from(size).unwrap_or(i64::MAX),
        };
        let rows = self.store.deliveries_page(principal.tenant, page).await?;
        let last = rows.last().filter(|_| rows.len() == size);
        let next_page_token = last.map(|row| row.id.to_string()).unwrap_or_default();
        let deliveries = rows.into_iter().map(wire::delivery).collect();
        Ok(Response::new(pb::ListDeliveriesResponse { deliveries, next_page_token }))
    }

    async fn list_templates(
        &self,
        _: Request<pb::ListTemplatesRequest>,
    ) -> Result<Response<pb::ListTemplatesResponse>, Status> {
        let library = &self.recorder.library;
        let shown = TEMPLATES.iter().map(|it| wire::template(it, library.variables(it)));
        Ok(Response::new(pb::ListTemplatesResponse { templates: shown.collect() }))
    }

    async fn preview_template(
        &self,
        request: Request<pb::PreviewTemplateRequest>,
    ) -> Result<Response<pb::PreviewTemplateResponse>, Status> {
        let request = mesh::valid(request)?;
        let library = &self.recorder.library;
        let template = Template::find(&request.template)?;
        let locale = match request.locale.as_str() {
            "" => library.locale(),
            locale => locale,
        };
        let zone = &self.recorder.zone;
        let reader = Reader { locale, zone, name: &request.recipient_name };
        let variables = request.variables.clone().into_iter().collect();
        let filled = library.fill(template, &variables, &reader)?;
        Ok(Response::new(wire::preview(filled)))
    }

    async fn send_notification(
        &self,
        request: Request<pb::SendNotificationRequest>,
    ) -> Result<Response<pb::SendNotificationResponse>, Status> {
        let order = wire::order(mesh::valid(request)?)?;
        let tenant = Context::current()?.tenant;
        let mut transaction = self.store.begin(tenant).await.map_err(NotificationError::from)?;
        let recorded = self.recorder.record_in_txn(&mut transaction, &order).await?;
        transaction.commit().await.map_err(NotificationError::from)?;
        let (id, repeated) = (recorded.id.to_string(), recorded.repeated);
        Ok(Response::new(pb::SendNotificationResponse { id, repeated }))
    }
}

/// A connection of an app: what comes goes out, what it has read comes in.
struct Connection {
    principal: Principal,
    place: Place,
    said: Streaming<pb::ConnectNotificationsRequest>,
    store: Store,
    clock: clock::Clock,
    stop: CancellationToken,
}

impl Connection {
    /// Tells what changes until the app has said all.
    fn run(self) -> impl Stream<Item = Result<pb::ConnectNotificationsResponse, Status>> {
        try_unfold(self, |mut connection| async move {
            loop {
                tokio::select! {
                    change = connection.place.next() => {
                        return Ok(Some((wire::connected(change?), connection)));
                    }
                    said = connection.said.message() => match said? {
                        Some(said) => connection.hear(said).await?,
                        None => return Ok(None),
                    },
                    () = connection.stop.cancelled() => {
                        return Err(NotificationError::Stopping.into());
                    }
                }
            }
        })
    }

    async fn hear(&mut self, said: pb::ConnectNotificationsRequest) -> Result<(), Status> {
        let said = mesh::valid(Request::new(said))?;
        if let Some(after) = said.after {
            self.place.go_to(after);
        }
        if !said.read_ids.is_empty() || said.read_through > 0 {
            let ids = wire::ids("read_ids", &said.read_ids)?;
            let (tenant, user) = (self.principal.tenant, self.principal.user);
            let now = self.clock.now();
            self.store.inbox_mark_read(tenant, user, &ids, said.read_through, now).await?;
        }
        Ok(())
    }
}
