//! Messages of a body as they come.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;

use crate::problem::Problem;

/// Takes a body apart into messages: lines, each a document of JSON, or whatever comes at once.
pub(crate) struct Lines<B> {
    body: B,
    /// Whether the body is no text, and its messages are what comes at once.
    is_raw: bool,
    /// What has come and is no whole line yet.
    rest: BytesMut,
    /// How much of it has no end of line.
    searched: usize,
    ended: bool,
    line_bytes_max: usize,
}

impl<B> Lines<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// The lines of `body`, or its pieces when it is no text; none longer than that.
    pub(crate) fn new(body: B, is_raw: bool, line_bytes_max: usize) -> Self {
        Self { body, is_raw, rest: BytesMut::new(), searched: 0, ended: false, line_bytes_max }
    }

    /// The next line that is not empty; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            while let Some(line) = self.take()? {
                if self.is_raw {
                    return Ok(Some(line));
                }
                let document = line.trim_ascii();
                if !document.is_empty() {
                    return Ok(Some(line.slice_ref(document)));
                }
            }
            if self.ended {
                return Ok(None);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.rest.extend_from_slice(&data);
                    }
                }
                Some(Err(_)) => {
                    let detail = "the body ended early";
                    return Err(Problem::new(StatusCode::BAD_REQUEST, "BODY_BROKEN", detail));
                }
                None => self.ended = true,
            }
        }
    }

    fn take(&mut self) -> Result<Option<Bytes>, Problem> {
        if self.is_raw {
            let length = self.rest.len().min(self.line_bytes_max);
            return Ok((length > 0).then(|| self.rest.split_to(length).freeze()));
        }
        let found = self.rest[self.searched..].iter().position(|byte| *byte == b'\n');
        let length = match found {
            Some(at) => self.searched + at + 1,
            // The last line may have no end.
            None if self.ended && !self.rest.is_empty() => self.rest.len(),
            None => {
                self.searched = self.rest.len();
                0
            }
        };
        if length.max(self.searched) > self.line_bytes_max {
            let detail = format!("a message has more than {} bytes", self.line_bytes_max);
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Problem::new(status, "BODY_TOO_LARGE", detail));
        }
        if length == 0 {
            return Ok(None);
        }
        self.searched = 0;
        Ok(Some(self.rest.split_to(length).freeze()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    async fn read(pieces: &[&'static str], line_bytes_max: usize) -> Result<Vec<String>, String> {
        split(pieces, false, line_bytes_max).await
    }

    async fn split(
        pieces: &[&'static str],
        is_raw: bool,
        line_bytes_max: usize,
    ) -> Result<Vec<String>, String> {
        let frames = pieces.iter().map(|piece| Ok::<_, ()>(Frame::data(Bytes::from(*piece))));
        let frames: Vec<_> = frames.collect();
        let body = StreamBody::new(stream::iter(frames));
        let mut lines = Lines::new(body, is_raw, line_bytes_max);
        let mut read = Vec::new();
        while let Some(line) = lines.next().await.map_err(|problem| problem.reason.into_owned())? {
            read.push(String::from_utf8_lossy(&line).into_owned());
        }
        Ok(read)
    }

    #[tokio::test]
    async fn lines_are_found_however_they_are_cut() {
        assert_eq!(
            read(&["{}\n{", "\"a\":1}", "\n\n \r\n[1]"], 20).await.unwrap(),
            ["{}", "{\"a\":1}", "[1]"]
        );
        assert!(read(&[], 20).await.unwrap().is_empty());
        assert_eq!(read(&["12345678\n"], 9).await.unwrap(), ["12345678"]);
        assert_eq!(read(&["12345", "6789", "0"], 9).await, Err("BODY_TOO_LARGE".to_owned()));
    }

    #[tokio::test]
    async fn what_is_no_text_is_not_cut_at_lines() {
        assert_eq!(split(&[" a\nb", "\n"], true, 20).await.unwrap(), [" a\nb", "\n"]);
        assert_eq!(split(&["abcde"], true, 3).await.unwrap(), ["abc", "de"]);
    }
}
