//! Which channels a notification goes out by.

use super::preferences::Preferences;
use super::{Category, Channel, Status};

/// Why a delivery is never tried: the user does not want it.
pub(crate) const SWITCHED_OFF: &str = "SWITCHED_OFF";

/// Why a delivery is never tried: the installation has no provider for the channel.
pub(crate) const NOT_CONFIGURED: &str = "NOT_CONFIGURED";

/// Why a standby is never tried: a channel before it did not fail.
pub(crate) const NOT_NEEDED: &str = "NOT_NEEDED";

/// How a delivery begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Planned {
    pub(crate) channel: Channel,
    pub(crate) status: Status,
    /// Why it is SKIPPED; else empty.
    pub(crate) reason: &'static str,
}

/// One delivery for each of `channels` and for `fallback`, which stands by while any other channel
/// that leaves the house is tried.
pub(crate) fn deliveries(
    category: Category,
    channels: &[Channel],
    fallback: Option<Channel>,
    preferences: &Preferences,
    is_configured: impl Fn(Channel) -> bool,
) -> Vec<Planned> {
    let plan = |channel: Channel| {
        let (status, reason) = if !preferences.admit(category, channel) {
            (Status::Skipped, SWITCHED_OFF)
        } else if channel == Channel::InApp {
            (Status::Sent, "")
        } else if is_configured(channel) {
            (Status::Pending, "")
        } else {
            (Status::Skipped, NOT_CONFIGURED)
        };
        Planned { channel, status, reason }
    };
    let mut planned: Vec<_> = channels.iter().copied().map(plan).collect();
    let is_tried = planned.iter().any(|it| it.status == Status::Pending);
    planned.extend(fallback.map(plan).map(|it| match it.status {
        Status::Pending if is_tried => Planned { status: Status::Standby, ..it },
        _ => it,
    }));
    planned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::preferences::Switch;

    #[test]
    fn each_channel_begins_as_wishes_and_providers_allow() {
        const ALL: [Channel; 3] = [Channel::InApp, Channel::Email, Channel::Push];
        let without = |channels: &[Channel]| Preferences {
            switches: channels
                .iter()
                .map(|&channel| Switch {
                    category: Category::Transactions,
                    channel,
                    enabled: channel == Channel::Sms,
                })
                .collect(),
            ..Preferences::default()
        };
        let off = (Status::Skipped, SWITCHED_OFF);
        let absent = (Status::Skipped, NOT_CONFIGURED);
        let (sent, pending, standby) =
            ((Status::Sent, ""), (Status::Pending, ""), (Status::Standby, ""));
        // The SMS is the fallback, and off unless the user switches it on.
        for (switched, configured, expected) in [
            (&[][..], &[Channel::Email, Channel::Push][..], [sent, pending, pending, off]),
            (&[Channel::Sms][..], &Channel::OUTSIDE[..], [sent, pending, pending, standby]),
            (&[Channel::Sms][..], &[Channel::Sms][..], [sent, absent, absent, pending]),
            (&[Channel::Sms][..], &[Channel::Email][..], [sent, pending, absent, absent]),
            (
                &[Channel::Email, Channel::Push, Channel::Sms][..],
                &Channel::OUTSIDE[..],
                [sent, off, off, pending],
            ),
            (&[Channel::InApp][..], &[][..], [off, absent, absent, off]),
        ] {
            let planned = deliveries(
                Category::Transactions,
                &ALL,
                Some(Channel::Sms),
                &without(switched),
                |channel| configured.contains(&channel),
            );
            let found: Vec<_> = planned.iter().map(|it| (it.status, it.reason)).collect();
            assert_eq!(found, expected, "{switched:?} {configured:?}");
        }
    }

    /// What is about security goes out whatever the user has switched off.
    #[test]
    fn security_goes_out_by_every_channel_there_is() {
        let switches = Channel::ALL
            .iter()
            .map(|&channel| Switch { category: Category::Security, channel, enabled: false })
            .collect();
        let preferences = Preferences { switches, ..Preferences::default() };
        let planned =
            deliveries(Category::Security, &Channel::OUTSIDE, None, &preferences, |_| true);
        assert!(planned.iter().all(|it| it.status == Status::Pending), "{planned:?}");
    }
}
