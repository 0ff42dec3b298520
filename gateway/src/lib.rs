//! The edge: REST and JSON outside, gRPC in the mesh.
//!
//! It knows no domain. Routes, roles, limits and JSON forms are read from the descriptors of the
//! contracts, so a method with a `google.api.http` annotation needs no code here.
//!
//! Read `edge::Worker::answer` first: it is the way of a request, step by step.

mod answer;
mod body;
mod check;
mod coding;
mod config;
#[cfg(test)]
mod corner;
mod docs;
mod edge;
mod etag;
mod grpc;
mod headers;
mod health;
mod log;
mod meter;
mod names;
mod openapi;
mod pages;
mod policy;
mod preview;
mod problem;
mod reload;
mod serve;
mod site;
mod source;
mod streams;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use ::limits::{Idempotency, Limiter, Redis};
use arc_swap::ArcSwap;
use auth::{KeySource, Verifier};
use clock::Clock;
use mesh::Mesh;
use storage::Database;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use upstream::Upstreams;

pub use ::limits::{AnswerStore, IdempotencyConfig, RateConfig, RedisConfig, Window};
pub use auth::IssuerConfig;
pub use config::{
    AccessLog, ClientCertificates, Compression, Config, ErrorForm, Limits, Logged, Network,
    NetworkError, SettingError, Streams, Tls,
};
pub use policy::{Access, Policy, Rule};
pub use preview::Preview;
pub use reload::Reloader;
pub use serve::tls::CertificateError;
pub use site::{RouteError, SiteError};
pub use source::{ContractError, Contracts, ReflectionError};
pub use upstream::UpstreamConfig;

use edge::Edge;
use serve::Listener;
use source::Follower;

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("gateway cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Neither `gateway.https` nor `gateway.http` is set.
    #[error("gateway.https or gateway.http must be set")]
    NoListener,
    /// There is neither a mesh nor an upstream.
    #[error("gateway.upstreams is empty: nothing would answer")]
    NoUpstream,
    /// A setting would break what it is about.
    #[error("gateway.{0}")]
    Setting(#[from] SettingError),
    /// The access log cannot be opened.
    #[error("gateway.access_log.file: {0}")]
    AccessLog(io::Error),
    /// The rate limits or the keys of requests cannot be kept.
    #[error("gateway.{0}")]
    Limits(#[from] ::limits::ConfigError),
    /// Requests with a key shall be kept where no settings lead.
    #[error("gateway.idempotency.store needs the settings of gateway.{0}")]
    NoStore(&'static str),
    /// The answers to requests with a key cannot be kept.
    #[error("gateway.{0}")]
    Idempotency(#[from] ::limits::OpenError),
    /// An issuer of tokens cannot be used.
    #[error("gateway.{0}")]
    Issuers(#[from] auth::ConfigError),
    /// An upstream cannot be used.
    #[error("gateway: {0}")]
    Upstreams(#[from] upstream::ConfigError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The contracts cannot be had or cannot be served.
    #[error(transparent)]
    Contracts(#[from] ContractError),
}

/// The gateway, listening but not yet answering.
pub struct Gateway {
    https: Option<Listener>,
    http: Option<Listener>,
    tls: Option<Arc<serve::tls::Tls>>,
    edge: Arc<Edge>,
    contracts: Follower,
    reloader: Reloader,
    orders: mpsc::Receiver<reload::Order>,
}

impl Gateway {
    /// Compiles the routes, loads the certificate and binds the listeners. Without a mesh, every
    /// upstream must be in the settings.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn bind(
        config: Config,
        mesh: Option<&Mesh>,
        clock: Clock,
    ) -> Result<Self, StartError> {
        config.validate()?;
        somebody_answers(&config, mesh.is_some())?;
        let (mut https, mut tls) = (None, None);
        if let Some(address) = config.https {
            let loaded = Arc::new(serve::tls::Tls::load(&config.tls)?);
            https = Some(listen(address, Some(Arc::clone(&loaded))).await?);
            tls = Some(loaded);
        }
        let http = match config.http {
            Some(address) => Some(listen(address, None).await?),
            None => None,
        };
        if https.is_none() && http.is_none() {
            return Err(StartError::NoListener);
        }
        let mut contracts = Follower::of(&config)?;
        let sites = Arc::new(ArcSwap::from_pointee(contracts.first().await?));
        let (reloader, orders) = Reloader::new(&config);
        let edge = Arc::new(edge(config, sites, mesh, clock).await?);
        Ok(Self { https, http, tls, edge, contracts, reloader, orders })
    }

    /// Where HTTPS is listened for.
    pub fn https(&self) -> Option<SocketAddr> {
        self.https.as_ref().and_then(|listener| listener.address().ok())
    }

    /// Where HTTP without TLS is listened for.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(|listener| listener.address().ok())
    }

    /// What gives it other settings while it serves.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Answers requests until `stop`, then lets those that are open end.
    pub async fn serve(self, stop: CancellationToken) {
        let sites = Arc::clone(&self.edge.sites);
        let mut beside = tokio::task::JoinSet::new();
        beside.spawn(self.contracts.follow(sites, self.edge.upstreams.clone(), self.orders));
        if let Some(tls) = self.tls {
            beside.spawn(tls.keep_fresh());
        }
        let listeners = self.http.into_iter().chain(self.https).collect();
        serve::serve(listeners, self.edge, stop).await;
    }
}

/// Without a mesh, upstreams alone answer.
fn somebody_answers(config: &Config, has_mesh: bool) -> Result<(), StartError> {
    if config.upstreams.is_empty() && !has_mesh { Err(StartError::NoUpstream) } else { Ok(()) }
}

async fn edge(
    config: Config,
    sites: site::Sites,
    mesh: Option<&Mesh>,
    clock: Clock,
) -> Result<Edge, StartError> {
    let keys = mesh.map(|mesh| Arc::new(mesh.key_source()) as Arc<dyn KeySource>);
    let upstreams = config.upstreams();
    let workers = config.workers.unwrap_or_else(serve::cores);
    let redis = config.redis.as_ref().map(Redis::open).transpose()?;
    Ok(Edge {
        verifier: Verifier::new(&config.issuers, keys, clock)?,
        limiter: Limiter::new(&config.rate_limits, redis.as_ref())?,
        idempotency: idempotency(&config, redis).await?,
        upstreams: Upstreams::new(&upstreams, mesh, workers)?,
        pages: pages::Pages::new(health::Health::new(mesh.cloned())),
        log: log::AccessLog::open(&config.access_log).map_err(StartError::AccessLog)?,
        in_flight: Edge::in_flight(),
        settings: config,
        sites,
    })
}

/// Where the answers to requests with a key are kept.
async fn idempotency(config: &Config, redis: Option<Redis>) -> Result<Idempotency, StartError> {
    let settings = &config.idempotency;
    match settings.store {
        AnswerStore::Memory => Ok(Idempotency::in_memory(settings)?),
        AnswerStore::Redis => {
            let redis = redis.ok_or(StartError::NoStore("redis"))?;
            Ok(Idempotency::in_redis(settings, redis)?)
        }
        AnswerStore::Postgres => {
            let postgres = config.postgres.as_ref().ok_or(StartError::NoStore("postgres"))?;
            let database = Database::open("gateway", postgres);
            Ok(Idempotency::in_postgres(settings, database).await?)
        }
    }
}

async fn listen(
    address: SocketAddr,
    tls: Option<Arc<serve::tls::Tls>>,
) -> Result<Listener, StartError> {
    let bound = Listener::bind(address, tls).await;
    bound.map_err(|source| StartError::Listen { address, source })
}
