//! CPU time of a unary call over mTLS on one core: ours beside tonic's own channel.
//!
//! `cargo run --release -p upstream --example unary [-- --json]`
//!
//! Client and server share the machine, not a thread: what is counted is the CPU time of the
//! client's thread, everything that it does included (HTTP/2, TLS, the kernel's share).

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures::future::{BoxFuture, join_all};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use mesh::{Dial, Mesh, certs};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::Status;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use upstream::{Call, Config, Route, UpstreamConfig, Upstreams};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Fault = Box<dyn std::error::Error + Send + Sync>;

const PATH: PathAndQuery = PathAndQuery::from_static("/test.Echo/Echo");
const MESSAGE: Bytes = Bytes::from_static(&[7; 200]);
/// Calls under way at a time.
const CALLERS: usize = 64;
const CALLS_PER_CALLER: usize = 500;
const ROUNDS: usize = 7;

fn main() -> Result<(), Fault> {
    let folder = tempfile::tempdir()?;
    certs::init(folder.path())?;
    for name in ["gateway", "echo"] {
        certs::issue(folder.path(), name)?;
    }
    let server =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let address = server.block_on(serve(folder.path()))?;

    let mut direct = Vec::new();
    let mut tonic = Vec::new();
    for _ in 0..ROUNDS {
        direct.push(on_a_thread(folder.path(), address, call_directly)?);
        tonic.push(on_a_thread(folder.path(), address, call_with_tonic)?);
    }
    let (direct, tonic) = (median(direct), median(tonic));
    let ratio = direct / tonic;
    if std::env::args().any(|argument| argument == "--json") {
        println!(r#"{{"unary_cpu_us":{direct:.2},"tonic_cpu_us":{tonic:.2},"ratio":{ratio:.2}}}"#);
    } else {
        println!("CPU per unary call over mTLS, {CALLERS} at a time, median of {ROUNDS}:");
        println!("  ours   {direct:6.2} µs");
        println!("  tonic  {tonic:6.2} µs   ours / tonic = {ratio:.2}");
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Microseconds of CPU per call of `calls`, alone on a thread with a runtime of its own.
fn on_a_thread<F>(
    folder: &Path,
    address: SocketAddr,
    calls: fn(Mesh, SocketAddr) -> F,
) -> Result<f64, Fault>
where
    F: Future<Output = Result<Duration, Fault>> + 'static,
{
    let folder = folder.to_owned();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut config = mesh::Config { certs: folder, ..mesh::Config::default() };
            config.endpoints.insert("echo".to_owned(), vec![address.to_string()]);
            calls(Mesh::join("gateway", &config)?, address).await
        })
    });
    let spent = thread.join().map_err(|_| "the client panicked")??;
    let calls = u32::try_from(CALLERS * CALLS_PER_CALLER)?;
    Ok(spent.as_secs_f64() * 1e6 / f64::from(calls))
}

/// Runs `one` as often as it takes, and tells the CPU time of this thread.
async fn measured<F>(one: impl Fn() -> F) -> Result<Duration, Fault>
where
    F: Future<Output = Result<Bytes, Fault>>,
{
    let caller = async |calls: usize| -> Result<(), Fault> {
        for _ in 0..calls {
            if one().await? != MESSAGE {
                return Err("the echo is wrong".into());
            }
        }
        Ok(())
    };
    join_all((0..CALLERS).map(|_| caller(50))).await.into_iter().collect::<Result<(), _>>()?;
    let before = cpu_time()?;
    let calls = join_all((0..CALLERS).map(|_| caller(CALLS_PER_CALLER))).await;
    calls.into_iter().collect::<Result<(), _>>()?;
    Ok(cpu_time()?.saturating_sub(before))
}

fn cpu_time() -> Result<Duration, Fault> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split(' ').next().ok_or("the kernel counts no CPU time")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

async fn call_directly(mesh: Mesh, _: SocketAddr) -> Result<Duration, Fault> {
    let config = UpstreamConfig::default();
    let config = Config { upstreams: [("echo".to_owned(), config)].into(), sticky_key: None };
    let upstreams = Upstreams::new(&config, Some(&mesh), NonZeroUsize::MIN)?;
    let (worker, headers, upstream): (_, _, Arc<str>) =
        (upstreams.worker(), metadata(), "echo".into());
    measured(async || {
        let call = Call {
            upstream: Arc::clone(&upstream),
            path: PATH,
            headers: headers.clone(),
            message: MESSAGE,
            deadline: Instant::now() + Duration::from_secs(5),
            retry_safe: true,
            hedge_after: None,
            route: Route::default(),
        };
        Ok(worker.unary(call).await?.message)
    })
    .await
}

async fn call_with_tonic(mesh: Mesh, address: SocketAddr) -> Result<Duration, Fault> {
    let dial = mesh.dial("echo")?;
    let connector = tower::service_fn(move |_: http::Uri| connect(dial.clone(), address));
    let channel = tonic::transport::Endpoint::from_static("http://echo")
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024)
        .connect_with_connector(connector)
        .await?;
    let headers = metadata();
    measured(async || {
        let mut request = tonic::Request::new(MESSAGE);
        *request.metadata_mut() = MetadataMap::from_headers(headers.clone());
        request.set_timeout(Duration::from_secs(5));
        let mut client = Grpc::new(channel.clone());
        client.ready().await?;
        Ok(client.unary(request, PATH, Raw).await?.into_inner())
    })
    .await
}

/// Metadata as the edge sends it.
fn metadata() -> HeaderMap {
    let fields = [
        ("authorization", "Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIwMTkwIn0.c2lnbmF0dXJl"),
        ("x-correlation-id", "0190f3c4-7a1b-7c3d-8e4f-0123456789ab"),
        ("x-tenant", "0190f3c4-0000-7000-8000-000000000001"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let field = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    fields.into_iter().map(field).collect()
}

async fn connect(
    dial: Dial,
    address: SocketAddr,
) -> io::Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let connector = TlsConnector::from(dial.tls());
    connector.connect(dial.server_name(), socket).await.map(TokioIo::new)
}

/// Serves [`Echo`] over mTLS on some port.
async fn serve(folder: &Path) -> Result<SocketAddr, Fault> {
    let chain =
        CertificateDer::pem_file_iter(folder.join("echo.pem"))?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(folder.join("echo.key"))?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem"))?)?;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build()?)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let _ = socket.set_nodelay(true);
                let Ok(socket) = acceptor.accept(socket).await else { return };
                let service = tonic::service::Routes::new(Echo).prepare();
                let service = TowerToHyperService::new(service);
                // Ends when the client leaves.
                let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(socket), service)
                    .await;
            });
        }
    });
    Ok(address)
}

/// Sends back what comes.
#[derive(Clone)]
struct Echo;

impl tonic::server::NamedService for Echo {
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
        Box::pin(async move {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let message = request.into_body().collect().await.unwrap_or_default().to_bytes();
            let body = Full::new(message).with_trailers(async { Some(Ok(trailers)) });
            let mut response = Response::new(Body::new(body));
            let kind = HeaderValue::from_static("application/grpc");
            response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
            Ok(response)
        })
    }
}

/// Passes messages as the bytes that they are.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
