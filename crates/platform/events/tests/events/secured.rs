//! Kafka over TLS and behind a login.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use events::{Bus, KafkaBus, KafkaConfig, PARTITIONS, Partition, Record, Sasl, SaslMechanism};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::gate::{Gate, KEPT, Visit};

/// Longest wait for what should happen.
const PATIENCE: Duration = Duration::from_secs(30);

fn settings(gate: &Gate) -> KafkaConfig {
    KafkaConfig {
        brokers: format!("127.0.0.1:{}", gate.port),
        tls: true,
        ca: Some(gate.file("ca.pem")),
        sasl: Some(login(SaslMechanism::Plain, "open sesame")),
        ..KafkaConfig::default()
    }
}

fn login(mechanism: SaslMechanism, password: &str) -> Sasl {
    Sasl { mechanism, username: "malha".into(), password: password.into() }
}

fn connect(config: &KafkaConfig) -> KafkaBus {
    KafkaBus::connect(config, Duration::from_hours(1)).unwrap()
}

/// What the health says when it names this reason.
async fn ill(config: &KafkaConfig, reason: &str) -> String {
    let (bus, started) = (connect(config), Instant::now());
    loop {
        let ill = bus.ping().await.unwrap_err().to_string();
        if ill.contains(reason) {
            return ill;
        }
        assert!(started.elapsed() < PATIENCE, "{ill}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_go_through_tls_to_brokers_that_know_who_comes() {
    let gate = Gate::start().await;
    let config = KafkaConfig {
        certificate: Some(gate.file("malha.pem")),
        key: Some(gate.file("malha.key")),
        ..settings(&gate)
    };
    let (bus, key) = (connect(&config), Uuid::now_v7());
    let record = |value: &str| Record {
        topic: "t".into(),
        key,
        id: Uuid::now_v7(),
        value: value.to_owned(),
    };

    bus.append(&[record("first"), record("second")]).await.unwrap();
    let from: Vec<_> =
        (0..PARTITIONS).map(|number| (Partition { topic: "t".into(), number }, 0)).collect();
    let mut reader = bus.reader().await.unwrap();
    reader.assign(&from).await.unwrap();
    let mut values = Vec::new();
    while values.len() < 2 {
        let next = tokio::time::timeout(PATIENCE, reader.next(10)).await.unwrap().unwrap();
        values.extend(next.into_iter().map(|delivery| delivery.value));
    }

    assert_eq!(values, ["first", "second"]);
    bus.ping().await.unwrap();
    let known = Visit {
        certificate: true,
        mechanism: "PLAIN".into(),
        proof: b"\0malha\0open sesame".into(),
        admitted: true,
    };
    assert!(gate.visits.lock().iter().all(|visit| *visit == known));
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_nobody_vouches_for_are_told_nothing_and_the_health_says_why() {
    let (gate, stranger) = (Gate::start().await, Gate::start().await);
    let untrusted = KafkaConfig { ca: Some(stranger.file("ca.pem")), ..settings(&gate) };
    let misnamed = KafkaConfig { brokers: format!("127.0.0.2:{}", gate.port), ..settings(&gate) };

    for config in [untrusted, misnamed] {
        ill(&config, "certificate verify failed").await;
    }

    assert!(gate.visits.lock().is_empty(), "a password was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_is_a_reason_of_the_health() {
    let gate = Gate::start().await;
    let wrong = login(SaslMechanism::Plain, "a guess");

    let ill = ill(&KafkaConfig { sasl: Some(wrong), ..settings(&gate) }, "go away").await;

    assert!(!ill.contains("a guess"), "{ill}");
    assert!(gate.visits.lock().iter().all(|visit| !visit.admitted));
}

#[tokio::test(flavor = "multi_thread")]
async fn scram_names_the_user_and_does_not_send_the_password() {
    for mechanism in [SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
        let gate = Gate::start().await;
        let sasl = Some(login(mechanism, "open sesame"));

        ill(&KafkaConfig { sasl, ..settings(&gate) }, "go away").await;

        let visit = gate.visits.lock()[0].clone();
        let proof = String::from_utf8(visit.proof).unwrap();
        assert_eq!(visit.mechanism, mechanism.name());
        assert!(proof.starts_with("n,,n=malha,r="), "{proof}");
        assert!(!proof.contains("sesame"), "{proof}");
    }
}

/// What is logged, as long as the test lasts.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// On one thread, which the subscriber is set for.
#[tokio::test]
async fn a_topic_that_is_kept_for_another_time_than_the_settings_say_is_warned_of() {
    let (gate, lines) = (Gate::start().await, Lines::default());
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::WARN);
    let log = log.with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(log);
    let week: u64 = std::str::from_utf8(KEPT).unwrap().parse().unwrap();
    let warned = async |kept, patience| {
        let bus = KafkaBus::connect(&settings(&gate), kept).unwrap();
        let (topic, value) = ("t".into(), "{}".into());
        let record = Record { topic, key: Uuid::now_v7(), id: Uuid::now_v7(), value };
        bus.append(&[record]).await.unwrap();
        let started = Instant::now();
        while lines.0.lock().is_empty() && started.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        String::from_utf8(std::mem::take(&mut lines.0.lock())).unwrap()
    };

    assert_eq!(warned(Duration::from_millis(week), Duration::from_secs(2)).await, "");
    let warned = warned(Duration::from_hours(1), PATIENCE).await;

    assert!(warned.contains("topic is not kept as the settings say"), "{warned}");
    assert!(warned.contains("kept_ms=\"604800000\" bus_kept_ms=3600000"), "{warned}");
}
