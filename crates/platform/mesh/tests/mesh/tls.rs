//! Who gets a connection: TLS 1.3 with certificates on both sides, renewed without a restart.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::poll;
use mesh::{Mesh, Service, certs};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ConfigBuilder, NamedGroup, ProtocolVersion, RootCertStore, ServerConfig,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::{Code, Status};

use crate::world::*;

fn open_accounts() -> (Service, Count) {
    let reached = Count::default();
    let counted = reached.clone();
    let accounts = Accounts::new(move |_| {
        counted.up();
        async { Ok(()) }
    });
    (Service::new("accounts").mount(accounts), reached)
}

async fn open_account(member: &Mesh) -> Result<(), Status> {
    let mut client = AccountsClient::new(member.channel("accounts"));
    client.open_account(OpenAccountRequest::default()).await.map(drop)
}

/// A client of TLS alone, that trusts the CA of `folder`.
fn raw_client(
    folder: &Path,
    version: &'static SupportedProtocolVersion,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
    ClientConfig::builder_with_protocol_versions(&[version]).with_root_certificates(roots)
}

fn chain(folder: &Path, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_file(folder.join(format!("{name}.pem"))).unwrap();
    (vec![certificate], PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap())
}

async fn connect(
    config: ClientConfig,
    address: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), socket).await
}

/// In TLS 1.3 the client learns of its refusal when it reads.
async fn is_refused(config: ClientConfig, address: SocketAddr) -> bool {
    match connect(config, address).await {
        Err(_) => true,
        Ok(mut stream) => {
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
            stream.read_u8().await.is_err()
        }
    }
}

/// A certificate of the folder's CA, for `name`, that expired an hour ago.
fn issue_expired(folder: &Path, name: &str) {
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
    let ca_key = KeyPair::from_pem(&read("ca.key")).unwrap();
    let ca = Issuer::from_ca_cert_pem(&read("ca.pem"), ca_key).unwrap();
    let mut params = CertificateParams::default();
    let id = format!("spiffe://malha/{name}");
    params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_after = (SystemTime::now() - Duration::from_hours(1)).into();
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
}

/// B-43, B-44, C-30: without a certificate of our CA nobody gets in.
#[tokio::test]
async fn connections_without_a_certificate_of_the_ca_are_refused() {
    let world = World::new(&["accounts", "identity"]);
    let stranger = World::new(&["identity"]);
    let (service, _) = open_accounts();
    let served = serve(&world.join("accounts"), service).await;

    let nameless = raw_client(world.path(), &TLS13).with_no_client_auth();
    assert!(is_refused(nameless, served.address).await, "no certificate");

    let (certificate, key) = chain(stranger.path(), "identity");
    let foreign = raw_client(world.path(), &TLS13).with_client_auth_cert(certificate, key).unwrap();
    assert!(is_refused(foreign, served.address).await, "certificate of another CA");

    let (certificate, key) = chain(world.path(), "identity");
    let own = raw_client(world.path(), &TLS13).with_client_auth_cert(certificate, key).unwrap();
    assert!(!is_refused(own, served.address).await, "the same with a certificate of the CA");
}

