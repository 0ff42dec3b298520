use std::io;
use std::sync::{Arc, Mutex};

use contracts::payments::v1::TransactionType::Deposit;
use serde_json::Value;

use crate::bank::{Bank, order};

/// What is logged, as long as the test lasts.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// L-69: a payment is found in the log by its id, at the level that is the default. On one thread, which
/// the subscriber is set for.
#[tokio::test]
async fn a_payment_is_in_the_log_by_its_id() {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().json().with_max_level(tracing::Level::INFO);
    let log = log.with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(log);
    let bank = Bank::start().await;
    let alice = bank.customer();

    let row = alice.create(order(Deposit, None, "1")).await.unwrap();

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let settled: Vec<_> = lines
        .map(|line| line["fields"].clone())
        .filter(|it| it["message"] == "payment settled")
        .collect();
    assert_eq!(settled.len(), 1, "{text}");
    assert_eq!(settled[0]["transactionId"], row.id);
    assert_eq!(settled[0]["status"], "COMPLETED");
    assert!(settled[0]["duration"].as_str().unwrap().ends_with("ms"));
}
