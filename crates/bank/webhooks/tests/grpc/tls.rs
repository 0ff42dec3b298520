//! Endpoints over https: whose certificate is good, and whose is not (B-20).

use std::net::SocketAddr;
use std::sync::Arc;

use contracts::webhooks::v1::AttemptOutcome;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use webhooks::Config;

use crate::world::{World, quick};

/// A server that answers 200 over TLS with a certificate for `name`, and that certificate.
async fn server(name: &str) -> (SocketAddr, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 8192];
                let _ = stream.read(&mut request).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (address, cert.pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_trusted_certificate_of_the_host_is_sent_to() {
    let folder = tempfile::tempdir().unwrap();
    let authorities = folder.path().join("authorities.pem");
    let (good, trusted) = server("hooks.example").await;
    let (unknown, _) = server("hooks.example").await;
    std::fs::write(&authorities, trusted).unwrap();
    let config = Config { authorities: Some(authorities), ..quick() };
    let world = World::with(config).await;
    for host in ["hooks.example", "other.example"] {
        world.names.set(host, &[&["127.0.0.1"]]);
    }
    for (url, outcome, response) in [
        (format!("https://hooks.example:{}/", good.port()), AttemptOutcome::Delivered, "ok"),
        (format!("https://other.example:{}/", good.port()), AttemptOutcome::Unreachable, ""),
        (format!("https://hooks.example:{}/", unknown.port()), AttemptOutcome::Unreachable, ""),
    ] {
        let id = world.register(&url, &[]).await.endpoint.unwrap().id;
        let attempt = world.try_once(&id).await;
        assert_eq!((attempt.outcome(), &*attempt.response), (outcome, response), "{url}");
    }
}