#[tokio::test]
async fn certificates_that_name_no_member_are_refused() {
    let world = World::new(&["accounts"]);
    let (service, _) = open_accounts();
    let served = serve(&world.join("accounts"), service).await;
    let read = |file: &str| fs::read_to_string(world.path().join(file)).unwrap();
    let ca_key = KeyPair::from_pem(&read("ca.key")).unwrap();
    let ca = Issuer::from_ca_cert_pem(&read("ca.pem"), ca_key).unwrap();
    let mut params = CertificateParams::new(["identity".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();

    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let chain = vec![certificate.der().clone()];
    let nobody = raw_client(world.path(), &TLS13).with_client_auth_cert(chain, key).unwrap();
    assert!(is_refused(nobody, served.address).await);
}

#[tokio::test]
async fn expired_certificates_are_refused_on_both_ends() {
    let world = World::new(&["accounts", "identity"]);
    let (service, reached) = open_accounts();
    let served = serve(&world.join("accounts"), service).await;

    issue_expired(world.path(), "identity");
    let caller = world.caller("identity", "accounts", &[served.address]);
    let refusal = open_account(&caller).await.unwrap_err();
    assert_eq!((refusal.code(), reached.get()), (Code::Unavailable, 0), "expired caller");

    issue_expired(world.path(), "accounts");
    certs::issue(world.path(), "identity").unwrap();
    let (service, _) = open_accounts();
    let expired = serve(&world.join("accounts"), service).await;
    let caller = world.caller("identity", "accounts", &[expired.address]);
    let refusal = open_account(&caller).await.unwrap_err();
    assert_eq!(reason(&refusal), "UPSTREAM_UNREACHABLE", "expired callee");
    assert!(mesh::error::surely_not_sent(&refusal));
}

#[tokio::test]
async fn a_callee_with_another_spiffe_id_is_refused() {
    let world = World::new(&["ledger", "identity"]);
    let (service, reached) = open_accounts();
    let impostor = serve(&world.join("ledger"), service).await;
    let caller = world.caller("identity", "accounts", &[impostor.address]);

    let refusal = open_account(&caller).await.unwrap_err();

    assert_eq!(reason(&refusal), "UPSTREAM_UNREACHABLE");
    assert_eq!(reached.get(), 0);
}

/// B-43.
#[tokio::test]
async fn tls_1_2_is_refused() {
    let world = World::new(&["accounts", "identity"]);
    let (service, _) = open_accounts();
    let served = serve(&world.join("accounts"), service).await;

    for (version, accepted) in [(&TLS13, true), (&TLS12, false)] {
        let (certificate, key) = chain(world.path(), "identity");
        let client = raw_client(world.path(), version).with_client_auth_cert(certificate, key);
        let connected = connect(client.unwrap(), served.address).await;
        assert_eq!(connected.is_ok(), accepted, "{:?}", version.version);
    }
}

#[tokio::test]
async fn both_ends_choose_post_quantum_key_exchange() {
    let world = World::new(&["accounts", "identity"]);
    let (service, _) = open_accounts();
    let served = serve(&world.join("accounts"), service).await;
    let (certificate, key) = chain(world.path(), "identity");
    let client = raw_client(world.path(), &TLS13).with_client_auth_cert(certificate, key).unwrap();
    let stream = connect(client, served.address).await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768, "our server");

    // A server of TLS alone, to see what our client brings about.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let caller = world.caller("identity", "accounts", &[listener.local_addr().unwrap()]);
    let (certificate, key) = chain(world.path(), "accounts");
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(certificate, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let call = tokio::spawn(async move { open_account(&caller).await });
    let (socket, _) = listener.accept().await.unwrap();
    let stream = TlsAcceptor::from(Arc::new(config)).accept(socket).await.unwrap();
    let connection = stream.get_ref().1;
    let group = connection.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768, "our client");
    assert_eq!(connection.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    call.abort();
}

async fn certificate_served(world: &World, address: SocketAddr) -> Option<CertificateDer<'static>> {
    let (certificate, key) = chain(world.path(), "identity");
    let client = raw_client(world.path(), &TLS13).with_client_auth_cert(certificate, key).ok()?;
    let stream = connect(client, address).await.ok()?;
    Some(stream.get_ref().1.peer_certificates()?[0].clone().into_owned())
}

#[tokio::test]
async fn renewed_certificates_are_served_while_calls_go_on() {
    let world = World::new(&["accounts", "identity"]);
    let finish = Arc::new(Notify::new());
    let finished = Arc::clone(&finish);
    let accounts = Accounts::new(move |_| {
        let finished = Arc::clone(&finished);
        async move {
            finished.notified().await;
            Ok(())
        }
    });
    let served = serve(&world.join("accounts"), Service::new("accounts").mount(accounts)).await;
    let caller = world.caller("identity", "accounts", &[served.address]);
    let before = certificate_served(&world, served.address).await.unwrap();
    let mut call = pin!(open_account(&caller));
    assert!(poll!(&mut call).is_pending());

    certs::issue(world.path(), "accounts").unwrap();
    certs::issue(world.path(), "identity").unwrap();

    let renewed = chain(world.path(), "accounts").0.remove(0);
    assert_ne!(before, renewed);
    let served_now = eventually("the new certificate is served", || async {
        certificate_served(&world, served.address).await == Some(renewed.clone())
    });
    tokio::select! {
        answer = &mut call => panic!("nobody let the call finish: {answer:?}"),
        () = served_now => finish.notify_one(),
    }
    call.await.expect("the old connection still carries its call");
}

#[tokio::test]
async fn files_that_cannot_be_used_leave_the_old_certificates_in_service() {
    let world = World::new(&["accounts", "identity"]);
    let (service, _) = open_accounts();
    let served = serve(&world.join("accounts"), service).await;
    let before = certificate_served(&world, served.address).await;

    for (file, content) in [
        ("accounts.pem", "half a certific".to_owned()),
        ("accounts.pem", fs::read_to_string(world.path().join("identity.pem")).unwrap()),
        ("accounts.key", fs::read_to_string(world.path().join("identity.key")).unwrap()),
    ] {
        let good = fs::read(world.path().join(file)).unwrap();
        fs::write(world.path().join(file), content).unwrap();
        tokio::time::sleep(world.config.certs_check * 4).await;
        assert_eq!(certificate_served(&world, served.address).await, before, "{file}");
        fs::write(world.path().join(file), good).unwrap();
    }

    certs::issue(world.path(), "accounts").unwrap();
    let renewed = chain(world.path(), "accounts").0.pop();
    eventually("good files are taken over again", || async {
        certificate_served(&world, served.address).await == renewed
    })
    .await;
}

#[tokio::test]
async fn a_slow_handshake_is_cut_off_and_keeps_nobody_waiting() {
    let mut world = World::new(&["accounts", "identity"]);
    world.config.limits.handshake_timeout = Duration::from_millis(200);
    let (service, _) = open_accounts();
    let served = serve(&world.join("accounts"), service).await;

    let mut silent = TcpStream::connect(served.address).await.unwrap();
    open_account(&world.caller("identity", "accounts", &[served.address])).await.unwrap();

    let read = tokio::time::timeout(Duration::from_secs(2), silent.read_u8()).await;
    assert!(read.expect("the server hangs up").is_err());
}

#[tokio::test]
async fn joining_with_the_certificate_of_another_is_refused() {
    let world = World::new(&["accounts", "identity"]);
    for file in ["pem", "key"] {
        let own = world.path().join(format!("accounts.{file}"));
        fs::copy(world.path().join(format!("identity.{file}")), own).unwrap();
    }
    let error = Mesh::join("accounts", &world.config).unwrap_err();
    assert!(error.to_string().contains("not that of spiffe://malha/accounts"), "{error}");
    assert!(Mesh::join("nobody", &world.config).is_err());
}
