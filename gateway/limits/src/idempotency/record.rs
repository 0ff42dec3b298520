//! What is kept of an answer (K-38).

use bytes::Bytes;
use chrono::{DateTime, Utc};

/// The answer to a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Its status.
    pub status_code: u16,
    /// Its headers: those that a replay is to have too.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its body.
    pub body: Bytes,
    /// When it was given.
    pub created_at: DateTime<Utc>,
}

/// An answer as stores keep it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Record {
    pub(super) status_code: u16,
    /// Lines as HTTP has them: `name: value`.
    pub(super) headers: Bytes,
    /// None when it was too large.
    pub(super) body: Option<Bytes>,
    pub(super) created_at: DateTime<Utc>,
}

impl Record {
    /// An answer, without headers and body when they have more than so many bytes.
    pub(super) fn new(answer: Answer, bytes_max: usize) -> Self {
        let Answer { status_code, headers, body, created_at } = answer;
        let mut lines = Vec::new();
        for (name, value) in &headers {
            lines.extend_from_slice(name.as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(value);
            lines.extend_from_slice(b"\r\n");
        }
        if lines.len() + body.len() > bytes_max {
            return Self { status_code, headers: Bytes::new(), body: None, created_at };
        }
        Self { status_code, headers: lines.into(), body: Some(body), created_at }
    }

    /// The answer, or its status alone when it was too large.
    pub(super) fn into_answer(self) -> Result<Answer, u16> {
        let Self { status_code, headers, body, created_at } = self;
        let body = body.ok_or(status_code)?;
        let lines = headers.split(|byte| *byte == b'\n');
        let headers = lines.filter_map(|line| header(line.strip_suffix(b"\r")?)).collect();
        Ok(Answer { status_code, headers, body, created_at })
    }

    pub(super) fn bytes(&self) -> usize {
        self.headers.len() + self.body.as_ref().map_or(0, Bytes::len)
    }
}

fn header(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = str::from_utf8(&line[..colon]).ok()?;
    let value = line[colon + 1..].strip_prefix(b" ")?;
    Some((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        Answer {
            status_code: 201,
            headers: vec![
                ("content-type".to_owned(), b"application/json".to_vec()),
                ("etag".to_owned(), b"\"a: b\"".to_vec()),
                ("x-opaque".to_owned(), vec![0xff, 0x80]),
                ("x-empty".to_owned(), Vec::new()),
            ],
            body: Bytes::from_static(b"{\"id\": 1}\r\n"),
            created_at: Utc::now(),
        }
    }

    #[test]
    fn an_answer_survives_being_kept() {
        let answer = answer();
        assert_eq!(Record::new(answer.clone(), 1024).into_answer(), Ok(answer));
    }

    #[test]
    fn of_an_answer_too_large_only_the_status_is_kept() {
        let bytes = Record::new(answer(), 1024).bytes();
        assert!(Record::new(answer(), bytes).into_answer().is_ok());
        let record = Record::new(answer(), bytes - 1);
        assert_eq!(record.bytes(), 0);
        assert_eq!(record.into_answer(), Err(201));
    }
}
