//! Every process is killed at random under load, and then the money is counted.
//!
//! `cargo xtask crash --rounds 20` runs the full length; the tests run one round.

#![allow(clippy::unwrap_used)]

mod house;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;
use serde_json::{Value, json};
use sqlx::Row;

use house::{House, MODULES, Person};

/// People who pay each other.
const PEOPLE: usize = 40;

/// What each begins with, in cents.
const DEPOSIT_CENTS: i64 = 100_000;

/// Transfers of a round.
const TRANSFERS: usize = 10_000;

/// Transfers under way at a time.
const WORKERS: usize = 64;

/// A transfer that the edge acknowledged.
struct Acknowledged {
    id: String,
}

/// Whatever instant a process dies: every acknowledged transfer is there, the money is what it was,
/// no payment stays PENDING, and one key is one payment (L-36, L-53, L-54, L-59, K-31).
#[tokio::test(flavor = "multi_thread")]
async fn no_kill_loses_or_makes_money() {
    let rounds = std::env::var("MALHA_CRASH_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    let house = Arc::new(House::start().await);
    let mut people = Vec::new();
    for number in 0..PEOPLE {
        let person = house.person(number).await;
        deposit(&house, &person).await;
        people.push(person);
    }
    for round in 1..=rounds {
        for person in &mut people {
            house.log_in(person).await;
        }
        let started = Instant::now();
        let (acknowledged, kills) = one_round(&house, &Arc::new(people.clone()), round).await;
        house.wait_until_well().await;
        wait_until_nothing_is_pending(&house).await;
        check_acknowledged(&house, &acknowledged).await;
        check_balances(&house, &people).await;
        println!(
            "round {round} of {rounds}: {} of {TRANSFERS} transfers acknowledged, {kills} kills, {:.1?}",
            acknowledged.len(),
            started.elapsed()
        );
        assert!(acknowledged.len() > TRANSFERS / 2, "the mesh does not recover under load");
    }
}

async fn deposit(house: &House, person: &Person) {
    let body = json!({"type": "DEPOSIT", "amount": DEPOSIT_CENTS / 100});
    let answer = house.post("/transactions", Some(&person.token), &[], &body).await.unwrap();
    assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
}

/// Sends the transfers of a round while every process dies once; returns what was acknowledged.
async fn one_round(
    house: &Arc<House>,
    people: &Arc<Vec<Person>>,
    round: u32,
) -> (Vec<Acknowledged>, usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            tokio::spawn(work(Arc::clone(house), Arc::clone(people), Arc::clone(&next), round))
        })
        .collect();
    let mut order = MODULES;
    order.shuffle(&mut rand::rng());
    let mut kills = 0;
    for name in order {
        let pause = rand::random_range(100..800);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        house.kill(name).await;
        kills += 1;
        let pause = rand::random_range(0..400);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        house.spawn(name);
    }
    let mut acknowledged = Vec::new();
    for worker in workers {
        acknowledged.extend(worker.await.unwrap());
    }
    (acknowledged, kills)
}

/// Takes transfers until none is left. Each is sent up to ten times under its key.
async fn work(
    house: Arc<House>,
    people: Arc<Vec<Person>>,
    next: Arc<AtomicUsize>,
    round: u32,
) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= TRANSFERS {
            return acknowledged;
        }
        let sender = rand::random_range(0..PEOPLE);
        let receiver = (sender + rand::random_range(1..PEOPLE)) % PEOPLE;
        let amount = format!("0.{:02}", rand::random_range(1..100));
        let body =
            json!({"type": "TRANSFER", "receiverUserId": people[receiver].id, "amount": amount});
        let key = format!("round-{round}-{number}");
        for _ in 0..10 {
            let headers = [("idempotency-key", key.as_str())];
            let sent =
                house.post("/transactions", Some(&people[sender].token), &headers, &body).await;
            if let Ok(answer) = sent
                && answer.status() == 201
                && let Ok(transaction) = answer.json::<Value>().await
            {
                let id = transaction["id"].as_str().unwrap().to_owned();
                acknowledged.push(Acknowledged { id });
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn wait_until_nothing_is_pending(house: &House) {
    let mut database = house.database().await;
    for _ in 0..600 {
        let pending: i64 =
            sqlx::query("SELECT count(*) FROM payments.transactions WHERE status = 'PENDING'")
                .fetch_one(&mut database)
                .await
                .unwrap()
                .get(0);
        if pending == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("payments stay PENDING");
}

async fn check_acknowledged(house: &House, acknowledged: &[Acknowledged]) {
    let mut database = house.database().await;
    let rows = sqlx::query("SELECT id::text FROM payments.transactions WHERE status = 'COMPLETED'")
        .fetch_all(&mut database)
        .await
        .unwrap();
    let completed: std::collections::HashSet<String> = rows.iter().map(|row| row.get(0)).collect();
    for Acknowledged { id } in acknowledged {
        assert!(completed.contains(id), "the acknowledged transfer {id} is not there");
    }
}

/// What the ledger holds for each person is what the completed payments say, and the sum is what
/// was paid in.
async fn check_balances(house: &House, people: &[Person]) {
    let mut database = house.database().await;
    let mut total = 0;
    for person in people {
        let paid: i64 = sqlx::query(
            "SELECT coalesce(sum(CASE WHEN type = 'DEPOSIT' OR receiver_user_id = $1::uuid
                                      THEN amount ELSE -amount END) * 100, 0)::bigint
             FROM payments.transactions
             WHERE status = 'COMPLETED' AND (sender_user_id = $1::uuid OR receiver_user_id = $1::uuid)",
        )
        .bind(&person.id)
        .fetch_one(&mut database)
        .await
        .unwrap()
        .get(0);
        let balance = house.get("/users/me/balance", &person.token).await["balance"].to_string();
        let balance: i64 = balance_cents(&balance);
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
