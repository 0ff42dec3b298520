//! What users can be told: the texts in `templates/`, by name and language.

mod filters;
mod library;
mod locale;

pub(crate) use library::{Filled, Library, Reader};

use crate::domain::{Category, Channel};
use crate::error::NotificationError;

/// Something that users can be told.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) name: &'static str,
    pub(crate) category: Category,
    /// The channels that it goes out by.
    pub(crate) channels: &'static [Channel],
    /// The channel that it goes out by when those that leave the house have failed.
    pub(crate) fallback: Option<Channel>,
    /// One for each language.
    pub(crate) texts: &'static [Texts],
}

impl Template {
    /// The template of that name.
    pub(crate) fn find(name: &str) -> Result<&'static Self, NotificationError> {
        TEMPLATES.iter().find(|it| it.name == name).ok_or(NotificationError::UnknownTemplate)
    }
}

/// The words of a template in one language.
#[derive(Debug)]
pub(crate) struct Texts {
    /// Language tag.
    pub(crate) locale: &'static str,
    /// Title in the app and of a push, subject of an e-mail. One line.
    title: Source,
    /// Text in the app, of a push and of an SMS.
    short: Source,
    /// Plain part of an e-mail.
    text: Source,
    /// HTML part of an e-mail.
    html: Source,
}

/// One file: its name, by which its values are escaped or not, and what it says.
type Source = (&'static str, &'static str);

/// What all HTML parts extend.
const LAYOUT: Source = ("layout.html", include_str!("../../templates/layout.html"));

macro_rules! source {
    ($path:expr) => {
        ($path, include_str!(concat!("../../templates/", $path)))
    };
}

macro_rules! texts {
    ($name:literal, $($locale:literal),+) => {
        &[$(Texts {
            locale: $locale,
            title: source!(concat!($name, "/", $locale, "/title.txt")),
            short: source!(concat!($name, "/", $locale, "/short.txt")),
            text: source!(concat!($name, "/", $locale, "/mail.txt")),
            html: source!(concat!($name, "/", $locale, "/mail.html")),
        }),+]
    };
}

/// All templates, by name.
///
/// What other people wrote, such as the description of a transfer, stands in none of them: it would
/// carry the bank's letterhead.
pub(crate) const TEMPLATES: &[Template] = &[
    Template {
        name: "already-registered",
        category: Category::Account,
        // Whoever owns the address, and nobody who looks over a shoulder at an app.
        channels: &[Channel::Email],
        fallback: None,
        texts: texts!("already-registered", "pt", "en"),
    },
    Template {
        name: "announcement",
        category: Category::Marketing,
        channels: &[Channel::InApp, Channel::Email, Channel::Push],
        fallback: None,
        texts: texts!("announcement", "pt", "en"),
    },
    Template {
        name: "sign-in-locked",
        category: Category::Security,
        channels: &[Channel::InApp, Channel::Email, Channel::Push],
        fallback: Some(Channel::Sms),
        texts: texts!("sign-in-locked", "pt", "en"),
    },
    Template {
        name: "transfer-received",
        category: Category::Transactions,
        channels: &[Channel::InApp, Channel::Email, Channel::Push],
        fallback: Some(Channel::Sms),
        texts: texts!("transfer-received", "pt", "en"),
    },
    Template {
        name: "transfer-sent",
        category: Category::Transactions,
        channels: &[Channel::InApp, Channel::Email, Channel::Push],
        fallback: Some(Channel::Sms),
        texts: texts!("transfer-sent", "pt", "en"),
    },
    Template {
        name: "welcome",
        category: Category::Account,
        channels: &[Channel::InApp, Channel::Email],
        fallback: None,
        texts: texts!("welcome", "pt", "en"),
    },
];
