//! What a user wants to hear, where, when and in which language.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::quiet::{self, QuietHours};
use super::{Category, Channel};
use crate::error::NotificationError;

/// The wishes of one user; what is absent is as the installation has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Preferences {
    /// Language tag.
    pub(crate) locale: Option<String>,
    /// IANA name of a zone that exists.
    pub(crate) time_zone: Option<String>,
    pub(crate) quiet_hours: Option<QuietHours>,
    /// What the user has switched; one for each pair at most.
    pub(crate) switches: Vec<Switch>,
}

/// Whether a category comes by a channel.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Switch {
    pub(crate) category: Category,
    pub(crate) channel: Channel,
    pub(crate) enabled: bool,
}

impl Preferences {
    /// Whether `category` comes by `channel`.
    pub(crate) fn admit(&self, category: Category, channel: Channel) -> bool {
        if is_fixed(category) {
            return true;
        }
        let own = |it: &&Switch| it.category == category && it.channel == channel;
        let own = self.switches.iter().find(own);
        own.map_or_else(|| by_default(category, channel), |switch| switch.enabled)
    }

    /// Every category on every channel, as it is.
    pub(crate) fn all(&self) -> impl Iterator<Item = Switch> {
        let pairs = Category::ALL
            .iter()
            .flat_map(|category| Channel::ALL.iter().map(move |channel| (*category, *channel)));
        pairs.map(|(category, channel)| Switch {
            category,
            channel,
            enabled: self.admit(category, channel),
        })
    }

    /// The zone in which the user's hours are meant, else that of the installation.
    pub(crate) fn zone(&self, default: &TimeZone) -> TimeZone {
        let own = self.time_zone.as_deref().and_then(quiet::zone);
        own.unwrap_or_else(|| default.clone())
    }

    /// Takes what `paths` name from `proposal`; no path means what is not empty in it, `*` all.
    ///
    /// Switches are laid over those there are, unless they are named and empty: then all go back to
    /// their defaults.
    pub(crate) fn change(
        &mut self,
        proposal: &Self,
        paths: &[String],
    ) -> Result<(), NotificationError> {
        let named: Vec<&str> = match paths {
            [] => PATHS.into_iter().filter(|path| proposal.has(path)).collect(),
            [all] if all == "*" => PATHS.to_vec(),
            paths => paths.iter().map(String::as_str).collect(),
        };
        for path in named {
            match path {
                "locale" => self.locale.clone_from(&proposal.locale),
                "time_zone" => self.time_zone.clone_from(&proposal.time_zone),
                "quiet_hours" => self.quiet_hours = proposal.quiet_hours,
                "channels" if proposal.switches.is_empty() => self.switches.clear(),
                "channels" => proposal.switches.iter().try_for_each(|it| self.switch(*it))?,
                _ => {
                    let field = format!("preferences.{path}");
                    return Err(NotificationError::invalid(field, "is not a field of preferences"));
                }
            }
        }
        Ok(())
    }

    fn has(&self, path: &str) -> bool {
        match path {
            "locale" => self.locale.is_some(),
            "time_zone" => self.time_zone.is_some(),
            "quiet_hours" => self.quiet_hours.is_some(),
            _ => !self.switches.is_empty(),
        }
    }

    /// What is fixed may be said as it is: who reads all and writes all back changes nothing.
    fn switch(&mut self, switch: Switch) -> Result<(), NotificationError> {
        let Switch { category, channel, enabled } = switch;
        if is_fixed(category) {
            let refusal = "what is about security cannot be switched off";
            return if enabled {
                Ok(())
            } else {
                Err(NotificationError::invalid("preferences.channels", refusal))
            };
        }
        self.switches.retain(|own| (own.category, own.channel) != (category, channel));
        self.switches.push(switch);
        Ok(())
    }
}

/// Paths of an update mask.
const PATHS: [&str; 4] = ["locale", "time_zone", "quiet_hours", "channels"];

/// Whether nobody can switch the category off, and quiet hours do not hold it back.
pub(crate) fn is_fixed(category: Category) -> bool {
    category == Category::Security
}

