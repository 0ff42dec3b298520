//! Every process is killed at random under load, and then the money is counted.
//!
//! `cargo xtask crash --rounds 20` runs the full length; the tests run one round.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use rand::seq::SliceRandom;
use reqwest::StatusCode;
use serde_json::json;
use sqlx::{PgConnection, Row};

use crate::support::{Edge, House, MODULES, Person, body, eventually, text};

/// People who pay each other.
const PEOPLE: usize = 40;

/// What each begins with, in cents.
const DEPOSIT_CENTS: i64 = 100_000;

/// Transfers of a round.
const TRANSFERS: usize = 10_000;

/// Transfers under way at a time.
const WORKERS: usize = 64;

/// Whatever instant a process dies: every acknowledged transfer is there, the money is what it was,
/// no payment stays PENDING, and one key is one payment (L-36, L-53, L-54, L-59, K-31).
#[tokio::test(flavor = "multi_thread")]
async fn no_kill_loses_or_makes_money() {
    let rounds = std::env::var("MALHA_CRASH_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    let mut house = House::start(&MODULES, "telemetry.log = 'error,malha=info'").await;
    let arrivals = (0..PEOPLE).map(|number| arrive(&house.edge, number));
    let mut people: Vec<Person> = join_all(arrivals).await;
    for round in 1..=rounds {
        join_all(people.iter_mut().map(Person::log_in)).await;
        let started = Instant::now();
        let acknowledged = one_round(&mut house, &people, round).await;
        house.await_well().await;
        let mut database = house.database().await;
        await_settlement(&mut database).await;
        check_acknowledged(&mut database, &acknowledged).await;
        check_balances(&mut database, &people).await;
        println!(
            "round {round} of {rounds}: {} of {TRANSFERS} transfers acknowledged, {:.1?}",
            acknowledged.len(),
            started.elapsed()
        );
        assert!(acknowledged.len() > TRANSFERS / 2, "the mesh does not recover under load");
    }
}

/// Registers a person and pays in.
async fn arrive(edge: &Edge, number: usize) -> Person {
    let person = edge.register(&format!("person{number}")).await;
    let answer = person.transact(json!({"type": "DEPOSIT", "amount": DEPOSIT_CENTS / 100})).await;
    assert_eq!(answer.status(), StatusCode::CREATED, "{}", answer.text().await.unwrap());
    person
}

/// Sends the transfers of a round while every process dies once; returns the ids of those that the
/// edge acknowledged.
async fn one_round(house: &mut House, people: &[Person], round: u32) -> Vec<String> {
    let people: Arc<[Person]> = people.into();
    let next = Arc::new(AtomicUsize::new(0));
    let work = |_| tokio::spawn(work(Arc::clone(&people), Arc::clone(&next), round));
    let workers: Vec<_> = (0..WORKERS).map(work).collect();
    let mut order = MODULES;
    order.shuffle(&mut rand::rng());
    for name in order {
        pause(100..800).await;
        house.kill(name);
        pause(0..400).await;
        house.spawn(name);
    }
    join_all(workers).await.into_iter().flat_map(Result::unwrap).collect()
}

async fn pause(milliseconds: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(rand::random_range(milliseconds))).await;
}

/// Takes transfers until none is left. Each is sent up to ten times under its key.
async fn work(people: Arc<[Person]>, next: Arc<AtomicUsize>, round: u32) -> Vec<String> {
    let mut acknowledged = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= TRANSFERS {
            return acknowledged;
        }
        let sender = rand::random_range(0..PEOPLE);
        let receiver = (sender + rand::random_range(1..PEOPLE)) % PEOPLE;
        let amount = format!("0.{:02}", rand::random_range(1..100));
        let transfer =
            json!({"type": "TRANSFER", "receiverUserId": people[receiver].id, "amount": amount});
        let key = format!("round-{round}-{number}");
        for _ in 0..10 {
            let sent = people[sender].transact_once(&key, &transfer).await;
            if let Ok(answer) = sent
                && answer.status() == StatusCode::CREATED
                && let Ok(transaction) = answer.json::<serde_json::Value>().await
            {
                acknowledged.push(text(&transaction["id"]));
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn await_settlement(database: &mut PgConnection) {
    eventually("no payment stays PENDING", async || {
        let pending: i64 =
            sqlx::query("SELECT count(*) FROM payments.transactions WHERE status = 'PENDING'")
                .fetch_one(&mut *database)
                .await
                .unwrap()
                .get(0);
        pending == 0
    })
    .await;
}

async fn check_acknowledged(database: &mut PgConnection, acknowledged: &[String]) {
    let rows = sqlx::query("SELECT id::text FROM payments.transactions WHERE status = 'COMPLETED'")
        .fetch_all(database)
        .await
        .unwrap();
    let completed: HashSet<String> = rows.iter().map(|row| row.get(0)).collect();
    for id in acknowledged {
        assert!(completed.contains(id), "the acknowledged transfer {id} is not there");
    }
}

/// What the ledger holds for each person is what the completed payments say, and the sum is what
/// was paid in.
async fn check_balances(database: &mut PgConnection, people: &[Person]) {
    let mut total = 0;
    for person in people {
        let paid: i64 = sqlx::query(
            "SELECT coalesce(sum(CASE WHEN type = 'DEPOSIT' OR receiver_user_id = $1::uuid
                                      THEN amount ELSE -amount END) * 100, 0)::bigint
             FROM payments.transactions
             WHERE status = 'COMPLETED' AND (sender_user_id = $1::uuid OR receiver_user_id = $1::uuid)",
        )
        .bind(&person.id)
        .fetch_one(&mut *database)
        .await
        .unwrap()
        .get(0);
        let answer = person.get("/users/me/balance").await;
        assert_eq!(answer.status(), StatusCode::OK);
        let balance = balance_cents(&body(answer).await["balance"].to_string());
        assert_eq!(balance, paid, "the ledger and the payments of {} differ", person.id);
        total += balance;
    }
    assert_eq!(
        total,
        DEPOSIT_CENTS * i64::try_from(people.len()).unwrap(),
        "money was lost or made"
    );
}

/// `100.5` and `100.50` are 10,050 cents.
fn balance_cents(text: &str) -> i64 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{part:0<2}").parse().unwrap()
}
