//! TLS: members of the mesh, and https with files.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use mesh::{Mesh, Service, certs};
use prost::Message;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::HealthCheckResponse;
use upstream::{Call, Config, Reason, UpstreamConfig, Upstreams};

use crate::world::*;

/// A folder with certificates of `names`.
fn folder(names: &[&str]) -> tempfile::TempDir {
    telemetry::init_for_tests();
    let folder = tempfile::tempdir().unwrap();
    certs::init(folder.path()).unwrap();
    for name in names {
        certs::issue(folder.path(), name).unwrap();
    }
    folder
}

fn mesh_config(folder: &Path) -> mesh::Config {
    let mut config = mesh::Config { certs: folder.to_owned(), ..mesh::Config::default() };
    config.certs_check = Duration::from_millis(50);
    config
}

async fn serve_member(folder: &Path, name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let member = Mesh::join(name, &mesh_config(folder)).unwrap();
    tokio::spawn(async move {
        member.serve(Service::new(name), listener, CancellationToken::new()).await.unwrap();
    });
    address
}

/// The health of a member, which every member may ask for.
fn health(upstream: &str) -> Call {
    Call {
        upstream: upstream.into(),
        path: PathAndQuery::from_static("/grpc.health.v1.Health/Check"),
        message: Bytes::new(),
        ..call("Echo")
    }
}

/// B-05: a member is found where the mesh has it, without a word of configuration here, and proves
/// who it is.
#[tokio::test]
async fn a_member_of_the_mesh_is_called_by_its_name_and_must_prove_it() {
    let folder = folder(&["gateway", "ledger"]);
    let address = serve_member(folder.path(), "ledger").await.to_string();
    let mut config = mesh_config(folder.path());
    config.endpoints.insert("ledger".to_owned(), vec![address.clone()]);
    config.endpoints.insert("payments".to_owned(), vec![address.clone()]);
    let gateway = Mesh::join("gateway", &config).unwrap();
    let upstreams = Upstreams::new(&Config::default(), Some(&gateway), NonZeroUsize::MIN).unwrap();
    let worker = upstreams.worker();

    let reply = worker.unary(health("ledger")).await.unwrap();
    assert_eq!(HealthCheckResponse::decode(reply.message).unwrap().status, 1);

    let impostor = worker.unary(health("payments")).await.unwrap_err();
    assert_eq!(impostor.reason, Some(Reason::Unreachable));
    let unknown = worker.unary(health("cards")).await.unwrap_err();
    assert_eq!(unknown.reason, Some(Reason::Unknown));

    // Configured here: the same member under another name, and somewhere else.
    let upstream = UpstreamConfig {
        member: Some("ledger".to_owned()),
        endpoints: vec![address],
        ..UpstreamConfig::default()
    };
    let config = Config { upstreams: [("books".to_owned(), upstream)].into(), sticky_key: None };
    upstreams.reload(&config).unwrap();
    worker.unary(health("books")).await.unwrap();
    worker.unary(health("ledger")).await.unwrap();
}

/// A server over TLS that wants a certificate of its clients and answers everything.
async fn tls_server(folder: &Path, name: &str) -> Served {
    let file = |file: String| folder.join(file);
    let chain: Vec<_> = CertificateDer::pem_file_iter(file(format!("{name}.pem")))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_file(file(format!("{name}.key"))).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.pem".to_owned())).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let mut config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    listen(move |_, socket| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(socket) = acceptor.accept(socket).await else { return };
            let mut connection = h2::server::handshake(socket).await.unwrap();
            while let Some(Ok((_, respond))) = connection.accept().await {
                answer(respond);
            }
        }
    })
    .await
}

#[tokio::test]
async fn https_checks_the_server_and_shows_a_certificate() {
    let folder = folder(&["shop", "client"]);
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = tls_server(folder.path(), "shop").await;
    let config = |server_name: Option<&str>, certificate: bool| {
        let mut config = at(&[]);
        config.endpoints = vec![format!("https://localhost:{}", server.address.port())];
        config.tls.ca = Some(folder.path().join("ca.pem"));
        config.tls.server_name = server_name.map(str::to_owned);
        if certificate {
            config.tls.certificate = Some(folder.path().join("client.pem"));
            config.tls.key = Some(folder.path().join("client.key"));
        }
        config
    };
    for name in [None, Some("shop")] {
        let reply = World::new(config(name, true)).call("Echo").await.unwrap();
        assert_eq!(reply.message, "ok", "{name:?}");
    }
    let other = World::new(config(Some("other"), true)).call("Echo").await.unwrap_err();
    assert_eq!(other.reason, Some(Reason::Unreachable), "another's name");
    World::new(config(None, false)).call("Echo").await.unwrap_err();
}

#[tokio::test]
async fn certificates_are_taken_over_when_their_files_change() {
    let folder = folder(&["shop", "client"]);
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = tls_server(folder.path(), "shop").await;
    let other = self::folder(&["client"]);
    let mut config = at(&[]);
    config.endpoints = vec![format!("https://{}", server.address)];
    config.tls.ca = Some(other.path().join("ca.pem"));
    config.tls.certificate = Some(other.path().join("client.pem"));
    config.tls.key = Some(other.path().join("client.key"));
    config.tls.check = Duration::from_millis(20);
    let world = World::new(config);
    let strange = world.call("Echo").await.unwrap_err();
    assert_eq!(strange.reason, Some(Reason::Unreachable), "of an authority that is not trusted");

    for file in ["ca.pem", "client.pem", "client.key"] {
        std::fs::copy(folder.path().join(file), other.path().join(file)).unwrap();
    }
    for _ in 0..100 {
        if world.call("Echo").await.is_ok() {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("the new certificates were not taken over");
}
