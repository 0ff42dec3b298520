//! A row over REST: HTTP/1.1 and HTTP/2, compressed both ways, HEAD and OPTIONS; streams as lines, as
//! events and over a WebSocket.

use futures::{SinkExt, StreamExt};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::row::Row;
use super::{CORRELATION_ID, World};
use crate::codings::{CODINGS, packed, unpacked};

const HTTP_BODY: &str = "google.api.HttpBody";

/// What the tables write of a header that an answer must not have.
const ABSENT: &str = "absent";

/// The row in all forms that it has over REST.
pub(crate) async fn proofs(world: &World, row: &Row) -> Vec<Result<(), String>> {
    let mut proofs = Vec::new();
    for form in Form::all_of(row) {
        let proof = Proof { world, row, form };
        let proved = match form {
            Form::Socket => proof.socket().await,
            _ => proof.http().await,
        };
        let heard = match form {
            Form::Options => world.check_heard(None),
            _ => world.check_heard(row.calls.as_ref()),
        };
        proofs.push(proved.and(heard).map_err(|fault| format!("{form:?}: {fault}")));
    }
    proofs
}

/// How a row is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Http1,
    Http2,
    /// The body of the request is compressed so.
    Packed(&'static str),
    /// The body of the answer is.
    Unpacked(&'static str),
    Head,
    Options,
    /// Server-sent events, over HTTP/1.1.
    Events1,
    Events2,
    Socket,
}

impl Form {
    fn all_of(row: &Row) -> Vec<Self> {
        let mut forms = vec![Self::Http1, Self::Http2];
        let method = row.calls.as_ref().map(|calls| &calls.method);
        let (up, down) = method
            .map_or((false, false), |it| (it.is_client_streaming(), it.is_server_streaming()));
        let speaks_json = method.is_some_and(|method| method.output().full_name() != HTTP_BODY);
        if !row.body.is_empty() && !up && row.verb != Method::GET {
            forms.extend(CODINGS.map(Self::Packed));
        }
        if !row.answer.is_empty() && !down {
            forms.extend(CODINGS.map(Self::Unpacked));
        }
        if row.verb == Method::GET {
            forms.push(Self::Head);
        }
        if method.is_some() {
            forms.push(Self::Options);
        }
        if down && speaks_json {
            forms.extend([Self::Events1, Self::Events2]);
        }
        if up && down && speaks_json {
            forms.push(Self::Socket);
        }
        forms
    }
}

/// One row in one form.
struct Proof<'a> {
    world: &'a World,
    row: &'a Row,
    form: Form,
}

