//! Messages of the contract, to and from the domain.

use contracts::notifications::v1 as pb;
use mesh::wire;
use tonic::Status;
use uuid::Uuid;

use crate::domain::preferences::{Preferences, Switch, is_fixed};
use crate::domain::quiet::{self, QuietHours};
use crate::domain::{self, Category, Channel, Order, Recipient};
use crate::error::NotificationError;
use crate::store::{DeliveryRow, InboxRow};
use crate::streams::Change;
use crate::templates::{Filled, Template};

/// Reads what is to be told.
pub(crate) fn order(request: pb::SendNotificationRequest) -> Result<Order, Status> {
    let recipient =
        request.recipient.map(|it| Recipient { name: it.name, email: it.email, phone: it.phone });
    Ok(Order {
        user: wire::id("user_id", &request.user_id)?,
        template: request.template,
        dedup_key: request.dedup_key,
        variables: request.variables.into_iter().collect(),
        recipient,
    })
}

/// Reads what a user wants; where something is empty, it wants nothing of its own.
pub(crate) fn preferences(wire: pb::Preferences) -> Result<Preferences, Status> {
    if !wire.time_zone.is_empty() && quiet::zone(&wire.time_zone).is_none() {
        let rule = "must be a time zone of the IANA database";
        return Err(NotificationError::invalid("preferences.time_zone", rule).into());
    }
    let quiet_hours = wire.quiet_hours.map(|hours| {
        QuietHours::parse(&hours.from, &hours.until).ok_or_else(|| {
            NotificationError::invalid("preferences.quiet_hours", "must be times of the day")
        })
    });
    let switches = wire.channels.into_iter().map(switch).collect::<Result<_, _>>()?;
    let own = |text: String| (!text.is_empty()).then_some(text);
    Ok(Preferences {
        locale: own(wire.locale),
        time_zone: own(wire.time_zone),
        quiet_hours: quiet_hours.transpose()?,
        switches,
    })
}

fn switch(wire: pb::ChannelPreference) -> Result<Switch, NotificationError> {
    let (category, channel) = (wire.category(), wire.channel());
    let category = Category::ALL.iter().copied().find(|it| category_out(*it) == category);
    let channel = Channel::ALL.iter().copied().find(|it| channel_out(*it) == channel);
    let known = category.zip(channel);
    let (category, channel) =
        known.ok_or_else(|| NotificationError::invalid("preferences.channels", "is none"))?;
    Ok(Switch { category, channel, enabled: wire.enabled })
}

/// Shows what a user wants, with the defaults of the installation where it has not chosen.
pub(crate) fn preferences_out(
    preferences: &Preferences,
    locale: &str,
    time_zone: &str,
) -> pb::Preferences {
    let or = |own: &Option<String>, default: &str| own.as_deref().unwrap_or(default).to_owned();
    pb::Preferences {
        locale: or(&preferences.locale, locale),
        time_zone: or(&preferences.time_zone, time_zone),
        quiet_hours: preferences.quiet_hours.map(|hours| pb::QuietHours {
            from: quiet::shown(hours.from),
            until: quiet::shown(hours.until),
        }),
        channels: preferences.all().map(switch_out).collect(),
    }
}

fn switch_out(switch: Switch) -> pb::ChannelPreference {
    pb::ChannelPreference {
        category: category_out(switch.category).into(),
        channel: channel_out(switch.channel).into(),
        enabled: switch.enabled,
        fixed: is_fixed(switch.category),
    }
}

/// Shows a notification in the app.
pub(crate) fn notification(row: InboxRow) -> pb::Notification {
    pb::Notification {
        id: row.id.to_string(),
        sequence: row.sequence,
        category: category_out(row.category).into(),
        template: row.template,
        title: row.title,
        body: row.body,
        read: row.is_read,
        created_at: Some(wire::timestamp(row.created_at)),
    }
}

/// Shows what a stream tells.
pub(crate) fn watched(change: Change) -> pb::WatchNotificationsResponse {
    let Change { notification: row, unread, sequence } = change;
    pb::WatchNotificationsResponse { notification: row.map(notification), unread, sequence }
}

/// Shows what a connection tells.
pub(crate) fn connected(change: Change) -> pb::ConnectNotificationsResponse {
    let Change { notification: row, unread, sequence } = change;
    pb::ConnectNotificationsResponse { notification: row.map(notification), unread, sequence }
}

/// Shows a line of the log.
pub(crate) fn delivery(row: DeliveryRow) -> pb::Delivery {
    pb::Delivery {
        id: row.id.to_string(),
        notification_id: row.notification.to_string(),
        user_id: row.user.to_string(),
        category: category_out(row.category).into(),
        template: row.template,
        channel: channel_out(row.channel).into(),
        status: status_out(row.status).into(),
        reason: row.reason,
        address: row.address,
        attempts: row.attempts,
        next_attempt_at: row.next_attempt_at.map(wire::timestamp),
        provider_reference: row.provider_reference,
        created_at: Some(wire::timestamp(row.created_at)),
        ended_at: row.ended_at.map(wire::timestamp),
    }
}

/// Shows a template that must be given these variables.
pub(crate) fn template<'v>(
    template: &Template,
    variables: impl Iterator<Item = &'v str>,
) -> pb::Template {
    let fallback = template.fallback.map_or(pb::Channel::Unspecified, channel_out);
    pb::Template {
        name: template.name.to_owned(),
        category: category_out(template.category).into(),
        channels: template.channels.iter().map(|it| channel_out(*it).into()).collect(),
        fallback: fallback.into(),
        locales: template.texts.iter().map(|texts| texts.locale.to_owned()).collect(),
        variables: variables.map(str::to_owned).collect(),
    }
}

/// Shows a template, filled in.
pub(crate) fn preview(filled: Filled) -> pb::PreviewTemplateResponse {
    pb::PreviewTemplateResponse {
        locale: filled.locale.to_owned(),
        title: filled.title,
        short: filled.short,
        text: filled.text,
        html: filled.html,
    }
}

/// Reads ids.
pub(crate) fn ids(field: &str, ids: &[String]) -> Result<Vec<Uuid>, Status> {
    ids.iter().map(|id| wire::id(field, id)).collect()
}

fn category_out(category: Category) -> pb::NotificationCategory {
    match category {
        Category::Security => pb::NotificationCategory::Security,
        Category::Transactions => pb::NotificationCategory::Transactions,
        Category::Account => pb::NotificationCategory::Account,
        Category::Marketing => pb::NotificationCategory::Marketing,
    }
}

fn channel_out(channel: Channel) -> pb::Channel {
    match channel {
        Channel::InApp => pb::Channel::InApp,
        Channel::Email => pb::Channel::Email,
        Channel::Sms => pb::Channel::Sms,
        Channel::Push => pb::Channel::Push,
    }
}

fn status_out(status: domain::Status) -> pb::DeliveryStatus {
    match status {
        domain::Status::Pending => pb::DeliveryStatus::Pending,
        domain::Status::Held => pb::DeliveryStatus::Held,
        domain::Status::Standby => pb::DeliveryStatus::Standby,
        domain::Status::Sent => pb::DeliveryStatus::Sent,
        domain::Status::Failed => pb::DeliveryStatus::Failed,
        domain::Status::Skipped => pb::DeliveryStatus::Skipped,
    }
}
