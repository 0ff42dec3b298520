//! Producers, relays, consumers and the broker are killed at random under load; then every business
//! change has had exactly one effect, in the order of its key.
//!
//! `cargo xtask crash --events --rounds 30 --bus nats` runs the full length; the tests run one round
//! on each bus. A test program starts itself again for each part, as the test `part`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod broker;
mod parts;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::seq::{IndexedRandom, SliceRandom};
use sqlx::{Connection, PgConnection, Row};
use storage::PrivateCluster;
use tempfile::TempDir;

use broker::Broker;

/// Two relays and three consumers at once.
const PARTS: [&str; 7] =
    ["producer", "producer", "relay", "relay", "consumer", "consumer", "consumer"];

/// Longest wait for what was published to take effect when all parts live.
const PATIENCE: Duration = Duration::from_mins(3);

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_loses_or_repeats_an_effect_on_postgres() {
    crash("postgres").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_loses_or_repeats_an_effect_on_nats() {
    crash("nats").await;
}

#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread")]
async fn no_kill_loses_or_repeats_an_effect_on_kafka() {
    crash("kafka").await;
}

/// One part, in a process of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process of the crash test"]
async fn part() {
    parts::run().await;
}

/// A server, a bus, and the processes that work with them.
struct World {
    broker: Broker,
    parts: Vec<(&'static str, Child)>,
    cluster: PrivateCluster,
    _folder: TempDir,
}

async fn crash(bus: &str) {
    if std::env::var("MALHA_CRASH_BUS").is_ok_and(|only| only != bus) {
        return;
    }
    let rounds = std::env::var("MALHA_CRASH_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    let mut world = World::start(bus).await;
    for round in 1..=rounds {
        let started = Instant::now();
        // The last of many rounds takes the broker away for a minute.
        let outage = if rounds > 1 && round == rounds { 60_000 } else { 1_500 };
        world.disturb(outage).await;
        let (changes, duplicates) = world.check().await;
        let again =
            if duplicates > 0 { format!(", {duplicates} appended again") } else { String::new() };
        println!(
            "{bus}: round {round} of {rounds}: {changes} changes so far, one effect each{again}, {:.1?}",
            started.elapsed()
        );
    }
}

impl World {
    async fn start(bus: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // One that survives its own crashes: what is acknowledged is on disk.
        let cluster = PrivateCluster::start(folder.path().join("postgres")).await.unwrap();
        cluster.provision(&["payments", "webhooks"]).await.unwrap();
        let mut database = PgConnection::connect(&cluster.url("postgres", "malha")).await.unwrap();
        sqlx::raw_sql(parts::TABLES).execute(&mut database).await.unwrap();
        let broker = Broker::start(bus);
        let mut world = Self { broker, parts: Vec::new(), cluster, _folder: folder };
        for name in PARTS {
            let part = world.spawn(name);
            world.parts.push((name, part));
        }
        world
    }

    fn spawn(&self, name: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["part", "--exact", "--ignored", "--nocapture"])
            .env("MALHA_CRASH_PART", name)
            .env("MALHA_CRASH_HOST", self.cluster.config().host)
            .env("MALHA_CRASH_BROKER", self.broker.address())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Kills every part and the broker once, in random order, and starts each again after a while.
    async fn disturb(&mut self, outage_ms: u64) {
        pause(500..1_000).await;
        let mut order: Vec<_> = (0..=PARTS.len()).collect();
        order.shuffle(&mut rand::rng());
        for victim in order {
            if victim == PARTS.len() {
                self.broker.kill(&self.cluster).await;
                pause(outage_ms..outage_ms + 500).await;
                self.broker.restart();
            } else {
                let (name, child) = &mut self.parts[victim];
                child.kill().unwrap();
                child.wait().unwrap();
                let name = *name;
                pause(0..300).await;
                self.parts[victim].1 = self.spawn(name);
            }
            pause(50..400).await;
        }
        // A moment of peace, in which all is well.
        pause(500..1_000).await;
    }

    /// Stops the producers, waits until all is quiet, and counts. Producers go on after it.
    async fn check(&mut self) -> (i64, i64) {
        for (_, child) in self.parts.iter_mut().filter(|(name, _)| *name == "producer") {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let changes = self.await_effects().await;
        let mut database = self.database().await;
        let wrong: Vec<String> =
            sqlx::query_scalar(parts::WRONG).fetch_all(&mut database).await.unwrap();
        assert!(wrong.is_empty(), "{wrong:?}");
        let deliveries =
            sqlx::query_scalar(parts::DELIVERED).fetch_one(&mut database).await.unwrap();
        for place in 0..self.parts.len() {
            if self.parts[place].0 == "producer" {
                self.parts[place].1 = self.spawn("producer");
            }
        }
        (changes, deliveries)
    }

    async fn await_effects(&mut self) -> i64 {
        let started = Instant::now();
        loop {
            let mut database = self.database().await;
            let row = sqlx::query(parts::COUNTS).fetch_one(&mut database).await.unwrap();
            let (changes, effects): (i64, i64) = (row.get(0), row.get(1));
            if changes > 0 && effects >= changes {
                return changes;
            }
            assert!(started.elapsed() < PATIENCE, "{effects} effects of {changes} changes");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn database(&self) -> PgConnection {
        let started = Instant::now();
        loop {
            match PgConnection::connect(&self.cluster.url("postgres", "malha")).await {
                Ok(connection) => return connection,
                Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for (_, child) in &mut self.parts {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn pause(milliseconds: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(rand::random_range(milliseconds))).await;
}

/// One of these at random.
fn any<T: Copy>(of: &[T]) -> T {
    *of.choose(&mut rand::rng()).unwrap()
}
