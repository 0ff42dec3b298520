//! What is answered: nothing, bytes, or bytes that come one after the other.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

/// An answer to a request.
pub(crate) type Answer = Response<AnswerBody>;

/// A body is handed over in pieces of at most so many bytes: what a client does not take is dropped
/// when its time is over, but for the piece that HTTP/2 has already.
const PIECE_BYTES: usize = 32 * 1024;

/// Frames of a body, as they come.
pub(crate) type Frames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Cut>>>>;

/// A body that went wrong and has no words to say so: its connection breaks.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the body is cut short")]
pub(crate) struct Cut;

/// Body of an answer.
pub(crate) enum AnswerBody {
    /// There is none, or its last byte was sent.
    Done,
    /// All of it.
    Whole(Bytes),
    /// What comes when it comes.
    Flow(Frames),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut *self {
            Self::Done => Poll::Ready(None),
            Self::Whole(bytes) if bytes.len() > PIECE_BYTES => {
                Poll::Ready(Some(Ok(Frame::data(bytes.split_to(PIECE_BYTES)))))
            }
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Done;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Flow(frames) => frames.as_mut().poll_next(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Done => true,
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Flow(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Done => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Flow(_) => SizeHint::default(),
        }
    }
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(AnswerBody::Done);
    *answer.status_mut() = status;
    answer
}

/// An answer that is `body`, of a type that is known beforehand.
pub(crate) fn whole(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// The frames of a body that is there already.
pub(crate) fn pieces(mut bytes: Bytes) -> impl Iterator<Item = Frame<Bytes>> {
    std::iter::from_fn(move || {
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
        (!piece.is_empty()).then(|| Frame::data(piece))
    })
}

/// An answer whose body comes as a stream of frames.
pub(crate) fn flow(content_type: HeaderValue, frames: Frames) -> Answer {
    let mut answer = Response::new(AnswerBody::Flow(frames));
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}
