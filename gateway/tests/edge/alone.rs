//! A gateway that stands alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use clock::Clock;
use gateway::{Access, Config, Contracts, Gateway, RateConfig, Reloader, Rule, Window};
use serde_json::Value;
use testkit::greeter::{self, Greeter};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use upstream::UpstreamConfig;

/// A gateway alone in front of greeters: no mesh, no certificate, no database.
pub(crate) struct Alone {
    pub(crate) address: SocketAddr,
    /// Where HTTPS is listened for, if it is.
    pub(crate) https: Option<SocketAddr>,
    pub(crate) client: reqwest::Client,
    /// As it was started.
    pub(crate) config: Config,
    pub(crate) reloader: Reloader,
    stop: DropGuard,
}

impl Alone {
    /// Has it let open requests end, and go.
    pub(crate) fn drain(self) {
        drop(self.stop);
    }
}

impl Alone {
    pub(crate) async fn start(upstreams: &[(&str, String)], contracts: Contracts) -> Self {
        Self::start_with(upstreams, |config| config.contracts = contracts).await
    }

    /// In front of one greeter, set up in another way.
    pub(crate) async fn of(greeter: &Greeter, configure: impl FnOnce(&mut Config)) -> Self {
        Self::start_with(&[("greeter", greeter.endpoint())], configure).await
    }

    /// In front of these, set up in another way.
    pub(crate) async fn start_with(
        upstreams: &[(&str, String)],
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        telemetry::init_for_tests();
        let upstream = |endpoint: &String| UpstreamConfig {
            endpoints: vec![endpoint.clone()],
            ..UpstreamConfig::default()
        };
        let named = upstreams.iter().map(|(name, at)| ((*name).to_owned(), upstream(at)));
        let public =
            Rule { methods: "*".to_owned(), access: Some(Access::Public), ..Rule::default() };
        let many = vec![Window::new(1_000_000, Duration::from_mins(1))];
        let rate_limits = RateConfig {
            classes: BTreeMap::from([("default".to_owned(), many)]),
            ..RateConfig::default()
        };
        let mut config = Config {
            http: Some(greeter::anywhere()),
            upstreams: named.collect(),
            policies: vec![public],
            rate_limits,
            ..Config::alone()
        };
        configure(&mut config);
        let gateway = Gateway::bind(config.clone(), None, Clock::system()).await.unwrap();
        let reloader = gateway.reloader();
        let (address, https) = (gateway.http().unwrap(), gateway.https());
        let stop = CancellationToken::new();
        tokio::spawn(gateway.serve(stop.clone()));
        // Of the mesh others install it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { address, https, client, config, reloader, stop: stop.drop_guard() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.client.get(self.url(path)).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub(crate) async fn until(&self, path: &str, status: u16) {
        for _ in 0..500 {
            if self.get(path).await.0 == status {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("{path} never answered {status}");
    }
}
