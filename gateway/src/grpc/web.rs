//! gRPC-Web: the trailers are a last frame of the body; in its text form all of it is base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;

/// Mark of the frame that holds the trailers.
const TRAILERS: u8 = 0x80;

/// A form of gRPC-Web.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Web {
    /// Whether the body is base64.
    pub(super) text: bool,
}

impl Web {
    /// The form that a type stands for, given as what follows `application/grpc`.
    pub(super) fn of(rest: &str) -> Option<Self> {
        let rest = rest.strip_prefix("-web")?;
        let (text, rest) = match rest.strip_prefix("-text") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        matches!(rest.as_bytes().first(), None | Some(b'+' | b';')).then_some(Self { text })
    }

    /// Bytes of a body as they are written.
    pub(super) fn data(self, data: Bytes) -> Bytes {
        if self.text { Bytes::from(STANDARD.encode(&data)) } else { data }
    }

    /// The frame that holds `trailers`.
    pub(super) fn trailers(self, trailers: &HeaderMap) -> Bytes {
        let mut lines = BytesMut::new();
        for (name, value) in trailers {
            lines.put_slice(name.as_str().as_bytes());
            lines.put_slice(b": ");
            lines.put_slice(value.as_bytes());
            lines.put_slice(b"\r\n");
        }
        let mut frame = BytesMut::with_capacity(lines.len() + 5);
        frame.put_u8(TRAILERS);
        frame.put_u32(u32::try_from(lines.len()).unwrap_or(u32::MAX));
        frame.put(lines);
        self.data(frame.freeze())
    }
}

/// The bytes that base64 stands for; `None` when it is not base64.
pub(super) fn decoded(text: &[u8]) -> Option<Bytes> {
    let mut reader = Reader::default();
    reader.read(text).filter(|_| reader.is_between())
}

/// Reads base64 that comes in pieces; each piece may end a padded part of its own.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Letters that are no whole group yet.
    rest: Vec<u8>,
}

impl Reader {
    /// The bytes that a piece makes whole; `None` when it is not base64.
    pub(super) fn read(&mut self, piece: &[u8]) -> Option<Bytes> {
        self.rest.extend_from_slice(piece);
        let whole = self.rest.len() / 4 * 4;
        let letters: Vec<u8> = self.rest.drain(..whole).collect();
        let mut bytes = BytesMut::with_capacity(whole / 4 * 3);
        // A client that joins what it encoded apart leaves padding in the middle.
        let mut parts = letters.as_slice();
        while !parts.is_empty() {
            let groups = parts.chunks_exact(4).position(|group| group[3] == b'=');
            let length = groups.map_or(parts.len(), |last| (last + 1) * 4);
            bytes.put_slice(&STANDARD.decode(&parts[..length]).ok()?);
            parts = &parts[length..];
        }
        Some(bytes.freeze())
    }

    /// Whether nothing is left over.
    pub(super) fn is_between(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_however_it_is_cut() {
        let text =
            [STANDARD.encode("hello"), STANDARD.encode("wo"), STANDARD.encode("rld")].concat();
        for piece in 1..=text.len() {
            let mut reader = Reader::default();
            let read = text.as_bytes().chunks(piece).map(|piece| reader.read(piece));
            let read: Option<Vec<Bytes>> = read.collect();
            assert_eq!(read.map(|read| read.concat()).as_deref(), Some(&b"helloworld"[..]));
            assert!(reader.is_between());
        }
        assert_eq!(Reader::default().read(b"a!b?"), None);
    }

    #[test]
    fn trailers_are_a_frame_with_a_mark() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        let frame = Web { text: false }.trailers(&trailers);
        assert_eq!(&frame[..], b"\x80\0\0\0\x10grpc-status: 0\r\n");
    }
}
