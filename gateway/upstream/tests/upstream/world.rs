//! Servers and calls for the tests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use upstream::{
    Call, Config, EndpointStatus, Failure, Reply, Route, UpstreamConfig, UpstreamStatus, Upstreams,
};

/// Time that no test needs.
pub(crate) const AGES: Duration = Duration::from_secs(20);

/// A server with the methods `/test.Echo/...`:
/// - `Echo` sends back what comes, as it comes, one request message for one answer message;
/// - `Slow` does so after 200 ms; `Never` never answers;
/// - `Fail` refuses with details; `Down` is unavailable; `Bug` is an internal error.
#[derive(Clone, Default)]
pub(crate) struct Echo {
    pub(crate) calls: Arc<AtomicUsize>,
    pub(crate) seen: Arc<parking_lot::Mutex<HeaderMap>>,
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl tower::Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        *self.seen.lock() = request.headers().clone();
        Box::pin(async move { Ok(perform(request).await) })
    }
}

async fn perform(request: Request<Body>) -> Response<Body> {
    match request.uri().path() {
        "/test.Echo/Slow" => sleep(Duration::from_millis(200)).await,
        "/test.Echo/Never" => std::future::pending().await,
        "/test.Echo/Fail" => {
            let details = ErrorDetails::with_error_info(
                "NO_FUNDS",
                "test",
                [("k".to_owned(), "v".to_owned())],
            );
            let status = Status::with_error_details(Code::FailedPrecondition, "não há", details);
            return status.into_http();
        }
        "/test.Echo/Down" => return Status::unavailable("down").into_http(),
        "/test.Echo/Bug" => return Status::internal("bug").into_http(),
        _ => {}
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-trailer", HeaderValue::from_static("t"));
    let body = request.into_body().with_trailers(async { Some(Ok(trailers)) });
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .header("x-header", "h")
        .body(Body::new(body));
    response.unwrap()
}

/// A server that ends with the test.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) echo: Echo,
    _task: AbortOnDropHandle<()>,
}

impl Served {
    pub(crate) fn calls(&self) -> usize {
        self.echo.calls.load(Ordering::SeqCst)
    }
}

/// A tonic server with [`Echo`].
pub(crate) async fn tonic_server() -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, echo) = (listener.local_addr().unwrap(), Echo::default());
    let server = tonic::transport::Server::builder().add_service(echo.clone());
    let serving = server.serve_with_incoming(TcpListenerStream::new(listener));
    let task = tokio::spawn(async { serving.await.unwrap() });
    Served { address, echo, _task: AbortOnDropHandle::new(task) }
}

/// Runs `play` for every connection that is accepted, told how many came before.
pub(crate) async fn listen<F>(play: impl Fn(usize, TcpStream) -> F + Send + 'static) -> Served
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, echo) = (listener.local_addr().unwrap(), Echo::default());
    let accepting = async move {
        let mut playing = tokio::task::JoinSet::new();
        for number in 0.. {
            let (socket, _) = listener.accept().await.unwrap();
            playing.spawn(play(number, socket));
        }
    };
    Served { address, echo, _task: AbortOnDropHandle::new(tokio::spawn(accepting)) }
}

/// What a hand-made server does with a request.
pub(crate) type Respond = SendResponse<Bytes>;

/// Speaks HTTP/2 on every connection and runs `play` for every request, told how many came before.
pub(crate) async fn h2_server<F>(
    builder: Builder,
    play: impl Fn(usize, Request<RecvStream>, Respond) -> F + Clone + Send + Sync + 'static,
) -> Served
where
    F: Future<Output = ()> + Send + 'static,
{
    let count = Arc::new(AtomicUsize::new(0));
    listen(move |_, socket| {
        let (builder, play, count) = (builder.clone(), play.clone(), Arc::clone(&count));
        async move {
            let Ok(mut connection) = builder.handshake(socket).await else { return };
            let mut playing = tokio::task::JoinSet::new();
            while let Some(Ok((request, respond))) = connection.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                playing.spawn(play(number, request, respond));
            }
        }
    })
    .await
}

/// Answers well.
pub(crate) fn answer(mut respond: Respond) {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut body = respond.send_response(head, false).unwrap();
    body.send_data(Bytes::from_static(b"\0\0\0\0\x02ok"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    body.send_trailers(trailers).unwrap();
}

/// An address where nobody listens.
pub(crate) async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

pub(crate) fn number(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).unwrap()
}

/// Settings of an upstream at `addresses`: no health checks, a breaker that stays closed, short
/// waits.
pub(crate) fn at(addresses: &[SocketAddr]) -> UpstreamConfig {
    let mut config = UpstreamConfig {
        endpoints: addresses.iter().map(|address| format!("http://{address}")).collect(),
        ..UpstreamConfig::default()
    };
    config.health.enabled = false;
    config.breaker.consecutive_failures = number(u32::MAX);
    config.breaker.volume_min = number(u32::MAX);
    config.outlier.consecutive_failures = number(u32::MAX);
    config.retry.delay_min = Duration::from_millis(5);
    config
}

pub(crate) fn config(upstream: UpstreamConfig) -> Config {
    Config { upstreams: [("test".to_owned(), upstream)].into(), sticky_key: None }
}

/// The upstream `test` and one worker for it.
pub(crate) struct World {
    pub(crate) upstreams: Upstreams,
    pub(crate) worker: upstream::Worker,
}

impl World {
    pub(crate) fn new(upstream: UpstreamConfig) -> Self {
        telemetry::init_for_tests();
        let upstreams = Upstreams::new(&config(upstream), None, NonZeroUsize::MIN).unwrap();
        Self { worker: upstreams.worker(), upstreams }
    }

    pub(crate) async fn call(&self, method: &str) -> Result<Reply, Failure> {
        self.worker.unary(call(method)).await
    }

    pub(crate) fn status(&self) -> UpstreamStatus {
        let mut statuses = self.upstreams.status();
        statuses.retain(|status| status.name == "test");
        statuses.pop().unwrap()
    }

    pub(crate) fn endpoint(&self, address: SocketAddr) -> EndpointStatus {
        let endpoints = self.status().endpoints;
        endpoints.into_iter().find(|endpoint| endpoint.address == address).unwrap()
    }
}

/// A call of a method of [`Echo`], not safe to repeat.
pub(crate) fn call(method: &str) -> Call {
    Call {
        upstream: "test".into(),
        path: PathAndQuery::try_from(format!("/test.Echo/{method}")).unwrap(),
        headers: HeaderMap::new(),
        message: Bytes::from_static(b"hello"),
        deadline: Instant::now() + AGES,
        retry_safe: false,
        hedge_after: None,
        route: Route::default(),
    }
}

/// Waits for something that is bound to happen soon.
pub(crate) async fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    for _ in 0..500 {
        if happened() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("did not happen: {what}");
}
