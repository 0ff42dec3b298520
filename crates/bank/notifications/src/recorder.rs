//! Records what users are to be told.

use std::sync::Arc;

use clock::Clock;
use jiff::tz::TimeZone;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::channels::Carriers;
use crate::domain::{Order, plan};
use crate::error::NotificationError;
use crate::store::{New, Recorded, notification_insert_in_txn, preferences_fetch_in_txn};
use crate::templates::{Library, Reader, Template};

/// Turns orders into notifications with their deliveries.
#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) library: Arc<Library>,
    pub(crate) carriers: Arc<Carriers>,
    pub(crate) clock: Clock,
    /// Zone of who has chosen none.
    pub(crate) zone: TimeZone,
}

impl Recorder {
    /// Records what `order` asks for, in the caller's transaction, once per user and key. It stands in
    /// the app when that commits; the other channels follow.
    pub(crate) async fn record_in_txn(
        &self,
        connection: &mut PgConnection,
        order: &Order,
    ) -> Result<Recorded, NotificationError> {
        order.check()?;
        let template = Template::find(&order.template)?;
        let preferences = preferences_fetch_in_txn(connection, order.user).await?;
        let locale = preferences.locale.as_deref().unwrap_or(self.library.locale());
        let zone = preferences.zone(&self.zone);
        // All words, also those that go out later: what is wrong is refused now.
        let reader = Reader { locale, zone: &zone, name: "" };
        let words = self.library.fill(template, &order.variables, &reader)?;
        let planned = plan::deliveries(
            template.category,
            template.channels,
            template.fallback,
            &preferences,
            |channel| self.carriers.of(channel).is_some(),
        );
        let now = self.clock.now();
        let (words, planned) = (&words, &planned[..]);
        let new = New { id: Uuid::now_v7(), order, template, words, planned, now };
        Ok(notification_insert_in_txn(connection, new).await?)
    }
}
