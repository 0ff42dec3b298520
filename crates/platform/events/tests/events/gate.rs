//! A Kafka that wants TLS and a login: librdkafka's broker of tests, which knows neither, and a gate
//! before it that does. It also says how long topics are kept, which that broker does not know.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use events::PARTITIONS;
use mesh::certs;
use parking_lot::Mutex;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::brokers::TOPICS;

/// Who is let in with `PLAIN`, as it is on the wire.
const LOGIN: &[u8] = b"\0malha\0open sesame";

// Kinds of requests.
const SASL_HANDSHAKE: u16 = 17;
const API_VERSIONS: u16 = 18;
const SASL_AUTHENTICATE: u16 = 36;
const DESCRIBE_CONFIGS: u16 = 32;

/// How long all topics are kept, in milliseconds: a week.
pub(crate) const KEPT: &[u8] = b"604800000";

/// What the gate saw of whoever came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Visit {
    pub(crate) certificate: bool,
    pub(crate) mechanism: String,
    pub(crate) proof: Vec<u8>,
    pub(crate) admitted: bool,
}

pub(crate) struct Gate {
    pub(crate) port: u16,
    pub(crate) visits: Arc<Mutex<Vec<Visit>>>,
    folder: TempDir,
    _cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Gate {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        certs::init(folder.path()).unwrap();
        for name in ["broker", "malha"] {
            certs::issue(folder.path(), name).unwrap();
        }
        let cluster = MockCluster::new(1).unwrap();
        for topic in TOPICS {
            cluster.create_topic(topic, PARTITIONS.into(), 1).unwrap();
        }
        let behind = cluster.bootstrap_servers().rsplit(':').next().unwrap().parse().unwrap();
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let visits = Arc::default();
        let way = Way { port, behind, visits: Arc::clone(&visits) };
        tokio::spawn(serve(listener, acceptor(folder.path()), way));
        Self { port, visits, folder, _cluster: cluster }
    }

    /// A file of the authority that signs the broker's certificate and that of `malha`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn acceptor(folder: &Path) -> TlsAcceptor {
    let read = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(read("ca.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("broker.key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![read("broker.pem")], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// From the gate to the broker behind it.
#[derive(Clone)]
struct Way {
    port: u16,
    behind: u16,
    visits: Arc<Mutex<Vec<Visit>>>,
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, way: Way) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, way) = (acceptor.clone(), way.clone());
        tokio::spawn(async move {
            let client = acceptor.accept(stream).await?;
            let broker = TcpStream::connect(("127.0.0.1", way.behind)).await?;
            way.pass(client, broker).await
        });
    }
}

impl Way {
    async fn pass(
        &self,
        mut client: TlsStream<TcpStream>,
        mut broker: TcpStream,
    ) -> io::Result<()> {
        let mut request = self.admit(&mut client, &mut broker).await?;
        let (mut from_client, to_client) = tokio::io::split(client);
        let to_client = Arc::new(tokio::sync::Mutex::new(to_client));
        let (from_broker, mut to_broker) = broker.into_split();
        tokio::spawn(self.clone().answers(from_broker, Arc::clone(&to_client)));
        loop {
            if kind(&request) == DESCRIBE_CONFIGS {
                send(&mut *to_client.lock().await, &kept(&request)).await?;
            } else {
                send(&mut to_broker, &request).await?;
            }
            request = frame(&mut from_client).await?;
        }
    }

    async fn answers(
        self,
        mut from: impl AsyncRead + Unpin,
        to: Arc<tokio::sync::Mutex<impl AsyncWrite + Unpin>>,
    ) -> io::Result<()> {
        // The broker names its own address, where the client would find no gate.
        let address = |port: u16| [&b"127.0.0.1"[..], &u32::from(port).to_be_bytes()].concat();
        let (theirs, ours) = (address(self.behind), address(self.port));
        loop {
            let mut answer = frame(&mut from).await?;
            while let Some(at) = answer.windows(theirs.len()).position(|here| here == theirs) {
                answer[at..at + ours.len()].copy_from_slice(&ours);
            }
            name_controller(&mut answer);
            send(&mut *to.lock().await, &answer).await?;
        }
    }

