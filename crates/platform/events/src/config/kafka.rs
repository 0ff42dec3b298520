//! How Kafka is reached: settings that are there also where its client is not.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::Password;

/// How Kafka is reached.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// Addresses of the first brokers to ask, such as `kafka-0:9093,kafka-1:9093`. Default:
    /// `localhost:9092`.
    pub brokers: String,
    /// Whether connections are encrypted, to brokers whose certificates fit their names. Default:
    /// no.
    pub tls: bool,
    /// PEM file with the authority that signed the brokers' certificates. Default: that of the
    /// system.
    pub ca: Option<PathBuf>,
    /// PEM file with the certificate to show the brokers. Default: none.
    pub certificate: Option<PathBuf>,
    /// PEM file with the key of `certificate`.
    pub key: Option<PathBuf>,
    /// Who logs in. Default: nobody.
    pub sasl: Option<Sasl>,
    /// Copies of each topic: 1 in development, 3 in production. Counts when a topic is made.
    /// Default: 1.
    pub replicas: u8,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: "localhost:9092".into(),
            tls: false,
            ca: None,
            certificate: None,
            key: None,
            sasl: None,
            replicas: 1,
        }
    }
}

/// Who logs in to Kafka.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// How: `SCRAM-SHA-512`, `SCRAM-SHA-256` or, over TLS alone, `PLAIN`.
    pub mechanism: SaslMechanism,
    /// The name.
    pub username: String,
    /// The password of `username`.
    pub password: Password,
}

/// How a password is proved.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SaslMechanism {
    /// By sending it.
    #[serde(rename = "PLAIN")]
    Plain,
    /// By a proof of it.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// By a proof of it.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_read_and_never_shown() {
        let text = r#"{"tls": true, "sasl":
            {"mechanism": "SCRAM-SHA-256", "username": "malha", "password": "secret"}}"#;

        let config: KafkaConfig = serde_json::from_str(text).unwrap();

        let sasl = config.sasl.as_ref().unwrap();
        assert_eq!((sasl.mechanism.name(), sasl.password.reveal()), ("SCRAM-SHA-256", "secret"));
        assert!(!format!("{config:?}").contains("secret"));
        assert!(!serde_json::to_string(&config).unwrap().contains("secret"));
    }
}
