//! A gateway with a mesh behind it.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use auth::{
    Claims, Role, StaticKeys, TenantId, TokenSigner, TokenVerifier, UserId, VerifierConfig,
};
use gateway::{Config, Gateway, RateConfig, Tls, Window};
use mesh::Mesh;
use reqwest::{Certificate, Client, Method, RequestBuilder, Response};
use serde_json::Value;
use testkit::Testkit;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fakes::{self, Calls};

/// A gateway in front of fake services, and a client that trusts its certificate.
pub(crate) struct House {
    pub(crate) kit: Testkit,
    pub(crate) signer: Arc<TokenSigner>,
    /// What reached the services.
    pub(crate) calls: Arc<Calls>,
    pub(crate) https: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) client: Client,
    pub(crate) tls: Tls,
    pub(crate) stop: CancellationToken,
    pub(crate) gateway: JoinHandle<()>,
}

impl House {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}, |_| {}).await
    }

    /// A house whose gateway or mesh is set up in another way.
    pub(crate) async fn start_with(
        configure: impl FnOnce(&mut Config),
        configure_mesh: impl FnOnce(&mut mesh::Config),
    ) -> Self {
        telemetry::init_for_tests();
        let kit = Testkit::start().await;
        let signer = Arc::new(TokenSigner::generate().unwrap());
        let calls = Arc::new(Calls::default());
        for service in fakes::all(&signer, &calls) {
            let name = service.name().to_owned();
            kit.serve(&kit.mesh(&name), service.verifier(verifier(&signer))).await;
        }
        let mut mesh_config = kit.mesh_config("gateway");
        configure_mesh(&mut mesh_config);
        let mesh = Mesh::join("gateway", &mesh_config).unwrap();

        let tls = Tls {
            certificate: mesh_config.certs.join("gateway.pem"),
            key: mesh_config.certs.join("gateway.key"),
            check: Duration::from_millis(50),
            ..Tls::default()
        };
        let anywhere = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let many = vec![Window::new(100_000, Duration::from_mins(1))];
        let mut rate_limits = RateConfig::default();
        rate_limits.classes.values_mut().for_each(|windows| windows.clone_from(&many));
        let mut config = Config {
            https: anywhere,
            http: anywhere,
            tls: tls.clone(),
            rate_limits,
            ..Config::default()
        };
        configure(&mut config);
        let gateway = Gateway::bind(config, Some(&mesh), kit.clock()).await.unwrap();
        let (https, http) = (gateway.https().unwrap(), gateway.http().unwrap());
        let stop = CancellationToken::new();
        let gateway = tokio::spawn(gateway.serve(stop.clone()));

        let ca = fs::read(mesh_config.certs.join("ca.pem")).unwrap();
        let client = Client::builder()
            .tls_certs_only([Certificate::from_pem(&ca).unwrap()])
            .resolve("localhost", https)
            .resolve("gateway", https)
            .no_proxy()
            .build()
            .unwrap();
        Self { kit, signer, calls, https, http, client, tls, stop, gateway }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.https.port())
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// A request of a customer.
    pub(crate) fn signed(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(self.token(&[Role::Customer]))
    }

    pub(crate) fn token(&self, roles: &[Role]) -> String {
        self.sign(&self.claims(roles))
    }

    pub(crate) fn claims(&self, roles: &[Role]) -> Claims {
        let (user, now) = (UserId::random(), self.kit.clock().now());
        Claims::new(user, TenantId::DEFAULT, roles.to_vec(), now, Duration::from_mins(15))
    }

    pub(crate) fn sign(&self, claims: &Claims) -> String {
        self.signer.sign(claims).unwrap()
    }
}

fn verifier(signer: &TokenSigner) -> TokenVerifier {
    let keys = StaticKeys::new(vec![signer.public_jwk().clone()]);
    TokenVerifier::new(Arc::new(keys), VerifierConfig::default(), clock::Clock::system())
}

/// A deposit of 100.50, described so that the fake does as the test wishes.
pub(crate) fn deposit(description: &str) -> String {
    format!(r#"{{"type":"DEPOSIT","amount":100.50,"description":"{description}"}}"#)
}

/// Asserts that an answer is a problem, and returns it.
pub(crate) async fn problem(response: Response, status: u16, reason: &str) -> Value {
    let headers = response.headers().clone();
    let (actual, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(actual, status, "{text}");
    assert_eq!(headers["content-type"], "application/problem+json");
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(problem["reason"], reason, "{problem}");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["correlationId"], headers["x-correlation-id"].to_str().unwrap());
    problem
}
