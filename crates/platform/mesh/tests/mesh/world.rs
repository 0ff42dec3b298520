//! A small mesh for the tests: certificates in a folder, members, and services that play a script.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use auth::{
    Claims, Role, StaticKeys, TenantId, TokenSigner, TokenVerifier, UserId, VerifierConfig,
};
use bytes::Bytes;
use clock::Clock;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full};
use mesh::{Config, Context, Mesh, MeshError, Service, certs};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;

pub(crate) use contracts::accounts::v1::accounts_service_client::AccountsServiceClient as AccountsClient;
pub(crate) use contracts::accounts::v1::{GetBalanceRequest, OpenAccountRequest};
pub(crate) use contracts::identity::v1::identity_service_client::IdentityServiceClient as IdentityClient;
pub(crate) use contracts::identity::v1::{LoginRequest, LogoutRequest};
pub(crate) use contracts::ledger::v1::ledger_service_client::LedgerServiceClient as LedgerClient;
pub(crate) use contracts::ledger::v1::{CreateTransfersRequest, LookupAccountsRequest};

/// What a scripted service sees of a call.
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) headers: HeaderMap,
    pub(crate) context: Option<Context>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

type Play = dyn Fn(Seen) -> BoxFuture<'static, Result<(), Status>> + Send + Sync;

/// Answers every method of one contract with an empty message, or with what the script says.
macro_rules! scripted {
    ($($name:ident = $service:literal),*) => {$(
        #[derive(Clone)]
        pub(crate) struct $name(Arc<Play>);

        impl $name {
            pub(crate) fn new<F>(play: impl Fn(Seen) -> F + Send + Sync + 'static) -> Self
            where
                F: Future<Output = Result<(), Status>> + Send + 'static,
            {
                Self(Arc::new(move |seen| Box::pin(play(seen))))
            }
        }

        impl NamedService for $name {
            const NAME: &'static str = $service;
        }

        impl tower::Service<http::Request<Body>> for $name {
            type Response = http::Response<Body>;
            type Error = Infallible;
            type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

            fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<Body>) -> Self::Future {
                let play = Arc::clone(&self.0);
                Box::pin(async move { Ok(perform(&*play, request).await) })
            }
        }
    )*};
}

scripted! {
    Accounts = "malha.accounts.v1.AccountsService",
    Identity = "malha.identity.v1.IdentityService",
    Ledger = "malha.ledger.v1.LedgerService",
    Foreign = "somebody.elses.v1.Service"
}

async fn perform(play: &Play, request: http::Request<Body>) -> http::Response<Body> {
    let seen = Seen {
        method: request.uri().path().rsplit('/').next().unwrap().to_owned(),
        headers: request.headers().clone(),
        context: Context::current().ok(),
    };
    if let Err(status) = play(seen).await {
        return status.into_http();
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    // One message of no bytes: every field has its default.
    let message =
        Full::new(Bytes::from_static(&[0; 5])).with_trailers(async { Some(Ok(trailers)) });
    http::Response::builder()
        .header("content-type", "application/grpc")
        .body(Body::new(message))
        .unwrap()
}

/// Counts the calls that reached a service.
#[derive(Clone, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(crate) fn up(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Certificates, keys and addresses of one test's mesh.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) signer: TokenSigner,
    pub(crate) config: Config,
}

impl World {
    /// Certificates for `names`; members serve and call with short waits.
    pub(crate) fn new(names: &[&str]) -> Self {
        telemetry::init_for_tests();
        let folder = tempfile::tempdir().unwrap();
        certs::init(folder.path()).unwrap();
        for name in names {
            certs::issue(folder.path(), name).unwrap();
        }
        let mut config = Config { certs: folder.path().to_owned(), ..Config::default() };
        config.certs_check = Duration::from_millis(50);
        config.limits.check_interval = Duration::from_millis(50);
        config.retry.delay_min = Duration::from_millis(5);
        Self { folder, signer: TokenSigner::generate().unwrap(), config }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A member that trusts the world's tokens.
    pub(crate) fn join(&self, name: &str) -> Mesh {
        Mesh::join(name, &self.config).unwrap().with_verifier(self.verifier("malha"))
    }

    /// A member that reaches `upstream` at `addresses`.
    pub(crate) fn caller(&self, name: &str, upstream: &str, addresses: &[SocketAddr]) -> Mesh {
        let mut config = self.config.clone();
        let addresses = addresses.iter().map(ToString::to_string).collect();
        config.endpoints.insert(upstream.to_owned(), addresses);
        Mesh::join(name, &config).unwrap().with_verifier(self.verifier("malha"))
    }

    pub(crate) fn verifier(&self, audience: &str) -> TokenVerifier {
        let keys = StaticKeys::new(vec![self.signer.public_jwk().clone()]);
        let config = VerifierConfig { audience: audience.to_owned(), ..VerifierConfig::default() };
        TokenVerifier::new(Arc::new(keys), config, Clock::system())
    }

    /// The context of a call for a user, as the gateway makes it.
    pub(crate) fn user(&self, claims: &Claims) -> Context {
        let token = self.signer.sign(claims).unwrap();
        Context { token: Some(token.into()), ..Context::system(TenantId::DEFAULT) }
    }

    /// The context of a call for some customer.
    pub(crate) fn customer(&self) -> Context {
        self.user(&claims(UserId::random(), TenantId::DEFAULT, &[Role::Customer]))
    }
}

/// Claims of a token that counts for a minute from now.
pub(crate) fn claims(user: UserId, tenant: TenantId, roles: &[Role]) -> Claims {
    let lifetime = Duration::from_mins(1);
    Claims::new(user, tenant, roles.to_vec(), Clock::system().now(), lifetime)
}

/// A service being served.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), MeshError>>,
}

impl Served {
    /// Stops it as `kill -9` would: nothing is drained.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

pub(crate) async fn serve(mesh: &Mesh, service: Service) -> Served {
    serve_at(mesh, service, "127.0.0.1:0".parse().unwrap()).await
}

pub(crate) async fn serve_at(mesh: &Mesh, service: Service, address: SocketAddr) -> Served {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (mesh, stop) = (mesh.clone(), CancellationToken::new());
    let stopped = stop.clone();
    let task = tokio::spawn(async move { mesh.serve(service, listener, stopped).await });
    Served { address, stop, task }
}

/// An address where nobody listens.
pub(crate) async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Waits for something that is bound to happen soon.
pub(crate) async fn eventually<F: Future<Output = bool>>(
    what: &str,
    mut happened: impl FnMut() -> F,
) {
    for _ in 0..500 {
        if happened().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("did not happen: {what}");
}

pub(crate) fn reason(status: &Status) -> String {
    mesh::error::reason(status).unwrap_or_default()
}
