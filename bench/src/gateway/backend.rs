//! The service behind both gateways: tonic over mTLS, in a process of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_rustls::TlsAcceptor;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::material::{CERTS, order};
use crate::certificates::Certificates;
use shop::orders_server::{Orders, OrdersServer};
use shop::{GetOrderRequest, Order};

/// The contract, as tonic knows it.
#[allow(clippy::pedantic, missing_docs, unreachable_pub, unused_qualifications)]
pub(super) mod shop {
    tonic::include_proto!("shop.v1");
}

/// Where it listens.
pub(super) const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 17_301);

/// Cores that it may use.
const CORES: &str = "2,3";

/// Starts it, or what stands in for it, in a process that ends with the value, and waits until it
/// listens.
pub(super) async fn start(name: &str, folder: &Path) -> Result<Child> {
    let process = Command::new("taskset")
        .args(["--cpu-list", CORES])
        .arg(std::env::current_exe()?)
        .arg(name)
        .arg("--folder")
        .arg(folder)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the service behind the gateways")?;
    super::peer::await_listening(ADDRESS).await?;
    Ok(process)
}

/// Serves until the process ends.
pub(crate) async fn serve(folder: &Path) -> Result<()> {
    let tls = TlsAcceptor::from(Arc::new(tls(&folder.join(CERTS))?));
    let routes = Routes::new(OrdersServer::new(Shop)).prepare();
    let listener = TcpListener::bind(ADDRESS).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(converse(socket, tls.clone(), routes.clone()));
    }
}

async fn converse(socket: TcpStream, tls: TlsAcceptor, routes: Routes) -> Result<()> {
    socket.set_nodelay(true)?;
    let stream = tls.accept(socket).await?;
    let mut builder = Builder::new(TokioExecutor::new()).http2_only();
    builder.http2().max_concurrent_streams(1_000);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    // A connection that ends is the gateway's affair.
    let _ = served.await;
    Ok(())
}

pub(super) fn tls(certs: &Path) -> Result<ServerConfig> {
    let Certificates { roots, chain, key } = Certificates::of("orders", certs)?;
    let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
    let mut config =
        ServerConfig::builder().with_client_cert_verifier(clients).with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

struct Shop;

#[tonic::async_trait]
impl Orders for Shop {
    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        Ok(Response::new(order(request.into_inner().id)))
    }

    async fn create_order(&self, request: Request<Order>) -> Result<Response<Order>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}
