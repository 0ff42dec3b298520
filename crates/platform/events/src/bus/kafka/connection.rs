//! How Kafka's client is told to reach the brokers, and what it says when it does not.

use std::fs::File;
use std::sync::Arc;

use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, ClientContext};

use crate::{BusError, KafkaConfig, SaslMechanism};

/// How the client is told to reach the brokers.
pub(super) fn client(config: &KafkaConfig) -> Result<ClientConfig, BusError> {
    check(config)?;
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &config.brokers)
        .set("client.id", "malha")
        .set("reconnect.backoff.max.ms", "1000")
        // A broker that went without a word is noticed in this time; the client's own is a minute.
        .set("socket.timeout.ms", "10000");
    client.set(
        "security.protocol",
        match (config.tls, &config.sasl) {
            (false, None) => "plaintext",
            (true, None) => "ssl",
            (false, Some(_)) => "sasl_plaintext",
            (true, Some(_)) => "sasl_ssl",
        },
    );
    let files = [
        ("ssl.ca.location", &config.ca),
        ("ssl.certificate.location", &config.certificate),
        ("ssl.key.location", &config.key),
    ];
    for (name, path) in files {
        if let Some(path) = path {
            client.set(name, path.to_string_lossy());
        }
    }
    if let Some(sasl) = &config.sasl {
        client
            .set("sasl.mechanism", sasl.mechanism.name())
            .set("sasl.username", &sasl.username)
            .set("sasl.password", sasl.password.reveal());
    }
    Ok(client)
}

/// Refuses what cannot be meant, before the client finds it out in its own words or not at all.
fn check(config: &KafkaConfig) -> Result<(), BusError> {
    let files = [
        ("events.kafka.ca", &config.ca),
        ("events.kafka.certificate", &config.certificate),
        ("events.kafka.key", &config.key),
    ];
    for (name, path) in files {
        let Some(path) = path else { continue };
        if !config.tls {
            return Err(wrong(name, "counts only where `events.kafka.tls` is true"));
        }
        File::open(path)
            .map_err(|error| wrong(name, format!("cannot read {}: {error}", path.display())))?;
    }
    if config.certificate.is_some() != config.key.is_some() {
        let both = "a certificate and its key are set together";
        return Err(wrong("events.kafka.certificate", both));
    }
    let plain = config.sasl.as_ref().is_some_and(|it| it.mechanism == SaslMechanism::Plain);
    if plain && !config.tls {
        let readable = "PLAIN sends the password as it is: set `events.kafka.tls` to true";
        return Err(wrong("events.kafka.sasl.mechanism", readable));
    }
    Ok(())
}

fn wrong(name: &'static str, rule: impl Into<String>) -> BusError {
    BusError::Setting { name, rule: rule.into() }
}

/// Why brokers were not reached, as the client said last.
pub(super) type Trouble = Arc<Mutex<Option<String>>>;

/// Hears of it: who asks the brokers for something only learns that no answer came.
pub(super) struct Watch(pub(super) Trouble);

impl ClientContext for Watch {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "kafka is in trouble");
        // That all brokers are down is told after why.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *self.0.lock() = Some(reason.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::Sasl;

    fn refused(config: &KafkaConfig) -> String {
        check(config).expect_err("it is accepted").to_string()
    }

    #[test]
    fn settings_that_cannot_be_meant_are_refused_by_name() {
        let path = Some(PathBuf::from("/nowhere/ca.pem"));
        let here = Some(PathBuf::from("."));
        let tls = KafkaConfig { tls: true, ..KafkaConfig::default() };
        let login = |mechanism| {
            Some(Sasl { mechanism, username: "malha".into(), password: "secret".into() })
        };

        let unencrypted = refused(&KafkaConfig { ca: path.clone(), ..KafkaConfig::default() });
        assert!(unencrypted.contains("`events.kafka.ca` is wrong"), "{unencrypted}");
        assert!(unencrypted.contains("events.kafka.tls"), "{unencrypted}");
        let missing = refused(&KafkaConfig { ca: path, ..tls.clone() });
        assert!(missing.contains("`events.kafka.ca`"), "{missing}");
        assert!(missing.contains("/nowhere/ca.pem"), "{missing}");
        let half = refused(&KafkaConfig { key: here, ..tls.clone() });
        assert!(half.contains("events.kafka.certificate"), "{half}");
        let plain = KafkaConfig { sasl: login(SaslMechanism::Plain), ..KafkaConfig::default() };
        assert!(refused(&plain).contains("events.kafka.sasl.mechanism"), "{plain:?}");

        check(&KafkaConfig { tls: true, ..plain }).unwrap();
        let proof = login(SaslMechanism::ScramSha512);
        check(&KafkaConfig { sasl: proof, ..KafkaConfig::default() }).unwrap();
        check(&KafkaConfig::default()).unwrap();
    }
}