impl Proof<'_> {
    async fn http(&self) -> Result<(), String> {
        let answer = self.request().send().await.map_err(|error| format!("{error:?}"))?;
        let status = match self.form {
            Form::Options => StatusCode::NO_CONTENT,
            _ => self.row.status,
        };
        let headers = self.check_headers(&answer);
        let (found, body) = (answer.status(), self.body(answer).await?);
        let shown = String::from_utf8_lossy(&body);
        equal("the status", &found, &status).map_err(|fault| format!("{fault}\n{shown}"))?;
        equal("the body", &shown.as_ref(), &self.expected_body().as_str())?;
        headers
    }

    fn request(&self) -> RequestBuilder {
        let Self { world, row, form } = self;
        let client: &Client = match form {
            Form::Http2 | Form::Unpacked(_) | Form::Events2 => &world.http2,
            _ => &world.http1,
        };
        let verb = match form {
            Form::Head => Method::HEAD,
            Form::Options => Method::OPTIONS,
            _ => row.verb.clone(),
        };
        let mut request = client.request(verb, world.alone.url(&row.target));
        request = request.header("x-correlation-id", CORRELATION_ID);
        for (name, value) in &row.headers {
            request = request.header(name, value);
        }
        match form {
            Form::Head | Form::Options => return request,
            Form::Unpacked(coding) => request = request.header("accept-encoding", *coding),
            Form::Events1 | Form::Events2 => {
                request = request.header("accept", "text/event-stream");
            }
            _ => {}
        }
        match form {
            Form::Packed(coding) => request
                .header("content-encoding", *coding)
                .body(packed(coding, row.body.as_bytes())),
            _ if row.body.is_empty() => request,
            _ => request.body(row.body.clone()),
        }
    }

    async fn body(&self, answer: Response) -> Result<Vec<u8>, String> {
        let body = answer.bytes().await.map_err(|error| format!("{error:?}"))?;
        Ok(match self.form {
            Form::Unpacked(coding) => unpacked(coding, &body),
            _ => body.to_vec(),
        })
    }

    fn check_headers(&self, answer: &Response) -> Result<(), String> {
        let Self { row, form, .. } = self;
        let found = |name: &str| answer.headers().get(name).map(|it| it.to_str().unwrap());
        equal("x-correlation-id", &found("x-correlation-id"), &Some(CORRELATION_ID))?;
        if *form == Form::Options {
            let allow = found("allow").unwrap_or_default();
            let admitted = allow.split(", ").any(|verb| verb == row.verb.as_str());
            return if admitted { Ok(()) } else { Err(format!("allow is {allow}")) };
        }
        if let Form::Unpacked(coding) = form {
            equal("content-encoding", &found("content-encoding"), &Some(*coding))?;
        }
        if *form == Form::Head && row.status != StatusCode::NOT_MODIFIED {
            let length = row.answer.len().to_string();
            equal("content-length", &found("content-length"), &Some(length.as_str()))?;
        }
        equal("content-type", &found("content-type"), &self.expected_type())?;
        for (name, value) in &row.answer_headers {
            let value = match (name.as_str(), form) {
                ("close", _) => continue,
                // The compressed form of an answer is another one.
                ("etag", Form::Unpacked(coding)) if value != ABSENT => {
                    format!("{}-{coding}\"", value.trim_end_matches('"'))
                }
                _ => value.clone(),
            };
            equal(name, &found(name), &Some(value.as_str()).filter(|value| *value != ABSENT))?;
        }
        Ok(())
    }

    fn expected_type(&self) -> Option<&str> {
        let Self { row, form, .. } = self;
        if let Some(stated) = row.answer_header("content-type") {
            return Some(stated);
        }
        let streams = row.calls.as_ref().is_some_and(|calls| calls.method.is_server_streaming());
        match form {
            _ if row.answer.is_empty() && !streams => None,
            _ if row.status.is_client_error() || row.status.is_server_error() => {
                Some("application/problem+json")
            }
            Form::Events1 | Form::Events2 => Some("text/event-stream"),
            _ if streams => Some("application/x-ndjson"),
            _ => Some("application/json"),
        }
    }

    fn expected_body(&self) -> String {
        let Self { row, form, .. } = self;
        let streams = row.calls.as_ref().is_some_and(|calls| {
            calls.method.is_server_streaming() && calls.method.output().full_name() != HTTP_BODY
        });
        match form {
            Form::Head | Form::Options => String::new(),
            Form::Events1 | Form::Events2 => {
                let events = row.answer.lines().enumerate().map(|(at, line)| {
                    match line.strip_prefix("{\"error\":").and_then(|it| it.strip_suffix('}')) {
                        Some(problem) => format!("event: error\ndata: {problem}\n\n"),
                        None => format!("id: {}\ndata: {line}\n\n", at + 1),
                    }
                });
                ["retry: 3000\n\n".to_owned()].into_iter().chain(events).collect()
            }
            // Every line has an end, also the last.
            _ if streams && !row.answer.is_empty() => row.answer.clone() + "\n",
            _ => row.answer.clone(),
        }
    }

    async fn socket(&self) -> Result<(), String> {
        let Self { world, row, .. } = self;
        let address = world.alone.address;
        let mut request = format!("ws://{address}{}", row.target).into_client_request().unwrap();
        request.headers_mut().insert("x-correlation-id", CORRELATION_ID.parse().unwrap());
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        for line in row.body.lines().chain([""]) {
            // It may be over already.
            let _ = socket.send(Message::text(line)).await;
        }
        let mut said = Vec::new();
        let close = loop {
            match socket.next().await.ok_or("no close frame")?.map_err(|it| it.to_string())? {
                Message::Text(text) => said.push(text.to_string()),
                Message::Close(frame) => break frame.ok_or("an empty close frame")?,
                _ => {}
            }
        };
        equal("what was said", &said.join("\n").as_str(), &row.answer.as_str())?;
        let close = format!("{} {}", u16::from(close.code), close.reason);
        equal("the end", &close.as_str(), &row.answer_header("close").unwrap_or("1000 OK"))
    }
}

/// Whether two are the same; else what they are.
fn equal<T: std::fmt::Debug + PartialEq>(
    what: &str,
    found: &T,
    expected: &T,
) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what} is\n{found:?}\nnot\n{expected:?}"))
}
