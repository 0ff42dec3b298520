//! A service that does wrong whatever can be done wrong, and now and then right.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use rand::seq::IndexedRandom;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What it does with a call.
#[derive(Clone, Copy, Debug)]
enum Way {
    Right,
    Late,
    Never,
    Refuse,
    Cancel,
    Break,
    Calm,
    Half,
    Garbage,
    Huge,
    NoStatus,
    Html,
    Unavailable,
    Internal,
    GoAway,
    Abrupt,
    HangUp,
}

const WAYS: [Way; 20] = [
    Way::Right,
    Way::Right,
    Way::Right,
    Way::Right,
    Way::Late,
    Way::Never,
    Way::Refuse,
    Way::Cancel,
    Way::Break,
    Way::Calm,
    Way::Half,
    Way::Garbage,
    Way::Huge,
    Way::NoStatus,
    Way::Html,
    Way::Unavailable,
    Way::Internal,
    Way::GoAway,
    Way::Abrupt,
    Way::HangUp,
];

/// Whether it is well at the moment, and whether it is there at all.
#[derive(Default)]
pub(super) struct State {
    pub(super) is_well: AtomicBool,
    is_away: AtomicBool,
}

/// Serves at an address for as long as it is polled.
pub(super) async fn serve(address: SocketAddr, state: Arc<State>) {
    loop {
        let mut connections = JoinSet::new();
        let listener = TcpListener::bind(address).await.unwrap();
        while !state.is_away.load(Ordering::Relaxed) {
            let arrived = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
            if let Ok(Ok((stream, _))) = arrived {
                connections.spawn(converse(stream, Arc::clone(&state)));
            }
        }
        drop((listener, connections));
        while state.is_away.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// It dies and comes back, over and over.
pub(super) async fn restarts(state: Arc<State>) {
    let _back = Back(Arc::clone(&state));
    loop {
        sleep(Duration::from_millis(rand::random_range(1_000..3_000))).await;
        state.is_away.store(true, Ordering::Relaxed);
        sleep(Duration::from_millis(rand::random_range(100..800))).await;
        state.is_away.store(false, Ordering::Relaxed);
    }
}

/// At the end it is there.
struct Back(Arc<State>);

impl Drop for Back {
    fn drop(&mut self) {
        self.0.is_away.store(false, Ordering::Relaxed);
    }
}

async fn converse(mut stream: TcpStream, state: Arc<State>) {
    if !state.is_well.load(Ordering::Relaxed) {
        match rand::random_range(0..10) {
            // Not HTTP/2.
            0 => drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await),
            // A frame longer than it may be.
            1 => drop(stream.write_all(&[0xff; 64]).await),
            2 => sleep(Duration::from_secs(2)).await,
            _ => {}
        }
    }
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut calls = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let way = WAYS.choose(&mut rand::rng()).copied().unwrap_or(Way::Right);
        let way = if state.is_well.load(Ordering::Relaxed) { Way::Right } else { way };
        if ends(way, &mut connection) {
            return;
        }
        calls.spawn(answer(way, request, respond));
    }
}

/// Whether the connection ends at once.
fn ends(way: Way, connection: &mut Connection<TcpStream, Bytes>) -> bool {
    match way {
        Way::GoAway => connection.graceful_shutdown(),
        Way::Abrupt => connection.abrupt_shutdown(Reason::INTERNAL_ERROR),
        _ => {}
    }
    matches!(way, Way::HangUp)
}

async fn answer(
    way: Way,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let count = if request.uri().path().ends_with("SayHellos") { 3 } else { 1 };
    let mut body = request.into_body();
    let mut asked = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        asked.extend_from_slice(&piece);
    }
    let reason = match way {
        Way::Never => {
            sleep(Duration::from_mins(1)).await;
            None
        }
        Way::Refuse => Some(Reason::REFUSED_STREAM),
        Way::Cancel => Some(Reason::CANCEL),
        Way::Break => Some(Reason::INTERNAL_ERROR),
        Way::Calm => Some(Reason::ENHANCE_YOUR_CALM),
        _ => None,
    };
    if let Some(reason) = reason {
        respond.send_reset(reason);
        return Ok(());
    }
    if matches!(way, Way::Html) {
        let head = Response::builder().status(502).header("content-type", "text/html");
        let mut stream = respond.send_response(head.body(()).unwrap(), false)?;
        return stream.send_data(Bytes::from_static(b"<h1>secret</h1>"), true);
    }
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(head, false)?;
    for _ in 0..count {
        stream.send_data(message(way, &greeting(&asked)), false)?;
    }
    end(way, stream).await
}

async fn end(way: Way, mut stream: SendStream<Bytes>) -> Result<(), h2::Error> {
    let status = match way {
        Way::NoStatus | Way::Half => return stream.send_data(Bytes::new(), true),
        Way::Unavailable => "14",
        Way::Internal => "13",
        _ => "0",
    };
    if matches!(way, Way::Late) {
        sleep(Duration::from_millis(rand::random_range(50..1_500))).await;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    trailers.insert("grpc-message", HeaderValue::from_static("SELECT secret"));
    stream.send_trailers(trailers)
}

/// The name of the request is its only field; the greeting is the first one of the answer.
fn greeting(asked: &[u8]) -> Vec<u8> {
    let name = asked.get(7..).unwrap_or_default();
    let length = asked.get(6).map_or(0, |length| usize::from(*length)).min(name.len());
    let text = [b"Hello, ", &name[..length], b"!"].concat();
    [&[0x0a, u8::try_from(text.len()).unwrap_or_default()], &text[..]].concat()
}

fn message(way: Way, greeting: &[u8]) -> Bytes {
    let length = match way {
        Way::Huge => 64 << 20,
        Way::Half => greeting.len() + 10,
        _ => greeting.len(),
    };
    let length = u32::try_from(length).unwrap().to_be_bytes();
    let body =
        if matches!(way, Way::Garbage) { vec![0xff; greeting.len()] } else { greeting.to_vec() };
    [&[0], &length[..], &body].concat().into()
}
