//! The edge in this process, and a client of it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use auth::{Claims, TenantId, TokenSigner, UserId};
use bytes::Bytes;
use clock::Clock;
use gateway::{Config, Gateway};
use h2::client::SendRequest;
use http::Request;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::compiled::compile;
use crate::service::{Expected, Service};

/// Longest time of an answer: whatever a request says, the edge does not hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// An edge with every setting that looks at headers, before a service that looks at what comes.
pub struct Edge {
    runtime: Runtime,
    address: SocketAddr,
    client: Option<SendRequest<Bytes>>,
    /// A token that is good.
    pub token: String,
}

/// An answer of the edge.
pub struct Answer {
    /// Status and headers.
    pub head: http::response::Parts,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Edge {
    /// Starts it, on threads of its own.
    pub fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        // libFuzzer's main does not ignore it, as that of Rust does.
        runtime.block_on(async { drop(signal(SignalKind::pipe()).expect("a handler")) });
        let signer = TokenSigner::generate().expect("a key");
        let user = UserId::random();
        let day = Duration::from_hours(24);
        let claims = Claims::new(user, TenantId::DEFAULT, Vec::new(), Clock::system().now(), day);
        let token = signer.sign(&claims).expect("a token");
        let expected = Expected { token: token.clone(), user: user.to_string() };
        let service = Service::start(expected);

        let folder = std::env::temp_dir().join("malha-gateway-fuzz");
        std::fs::create_dir_all(&folder).expect("a folder");
        let keys = json!({"keys": [signer.public_jwk()]}).to_string();
        std::fs::write(folder.join("keys.json"), keys).expect("a file");
        let contract = compile("../crates/platform/testkit/src", "greeter.proto");
        std::fs::write(folder.join("greeter.binpb"), contract).expect("a file");
        let settings = settings(&folder, service.address);
        let config: Config = serde_json::from_value(settings).expect("right settings");
        Self { runtime, address: serve(config), client: None, token }
    }

    /// What the edge answers; `None` when the request cannot be sent, or the edge closes its
    /// connection, as it may when HTTP/2 is broken.
    pub fn send(&mut self, request: Request<()>, body: Bytes) -> Option<Answer> {
        let Self { runtime, address, client, .. } = self;
        let answered = runtime.block_on(async {
            let mut sender = match client.take() {
                Some(sender) => sender,
                None => connect(*address).await,
            };
            let answer = timeout(PATIENCE, exchange(&mut sender, request, body)).await;
            // A connection that has ended is not ready again.
            if matches!(answer, Ok(Ok(_))) {
                *client = Some(sender);
            }
            answer
        });
        answered.expect("the edge answers in time").ok()
    }
}

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.expect("the edge listens");
    stream.set_nodelay(true).expect("a socket");
    let (sender, connection) = h2::client::handshake(stream).await.expect("the edge speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

async fn exchange(
    sender: &mut SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
) -> Result<Answer, h2::Error> {
    *sender = sender.clone().ready().await?;
    let (answer, mut upload) = sender.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        // An edge that does not want the body may have answered before it is sent.
        let _ = upload.send_data(body, true);
    }
    let (head, mut stream) = answer.await?.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    Ok(Answer { head, body })
}

/// Runs the edge until the process ends, and tells where it listens.
fn serve(config: Config) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let gateway = Gateway::bind(config, None, Clock::system()).await.expect("it starts");
            tell.send(gateway.http().expect("it listens")).expect("somebody waits");
            gateway.serve(CancellationToken::new()).await;
        });
    });
    told.recv().expect("the edge starts")
}

fn settings(folder: &Path, service: SocketAddr) -> Value {
    json!({
        "https": null,
        "http": "127.0.0.1:0",
        "workers": 1,
        "trusted_proxies": ["127.0.0.0/8"],
        "cors_origins": ["https://app.example"],
        "access_log": {"requests": "off"},
        "compression": {"bytes_min": 16},
        "rate_limits": {"classes": {"default": [{"requests": 1_000_000_000, "per": "1h"}]}},
        "limits": {"resets_max": 1_000_000, "header_bytes_max": 65_536, "body_bytes_max": 65_536},
        "idempotency": {"answer_bytes_max": 65_536, "memory_bytes_max": 1_048_576},
        "contracts": {"descriptors": folder.join("greeter.binpb")},
        "issuers": [{
            "issuer": "malha",
            "audiences": ["malha"],
            "keys": {"file": folder.join("keys.json")},
            "claims": {"metadata": {"x-user-id": "sub"}},
        }],
        "upstreams": {"greeter": {
            "endpoints": [format!("http://{service}")],
            "sticky": {},
            "health": {"enabled": false},
        }},
        "policies": [
            {"methods": "*", "access": "public", "deadline": "10s"},
            {"methods": "*/SayHello", "conditional": true, "idempotency_key": true},
            {"methods": "*/SayHellos", "access": "authenticated"},
            {"methods": "*/SayGoodbye", "access": "authenticated", "idempotency_key": true},
        ],
    })
}
