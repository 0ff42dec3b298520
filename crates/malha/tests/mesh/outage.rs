//! The death of one service after the other, under load.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, Response, StatusCode};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::{House, MODULES, PATIENCE, Person, SERVICES, body, eventually, text};

/// How long a killed service stays away.
const OUTAGE: Duration = Duration::from_millis(1500);

/// Pause of the light load between two calls to one route.
const PAUSE: Duration = Duration::from_millis(10);

/// A route under load, and the services without which it cannot answer.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Route {
    Keys,
    Profile,
    Balance,
    Transaction,
    Deposit,
}

impl Route {
    const ALL: [Self; 5] =
        [Self::Keys, Self::Profile, Self::Balance, Self::Transaction, Self::Deposit];

    fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Keys => &["identity"],
            Self::Profile => &["customers"],
            Self::Balance => &["accounts", "ledger"],
            Self::Transaction => &["payments"],
            Self::Deposit => &["payments", "ledger"],
        }
    }

    async fn call(self, person: &Person, transaction: &str) -> reqwest::Result<Response> {
        let id = &person.id;
        let (method, path) = match self {
            Self::Keys => (Method::GET, "/.well-known/jwks.json".to_owned()),
            Self::Profile => (Method::GET, format!("/users/{id}")),
            Self::Balance => (Method::GET, format!("/users/{id}/balance")),
            Self::Transaction => (Method::GET, format!("/transactions/{transaction}")),
            Self::Deposit => (Method::POST, "/transactions".to_owned()),
        };
        let request = person.request(method, &path);
        let deposit = json!({ "type": "DEPOSIT", "amount": "1.00" });
        if self == Self::Deposit { request.json(&deposit) } else { request }.send().await
    }
}

/// What a route has answered since it was last asked.
#[derive(Default)]
struct Tally {
    served: AtomicU64,
    unavailable: AtomicU64,
    /// Neither answered nor refused: the connection broke.
    broken: AtomicU64,
}

impl Tally {
    fn take(&self) -> (u64, u64, u64) {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        (take(&self.served), take(&self.unavailable), take(&self.broken))
    }

    async fn add(&self, route: Route, answer: reqwest::Result<Response>) {
        let Ok(answer) = answer else {
            self.broken.fetch_add(1, Ordering::Relaxed);
            return;
        };
        match answer.status() {
            StatusCode::OK | StatusCode::CREATED => {
                self.served.fetch_add(1, Ordering::Relaxed);
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                let may_repeat = answer.headers().contains_key("retry-after");
                let reason = text(&body(answer).await["reason"]);
                // A payment that was on its way to a service that died may be carried out still.
                let is_lost_payment = route == Route::Deposit && reason == "UPSTREAM_LOST";
                assert!(may_repeat || is_lost_payment, "{route:?} {reason}");
                self.unavailable.fetch_add(1, Ordering::Relaxed);
            }
            status => panic!("{route:?} answered {status}: {}", answer.text().await.unwrap()),
        }
    }
}

/// Calls every route over and over.
struct Load {
    tallies: BTreeMap<Route, Arc<Tally>>,
    deposits: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(person: &Person, transaction: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let deposits = Arc::new(AtomicU64::new(0));
        let mut tallies = BTreeMap::new();
        let mut tasks = Vec::new();
        for route in Route::ALL {
            let tally = Arc::new(Tally::default());
            tallies.insert(route, Arc::clone(&tally));
            let (person, transaction) = (person.clone(), transaction.to_owned());
            let (stop, deposits) = (Arc::clone(&stop), Arc::clone(&deposits));
            tasks.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = route.call(&person, &transaction).await;
                    let is_served = answer.as_ref().is_ok_and(|it| it.status().is_success());
                    if route == Route::Deposit && is_served {
                        deposits.fetch_add(1, Ordering::Relaxed);
                    }
                    tally.add(route, answer).await;
                    tokio::time::sleep(PAUSE).await;
                }
            }));
        }
        Self { tallies, deposits, stop, tasks }
    }

    fn clear(&self) {
        self.tallies.values().for_each(|tally| {
            tally.take();
        });
    }

    /// Waits until every route has been served again, and then only served for a while.
    async fn await_recovery(&self, killed: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            self.clear();
            tokio::time::sleep(Duration::from_millis(500)).await;
            let counts: Vec<_> = self.tallies.values().map(|tally| tally.take()).collect();
            if counts.iter().all(|(served, other, broken)| *served > 0 && other + broken == 0) {
                return;
            }
            assert!(Instant::now() < end, "no recovery from the death of {killed}: {counts:?}");
        }
    }

    /// Ends the load and returns the number of deposits that were acknowledged.
    async fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.deposits.load(Ordering::Relaxed)
    }
}

/// B-41, C-37
#[tokio::test(flavor = "multi_thread")]
async fn killed_service_takes_only_its_own_routes_and_they_recover() {
    let mut house = House::start(&MODULES, "").await;
    let ada = house.edge.register("ada").await;
    let deposit = ada.deposit("1.00").await;
    let transaction = text(&body(deposit).await["id"]);
    let load = Load::start(&ada, &transaction);
    load.await_recovery("nobody").await;

    for name in SERVICES {
        house.kill(name);
        // Calls in flight at the instant of death end as they may.
        tokio::time::sleep(Duration::from_millis(300)).await;
        load.clear();
        tokio::time::sleep(OUTAGE).await;
        for (route, tally) in &load.tallies {
            let (served, unavailable, broken) = tally.take();
            assert_eq!(broken, 0, "the gateway answers {route:?} without {name}");
            if route.needs().contains(&name) {
                assert_eq!(served, 0, "{route:?} was answered without {name}");
                assert!(unavailable > 0, "{route:?} was not refused without {name}");
            } else if !(name == "accounts" && *route == Route::Deposit) {
                // Payments remembers accounts, so deposits may go on without `accounts`.
                assert_eq!(unavailable, 0, "{route:?} suffers from the death of {name}");
                assert!(served > 0, "{route:?} is not served without {name}");
            }
        }
        house.spawn(name);
        load.await_recovery(name).await;
    }

    house.kill("gateway");
    tokio::time::sleep(OUTAGE).await;
    house.spawn("gateway");
    load.await_recovery("gateway").await;

    let acknowledged = load.finish().await;
    assert_nothing_lost(&ada, acknowledged).await;
}

/// Every acknowledged deposit counts, no payment stays pending, and the balance is what completed.
async fn assert_nothing_lost(ada: &Person, acknowledged: u64) {
    eventually("no payment is pending", async || count(ada, "PENDING").await == 0).await;
    let completed = count(ada, "COMPLETED").await;
    // The first deposit came before the load.
    assert!(completed > acknowledged, "{completed} completed, {acknowledged} acknowledged");
    assert_eq!(ada.balance().await, format!("{completed}.00"));
}

/// How many of a person's transactions have this status.
async fn count(person: &Person, status: &str) -> u64 {
    let (mut total, mut page) = (0, String::new());
    loop {
        let path = format!("/transactions?status={status}&pageSize=100&pageToken={page}");
        let answer = person.get(&path).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let list = body(answer).await;
        total += list["transactions"].as_array().unwrap().len() as u64;
        match list["nextPageToken"].as_str().filter(|token| !token.is_empty()) {
            Some(next) => next.clone_into(&mut page),
            None => return total,
        }
    }
}
