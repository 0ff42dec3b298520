//! The frames, headers and codes of gRPC.

use bytes::{Buf, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use std::io::IoSlice;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::failure::{Failure, Reason};

pub(crate) const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
pub(crate) const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

const PREFIX: usize = 5;

/// What one DATA frame is made of: the prefix of a message and the message, never copied together.
pub(crate) struct Payload {
    prefix: [u8; PREFIX],
    /// Bytes of the prefix that are written already.
    written: usize,
    data: Bytes,
}

impl Payload {
    /// A message in the frame of gRPC, not compressed.
    pub(crate) fn message(data: Bytes) -> Self {
        // Bodies are bounded far below 4 GiB.
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
        let prefix = [0, length[0], length[1], length[2], length[3]];
        Self { prefix, written: 0, data }
    }

    /// Bytes that are framed already.
    pub(crate) fn raw(data: Bytes) -> Self {
        Self { prefix: [0; PREFIX], written: PREFIX, data }
    }
}

impl Buf for Payload {
    fn remaining(&self) -> usize {
        PREFIX - self.written + self.data.len()
    }

    fn chunk(&self) -> &[u8] {
        if self.written < PREFIX { &self.prefix[self.written..] } else { &self.data }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = [&self.prefix[self.written..], &self.data];
        let filled = parts.into_iter().filter(|part| !part.is_empty()).zip(slices);
        filled.map(|(part, slice)| *slice = IoSlice::new(part)).count()
    }

    fn advance(&mut self, count: usize) {
        let of_prefix = count.min(PREFIX - self.written);
        self.written += of_prefix;
        self.data.advance(count - of_prefix);
    }
}

/// Takes messages out of the bytes of a stream. A message that came in one piece is not copied.
pub(crate) struct Frames {
    max: usize,
    piece: Bytes,
    /// Begun by earlier pieces; `piece` is empty as long as this is not.
    begun: BytesMut,
}

impl Frames {
    /// Messages of at most `max` bytes.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, piece: Bytes::new(), begun: BytesMut::new() }
    }

    pub(crate) fn push(&mut self, piece: Bytes) {
        if self.begun.is_empty() && self.piece.is_empty() {
            self.piece = piece;
        } else {
            self.begun.extend_from_slice(&std::mem::take(&mut self.piece));
            self.begun.extend_from_slice(&piece);
        }
    }

    /// Whether nothing is left of what was pushed.
    pub(crate) fn is_empty(&self) -> bool {
        self.piece.is_empty() && self.begun.is_empty()
    }

    /// The next message that is complete.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let have: &[u8] = if self.begun.is_empty() { &self.piece } else { &self.begun };
        let Some((&[flag, a, b, c, d], rest)) = have.split_first_chunk() else { return Ok(None) };
        if flag != 0 {
            return Err(Failure::broken("the upstream compressed a message unasked"));
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > self.max {
            return Err(Failure::own(
                Code::ResourceExhausted,
                Reason::TooLarge,
                "the upstream's message is too large",
            ));
        }
        if rest.len() < length {
            self.begun.extend_from_slice(&std::mem::take(&mut self.piece));
            self.begun.reserve((PREFIX + length).saturating_sub(self.begun.len()));
            return Ok(None);
        }
        if self.begun.is_empty() {
            self.piece.advance(PREFIX);
            return Ok(Some(self.piece.split_to(length)));
        }
        self.begun.advance(PREFIX);
        Ok(Some(self.begun.split_to(length).freeze()))
    }
}

/// Refuses the head of an answer that is not one of gRPC.
pub(crate) fn check(head: &Parts) -> Result<(), Failure> {
    if head.status != StatusCode::OK {
        let message = format!("the upstream answered with HTTP status {}", head.status.as_u16());
        return Err(Failure::own(code_of(head.status), Reason::Broken, message));
    }
    let kind = head.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    match kind.strip_prefix(b"application/grpc") {
        Some([] | [b'+' | b';', ..]) => Ok(()),
        _ => Err(Failure::own(Code::Unknown, Reason::Broken, "the upstream does not speak gRPC")),
    }
}

