//! Requests with a key, at several gateways that share a store.

use std::time::Duration;

use gateway::{AnswerStore, Config, RedisConfig, Rule, StartError};
use mesh::certs;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use storage::PrivateCluster;
use testkit::Redis;
use testkit::greeter::Greeter;
use tokio::time::sleep;

use crate::alone::Alone;
use crate::house::problem;

/// Two gateways in front of one greeter.
struct Pair {
    one: Alone,
    other: Alone,
    _greeter: Greeter,
}

impl Pair {
    async fn start(keep: impl Fn(&mut Config)) -> Self {
        let greeter = Greeter::start().await;
        let configure = |config: &mut Config| {
            let keyed = Some(true);
            let methods = "*/SayHello".to_owned();
            config.policies.push(Rule { methods, idempotency_key: keyed, ..Rule::default() });
            keep(config);
        };
        let one = Alone::of(&greeter, configure).await;
        let other = Alone::of(&greeter, configure).await;
        Self { one, other, _greeter: greeter }
    }

    /// Greets everybody once, whichever gateway is asked again.
    async fn prove(&self) {
        let Self { one, other, .. } = self;
        let first = greet(one, "k-1", "ana").await;
        assert_eq!(first.status(), 200);
        assert!(!first.headers().contains_key("x-idempotent-replay"));
        let first = first.text().await.unwrap();
        assert_eq!(first, r#"{"message":"Hello, ana!","greeted":"1"}"#);
        for gateway in [other, one] {
            let again = greet(gateway, "k-1", "ana").await;
            assert_eq!(again.status(), 200);
            assert_eq!(again.headers()["x-idempotent-replay"], "true");
            assert_eq!(again.headers()["content-type"], "application/json");
            assert_eq!(again.text().await.unwrap(), first, "the service was not asked again");
        }
        problem(greet(other, "k-1", "bob").await, 422, "IDEMPOTENCY_KEY_REUSED").await;

        let (slow, early) = tokio::join!(greet(one, "k-2", "slow"), async {
            sleep(Duration::from_millis(100)).await;
            greet(other, "k-2", "slow").await
        });
        assert_eq!(early.headers()["retry-after"], "1");
        problem(early, 409, "REQUEST_IN_PROGRESS").await;
        assert_eq!(slow.status(), 200);
        let late = greet(other, "k-2", "slow").await;
        assert_eq!(late.headers()["x-idempotent-replay"], "true");

        // What was refused was not carried out, and may be tried again.
        for gateway in [one, other] {
            let refused = greet(gateway, "k-3", "nobody").await;
            assert!(!refused.headers().contains_key("x-idempotent-replay"));
            problem(refused, 404, "NOT_FOUND").await;
        }
    }

    /// Without the store nothing is carried out under a key, and all else goes on.
    async fn prove_refusal(&self) {
        let refused = greet(&self.one, "k-9", "ana").await;
        assert_eq!(refused.headers()["retry-after"], "1");
        problem(refused, 503, "IDEMPOTENCY_UNAVAILABLE").await;
        assert_eq!(self.one.get("/v1/hello/ana").await.0, 200);
    }
}

async fn greet(gateway: &Alone, key: &str, name: &str) -> Response {
    let request = gateway.client.post(gateway.url("/v1/hello")).json(&json!({"name": name}));
    request.header("idempotency-key", key).send().await.unwrap()
}

fn in_redis(config: &mut Config, redis: RedisConfig) {
    config.idempotency.store = AnswerStore::Redis;
    config.redis = Some(RedisConfig { retry_interval: Duration::from_millis(50), ..redis });
}

/// K-35 to K-38.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_share_their_keys_in_redis() {
    let mut redis = Redis::start();
    let url = format!("redis://127.0.0.1:{}", redis.port());
    let keep = |config: &mut Config| {
        in_redis(config, RedisConfig { url: url.clone(), ..RedisConfig::default() });
    };
    let pair = Pair::start(keep).await;
    pair.prove().await;

    redis.kill();
    pair.prove_refusal().await;
    redis.restart();
    // It comes back by itself; what it has forgotten is carried out again.
    for attempt in 0.. {
        assert!(attempt < 100, "redis was never found again");
        let again = greet(&pair.one, "k-1", "ana").await;
        if again.status() == StatusCode::OK {
            assert!(!again.headers().contains_key("x-idempotent-replay"));
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// K-35 to K-38.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_share_their_keys_in_redis_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    certs::init(folder.path()).unwrap();
    certs::issue(folder.path(), "redis").unwrap();
    let redis = Redis::start_tls(folder.path());
    let url = format!("rediss://localhost:{}", redis.port());
    let trusting = |ca: std::path::PathBuf| {
        let url = url.clone();
        move |config: &mut Config| {
            let (url, ca) = (url.clone(), Some(ca.clone()));
            in_redis(config, RedisConfig { url, ca, ..RedisConfig::default() });
        }
    };
    Pair::start(trusting(folder.path().join("ca.pem"))).await.prove().await;

    let other = tempfile::tempdir().unwrap();
    certs::init(other.path()).unwrap();
    Pair::start(trusting(other.path().join("ca.pem"))).await.prove_refusal().await;
}

/// K-35 to K-38.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_share_their_keys_in_postgresql() {
    let cluster = tokio::task::spawn_blocking(PrivateCluster::start_scratch);
    let cluster = cluster.await.unwrap().unwrap();
    cluster.provision(&["gateway"]).await.unwrap();
    let keep = |config: &mut Config| {
        config.idempotency.store = AnswerStore::Postgres;
        config.postgres = Some(cluster.config());
    };
    let pair = Pair::start(keep).await;
    pair.prove().await;

    // A gateway that starts later knows what the others did.
    let late = Pair::start(keep).await;
    let again = greet(&late.one, "k-1", "ana").await;
    assert_eq!(again.headers()["x-idempotent-replay"], "true");
    let again: Value = again.json().await.unwrap();
    assert_eq!(again["greeted"], "1");

    drop(cluster);
    pair.prove_refusal().await;
}

#[tokio::test]
async fn a_store_without_settings_is_refused_at_the_start() {
    for (store, named) in [(AnswerStore::Redis, "redis"), (AnswerStore::Postgres, "postgres")] {
        let greeter = Greeter::start().await;
        let mut config = Config { http: Some(testkit::greeter::anywhere()), ..Config::alone() };
        config.idempotency.store = store;
        let upstream = upstream::UpstreamConfig {
            endpoints: vec![greeter.endpoint()],
            ..upstream::UpstreamConfig::default()
        };
        config.upstreams.insert("greeter".to_owned(), upstream);
        let error =
            gateway::Gateway::bind(config, None, clock::Clock::system()).await.err().unwrap();
        assert!(matches!(error, StartError::NoStore(name) if name == named), "{error}");
    }
}
