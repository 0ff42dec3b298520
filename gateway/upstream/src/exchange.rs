//! One call on one stream of HTTP/2.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::response::Parts;
use http::{HeaderMap, Request};

use crate::connection::{STREAM_WINDOW, abandon};
use crate::failure::Failure;
use crate::lane::Slot;
use crate::wire::{self, Frames, Payload};

/// The answer to a unary call.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) message: Bytes,
    pub(crate) trailers: HeaderMap,
}

/// Sends `message` and waits for the answer, whose message has at most `max` bytes.
pub(crate) async fn unary(
    slot: Slot,
    mut sender: SendRequest<Payload>,
    request: Request<()>,
    message: Bytes,
    max: usize,
) -> Result<Answer, Failure> {
    let (mut body, mut incoming) = open(slot, &mut sender, request)?;
    let sent = body.send_data(Payload::message(message), true);
    sent.map_err(|error| wire::lost(&error))?;
    // What is left to write is with the connection.
    drop((body, sender));

    let head = incoming.head().await?;
    if let Some(outcome) = wire::outcome(&head.headers) {
        outcome?;
    }
    wire::check(&head)?;
    let mut frames = Frames::new(max);
    let mut message = None;
    while let Some(piece) = incoming.data().await? {
        frames.push(piece);
        while let Some(found) = frames.next()? {
            if message.replace(found).is_some() {
                return Err(Failure::broken("the upstream answered with several messages"));
            }
        }
    }
    let trailers = incoming.trailers().await?;
    let outcome = wire::outcome(&trailers).or_else(|| wire::outcome(&head.headers));
    outcome.unwrap_or_else(|| Err(wire::no_status()))?;
    match message {
        Some(message) if frames.is_empty() => {
            Ok(Answer { headers: head.headers, message, trailers })
        }
        _ => Err(Failure::broken("the upstream's answer is cut short")),
    }
}

/// Opens a stream. A request that could not be opened was surely not sent.
pub(crate) fn open(
    slot: Slot,
    sender: &mut SendRequest<Payload>,
    request: Request<()>,
) -> Result<(SendStream<Payload>, Incoming), Failure> {
    let opened = sender.send_request(request, false);
    let (response, body) = opened.map_err(|error| wire::lost(&error).unsent())?;
    Ok((body, Incoming::new(Stage::Head(response), slot)))
}

/// What comes back on a stream. Dropped early, the stream is reset, now or later.
pub(crate) struct Incoming {
    stage: Stage,
    slot: Option<Slot>,
    /// Bytes read that the window does not count as read yet.
    unreleased: usize,
    /// Nobody waits for the rest.
    abandoned: bool,
}

enum Stage {
    Head(ResponseFuture),
    Body(RecvStream),
    Done,
}

impl Incoming {
    fn new(stage: Stage, slot: Slot) -> Self {
        Self { stage, slot: Some(slot), unreleased: 0, abandoned: false }
    }

    /// The head of the answer, to be asked for first and once.
    pub(crate) async fn head(&mut self) -> Result<Parts, Failure> {
        let Stage::Head(response) = &mut self.stage else {
            return Err(Failure::broken("the head of the answer was taken already"));
        };
        match response.await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                self.stage = Stage::Body(body);
                Ok(head)
            }
            Err(error) => Err(self.end(&error)),
        }
    }

    /// The next bytes; `None` at their end.
    pub(crate) async fn data(&mut self) -> Result<Option<Bytes>, Failure> {
        let Stage::Body(body) = &mut self.stage else { return Ok(None) };
        // A short answer is given back to the window as a whole when its stream is closed.
        if self.unreleased > STREAM_WINDOW as usize / 4 {
            let released = body.flow_control().release_capacity(self.unreleased);
            self.unreleased = 0;
            released.map_err(|error| wire::lost(&error))?;
        }
        match body.data().await {
            Some(Ok(piece)) => {
                self.unreleased += piece.len();
                Ok(Some(piece))
            }
            Some(Err(error)) => Err(self.end(&error)),
            None => Ok(None),
        }
    }

    /// The trailers, after the last bytes; empty when there are none.
    pub(crate) async fn trailers(&mut self) -> Result<HeaderMap, Failure> {
        let Stage::Body(body) = &mut self.stage else { return Ok(HeaderMap::new()) };
        let trailers = body.trailers().await;
        self.stage = Stage::Done;
        trailers.map(Option::unwrap_or_default).map_err(|error| wire::lost(&error))
    }

    fn end(&mut self, error: &h2::Error) -> Failure {
        self.stage = Stage::Done;
        wire::lost(error)
    }

    /// Takes the rest of the answer in and throws it away.
    async fn discard(mut self) {
        if matches!(self.stage, Stage::Head(_)) && self.head().await.is_err() {
            return;
        }
        while let Ok(Some(piece)) = self.data().await {
            drop(piece);
        }
        self.stage = Stage::Done;
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let ended = match &self.stage {
            Stage::Head(_) => false,
            Stage::Body(body) => body.is_end_stream(),
            Stage::Done => true,
        };
        let Some(slot) = self.slot.take().filter(|_| !ended && !self.abandoned) else { return };
        let at = slot.connection.reset_time();
        let mut rest = Self::new(std::mem::replace(&mut self.stage, Stage::Done), slot);
        rest.abandoned = true;
        rest.unreleased = self.unreleased;
        abandon(at, rest.discard());
    }
}
