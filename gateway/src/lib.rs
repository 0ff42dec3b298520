//! The edge: REST and JSON outside, gRPC in the mesh.
//!
//! It knows no domain. Routes, roles, limits and JSON forms are read from the descriptors of the
//! contracts, so a method with a `google.api.http` annotation needs no code here.
//!
//! Read `edge::Edge::carry_out` first: it is the way of a request, step by step.

mod access;
mod body;
mod config;
#[cfg(test)]
mod corner;
mod docs;
mod edge;
mod headers;
mod health;
mod idempotency;
mod json;
mod openapi;
mod pages;
mod percent;
mod problem;
mod rate;
mod routes;
mod server;
mod tls;
mod transcode;
mod upstream;
mod watch;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use auth::{TokenVerifier, VerifierConfig};
use clock::Clock;
use mesh::Mesh;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub use config::{Config, Limits, Tls, Tokens, Window};
pub use routes::RouteError;
pub use tls::CertificateError;

use edge::Edge;
use pages::{PAGES, Page};
use server::Listener;
use tls::Certificate;

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
    /// The rate limits cannot be applied.
    #[error("gateway.rate_limits.{class}: {fault}")]
    RateLimits {
        /// The class.
        class: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The contracts hold a route that cannot be served.
    #[error(transparent)]
    Route(#[from] RouteError),
}

/// The gateway, listening but not yet answering.
pub struct Gateway {
    https: Option<(SocketAddr, Listener, Arc<Certificate>)>,
    http: Option<(SocketAddr, Listener)>,
    edge: Arc<Edge>,
}

impl Gateway {
    /// Compiles the routes, loads the certificate and binds the listeners.
    pub async fn bind(config: Config, mesh: &Mesh, clock: Clock) -> Result<Self, StartError> {
        let https = match config.https {
            Some(address) => {
                let certificate = Arc::new(Certificate::load(&config.tls)?);
                let tls = TlsAcceptor::from(Arc::new(certificate.server_config()?));
                let (address, socket) = listen(address).await?;
                Some((address, Listener { socket, tls: Some(tls) }, certificate))
            }
            None => None,
        };
        let http = match config.http {
            Some(address) => {
                let (address, socket) = listen(address).await?;
                Some((address, Listener { socket, tls: None }))
            }
            None => None,
        };
        if https.is_none() && http.is_none() {
            return Err(StartError::NoListener);
        }
        Ok(Self { https, http, edge: Arc::new(edge(config, mesh, clock)?) })
    }

    /// Where HTTPS is listened for.
    pub fn https(&self) -> Option<SocketAddr> {
        self.https.as_ref().map(|(address, ..)| *address)
    }

    /// Where HTTP without TLS is listened for.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|(address, _)| *address)
    }

    /// Answers requests until `stop`, then lets those that are open end.
    pub async fn serve(self, stop: CancellationToken) {
        let mut listeners: Vec<_> = self.http.into_iter().map(|(_, listener)| listener).collect();
        let mut renewal = None;
        if let Some((_, listener, certificate)) = self.https {
            listeners.push(listener);
            renewal = Some(tokio::spawn(certificate.keep_fresh()));
        }
        server::serve(listeners, self.edge, stop).await;
        if let Some(renewal) = renewal {
            renewal.abort();
        }
    }
}

fn edge(config: Config, mesh: &Mesh, clock: Clock) -> Result<Edge, StartError> {
    let pool = contracts::pool();
    let pages: Vec<_> =
        PAGES.into_iter().filter(|page| config.metrics || *page != Page::Metrics).collect();
    let routes = routes::Routes::compile(pool, &pages)?;
    let transcoder = transcode::Transcoder::new(pool);
    let openapi = openapi::document(pool, &routes, transcoder.codec());
    let Tokens { issuer, audience, leeway } = config.tokens;
    let expected = VerifierConfig { issuer, audience, leeway };
    Ok(Edge {
        verifier: TokenVerifier::new(Arc::new(mesh.key_source()), expected, clock),
        limiter: rate::Limiter::new(&config.rate_limits, config.limits.callers_max)?,
        cors: headers::Cors::new(&config.cors_origins),
        pages: pages::Pages::new(health::Health::new(mesh.clone(), pool, &routes), &openapi),
        mesh: mesh.clone(),
        limits: config.limits,
        routes,
        transcoder,
    })
}

async fn listen(address: SocketAddr) -> Result<(SocketAddr, TcpListener), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    Ok((listener.local_addr().map_err(failed)?, listener))
}
