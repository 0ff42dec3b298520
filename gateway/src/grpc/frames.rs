//! The frames of a gRPC body, watched as they pass.

use bytes::Bytes;
use http::StatusCode;

use crate::problem::Problem;

/// Bytes before a message: whether it is compressed, and its length.
pub(super) const HEAD_BYTES: usize = 5;

/// Watches that no message is larger than allowed.
#[derive(Debug)]
pub(super) struct Scanner {
    message_bytes_max: usize,
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that have come.
    head_read: usize,
    /// Bytes of the message that are still to come.
    left: usize,
}

impl Scanner {
    pub(super) fn new(message_bytes_max: usize) -> Self {
        Self { message_bytes_max, head: [0; HEAD_BYTES], head_read: 0, left: 0 }
    }

    /// Looks at what passes.
    pub(super) fn scan(&mut self, mut bytes: &[u8]) -> Result<(), Problem> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let here = self.left.min(bytes.len());
                self.left -= here;
                bytes = &bytes[here..];
                continue;
            }
            let here = (HEAD_BYTES - self.head_read).min(bytes.len());
            self.head[self.head_read..self.head_read + here].copy_from_slice(&bytes[..here]);
            self.head_read += here;
            bytes = &bytes[here..];
            if self.head_read == HEAD_BYTES {
                self.head_read = 0;
                let [_, a, b, c, d] = self.head;
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                if self.left > self.message_bytes_max {
                    return Err(too_large(self.message_bytes_max));
                }
            }
        }
        Ok(())
    }

    /// Whether no message is under way.
    pub(super) fn is_between(&self) -> bool {
        self.left == 0 && self.head_read == 0
    }
}

/// The only message of a body, and whether it is compressed.
pub(super) fn only(body: Bytes, message_bytes_max: usize) -> Result<(bool, Bytes), Problem> {
    let Some((&[flag, a, b, c, d], rest)) = body.split_first_chunk() else { return Err(broken()) };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > message_bytes_max {
        return Err(too_large(message_bytes_max));
    }
    if rest.len() != length {
        return Err(broken());
    }
    Ok((flag != 0, body.slice(HEAD_BYTES..)))
}

pub(super) fn too_large(message_bytes_max: usize) -> Problem {
    let detail = format!("a message has more than {message_bytes_max} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", detail)
}

/// The body is no whole message, or has one too many.
pub(super) fn broken() -> Problem {
    let detail = "the body is not made of whole messages, as many as the method takes";
    Problem::new(StatusCode::BAD_REQUEST, "BODY_BROKEN", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_measured_however_they_are_cut() {
        let body =
            [&[0, 0, 0, 0, 3][..], b"abc", &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 4], b"abcd"].concat();
        for piece in 1..body.len() {
            let mut scanner = Scanner::new(4);
            assert!(body.chunks(piece).all(|piece| scanner.scan(piece).is_ok()), "{piece}");
            assert!(scanner.is_between());

            let mut scanner = Scanner::new(3);
            assert!(!body.chunks(piece).all(|piece| scanner.scan(piece).is_ok()), "{piece}");
        }
        let mut scanner = Scanner::new(4);
        assert!(scanner.scan(&body[..body.len() - 1]).is_ok());
        assert!(!scanner.is_between());
    }
}
