use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// Settings of notifications. A channel without its settings is not used: what would go out by it is
/// recorded as `SKIPPED`, `NOT_CONFIGURED`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of the bank in all that it says. Default: `Malha`.
    pub brand: String,
    /// Language tag of who has chosen none, and where a text is missing in the chosen one.
    /// Default: `pt-BR`.
    pub locale: String,
    /// IANA time zone of who has chosen none. Default: `America/Sao_Paulo`.
    pub time_zone: String,
    /// How e-mail leaves. Default: not at all.
    pub email: Option<Email>,
    /// Who sends text messages. Default: nobody.
    pub sms: Option<Provider>,
    /// Who pushes to devices. Default: nobody.
    pub push: Option<Provider>,
    /// Time between two looks for what is due. What is new is looked at at once. Default: 1 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub interval: Duration,
    /// Deliveries of a channel under way at a time in one process. Default: 16.
    pub concurrency: u16,
    /// Time for one attempt. Default: 30 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub attempt_timeout: Duration,
    /// Attempts after which a delivery is given up. Default: 8.
    pub attempts_max: u16,
    /// Wait after the first failed attempt, and a quarter less at random; each later one is four times
    /// as long. Default: 30 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub retry_delay: Duration,
    /// Longest wait between two attempts. Default: 6 h.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub retry_delay_max: Duration,
    /// Age at which notifications are deleted, in the app and in the log, with their deduplication keys,
    /// once all their deliveries have ended. At least as long as `events.relay.bus_kept`: what the bus
    /// tells again must be known. Default: 90 days.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub retention: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            brand: "Malha".into(),
            locale: "pt-BR".into(),
            time_zone: "America/Sao_Paulo".into(),
            email: None,
            sms: None,
            push: None,
            interval: Duration::from_secs(1),
            concurrency: 16,
            attempt_timeout: Duration::from_secs(30),
            attempts_max: 8,
            retry_delay: Duration::from_secs(30),
            retry_delay_max: Duration::from_hours(6),
            retention: Duration::from_hours(90 * 24),
        }
    }
}

/// How e-mail leaves: by a server, or into a folder.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// The sender, such as `Malha <no-reply@bank.example>`.
    pub from: String,
    /// The server that takes it.
    #[serde(default)]
    pub smtp: Option<Smtp>,
    /// A folder that it is written into in place of a server, one file each, for development.
    #[serde(default)]
    pub folder: Option<PathBuf>,
}

/// A server that takes e-mail for others.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// Its name, which its certificate must carry.
    pub host: String,
    /// Its port. Default: that of the kind of TLS, 465, 587 or 25.
    #[serde(default)]
    pub port: Option<u16>,
    /// When the connection is encrypted. Default: `implicit`.
    #[serde(default)]
    pub tls: SmtpTls,
    /// PEM file of the authorities to trust in place of those of the system.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Who logs in. Default: nobody.
    #[serde(default)]
    pub username: Option<String>,
    /// The password of `username`.
    #[serde(default)]
    pub password: Option<Secret>,
}

/// When a connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// From its first byte.
    #[default]
    Implicit,
    /// After STARTTLS, without which nothing is sent.
    Starttls,
    /// Never: for a server on the same machine.
    None,
}

/// A service of somebody else that sends text messages or pushes.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Where each message is posted to.
    pub url: String,
    /// What messages are signed with, as Standard Webhooks has it: `whsec_` and base64.
    pub secret: Secret,
}

/// Text that prints and serializes as `***`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for who uses it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}
