//! A server of key sets that behaves as the test wants.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use auth::JwksUrl;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How a server answers.
#[derive(Clone)]
pub(crate) enum Answer {
    /// This text, from the status line on.
    Text(String),
    /// Nothing, ever.
    Silence,
    /// A byte a second.
    Drip,
    /// A gigabyte of body.
    Endless,
}

impl Answer {
    /// A document that is good for so many seconds.
    pub(crate) fn document(body: &str, max_age: u32) -> Self {
        let length = body.len();
        Self::Text(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\ncache-control: public, max-age={max_age}\r\n\r\n{body}"
        ))
    }
}

pub(crate) struct Server {
    pub(crate) url: JwksUrl,
    state: Arc<State>,
    task: JoinHandle<()>,
    _folder: Option<TempDir>,
}

struct State {
    answer: ArcSwap<Answer>,
    requests: AtomicUsize,
    sent: AtomicUsize,
}

impl Server {
    pub(crate) async fn http(answer: Answer) -> Self {
        Self::listen(answer, None, "http", None).await
    }

    /// With a certificate of its own for `localhost`, which `url.ca` names.
    pub(crate) async fn https(answer: Answer) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        Self::listen(answer, Some(TlsAcceptor::from(Arc::new(config))), "https", Some(folder)).await
    }

    async fn listen(
        answer: Answer,
        tls: Option<TlsAcceptor>,
        scheme: &str,
        folder: Option<TempDir>,
    ) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            answer: ArcSwap::from_pointee(answer),
            requests: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
        });
        let task = tokio::spawn(accept(listener, tls, Arc::clone(&state)));
        let ca: Option<PathBuf> = folder.as_ref().map(|folder| folder.path().join("ca.pem"));
        let url = JwksUrl { address: format!("{scheme}://localhost:{port}/jwks.json?v=1"), ca };
        Self { url, state, task, _folder: folder }
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.state.answer.store(Arc::new(answer));
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Bytes of body that clients took, of an endless one.
    pub(crate) fn sent(&self) -> usize {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// Nothing listens any more.
    pub(crate) async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            match tls {
                None => serve(stream, &state).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, &state).await;
                    }
                }
            }
        });
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: &State) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        request.push(byte);
    }
    state.requests.fetch_add(1, Ordering::SeqCst);
    let request = String::from_utf8(request).unwrap();
    assert!(request.starts_with("GET /jwks.json?v=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("host: localhost:"), "{request}");
    let answer = state.answer.load_full();
    let end = send(&mut stream, &answer, state).await;
    // A client that had enough is no failure of the server.
    drop(end);
}

async fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    answer: &Answer,
    state: &State,
) -> std::io::Result<()> {
    match answer {
        Answer::Text(text) => stream.write_all(text.as_bytes()).await?,
        Answer::Silence => std::future::pending().await,
        Answer::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await?;
            loop {
                stream.write_all(b" ").await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Answer::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            for _ in 0..256 * 1024 {
                stream.write_all(b"1000\r\n").await?;
                stream.write_all(&[b' '; 0x1000]).await?;
                stream.write_all(b"\r\n").await?;
                state.sent.fetch_add(0x1000, Ordering::SeqCst);
            }
        }
    }
    stream.flush().await?;
    stream.shutdown().await
}

/// Moves the time of tokio forward: never while a test waits for a socket, which would look like an
/// idle minute.
pub(crate) async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Until something is so that happens beside the calls.
pub(crate) async fn eventually(so: impl Fn() -> bool) {
    for _ in 0..500 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("did not happen in 5 s");
}
