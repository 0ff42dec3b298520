//! A small mesh for tests: real TLS, real tokens, a real database, and nothing of any domain.
//!
//! ```no_run
//! # async fn example() {
//! use testkit::{Role, Testkit, UserId};
//!
//! let kit = Testkit::start().await;
//! let database = kit.database("payments").await;
//! let mesh = kit.mesh("payments");
//! let service = mesh::Service::new("payments"); // or payments::start(config, &mesh, database, kit.clock())
//! kit.serve(&mesh, service).await;
//!
//! let channel = kit.channel("gateway", "payments");
//! let ana = kit.user_context(UserId::random(), &[Role::Customer]);
//! // ana.scope(PaymentsServiceClient::new(channel).get_transaction(request)).await
//! # }
//! ```
//!
//! Tests need the runtime with several threads: `#[tokio::test(flavor = "multi_thread")]`.

#![expect(clippy::missing_panics_doc, reason = "a test kit that cannot do its work fails the test")]

mod database;
mod directory;
pub mod greeter;
mod redis;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use auth::{StaticKeys, TokenSigner, TokenVerifier, VerifierConfig};
use clock::Clock;
use mesh::{Channel, Context, Mesh, Service, certs};
use storage::Database;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

pub use auth::{Claims, Role, TenantId, UserId};

pub use redis::Redis;

use directory::Directory;

/// How long a token of the kit counts.
const TOKEN_LIFETIME: Duration = Duration::from_mins(15);

/// Made once per process: an RSA key takes a while.
static SIGNER: OnceLock<TokenSigner> = OnceLock::new();

/// A mesh of one test: its certificates, its tokens, its services. Everything stops when it is
/// dropped.
pub struct Testkit {
    certificates: TempDir,
    clock: Clock,
    directory: Directory,
    members: Mutex<BTreeMap<String, Mesh>>,
    served: Mutex<BTreeMap<String, Served>>,
}

struct Served {
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Testkit {
    /// A new mesh without members, on the clock of the system.
    pub async fn start() -> Self {
        Self::start_at(Clock::system()).await
    }

    /// A new mesh without members, whose tokens are signed and verified by `clock`.
    pub async fn start_at(clock: Clock) -> Self {
        show_log();
        tokio::task::spawn_blocking(signer).await.expect("a signing key is made");
        let certificates = tempfile::tempdir().expect("a folder for certificates is made");
        certs::init(certificates.path()).expect("an authority for certificates is made");
        let directory = Directory::new(upstreams());
        Self { certificates, clock, directory, members: Mutex::default(), served: Mutex::default() }
    }

    /// The clock of the kit, to hand to services.
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// A new, empty database, opened as `service`, with its role and schema.
    ///
    /// The server is the one that `MALHA_TEST_DATABASE` names (a superuser's address), else one
    /// that this process starts.
    pub async fn database(&self, service: &str) -> Database {
        Database::open(service, &self.storage(&[service]).await)
    }

    /// The configuration of a new, empty database that several services share.
    pub async fn storage(&self, services: &[&str]) -> storage::Config {
        database::provisioned(services).await
    }

    /// The member of the mesh with this name; its certificate is made at first use.
    ///
    /// It reaches every service of the contracts, also those that are served later, and trusts the
    /// kit's tokens.
    pub fn mesh(&self, name: &str) -> Mesh {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let join = || {
            let mesh = Mesh::join(name, &self.mesh_config(name)).expect("a member joins");
            mesh.with_verifier(self.verifier())
        };
        members.entry(name.to_owned()).or_insert_with(join).clone()
    }

    /// What `mesh(name)` joins with, to be altered for [`Mesh::join`]. Makes a new certificate for
    /// `name`.
    pub fn mesh_config(&self, name: &str) -> mesh::Config {
        certs::issue(self.certificates.path(), name).expect("a certificate is made");
        mesh::Config {
            certs: self.certificates.path().to_owned(),
            endpoints: self.directory.endpoints(),
            ..mesh::Config::default()
        }
    }

    /// A channel on which member `caller` calls `upstream`.
    pub fn channel(&self, caller: &str, upstream: &str) -> Channel {
        self.mesh(caller).channel(upstream)
    }

    /// Serves at an address where every member finds it; returns the address.
    ///
    /// The service stops with the kit or by [`Self::stop`], after which it can be served again at
    /// the same address.
    pub async fn serve(&self, mesh: &Mesh, service: Service) -> SocketAddr {
        let name = service.name().to_owned();
        let listener = self.directory.listen(&name).await;
        let address = listener.local_addr().expect("a listener has an address");
        let stop = CancellationToken::new();
        let (mesh, stopped) = (mesh.clone(), stop.clone());
        let task = tokio::spawn(async move {
            mesh.serve(service, listener, stopped).await.expect("a service is served");
        });
        let served = Served { stop: stop.drop_guard(), task };
        self.served.lock().unwrap_or_else(PoisonError::into_inner).insert(name, served);
        address
    }

    /// Stops a service and waits until its calls in flight have ended.
    pub async fn stop(&self, service: &str) {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner).remove(service);
        let Served { stop, task } = served.unwrap_or_else(|| panic!("{service} is not served"));
        drop(stop);
        task.await.expect("the service ends well");
    }

