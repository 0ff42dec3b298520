//! Streams over a WebSocket: each text frame is one message in JSON.
//!
//! An empty text frame says that the client sends no more; what the upstream still has to say comes
//! back until it closes. The close code tells the status of the call: 1000 when it ended well, 1007
//! for a message that is not what the contract says, 1001 when the gateway goes, 1008 for a user who may not, 1011 for a fault
//! inside, 1013 when the upstream cannot be reached, else 4000 plus the code of gRPC. A last text
//! frame `{"error": …}` says more.

use std::cell::Cell;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{Method, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use transcoder::Output;
use upstream::{Receiver, Sender};

use super::{Outcome, Silence, Until, accepted};
use crate::answer::{Answer, empty};
use crate::config::Streams;
use crate::edge::{Asked, Exchange, OwnAsked, Record, Worker, failed};
use crate::problem::Problem;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The word before a token in the list of protocols.
const BEARER: &str = "bearer";

/// Bytes that a socket gathers before it writes, and reads at once.
const BUFFER_BYTES: usize = 4 * 1024;

/// Most bytes of the reason in a close frame (RFC 6455 section 5.5).
const REASON_BYTES_MAX: usize = 123;

/// The token of a browser, which cannot set headers for a WebSocket: the word after `bearer` in the
/// list of protocols.
pub(crate) fn token(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let mut words = offered.split(',').map(str::trim);
    words.find(|word| word.eq_ignore_ascii_case(BEARER))?;
    let mut token = HeaderValue::try_from(format!("Bearer {}", words.next()?)).ok()?;
    token.set_sensitive(true);
    Some(token)
}

/// Whether a request begins a WebSocket.
pub(crate) fn is_asked_for(head: &Parts) -> bool {
    let has = |name, word: &str| {
        let values = head.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|it| it.trim().eq_ignore_ascii_case(word))
    };
    head.method == Method::GET && has(UPGRADE, "websocket") && has(CONNECTION, "upgrade")
}

impl Worker {
    /// Answers a request that begins a WebSocket; what comes then is no HTTP any more.
    pub(super) async fn websocket(
        &self,
        exchange: &mut Exchange,
        asked: Asked<'_>,
    ) -> Result<Answer, Problem> {
        let Asked { route, head, user, .. } = asked;
        let (upgrade, accept) = handshake(head)?;
        let (sender, mut receiver) = self.open(exchange, asked).await?;
        // Only who sends nothing before it is answered can be waited for.
        if !route.rpc.descriptor.is_client_streaming() {
            accepted(exchange, route, &mut receiver, None).await?;
        }
        let settings = &self.edge.settings;
        let talk = Talk {
            asked: asked.to_own(),
            outcome: Outcome::of(exchange, settings.errors, head.uri.path()),
            until: Until::of(&settings.streams, user),
            settings: settings.streams.clone(),
            last: Cell::new(Instant::now()),
        };
        let bytes_max = settings.limits.body_bytes_max as usize;
        let record = exchange.beside();
        exchange.peer.becomes(move |stop| async move {
            if let Ok(upgraded) = upgrade.await {
                let socket = socket(upgraded, bytes_max).await;
                talk.run(socket, sender, receiver, record, stop).await;
            }
        });
        let mut answer = empty(StatusCode::SWITCHING_PROTOCOLS);
        let headers = answer.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        if token(&head.headers).is_some() {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(BEARER));
        }
        Ok(answer)
    }
}

fn handshake(head: &Parts) -> Result<(OnUpgrade, HeaderValue), Problem> {
    let refused =
        |detail: &'static str| Problem::new(StatusCode::BAD_REQUEST, "MALFORMED_HANDSHAKE", detail);
    let version = head.headers.get(SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version != "13") {
        return Err(refused("the WebSocket must be of version 13"));
    }
    let key = head.headers.get(SEC_WEBSOCKET_KEY);
    let key = key.ok_or_else(|| refused("the WebSocket has no key"))?;
    let upgrade = head.extensions.get::<OnUpgrade>().cloned();
    let upgrade = upgrade.ok_or_else(|| refused("this connection cannot become a WebSocket"))?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    Ok((upgrade, accept.map_err(|_| Problem::internal())?))
}

async fn socket(upgraded: Upgraded, message_bytes_max: usize) -> Socket {
    let config = WebSocketConfig::default()
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max))
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0);
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await
}

/// Both directions of one WebSocket.
struct Talk {
    asked: OwnAsked,
    outcome: Outcome,
    until: Until,
    settings: Streams,
    /// When there last was a message, either way.
    last: Cell<Instant>,
}

/// How a talk ended.
enum End {
    /// The call ended well.
    Well,
    /// The client went, or closed the socket itself.
    Left,
    /// The gateway goes.
    Away,
    /// Something is wrong.
    Wrong(Problem),
}

impl Talk {
    async fn run(
        self,
        socket: Socket,
        sender: Sender,
        mut receiver: Receiver,
        mut record: Record,
        stop: CancellationToken,
    ) {
        let (mut to_client, mut from_client) = socket.split();
        let end = {
            let mut down = std::pin::pin!(self.down(&mut receiver, &mut to_client, &mut record));
            let up = std::pin::pin!(self.up(&mut from_client, sender));
            tokio::select! {
                end = &mut down => end,
                end = up => match end {
                    End::Well => down.await,
                    other => other,
                },
                () = stop.cancelled() => End::Away,
            }
        };
        record.status = match &end {
            End::Well | End::Away => StatusCode::SWITCHING_PROTOCOLS.as_u16(),
            End::Left => record.status,
            End::Wrong(problem) => {
                record.refused(problem);
                problem.status.as_u16()
            }
        };
        self.close(&mut to_client, end).await;
    }

