//! The limiter as the edge uses it, in memory and with Redis.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use proptest::prelude::*;
use redis::Value;
use tokio::time::{sleep, timeout};

use super::rule::{RestedAt, WINDOWS_MAX};
use super::*;
use crate::config::Window;
use crate::testing::Server;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

fn config(windows: &[Window]) -> RateConfig {
    RateConfig {
        classes: BTreeMap::from([("default".to_owned(), windows.to_vec())]),
        ..RateConfig::default()
    }
}

fn in_memory(config: &RateConfig) -> Limiter {
    Limiter::new(config, None).unwrap()
}

/// A gateway that counts in Redis; it waits for as long as a slow machine may stall.
fn in_redis(server: &Server, windows: &[Window]) -> Limiter {
    let config = RateConfig { store: RateStore::Redis, budget: 5 * SECOND, ..config(windows) };
    Limiter::new(&config, Some(&server.open())).unwrap()
}

fn user(name: &str) -> Caller<'_> {
    Caller::Verified { realm: b"bank", name: name.as_bytes() }
}

async fn ask<'a>(limiter: &'a Limiter, name: &str) -> Decision<'a> {
    limiter.admit(limiter.class("default"), TierId::default(), &user(name)).decided().await
}

fn decided(admission: Admission<'_>) -> Decision<'_> {
    match admission {
        Admission::Decided(decision) => decision,
        Admission::Ask(_) => panic!("memory asks nobody"),
    }
}

fn admitted(limiter: &Limiter, class: &str, tier: TierId, caller: &Caller<'_>) -> usize {
    let class = limiter.class(class);
    (0..1000).filter(|_| decided(limiter.admit(class, tier, caller)).is_admitted()).count()
}

/// To look costs nothing, and tells what the next request would hear.
#[test]
fn a_refusal_is_known_before_it_is_counted() {
    let limiter = in_memory(&config(&[Window::new(2, MINUTE)]));
    let (class, tier) = (limiter.class("default"), TierId::default());
    let refused = Arc::new(AtomicU64::new(0));
    let counter = Counter::from_arc(Arc::clone(&refused));
    assert!(limiter.classes[class.0].refused.set(counter).is_ok());
    for _ in 0..2 {
        assert!((0..5).all(|_| limiter.refusal(class, tier, &user("ana")).is_none()));
        assert!(decided(limiter.admit(class, tier, &user("ana"))).is_admitted());
    }
    let refusal = limiter.refusal(class, tier, &user("ana")).unwrap();
    assert!(refusal.wait().is_some_and(|wait| wait <= MINUTE / 2));
    assert!(limiter.refusal(class, tier, &user("bob")).is_none());
    assert_eq!(refused.load(Ordering::Relaxed), 0, "nor is it counted in the metric");
    assert!(!decided(limiter.admit(class, tier, &user("ana"))).is_admitted());
    assert_eq!(refused.load(Ordering::Relaxed), 1);
}

/// L-06, B-02: 100 per minute and 1000 per 15 minutes at once.
#[test]
fn every_window_must_admit_and_refusals_count_in_none() {
    let rule = Rule::new("default", &[Window::new(2, SECOND), Window::new(3, MINUTE)]).unwrap();
    let (mut me, second) = (RestedAt::default(), 1_000_000);
    let mut wait = |now| rule.count(&mut me, now).wait;

    assert_eq!((wait(0), wait(0)), (0, 0));
    for _ in 0..10 {
        assert_eq!(wait(0), second / 2, "the short window says when");
    }
    assert_eq!(wait(second), 0, "the long window lost nothing by refusals");
    assert_eq!(wait(second), 19 * second, "now the long window refuses");
    assert_eq!(wait(20 * second), 0);
}

#[test]
fn by_default_a_caller_gets_a_hundred_at_once_and_a_thousand_in_a_quarter() {
    let limiter = in_memory(&RateConfig::default());
    let tier = TierId::default();
    assert!((100..=101).contains(&admitted(&limiter, "default", tier, &user("ana"))));
    assert!((100..=101).contains(&admitted(&limiter, "default", tier, &user("bia"))));
    assert_eq!(admitted(&limiter, "auth", tier, &Caller::Address(Ipv4Addr::LOCALHOST.into())), 20);
    assert_eq!(limiter.class("unheard of"), limiter.class("default"));

    let rule = &limiter.classes[limiter.class("default").0].rules[0];
    let mut me = RestedAt::default();
    let hour = (0..3_600_000_u64).filter(|ms| rule.count(&mut me, ms * 1000).wait == 0).count();
    assert_eq!(hour, 1000 + 3600 * 1000 / 900 - 1, "a burst, then 1000 per 15 minutes");
}

/// C-07: internal and external clients have limits of their own.
#[test]
fn a_tier_has_windows_of_its_own() {
    let gold = BTreeMap::from([("default".to_owned(), vec![Window::new(50, 60 * MINUTE)])]);
    let free = BTreeMap::from([("default".to_owned(), Vec::new())]);
    let members = [("acme", "gold"), ("tenant-7", "free")].map(|(a, b)| (a.into(), b.into()));
    let limiter = in_memory(&RateConfig {
        tiers: BTreeMap::from([("gold".to_owned(), gold), ("free".to_owned(), free)]),
        members: members.into(),
        classes: BTreeMap::from([
            ("default".to_owned(), vec![Window::new(5, 60 * MINUTE)]),
            ("auth".to_owned(), vec![Window::new(3, 60 * MINUTE)]),
        ]),
        ..RateConfig::default()
    });
    let count = |class: &str, names: &[&str], claimed| {
        let tier = limiter.tier(names.iter().copied(), claimed);
        let name = format!("{names:?}{claimed:?}");
        admitted(&limiter, class, tier, &user(&name))
    };
    assert_eq!(count("default", &["ana"], None), 5);
    assert_eq!(count("default", &["ana"], Some("gold")), 50);
    assert_eq!(count("default", &["ana"], Some("unheard of")), 5);
    assert_eq!(count("default", &["acme", "tenant-7"], Some("free")), 50, "the first name decides");
    assert_eq!(count("default", &["ana", "tenant-7"], None), 1000, "no windows, no limit");
    assert_eq!(count("auth", &["acme"], None), 3, "a class that the tier leaves as it is");
}

#[test]
fn settings_that_cannot_be_applied_are_refused_by_name() {
    let refused = |config: &RateConfig| Limiter::new(config, None).err().unwrap().to_string();
    let day = 24 * 60 * MINUTE;
    for (windows, field) in [
        (vec![Window::new(1, Duration::ZERO)], "rate_limits.classes.default[0].per: "),
        (
            vec![Window::new(1, SECOND), Window::new(1, 400 * day)],
            "rate_limits.classes.default[1].per",
        ),
        (vec![Window::new(1_000_001, SECOND)], "rate_limits.classes.default[0].per"),
        (vec![Window::new(1, SECOND); 5], "rate_limits.classes.default: "),
    ] {
        let message = refused(&config(&windows));
        assert!(message.starts_with(field), "{message}");
    }
    let usual = config(&[Window::new(1, SECOND)]);
    let other = RateConfig { classes: BTreeMap::new(), ..usual.clone() };
    assert!(refused(&other).starts_with("rate_limits.classes.default: "));
    let other = RateConfig { store: RateStore::Redis, ..usual.clone() };
    assert!(refused(&other).starts_with("rate_limits.store: "));
    let other = RateConfig { members: [("ana".into(), "gold".into())].into(), ..usual.clone() };
    assert!(refused(&other).starts_with("rate_limits.members.ana: "));
    let tier = BTreeMap::from([("auht".to_owned(), Vec::new())]);
    let other = RateConfig { tiers: [("gold".into(), tier)].into(), ..usual };
    assert!(refused(&other).starts_with("rate_limits.tiers.gold.auht: "));
}

#[test]
fn headers_say_what_is_left() {
    let limiter = in_memory(&config(&[Window::new(2, MINUTE), Window::new(10, 15 * MINUTE)]));
    let caller = Caller::Address(IpAddr::from([192, 0, 2, 1]));
    let admit = || decided(limiter.admit(limiter.class("any"), TierId::default(), &caller));

    let first = admit();
    assert_eq!(first.wait(), None);
    assert_eq!(&first.policy()[..], br#""default-60s";q=2;w=60, "default-900s";q=10;w=900"#);
    let mut text = Vec::new();
    first.write_limit(&mut text);
    assert_eq!(text, br#""default-60s";r=1;t=30, "default-900s";r=9;t=90"#);
    let tightest = Left { limit: 2, per: MINUTE, remaining: 1, reset_seconds: 30 };
    assert_eq!(first.tightest(), Some(tightest));

    assert!(admit().is_admitted());
    let refused = admit();
    assert!(refused.wait().unwrap() > 29 * SECOND && refused.wait().unwrap() <= 30 * SECOND);
    assert_eq!(refused.tightest().unwrap().remaining, 0);

    let unlimited = in_memory(&config(&[]));
    let decision = decided(unlimited.admit(unlimited.class("any"), TierId::default(), &caller));
    assert_eq!((decision.is_admitted(), decision.tightest()), (true, None));
    assert!(decision.policy().is_empty());
}

/// However many threads ask at once.
#[test]
fn threads_together_get_no_more_than_one() {
    let limiter = in_memory(&config(&[Window::new(1000, 60 * MINUTE)]));
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    let class = limiter.class("default");
                    let decision = decided(limiter.admit(class, TierId::default(), &user("ana")));
                    admitted.fetch_add(u64::from(decision.is_admitted()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 1000);
}

fn windows() -> impl Strategy<Value = Vec<Window>> {
    let window = (1..40_u32, 600..100_000_u64).prop_map(|(requests, seconds)| {
        Window::new(requests, Duration::from_millis(seconds * 1000 + 7))
    });
    prop::collection::vec(window, 1..=WINDOWS_MAX)
}

/// Microseconds between requests: many at once, some after a while.
fn pauses() -> impl Strategy<Value = Vec<u64>> {
    let pause = prop_oneof![5 => Just(0), 3 => 0..5_000_000_u64, 1 => 0..20_000_000_000_u64];
    prop::collection::vec(pause, 1..200)
}

proptest! {
    /// In no interval does a window admit more than its requests and those that came back meanwhile.
    #[test]
    fn no_interval_gets_more_than_its_windows_allow(windows in windows(), pauses in pauses()) {
        let rule = Rule::new("x", &windows).unwrap();
        let (mut now, mut me, mut admitted) = (0, RestedAt::default(), Vec::new());
        for pause in pauses {
            now += pause;
            let before = me;
            match rule.count(&mut me, now).wait {
                0 => admitted.push(now),
                wait => {
                    prop_assert_eq!(me, before, "a refusal counts in no window");
                    prop_assert!(rule.look(&me, now + wait).wait == 0, "the wait is enough");
                    prop_assert!(rule.look(&me, now + wait - 1).wait == 1, "and no longer than needed");
                }
            }
        }
        for window in &windows {
            let (requests, per) = (u128::from(window.requests.get()), window.per.as_micros());
            for (index, from) in admitted.iter().enumerate() {
                for (count, to) in (1_u128..).zip(&admitted[index..]) {
                    let time = u128::from(to - from);
                    prop_assert!(count * per <= requests * (per + time), "{count} in {time} µs");
                }
            }
        }
    }
}

/// The script with a clock that the test sets.
fn script_at_given_times() -> String {
    let script = include_str!("admit.lua");
    assert!(script.contains("redis.call('TIME')"));
    script.replace("redis.call('TIME')", "{0, ARGV[#ARGV]}")
}

#[test]
fn memory_and_redis_agree() {
    let (server, script) = (Server::start(), redis::Script::new(&script_at_given_times()));
    let connection = Mutex::new(server.raw());
    let cases = AtomicU64::new(0);
    let config = ProptestConfig { cases: 48, ..ProptestConfig::default() };
    proptest!(config, |(windows in windows(), pauses in pauses())| {
        let rule = Rule::new("x", &windows).unwrap();
        let key = format!("case-{}", cases.fetch_add(1, Ordering::Relaxed));
        let (mut now, mut me) = (1_800_000_000_000_000, RestedAt::default());
        for pause in pauses {
            now += pause;
            let mut call = script.key(&key);
            for span in rule.spans() {
                call.arg(span.interval).arg(span.whole);
            }
            let answer: Value = call.arg(now).invoke(&mut *connection.lock()).unwrap();
            prop_assert_eq!(shared::outcome(&answer), Some(rule.count(&mut me, now)));
        }
    });
}

/// L-06, K-07: gateways that share Redis admit together what one admits.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_count_together() {
    let server = Server::start();
    let windows = [Window::new(10, 60 * MINUTE), Window::new(25, 600 * MINUTE)];
    let gateways = [in_redis(&server, &windows), in_redis(&server, &windows)];
    for gateway in &gateways {
        gateway.ready().await;
    }
    let race = (0..200).map(|turn| ask(&gateways[turn % 2], "ana"));
    let admitted = futures::future::join_all(race).await;
    assert_eq!(admitted.iter().filter(|decision| decision.is_admitted()).count(), 10);
    let tightest = ask(&gateways[0], "bia").await.tightest().unwrap();
    assert_eq!((tightest.limit, tightest.remaining), (10, 9), "others have counts of their own");

    let mut raw = server.raw();
    let keys: Vec<String> = redis::cmd("KEYS").arg("malha:rate:*").query(&mut raw).unwrap();
    assert_eq!(keys.len(), 2);
    for key in keys {
        let ttl: i64 = redis::cmd("TTL").arg(&key).query(&mut raw).unwrap();
        assert!(
            (1..=4 * 3600).contains(&ttl),
            "{key} is forgotten when its caller has rested: {ttl}"
        );
    }
}

#[tokio::test]
async fn a_request_costs_one_round_trip_and_a_flood_none() {
    let server = Server::start();
    let gateway = in_redis(&server, &[Window::new(5, 60 * MINUTE)]);
    gateway.ready().await;
    let mut raw = server.raw();
    let mut calls = || {
        let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut raw).unwrap();
        let calls = |name: &str| {
            let line = stats.lines().find_map(|line| line.strip_prefix(name)?.split_once(','));
            line.map_or(0, |(calls, _)| calls.parse::<u64>().unwrap())
        };
        (calls("cmdstat_evalsha:calls="), calls("cmdstat_eval:calls="))
    };
    let before = calls();
    ask(&gateway, "ana").await;
    let loaded = calls();
    assert_eq!((loaded.0 - before.0, loaded.1 - before.1), (1, 1), "the script is loaded once");
    for _ in 0..4 {
        assert!(ask(&gateway, "ana").await.is_admitted());
    }
    assert_eq!(calls(), (loaded.0 + 4, loaded.1));
    for _ in 0..100 {
        assert!(!ask(&gateway, "ana").await.is_admitted());
    }
    assert_eq!(calls(), (loaded.0 + 4, loaded.1), "what Redis said is enough to refuse");
}

#[tokio::test]
async fn a_server_that_forgot_its_scripts_counts_on() {
    let server = Server::start();
    let gateway = in_redis(&server, &[Window::new(6, 60 * MINUTE)]);
    gateway.ready().await;
    let mut raw = server.raw();
    for _ in 0..6 {
        assert!(ask(&gateway, "ana").await.is_admitted());
        redis::cmd("SCRIPT").arg("FLUSH").exec(&mut raw).unwrap();
    }
    assert!(!ask(&gateway, "ana").await.is_admitted());
}

/// Redis is killed under load and started again: nobody waits, nobody gets a second window, and then
/// gateways count together again.
#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_gateway_counts_by_itself() {
    let mut server = Server::start();
    let gateway = Arc::new(in_redis(&server, &[Window::new(50, 60 * MINUTE)]));
    gateway.ready().await;
    while ask(&gateway, "greedy").await.is_admitted() {}

    let (stop, slowest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let load: Vec<_> = (0..8)
        .map(|task| {
            let (gateway, stop, slowest) =
                (Arc::clone(&gateway), Arc::clone(&stop), Arc::clone(&slowest));
            tokio::spawn(async move {
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return turn;
                    }
                    let start = Instant::now();
                    // So few that a fast machine does not fill the table, where newcomers share.
                    ask(&gateway, &format!("{task}-{}", turn / 10 % 1_000)).await;
                    let took = u64::try_from(start.elapsed().as_millis()).unwrap();
                    slowest.fetch_max(took, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
                0
            })
        })
        .collect();
    for round in 0..3 {
        sleep(Duration::from_millis(200)).await;
        server.kill();
        sleep(Duration::from_millis(200)).await;
        assert!(!ask(&gateway, "greedy").await.is_admitted(), "what was counted is still known");
        let name = format!("alone-{round}");
        let alone = futures::future::join_all((0..100).map(|_| ask(&gateway, &name))).await;
        let admitted = alone.iter().filter(|decision| decision.is_admitted()).count();
        assert_eq!(admitted, 50, "this gateway limits by itself");
        server.restart();
    }
    wait_for_redis(&gateway).await;
    stop.store(true, Ordering::Relaxed);
    let asked: u64 = futures::future::join_all(load).await.into_iter().map(Result::unwrap).sum();
    let slowest = slowest.load(Ordering::Relaxed);
    assert!(asked > 1000, "{asked}");
    assert!(slowest < 2_000, "the slowest of {asked} took {slowest} ms");
    assert_together_again(&server, &gateway).await;
}

async fn wait_for_redis(gateway: &Limiter) {
    let back = async {
        while gateway.shared.as_ref().unwrap().connection().is_none() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(10 * SECOND, back).await.unwrap();
}

async fn assert_together_again(server: &Server, gateway: &Limiter) {
    let other = in_redis(server, &[Window::new(50, 60 * MINUTE)]);
    other.ready().await;
    gateway.ready().await;
    let both = [gateway, &other];
    let race = (0..200).map(|turn| ask(both[turn % 2], "after"));
    let admitted = futures::future::join_all(race).await;
    assert_eq!(admitted.iter().filter(|decision| decision.is_admitted()).count(), 50);
}

/// A server that hangs costs a request its budget, a few times; then nothing.
#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    let server = Server::start();
    let budget = Duration::from_millis(20);
    let config =
        RateConfig { store: RateStore::Redis, budget, ..config(&[Window::new(100, MINUTE)]) };
    let gateway = Limiter::new(&config, Some(&server.open())).unwrap();
    gateway.ready().await;
    assert!(ask(&gateway, "ana").await.is_admitted());

    server.signal("STOP");
    let asks = |limiter: &Limiter| {
        let admission = limiter.admit(limiter.class("x"), TierId::default(), &user("ana"));
        matches!(admission, Admission::Ask(_))
    };
    let mut late = 0;
    while asks(&gateway) {
        let start = Instant::now();
        assert!(ask(&gateway, "ana").await.is_admitted());
        assert!(start.elapsed() < budget * 10, "{:?}", start.elapsed());
        late += 1;
    }
    assert!(late <= 3, "{late}");

    server.signal("CONT");
    let back = async {
        while !asks(&gateway) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(10 * SECOND, back).await.unwrap();
}

#[tokio::test]
async fn the_loss_and_the_return_of_redis_are_told_once() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut server = Server::start();
    let gateway = in_redis(&server, &[Window::new(1000, MINUTE)]);
    gateway.ready().await;
    ask(&gateway, "ana").await;

    server.kill();
    for _ in 0..30 {
        ask(&gateway, "ana").await;
        sleep(Duration::from_millis(10)).await;
    }
    server.restart();
    timeout(10 * SECOND, async {
        while !log.text().contains("redis is back") {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    ask(&gateway, "ana").await;
    let text = log.text();
    assert_eq!(text.matches("redis is gone").count(), 1, "{text}");
    assert_eq!(text.matches("redis is back").count(), 1, "{text}");
}

/// A gateway starts without Redis, and finds it later.
#[tokio::test]
async fn a_gateway_starts_without_redis() {
    let mut server = Server::start();
    server.kill();
    let gateway = in_redis(&server, &[Window::new(3, 60 * MINUTE)]);
    timeout(5 * SECOND, gateway.ready()).await.unwrap();
    for _ in 0..3 {
        assert!(ask(&gateway, "ana").await.is_admitted());
    }
    assert!(!ask(&gateway, "ana").await.is_admitted());
    server.restart();
    wait_for_redis(&gateway).await;
    assert!(ask(&gateway, "bia").await.is_admitted());
}

#[test]
fn a_table_of_few_callers_still_limits_the_rest() {
    let callers_max = NonZeroU32::new(10).unwrap();
    let limiter = in_memory(&RateConfig { callers_max, ..config(&[Window::new(5, 60 * MINUTE)]) });
    let tier = TierId::default();
    let count = |name: &str| admitted(&limiter, "default", tier, &user(name));
    let known: usize = (0..10).map(|caller| count(&caller.to_string())).sum();
    assert_eq!(known, 50);
    let others: usize = (10..100).map(|caller| count(&caller.to_string())).sum();
    assert_eq!(others, 5, "they share one count");
    let address = Caller::Address(Ipv4Addr::LOCALHOST.into());
    assert_eq!(
        admitted(&limiter, "default", tier, &address),
        5,
        "addresses have a table of their own"
    );
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
