//! The ways out of the house.

mod email;
mod webhook;

use std::path::PathBuf;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::config::Config;
use crate::domain::Channel;
use crate::domain::attempts::Outcome;
use crate::templates::Filled;

/// A way to carry words to an address.
#[async_trait]
pub(crate) trait Carrier: Send + Sync {
    /// Hands `letter` over. It may be handed over again under the same id, when what became of it is
    /// not known: whoever takes it can tell by the id.
    async fn carry(&self, letter: Letter<'_>) -> Outcome;
}

/// Words for one person.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letter<'l> {
    /// The delivery's id.
    pub(crate) id: Uuid,
    pub(crate) channel: Channel,
    /// Whom it goes to: an e-mail address, a telephone number, the id of a user.
    pub(crate) address: &'l str,
    /// Name of the person; may be empty.
    pub(crate) name: &'l str,
    pub(crate) words: &'l Filled,
    pub(crate) now: DateTime<Utc>,
}

/// The carriers that an installation has.
pub(crate) struct Carriers {
    email: Option<Box<dyn Carrier>>,
    sms: Option<Box<dyn Carrier>>,
    push: Option<Box<dyn Carrier>>,
}

/// Why a channel cannot be used as its settings say.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// A setting has no meaning.
    #[error("notifications.{setting} {rule}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// A file cannot be read, or a folder cannot be made.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// TLS to the mail server cannot be set up.
    #[error("the mail server cannot be reached as the settings say: {0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
    /// The client of providers cannot be made.
    #[error("providers cannot be reached: {0}")]
    Http(#[from] reqwest::Error),
}

impl Carriers {
    /// Those that have settings. Nothing is connected yet.
    pub(crate) fn new(config: &Config) -> Result<Self, ChannelError> {
        fn boxed(carrier: impl Carrier + 'static) -> Box<dyn Carrier> {
            Box::new(carrier)
        }
        let timeout = config.attempt_timeout;
        let email = |it| Ok::<_, ChannelError>(boxed(email::Post::new(it, timeout)?));
        let provider = |setting, it| {
            Ok::<_, ChannelError>(boxed(webhook::Webhook::new(setting, it, timeout)?))
        };
        Ok(Self {
            email: config.email.as_ref().map(email).transpose()?,
            sms: config.sms.as_ref().map(|it| provider("sms", it)).transpose()?,
            push: config.push.as_ref().map(|it| provider("push", it)).transpose()?,
        })
    }

    /// The carrier of `channel`, if the installation has one.
    pub(crate) fn of(&self, channel: Channel) -> Option<&dyn Carrier> {
        let carrier = match channel {
            Channel::InApp => &None,
            Channel::Email => &self.email,
            Channel::Sms => &self.sms,
            Channel::Push => &self.push,
        };
        carrier.as_deref()
    }
}
