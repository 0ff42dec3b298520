//! What happens when parts fail, change or stop.

use std::fs;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use auth::Role;
use gateway::ClientCertificates;
use mesh::certs;
use reqwest::Method;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::fakes;
use crate::house::{House, deposit, problem};

/// L-60: only the routes of the service that is down fail, and they come back by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_down_takes_only_its_own_routes_with_it() {
    let quick = |config: &mut mesh::Config| {
        config.breaker.consecutive_failures = NonZeroU32::new(4).unwrap();
        config.breaker.open_time = Duration::from_millis(300);
    };
    let house = House::start_with(|_| {}, quick).await;
    let balance = || house.signed(Method::GET, "/users/me/balance").send();
    assert_eq!(balance().await.unwrap().status(), 200);

    house.kit.stop("accounts").await;
    for _ in 0..6 {
        let response = balance().await.unwrap();
        assert!(response.headers().contains_key("retry-after"));
        let reason = response.json::<Value>().await.unwrap()["reason"].clone();
        assert!(
            ["UPSTREAM_UNREACHABLE", "UPSTREAM_LOST", "CIRCUIT_OPEN"]
                .contains(&reason.as_str().unwrap()),
            "{reason}"
        );
    }
    problem(balance().await.unwrap(), 503, "CIRCUIT_OPEN").await;
    assert_eq!(house.signed(Method::GET, "/transactions").send().await.unwrap().status(), 200);

    let health = house.request(Method::GET, "/health").send().await.unwrap();
    assert_eq!(health.status(), 503);
    let health: Value = health.json().await.unwrap();
    assert_eq!(health["services"]["accounts"]["status"], "DOWN");
    assert_eq!(health["services"]["payments"]["status"], "UP");
    assert_eq!(house.request(Method::GET, "/readyz").send().await.unwrap().status(), 200);

    let verifier = auth::TokenVerifier::new(
        Arc::new(auth::StaticKeys::new(vec![house.signer.public_jwk().clone()])),
        auth::VerifierConfig::default(),
        house.kit.clock(),
    );
    house.kit.serve(&house.kit.mesh("accounts"), fakes::accounts().verifier(verifier)).await;
    for attempt in 0.. {
        assert!(attempt < 50, "the circuit never closed");
        tokio::time::sleep(Duration::from_millis(100)).await;
        if balance().await.unwrap().status() == 200 {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_requests_end_before_the_gateway_does() {
    let house = House::start().await;
    let request = house.signed(Method::POST, "/transactions");
    let request = request.header("content-type", "application/json").body(deposit("slow"));
    let open = tokio::spawn(request.send());
    tokio::time::sleep(Duration::from_millis(200)).await;

    house.stop.cancel();
    assert_eq!(open.await.unwrap().unwrap().status(), 201);
    tokio::time::timeout(Duration::from_secs(5), house.gateway).await.unwrap().unwrap();
    assert!(TcpStream::connect(house.https).await.is_err(), "nobody listens any more");
}

/// A client that leaves does not end what the service has begun, nor disturb the others.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_disturb_nobody() {
    let house = House::start().await;
    let leaving = (0..64).map(|_| {
        let request = house.signed(Method::POST, "/transactions");
        let request = request.header("content-type", "application/json").body(deposit("slow"));
        request.timeout(Duration::from_millis(150)).send()
    });
    let left = futures::future::join_all(leaving).await;
    assert!(left.iter().all(Result::is_err), "all have left");
    for _ in 0..20 {
        assert_eq!(house.signed(Method::GET, "/transactions").send().await.unwrap().status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_is_renewed_without_a_restart() {
    let house = House::start().await;
    let folder = house.tls.certificate.parent().unwrap().to_owned();
    let before = served_certificate(&house).await;
    assert_eq!(before, served_certificate(&house).await);

    fs::write(&house.tls.key, "no key").unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(before, served_certificate(&house).await, "one that is broken changes nothing");

    certs::issue(&folder, "gateway").unwrap();
    for attempt in 0.. {
        assert!(attempt < 50, "the new certificate was never taken over");
        tokio::time::sleep(Duration::from_millis(100)).await;
        if served_certificate(&house).await != before {
            break;
        }
    }
    assert_eq!(house.request(Method::GET, "/livez").send().await.unwrap().status(), 200);
}

async fn served_certificate(house: &House) -> Vec<u8> {
    let ca = house.tls.certificate.with_file_name("ca.pem");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(house.https).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_certificates_where_they_must() {
    let house = House::start_with(
        |config| {
            config.tls.clients = ClientCertificates::Required;
            config.tls.clients_ca = Some(config.tls.certificate.with_file_name("ca.pem"));
            config.tls.clients_forward = true;
        },
        |_| {},
    )
    .await;
    assert!(house.request(Method::GET, "/livez").send().await.is_err(), "without one");

    let folder = house.tls.certificate.parent().unwrap();
    certs::issue(folder, "payments").unwrap();
    let pem = |name: &str| fs::read(folder.join(name)).unwrap();
    let identity = [pem("payments.pem"), pem("payments.key")].concat();
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&pem("ca.pem")).unwrap()])
        .identity(reqwest::Identity::from_pem(&identity).unwrap())
        .resolve("localhost", house.https)
        .no_proxy()
        .build()
        .unwrap();
    let list = client.get(house.url("/transactions")).bearer_auth(house.token(&[Role::Customer]));
    let list = list.header("x-client-cert-subject", "CN=somebody else");
    assert_eq!(list.send().await.unwrap().status(), 200);
    let (_, metadata) = house.calls.last();
    assert!(metadata["x-client-cert-names"].contains("spiffe://malha/payments"), "{metadata:?}");
    assert!(!metadata["x-client-cert-subject"].contains("somebody else"));
}