    /// Has the client log in. Returns its first request after that.
    async fn admit(
        &self,
        client: &mut TlsStream<TcpStream>,
        broker: &mut TcpStream,
    ) -> io::Result<Vec<u8>> {
        let certificate = client.get_ref().1.peer_certificates().is_some();
        let mut visit = Visit { certificate, ..Visit::default() };
        loop {
            let request = frame(client).await?;
            let (correlation, body) = (&request[4..8], body(&request));
            match kind(&request) {
                API_VERSIONS => {
                    send(broker, &request).await?;
                    let answer = frame(broker).await?;
                    send(client, &offering_ours(answer)).await?;
                }
                SASL_HANDSHAKE => {
                    visit.mechanism = String::from_utf8_lossy(&body[2..]).into_owned();
                    // No error, and one mechanism: the one that is asked for.
                    let offer = [correlation, &[0, 0, 0, 0, 0, 1], body].concat();
                    send(client, &offer).await?;
                }
                SASL_AUTHENTICATE => {
                    visit.proof = body[4..].to_vec();
                    visit.admitted = visit.proof == LOGIN;
                    self.visits.lock().push(visit.clone());
                    let answer: &[u8] = if visit.admitted {
                        &[0, 0, 0xff, 0xff, 0, 0, 0, 0]
                    } else {
                        b"\0\x3a\0\x07go away\0\0\0\0"
                    };
                    send(client, &[correlation, answer].concat()).await?;
                }
                _ if visit.admitted => return Ok(request),
                _ => return Err(io::Error::other("nobody has logged in")),
            }
        }
    }
}

fn kind(request: &[u8]) -> u16 {
    u16::from_be_bytes([request[0], request[1]])
}

/// Has the only broker be the one to ask about topics, where the answer names another, behind the id of
/// the cluster.
fn name_controller(answer: &mut [u8]) {
    let id = b"mockCluster";
    let Some(at) = answer.windows(id.len()).position(|here| here == id) else { return };
    let digits = answer[at + id.len()..].iter().take_while(|byte| byte.is_ascii_hexdigit());
    let behind = at + id.len() + digits.count();
    answer[behind..behind + 4].copy_from_slice(&[0, 0, 0, 1]);
}

/// The answer to the question for the settings of one topic: one of them.
fn kept(request: &[u8]) -> Vec<u8> {
    // Behind the number of topics, which is one: its kind and its name.
    let topic = &body(request)[4..];
    let name = usize::from(u16::from_be_bytes([topic[1], topic[2]]));
    let nothing_wrong = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0xff, 0xff];
    let setting = [b"\0\x0cretention.ms\0\x09", KEPT, &[0, 0, 0]].concat();
    [&request[4..8], &nothing_wrong, &topic[..3 + name], &[0, 0, 0, 1], &setting].concat()
}

/// What follows the name of the client.
fn body(request: &[u8]) -> &[u8] {
    let name = u16::from_be_bytes([request[8], request[9]]);
    &request[10 + usize::from(name)..]
}

/// The list of what the broker can be asked for, with what the gate answers.
fn offering_ours(mut answer: Vec<u8>) -> Vec<u8> {
    let count = u32::from_be_bytes(answer[6..10].try_into().unwrap());
    if answer[4..6] == [0, 0] {
        answer[6..10].copy_from_slice(&(count + 3).to_be_bytes());
        answer.splice(10..10, [0, 17, 0, 0, 0, 1, 0, 36, 0, 0, 0, 0, 0, 32, 0, 0, 0, 0]);
    }
    answer
}

async fn frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; from.read_u32().await? as usize];
    from.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn send(to: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    to.write_u32(u32::try_from(frame.len()).unwrap()).await?;
    to.write_all(frame).await?;
    to.flush().await
}
