//! A service that looks at what reaches it: nothing of what a client says of itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// A message of gRPC whose first field is a text, long enough to be compressed.
const MESSAGE: &[u8] = b"\0\0\0\0\x22\x0a\x20hello hello hello hello hello he";

/// What may be said of who calls.
pub(crate) struct Expected {
    /// The only good token.
    pub(crate) token: String,
    /// Its user.
    pub(crate) user: String,
}

/// The running service.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
}

impl Service {
    /// Starts it, on a thread of its own.
    pub(crate) fn start(expected: Expected) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("a bound socket");
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a socket");
                serve(listener, Arc::new(expected)).await;
            });
        });
        Self { address }
    }
}

async fn serve(listener: TcpListener, expected: Arc<Expected>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let expected = Arc::clone(&expected);
        tokio::spawn(async move {
            let mut builder = h2::server::Builder::new();
            builder.max_concurrent_reset_streams(1_000_000);
            let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
            while let Some(Ok((request, respond))) = connection.accept().await {
                check(request.headers(), &expected);
                tokio::spawn(answer(request, respond));
            }
        });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let mut body = request.into_body();
    while let Some(piece) = body.data().await {
        body.flow_control().release_capacity(piece?.len())?;
    }
    let head = Response::builder().header("content-type", "application/grpc").body(());
    let mut stream = respond.send_response(head.expect("a right head"), false)?;
    stream.send_data(Bytes::from_static(MESSAGE), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}

/// Who calls is told by the edge alone, and the call is named once.
fn check(headers: &HeaderMap, expected: &Expected) {
    const NEVER: [&str; 4] = ["cookie", "forwarded", "proxy-authorization", "x-real-ip"];
    const BEGINNINGS: [&str; 5] =
        ["x-authenticated-", "x-client-cert-", "x-forwarded-", "x-malha-", "x-tenant"];
    for (name, value) in headers {
        let name = name.as_str();
        let is_claim = BEGINNINGS.iter().any(|beginning| name.starts_with(beginning));
        let is_known = name == "x-forwarded-for";
        assert!(is_known || (!is_claim && !NEVER.contains(&name)), "{name}: {value:?}");
        match name {
            "authorization" => {
                assert_eq!(value.as_bytes(), format!("Bearer {}", expected.token).as_bytes());
            }
            "x-user-id" => assert_eq!(value.as_bytes(), expected.user.as_bytes()),
            "x-user-agent" => {}
            _ => assert!(!name.starts_with("x-user-"), "{name}: {value:?}"),
        }
    }
    let one = |name: &str| {
        let mut all = headers.get_all(name).iter();
        let value = all.next().unwrap_or_else(|| panic!("{name} is there"));
        assert!(all.next().is_none(), "{name} is there once");
        value.to_str().expect("visible ASCII").to_owned()
    };
    assert!((1..=128).contains(&one("x-correlation-id").len()));
    assert_eq!(one("traceparent").len(), 55);
    one("x-forwarded-for").parse::<IpAddr>().expect("the address of the client, whatever it claims");
    for name in ["authorization", "x-user-id", "idempotency-key", "grpc-timeout", "te"] {
        assert!(headers.get_all(name).iter().count() <= 1, "{name} is there once at most");
    }
}