    /// From the client to the upstream, until the client has said all.
    async fn up(&self, socket: &mut SplitStream<Socket>, mut sender: Sender) -> End {
        loop {
            let message = match socket.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return refused(&error),
                None => return End::Left,
            };
            let text = match message {
                Message::Text(text) => Bytes::from(text),
                Message::Binary(bytes) => bytes,
                Message::Close(_) => return End::Left,
                // They show that the client lives, as the answers to our own pings do, and say nothing.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            };
            self.last.set(Instant::now());
            if text.is_empty() {
                // How the call goes on is told by its answers.
                let _ = sender.finish();
                // The client may still close the socket, or vanish.
                return self.linger(socket).await;
            }
            match self.asked.message(&text) {
                Ok(message) => {
                    if sender.message(message).await.is_err() {
                        return End::Well;
                    }
                }
                Err(problem) => return End::Wrong(problem),
            }
        }
    }

    /// Waits for the end of a client that has said all.
    async fn linger(&self, socket: &mut SplitStream<Socket>) -> End {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                break;
            }
        }
        End::Left
    }

    /// From the upstream to the client.
    async fn down(
        &self,
        receiver: &mut Receiver,
        socket: &mut SplitSink<Socket, Message>,
        record: &mut Record,
    ) -> End {
        let beat = Some(self.settings.heartbeat);
        loop {
            let last = self.last.get();
            let next = self.until.within(last, beat, receiver.message()).await;
            let frame = match next {
                Err(Silence::Beat) => Message::Ping(Bytes::new()),
                // The client has said something meanwhile.
                Err(Silence::Over(_)) if self.last.get() != last => continue,
                Err(Silence::Over(problem)) => return End::Wrong(problem),
                Ok(Ok(None)) => return End::Well,
                Ok(Err(failure)) => return End::Wrong(failed(&self.asked.route, &failure)),
                Ok(Ok(Some(message))) => match self.show(&message) {
                    Ok(message) => {
                        self.last.set(Instant::now());
                        record.sent(message.len());
                        message
                    }
                    Err(problem) => return End::Wrong(problem),
                },
            };
            if socket.send(frame).await.is_err() {
                return End::Left;
            }
        }
    }

    fn show(&self, message: &[u8]) -> Result<Message, Problem> {
        let mut shown = Vec::with_capacity(message.len() * 2 + 32);
        let output = self.asked.route.response.decode(message, &mut shown).map_err(|error| {
            let method = self.asked.route.rpc.descriptor.full_name();
            tracing::error!(method, %error, "an upstream broke its contract");
            Problem::internal()
        })?;
        match output {
            Output::Json => {
                String::from_utf8(shown).map(Message::text).map_err(|_| Problem::internal())
            }
            Output::Raw { .. } => Ok(Message::binary(shown)),
        }
    }

    async fn close(&self, socket: &mut SplitSink<Socket, Message>, end: End) {
        let (code, reason) = match &end {
            End::Left => (CloseCode::Normal, ""),
            End::Well => (CloseCode::Normal, "OK"),
            End::Away => (CloseCode::Away, "the gateway goes; come again"),
            End::Wrong(problem) => {
                let json = String::from_utf8_lossy(&self.outcome.json(problem)).into_owned();
                let _ = socket.send(Message::text(format!("{{\"error\":{json}}}"))).await;
                (close_code(problem.code()), &*problem.reason)
            }
        };
        let reason = reason.get(..REASON_BYTES_MAX).unwrap_or(reason);
        let frame = CloseFrame { code, reason: reason.into() };
        // A client that is gone has nothing to be told.
        let _ = socket.send(Message::Close(Some(frame))).await;
        let _ = socket.close().await;
    }
}

fn refused(error: &SocketError) -> End {
    match error {
        SocketError::Capacity(_) => End::Wrong(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "BODY_TOO_LARGE",
            "a message is larger than allowed",
        )),
        SocketError::Utf8(_) => End::Wrong(Problem::new(
            StatusCode::BAD_REQUEST,
            "MALFORMED_JSON",
            "a text frame is not UTF-8",
        )),
        _ => End::Left,
    }
}

/// The close code that tells the status of a call.
fn close_code(code: Code) -> CloseCode {
    match code {
        Code::Ok => CloseCode::Normal,
        Code::InvalidArgument | Code::OutOfRange => CloseCode::Invalid,
        Code::Unauthenticated | Code::PermissionDenied => CloseCode::Policy,
        Code::Internal | Code::Unknown | Code::DataLoss => CloseCode::Error,
        Code::Unavailable => CloseCode::Again,
        code => CloseCode::Library(4000 + u16::try_from(i32::from(code)).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_show_their_token_among_the_protocols() {
        let shown = |offered: &'static str| {
            let offered = HeaderValue::from_static(offered);
            let token = token(&HeaderMap::from_iter([(SEC_WEBSOCKET_PROTOCOL, offered)]))?;
            token.to_str().ok().map(ToOwned::to_owned)
        };
        assert_eq!(shown("bearer, a.b.c").as_deref(), Some("Bearer a.b.c"));
        assert_eq!(shown("chat, Bearer,a.b.c").as_deref(), Some("Bearer a.b.c"));
        assert_eq!(shown("bearer"), None);
        assert_eq!(shown("chat"), None);
    }
}
