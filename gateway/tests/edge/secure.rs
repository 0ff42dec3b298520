//! Contracts and calls of a service behind TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use gateway::Config;
use mesh::certs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use testkit::greeter::{self, Greeter};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use upstream::{Tls, UpstreamConfig};

use crate::alone::Alone;

/// TLS in front of `behind`, with the certificate `shop` of the folder; whether clients show one.
async fn tls_before(behind: SocketAddr, folder: &Path, clients_show: bool) -> SocketAddr {
    let chain = vec![CertificateDer::from_pem_file(folder.join("shop.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("shop.key")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
    let builder = ServerConfig::builder();
    let builder = if clients_show {
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(greeter::anywhere()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut front = acceptor.accept(socket).await?;
                let mut back = TcpStream::connect(behind).await?;
                tokio::io::copy_bidirectional(&mut front, &mut back).await
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_behind_tls_shows_its_contract_and_answers() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    certs::init(folder.path()).unwrap();
    for name in ["shop", "client"] {
        certs::issue(folder.path(), name).unwrap();
    }
    let greeter = Greeter::start().await;
    for clients_show in [false, true] {
        let address = tls_before(greeter.address(), folder.path(), clients_show).await;
        let secure = |config: &mut Config| {
            let upstream = config.upstreams.get_mut("greeter").unwrap();
            upstream.endpoints = vec![format!("https://localhost:{}", address.port())];
            upstream.tls.ca = Some(folder.path().join("ca.pem"));
            if clients_show {
                upstream.tls.certificate = Some(folder.path().join("client.pem"));
                upstream.tls.key = Some(folder.path().join("client.key"));
            }
        };
        let alone = Alone::of(&greeter, secure).await;
        let (status, greeting) = alone.get("/v1/hello/ana").await;
        assert_eq!((status, &greeting["message"]), (200, &"Hello, ana!".into()), "{clients_show}");
    }
}

/// Whoever cannot prove itself is asked for nothing: the gateway waits, and says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_a_stranger_shows_is_not_served() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    certs::init(folder.path()).unwrap();
    certs::issue(folder.path(), "shop").unwrap();
    let greeter = Greeter::start().await;
    let preview = async |ca: &Path, clients_show| {
        let address = tls_before(greeter.address(), folder.path(), clients_show).await;
        let upstream = UpstreamConfig {
            endpoints: vec![format!("https://localhost:{}", address.port())],
            tls: Tls { ca: Some(ca.join("ca.pem")), ..Tls::default() },
            ..UpstreamConfig::default()
        };
        let upstreams = [("greeter".to_owned(), upstream)].into();
        let config = Config { upstreams, ..Config::alone() };
        gateway::Preview::of(&config).await.map_err(|error| error.to_string())
    };
    assert!(preview(folder.path(), false).await.is_ok());

    let other = tempfile::tempdir().unwrap();
    certs::init(other.path()).unwrap();
    for (ca, clients_show) in [(other.path(), false), (folder.path(), true)] {
        let error = preview(ca, clients_show).await.err().unwrap();
        assert!(error.starts_with("the upstream `greeter` does not show its contracts"), "{error}");
    }
}
