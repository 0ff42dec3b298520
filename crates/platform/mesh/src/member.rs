//! One member of the mesh.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use auth::{TokenVerifier, VerifierConfig};
use clock::Clock;
use parking_lot::Mutex;
use rustls::pki_types::InvalidDnsNameError;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use crate::client::channel::Channel;
use crate::client::dial::Dial;
use crate::client::status::UpstreamStatus;
use crate::client::upstream::Upstream;
use crate::config::Config;
use crate::error::MeshError;
use crate::keys::MeshKeys;
use crate::server;
use crate::server::health::{CHECKS, read_list};
use crate::server::service::Service;
use crate::tls::Identity;

/// Longest wait for the health of an upstream.
const HEALTH_PATIENCE: Duration = Duration::from_secs(1);

/// A member of the mesh: it calls others and is called, under one name. Clones are the same member.
#[derive(Clone)]
pub struct Mesh {
    member: Arc<Member>,
    verifier: TokenVerifier,
}

struct Member {
    name: Arc<str>,
    config: Config,
    identity: Arc<Identity>,
    runtime: Handle,
    upstreams: Mutex<BTreeMap<String, Arc<Upstream>>>,
    /// Ends with the member.
    _renewal: AbortOnDropHandle<()>,
}

impl Mesh {
    /// Joins as `service`, with the certificate of that name, which is renewed from its files from
    /// then on.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn join(service: &str, config: &Config) -> Result<Self, MeshError> {
        let identity = Arc::new(Identity::load(&config.certs, service)?);
        let renewal = tokio::spawn(Arc::clone(&identity).keep_fresh(config.certs_check));
        let member = Arc::new(Member {
            name: service.into(),
            config: config.clone(),
            identity,
            runtime: Handle::current(),
            upstreams: Mutex::default(),
            _renewal: AbortOnDropHandle::new(renewal),
        });
        let keys = Arc::new(MeshKeys(member.upstream("identity").channel()));
        let verifier = TokenVerifier::new(keys, VerifierConfig::default(), Clock::system());
        Ok(Self { member, verifier })
    }

    /// The same member, whose services verify tokens with `verifier` unless they bring their own.
    pub fn with_verifier(mut self, verifier: TokenVerifier) -> Self {
        self.verifier = verifier;
        self
    }

    /// Name of the member.
    pub fn name(&self) -> &str {
        &self.member.name
    }

    /// The way to `upstream`. Nothing is connected before the first call.
    pub fn channel(&self, upstream: &str) -> Channel {
        self.member.upstream(upstream).channel()
    }

    /// How `member` is reached, for a caller that makes its own connections.
    ///
    /// # Errors
    /// When no member can have that name.
    pub fn dial(&self, member: &str) -> Result<Dial, InvalidDnsNameError> {
        let names = self.member.config.endpoints.get(member).cloned().unwrap_or_default();
        Dial::new(member, names, Arc::clone(&self.member.identity))
    }

    /// The keys that verify users' tokens, as identity publishes them.
    pub fn key_source(&self) -> MeshKeys {
        MeshKeys(self.channel("identity"))
    }

    /// The services called so far, as they are seen from here.
    pub fn upstreams(&self) -> Vec<UpstreamStatus> {
        self.member.upstreams.lock().values().map(|upstream| upstream.status()).collect()
    }

    /// Asks `upstream` for its health and that of its dependencies.
    pub async fn health(&self, upstream: &str) -> Health {
        let mut client = HealthClient::new(self.channel(upstream));
        let asking = client.check(HealthCheckRequest::default());
        let Ok(Ok(answer)) = tokio::time::timeout(HEALTH_PATIENCE, asking).await else {
            return Health::default();
        };
        let checks = answer.metadata().get(CHECKS).and_then(|list| list.to_str().ok());
        Health {
            serving: answer.get_ref().status() == ServingStatus::Serving,
            checks: checks.map(read_list).unwrap_or_default(),
        }
    }

    /// Serves `service` on `listener` until `stop`, then lets the calls in flight finish within
    /// the drain time. When it returns, nothing of the service is left running.
    ///
    /// # Errors
    /// [`MeshError::Fatal`] when the service cannot go on, also after a drain.
    pub async fn serve(
        &self,
        service: Service,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> Result<(), MeshError> {
        let Member { identity, config, .. } = &*self.member;
        let verifier = service.verifier.clone().unwrap_or_else(|| self.verifier.clone());
        let identity = Arc::clone(identity);
        server::serve(identity, &config.limits, service, verifier, listener, stop).await
    }
}

impl Member {
    fn upstream(&self, name: &str) -> Arc<Upstream> {
        let mut upstreams = self.upstreams.lock();
        if let Some(upstream) = upstreams.get(name) {
            return Arc::clone(upstream);
        }
        // Connections live on the runtime of the member, whoever asks for them.
        let _entered = self.runtime.enter();
        let identity = Arc::clone(&self.identity);
        let upstream = Arc::new(Upstream::new(&self.name, name, identity, &self.config));
        upstreams.insert(name.to_owned(), Arc::clone(&upstream));
        upstream
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mesh").field("name", &self.member.name).finish_non_exhaustive()
    }
}

/// Health of a service, as it answers itself.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Health {
    /// Whether it serves; not when it does not answer.
    pub serving: bool,
    /// Its dependencies, by name, and whether each is well. Empty when it does not answer.
    pub checks: BTreeMap<String, bool>,
}