    /// Trusts the tokens of the kit. Its members have it already.
    pub fn verifier(&self) -> TokenVerifier {
        let keys = StaticKeys::new(vec![signer().public_jwk().clone()]);
        TokenVerifier::new(Arc::new(keys), VerifierConfig::default(), self.clock())
    }

    /// What a token of this user says: valid from now, in the default tenant. Change what the test
    /// needs.
    pub fn claims(&self, user: UserId, roles: &[Role]) -> Claims {
        Claims::new(user, TenantId::DEFAULT, roles.to_vec(), self.clock.now(), TOKEN_LIFETIME)
    }

    /// Signs a token.
    pub fn sign(&self, claims: &Claims) -> String {
        signer().sign(claims).expect("a token is signed")
    }

    /// A token of this user.
    pub fn token(&self, user: UserId, roles: &[Role]) -> String {
        self.sign(&self.claims(user, roles))
    }

    /// The context of a request that this user makes; calls go inside its [`Context::scope`].
    pub fn user_context(&self, user: UserId, roles: &[Role]) -> Context {
        self.context(&self.claims(user, roles))
    }

    /// The context of a request made with a token that says `claims`.
    pub fn context(&self, claims: &Claims) -> Context {
        Context {
            principal: Some(claims.into()),
            token: Some(self.sign(claims).into()),
            ..Context::system(claims.tenant)
        }
    }
}

/// Asserts that a call was refused with this code and reason.
#[track_caller]
pub fn assert_refused<T: Debug>(result: Result<T, Status>, code: Code, reason: &str) {
    let status = result.expect_err("the call is refused");
    let found = mesh::error::reason(&status).unwrap_or_default();
    assert_eq!((status.code(), found.as_str()), (code, reason), "{}", status.message());
}

/// Shows with a failed test what was logged: why a statement failed, for one, which no answer
/// tells. `RUST_LOG` asks for more than warnings.
fn show_log() {
    let warnings = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into());
    let log = tracing_subscriber::fmt().with_ansi(false).with_env_filter(warnings.from_env_lossy());
    // The log of an earlier kit in this process stays.
    let _ = log.with_test_writer().try_init();
}

fn signer() -> &'static TokenSigner {
    SIGNER.get_or_init(|| TokenSigner::generate().expect("a signing key is made"))
}

/// Every service that the contracts name: the second segment of its package.
fn upstreams() -> impl Iterator<Item = String> {
    contracts::pool().services().filter_map(|service| {
        let name = service.package_name().strip_prefix("malha.")?.split('.').next()?;
        Some(name.to_owned())
    })
}
