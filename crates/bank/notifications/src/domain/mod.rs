//! What a notification is and when it may go where; no tonic, no sqlx, no clock.

pub(crate) mod address;
pub(crate) mod attempts;
pub(crate) mod plan;
pub(crate) mod preferences;
pub(crate) mod quiet;

use std::collections::BTreeMap;

use auth::UserId;
use serde::{Deserialize, Serialize};

use crate::error::NotificationError;

/// An enum whose values have names, in the database and in logs.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$value_doc:meta])* $value:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        pub(crate) enum $type {
            $($(#[$value_doc])* #[serde(rename = $name)] $value,)+
        }

        impl $type {
            /// All values, in their order.
            pub(crate) const ALL: &[Self] = &[$(Self::$value),+];

            /// The name of the value.
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)+
                }
            }
        }
    };
}

named! {
    /// What a notification is about.
    Category {
        /// The safety of the account: always on, and not held back by quiet hours.
        Security = "SECURITY",
        /// Money that moved.
        Transactions = "TRANSACTIONS",
        /// The relation to the bank.
        Account = "ACCOUNT",
        /// Offers and news: off until the user asks for it.
        Marketing = "MARKETING",
    }
}

named! {
    /// A way to reach a user.
    Channel {
        /// The list in the app, and open streams.
        InApp = "IN_APP",
        /// E-mail.
        Email = "EMAIL",
        /// Text message.
        Sms = "SMS",
        /// Push to the user's devices.
        Push = "PUSH",
    }
}

impl Channel {
    /// The channels that leave the house: they can fail, and they can disturb.
    pub(crate) const OUTSIDE: [Self; 3] = [Self::Email, Self::Sms, Self::Push];
}

named! {
    /// Where a delivery stands.
    Status {
        /// It will be tried, for the first time or again.
        Pending = "PENDING",
        /// It waits for the end of quiet hours.
        Held = "HELD",
        /// It waits whether the channels before it fail.
        Standby = "STANDBY",
        /// The channel has taken it.
        Sent = "SENT",
        /// Given up for good.
        Failed = "FAILED",
        /// Never tried.
        Skipped = "SKIPPED",
    }
}

/// Something to tell a user.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) user: UserId,
    /// Name of the template.
    pub(crate) template: String,
    /// Names the occasion among all of the user.
    pub(crate) dedup_key: String,
    pub(crate) variables: Variables,
    /// Who is told, where that is not whom the profile names.
    pub(crate) recipient: Option<Recipient>,
}

/// Longest deduplication key.
const KEY_CHARS_MAX: usize = 200;

impl Order {
    /// Refuses what cannot be kept.
    pub(crate) fn check(&self) -> Result<(), NotificationError> {
        if !(1..=KEY_CHARS_MAX).contains(&self.dedup_key.chars().count()) {
            return Err(NotificationError::invalid("dedup_key", "must have 1 to 200 characters"));
        }
        let names = self.recipient.iter().map(|it| ("recipient.name", &it.name));
        let values = self.variables.values().map(|value| ("variables", value));
        let mut texts = [("dedup_key", &self.dedup_key)].into_iter().chain(names).chain(values);
        // PostgreSQL cannot store it.
        match texts.find(|(_, text)| text.contains('\0')) {
            Some((field, _)) => Err(NotificationError::invalid(field, "must not hold U+0000")),
            None => Ok(()),
        }
    }
}

/// What a template is filled with.
pub(crate) type Variables = BTreeMap<String, String>;

/// A person as it is addressed; empty where something is not known.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Recipient {
    pub(crate) name: String,
    pub(crate) email: String,
    /// E.164.
    pub(crate) phone: String,
}

impl Recipient {
    /// Where `channel` reaches `user`; `None` where that is not known. Push providers know devices by
    /// the user's id.
    pub(crate) fn address(&self, channel: Channel, user: UserId) -> Option<String> {
        let address = match channel {
            Channel::Email => self.email.clone(),
            Channel::Sms => self.phone.clone(),
            Channel::InApp | Channel::Push => user.to_string(),
        };
        (!address.is_empty()).then_some(address)
    }

    /// What to call the person; empty where its name looks like more than one. People register under
    /// names and addresses of their choice, and the bank must not carry their messages for them.
    pub(crate) fn greeting(&self) -> &str {
        let is_plain = |it: char| it.is_alphabetic() || matches!(it, ' ' | '-' | '\'' | '.');
        let looks_like_a_name = self.name.chars().count() <= GREETING_CHARS_MAX
            && self.name.chars().all(is_plain)
            && !self.name.to_lowercase().split(' ').any(is_host);
        if looks_like_a_name { self.name.trim() } else { "" }
    }
}

/// Longest name that a person is greeted by.
const GREETING_CHARS_MAX: usize = 80;

/// Whether programs may show the word as a link: `evil.com`, but not `Jr.` or `J.R.R.`.
fn is_host(word: &str) -> bool {
    word.trim_end_matches('.').rsplit_once('.').is_some_and(|(_, last)| last.chars().count() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_greeted_by_names_alone() {
        for (name, greeting) in [
            ("Ana", "Ana"),
            ("Ana Luíza d'Ávila-Souza Jr.", "Ana Luíza d'Ávila-Souza Jr."),
            ("J.R.R. Tolkien", "J.R.R. Tolkien"),
            ("李小龙", "李小龙"),
            (" Ana ", "Ana"),
            ("", ""),
            ("You won: https://evil.example", ""),
            ("You won at evil.example", ""),
            ("Call 0800 123", ""),
            ("<b>Ana</b>", ""),
            ("{{ 7 }}", ""),
            (&"a".repeat(81), ""),
        ] {
            let recipient = Recipient { name: name.into(), ..Recipient::default() };
            assert_eq!(recipient.greeting(), greeting, "{name}");
        }
    }
}
