//! The frames of a gRPC body, watched as they pass.

use http::StatusCode;

use crate::problem::Problem;

/// Bytes before a message: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

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
                    return Err(self.too_large());
                }
            }
        }
        Ok(())
    }

    /// Whether no message is under way.
    pub(super) fn is_between(&self) -> bool {
        self.left == 0 && self.head_read == 0
    }

    fn too_large(&self) -> Problem {
        let detail = format!("a message has more than {} bytes", self.message_bytes_max);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", detail)
    }
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