/// As gRPC's `http-grpc-status-mapping.md` says.
fn code_of(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// How the call went, as trailers say; `None` when they do not.
pub(crate) fn outcome(trailers: &HeaderMap) -> Option<Result<(), Failure>> {
    if trailers.get(Status::GRPC_STATUS)? == "0" {
        return Some(Ok(()));
    }
    let status = Status::from_header_map(trailers)?;
    Some(Err(Failure {
        code: status.code(),
        message: status.message().to_owned().into(),
        details: Bytes::copy_from_slice(status.details()),
        reason: None,
        surely_not_sent: false,
        retry_after: status.get_details_retry_info().and_then(|info| info.retry_delay),
        metadata: Some(Box::new(status.metadata().clone().into_headers())),
    }))
}

/// The failure of an answer that ends without saying how the call went.
pub(crate) fn no_status() -> Failure {
    Failure::own(Code::Unknown, Reason::Broken, "the upstream's answer has no status")
}

/// What the error of a stream says of the call.
pub(crate) fn lost(error: &h2::Error) -> Failure {
    let unavailable =
        || Failure::own(Code::Unavailable, Reason::Lost, "the connection to the upstream was lost");
    // The stream is beyond the last that the peer's GOAWAY promises to look at.
    if error.is_go_away() && error.is_remote() {
        return unavailable().unsent();
    }
    if error.is_io() || error.is_go_away() {
        return unavailable();
    }
    match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) if error.is_remote() => unavailable().unsent(),
        // We did not cancel: the upstream gave up.
        Some(h2::Reason::CANCEL) if error.is_remote() => unavailable(),
        Some(h2::Reason::ENHANCE_YOUR_CALM) => {
            Failure::own(Code::ResourceExhausted, Reason::Lost, "the upstream is overwhelmed")
        }
        Some(h2::Reason::INADEQUATE_SECURITY) => {
            Failure::own(Code::PermissionDenied, Reason::Lost, "the upstream wants better security")
        }
        _ => Failure::broken("the upstream broke the stream off"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// All the bytes of a payload, in the pieces that a writer takes.
    fn written(mut payload: Payload, step: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while payload.has_remaining() {
            let piece = payload.chunk();
            let piece = &piece[..piece.len().min(step)];
            bytes.extend_from_slice(piece);
            let count = piece.len();
            payload.advance(count);
        }
        bytes
    }

    #[test]
    fn a_payload_is_prefix_and_message_however_it_is_written() {
        for step in 1..12 {
            let payload = Payload::message(Bytes::from_static(b"hello"));
            assert_eq!(payload.remaining(), 10);
            assert_eq!(written(payload, step), b"\0\0\0\0\x05hello");
            assert_eq!(written(Payload::raw(Bytes::from_static(b"raw")), step), b"raw");
        }
        let payload = Payload::message(Bytes::from_static(b"hello"));
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(payload.chunks_vectored(&mut slices), 2);
        assert_eq!(&*slices[1], b"hello");
    }

    #[test]
    fn messages_are_found_wherever_the_stream_is_cut() {
        let stream = b"\0\0\0\0\x03abc\0\0\0\0\0\0\0\0\0\x02de";
        for cut in 1..stream.len() {
            let mut frames = Frames::new(3);
            let mut found = Vec::new();
            for piece in stream.chunks(cut) {
                frames.push(Bytes::copy_from_slice(piece));
                while let Some(message) = frames.next().unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, ["abc", "", "de"], "{cut}");
            assert!(frames.is_empty());
        }
    }

    #[test]
    fn messages_that_are_compressed_or_too_large_are_refused_by_their_prefix() {
        for (prefix, reason) in
            [(b"\x01\0\0\0\x01", Reason::Broken), (b"\0\0\0\0\x04", Reason::TooLarge)]
        {
            let mut frames = Frames::new(3);
            frames.push(Bytes::from_static(prefix));
            assert_eq!(frames.next().unwrap_err().reason, Some(reason));
        }
    }

    #[test]
    fn heads_that_are_not_of_grpc_are_refused_with_the_code_of_their_status() {
        let table = [
            (200, "application/grpc", None),
            (200, "application/grpc+proto", None),
            (200, "application/grpc;x=1", None),
            (200, "application/grpc-web", Some(Code::Unknown)),
            (200, "text/html", Some(Code::Unknown)),
            (200, "", Some(Code::Unknown)),
            (400, "text/html", Some(Code::Internal)),
            (401, "text/html", Some(Code::Unauthenticated)),
            (403, "text/html", Some(Code::PermissionDenied)),
            (404, "text/html", Some(Code::Unimplemented)),
            (429, "application/grpc", Some(Code::Unavailable)),
            (503, "text/html", Some(Code::Unavailable)),
            (500, "text/html", Some(Code::Unknown)),
        ];
        for (status, kind, expected) in table {
            let answer = http::Response::builder().status(status).header(CONTENT_TYPE, kind);
            let (head, ()) = answer.body(()).unwrap().into_parts();
            assert_eq!(check(&head).err().map(|failure| failure.code), expected, "{status} {kind}");
        }
    }

    #[test]
    fn trailers_tell_code_message_details_and_wait() {
        let mut trailers = HeaderMap::new();
        assert!(outcome(&trailers).is_none());
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        assert!(outcome(&trailers).unwrap().is_ok());

        let details =
            tonic_types::ErrorDetails::with_retry_info(Some(std::time::Duration::from_secs(3)));
        let status = Status::with_error_details(Code::NotFound, "não há", details);
        let sent = status.clone().into_http::<()>();
        assert!(sent.headers()["grpc-message"].to_str().unwrap().contains("%C3%A3"));

        let failure = outcome(sent.headers()).unwrap().unwrap_err();
        assert_eq!((failure.code, &*failure.message), (Code::NotFound, "não há"));
        assert_eq!(failure.details, status.details());
        assert_eq!(failure.retry_after, Some(std::time::Duration::from_secs(3)));
    }
}