/// What holds for who has switched nothing. A text message costs; advertising needs consent.
fn by_default(category: Category, channel: Channel) -> bool {
    match (category, channel) {
        (Category::Security, _)
        | (Category::Transactions, Channel::InApp | Channel::Email | Channel::Push)
        | (Category::Account, Channel::InApp | Channel::Email) => true,
        (Category::Transactions, Channel::Sms)
        | (Category::Account, Channel::Sms | Channel::Push)
        | (Category::Marketing, _) => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn switch(category: Category, channel: Channel, enabled: bool) -> Switch {
        Switch { category, channel, enabled }
    }

    /// Preferences × category × channel: by default, with all switched off and with all switched on.
    #[test]
    fn every_category_comes_by_the_channels_that_the_user_wants() {
        let all = |enabled| Preferences {
            switches: Category::ALL
                .iter()
                .flat_map(|category| {
                    Channel::ALL.iter().map(move |channel| switch(*category, *channel, enabled))
                })
                .collect(),
            ..Preferences::default()
        };
        let (default, off, on) = (Preferences::default(), all(false), all(true));
        let by_default = [
            (Category::Security, [true, true, true, true]),
            (Category::Transactions, [true, true, false, true]),
            (Category::Account, [true, true, false, false]),
            (Category::Marketing, [false, false, false, false]),
        ];
        for (category, expected) in by_default {
            for (channel, expected) in Channel::ALL.iter().zip(expected) {
                let case = format!("{category:?} {channel:?}");
                assert_eq!(default.admit(category, *channel), expected, "{case}");
                assert_eq!(off.admit(category, *channel), category == Category::Security, "{case}");
                assert!(on.admit(category, *channel), "{case}");
            }
        }
        assert_eq!(default.all().count(), 16);
    }

    #[test]
    fn one_switch_moves_one_pair() {
        let mut preferences = Preferences::default();
        let before: Vec<_> = preferences.all().collect();
        let proposal = Preferences {
            switches: vec![switch(Category::Marketing, Channel::Email, true)],
            ..Preferences::default()
        };
        preferences.change(&proposal, &[]).unwrap();

        let changed: Vec<_> =
            preferences.all().zip(before).filter(|(now, then)| now != then).collect();
        assert_eq!(changed.len(), 1);
        assert_eq!(changed[0].0, switch(Category::Marketing, Channel::Email, true));

        // Said again, there is still one; named and empty, there is none.
        preferences.change(&proposal, &["channels".into()]).unwrap();
        assert_eq!(preferences.switches.len(), 1);
        preferences.change(&Preferences::default(), &["channels".into()]).unwrap();
        assert_eq!(preferences, Preferences::default());
    }

    #[test]
    fn security_cannot_be_switched_off_and_may_be_said_to_be_on() {
        let mut preferences = Preferences::default();
        let said = |enabled| Preferences {
            switches: vec![switch(Category::Security, Channel::Sms, enabled)],
            ..Preferences::default()
        };
        assert!(preferences.change(&said(false), &[]).is_err());
        preferences.change(&said(true), &[]).unwrap();
        assert_eq!(preferences, Preferences::default());
    }

    #[test]
    fn a_mask_changes_what_it_names_and_nothing_else() {
        let full = Preferences {
            locale: Some("en".into()),
            time_zone: Some("America/Manaus".into()),
            quiet_hours: QuietHours::parse("22:00", "07:00"),
            switches: vec![switch(Category::Account, Channel::Push, true)],
        };
        let nothing = Preferences::default();
        let only_locale = Preferences { locale: Some("en".into()), ..nothing.clone() };
        let without_hours = Preferences { quiet_hours: None, ..full.clone() };
        for (before, proposal, paths, after) in [
            (&nothing, &full, &[][..], &full),
            (&nothing, &full, &["*"][..], &full),
            (&nothing, &full, &["locale"][..], &only_locale),
            (&full, &nothing, &[][..], &full),
            (&full, &nothing, &["quiet_hours"][..], &without_hours),
            (&full, &nothing, &["*"][..], &nothing),
        ] {
            let mut changed = before.clone();
            let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
            changed.change(proposal, &paths).unwrap();
            assert_eq!(&changed, after, "{paths:?}");
        }
        assert!(full.clone().change(&nothing, &["user_id".into()]).is_err());
    }
}
