//! A row of the matrix, as the tables write it.
//!
//! ```text
//! == What the row shows
//! PUT /v1/named/a
//! content-type: application/json
//! {"name":"b"}
//! -> Named text: "a" inner { name: "b" }
//! <- 200
//! {"text":"a","inner":{"name":"b"}}
//! ```
//!
//! The request comes first: its line, its headers, its body. `->` is what the service hears, in the
//! text format of protobuf, a line for each message, or `nothing` when a stream has none; a row without
//! one never reaches it. `<-` is the
//! status that a client of REST gets, the headers that matter and the body, byte for byte. A stream
//! has one message a line; `close` is how a WebSocket ends that does not end well.

use bytes::Bytes;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use reqwest::{Method, StatusCode};

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    /// What it shows.
    pub(crate) title: String,
    pub(crate) verb: Method,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// What the service hears.
    pub(crate) calls: Option<Calls>,
    pub(crate) status: StatusCode,
    pub(crate) answer_headers: Vec<(String, String)>,
    pub(crate) answer: String,
}

/// A call of the service.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) method: MethodDescriptor,
    pub(crate) messages: Vec<Bytes>,
}

impl Row {
    /// The rows of a table.
    pub(crate) fn read(table: &str, pool: &DescriptorPool) -> Vec<Self> {
        let lines = table.lines().filter(|line| !line.starts_with('#'));
        let table = lines.collect::<Vec<_>>().join("\n");
        table.split("== ").skip(1).map(|row| Self::read_one(row.trim_end(), pool)).collect()
    }

    fn read_one(text: &str, pool: &DescriptorPool) -> Self {
        let (title, text) = text.split_once('\n').unwrap();
        let (asked, answered) = text.split_once("<- ").unwrap_or_else(|| panic!("{title}: no <-"));
        let (asked, called) = match asked.find("-> ") {
            Some(at) => asked.split_at(at),
            None => (asked, ""),
        };
        let (line, asked) = asked.split_once('\n').unwrap();
        let (verb, target) = line.split_once(' ').unwrap_or_else(|| panic!("{title}: {line}"));
        let (headers, body) = headers_and_body(asked);
        let (status, answered) = answered.split_once('\n').unwrap_or((answered, ""));
        let (answer_headers, answer) = headers_and_body(answered);
        Self {
            title: title.to_owned(),
            verb: verb.parse().unwrap(),
            target: target.to_owned(),
            headers,
            body,
            calls: Calls::read(called, pool),
            status: status.parse().unwrap_or_else(|_| panic!("{title}: {status}")),
            answer_headers,
            answer,
        }
    }

    /// A header of the answer.
    pub(crate) fn answer_header(&self, name: &str) -> Option<&str> {
        let found = self.answer_headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Calls {
    fn read(text: &str, pool: &DescriptorPool) -> Option<Self> {
        let service = pool.get_service_by_name("corners.v1.Corners").unwrap();
        let mut calls: Option<Self> = None;
        for call in text.split("-> ").skip(1) {
            let (name, message) = call.split_once([' ', '\n']).unwrap_or((call, ""));
            let method = service.methods().find(|method| method.name() == name);
            let method = method.unwrap_or_else(|| panic!("no method {name}"));
            let calls =
                calls.get_or_insert_with(|| Self { method: method.clone(), messages: Vec::new() });
            if message.trim() == "nothing" {
                continue;
            }
            let message = DynamicMessage::parse_text_format(method.input(), message);
            let message = message.unwrap_or_else(|error| panic!("{call}: {error}"));
            calls.messages.push(canonical(&message));
        }
        calls
    }
}

/// A message with its fields in the order of their numbers.
pub(crate) fn canonical(message: &DynamicMessage) -> Bytes {
    prost::Message::encode_to_vec(message).into()
}

/// Lines that are `name: value`, then the rest.
fn headers_and_body(text: &str) -> (Vec<(String, String)>, String) {
    let mut headers = Vec::new();
    let mut rest = text;
    loop {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let header = line.split_once(": ").filter(|(name, _)| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit())
        });
        let Some((name, value)) = header else { break };
        headers.push((name.to_owned(), value.to_owned()));
        rest = after;
    }
    (headers, rest.trim_end_matches('\n').to_owned())
}
