//! Any headers to a whole edge: it answers, in form, and its service learns nothing that is made up.
//!
//! An input is a method and a target, a line for each header, an empty line, and the body. `$TOKEN`
//! stands for a token that is good.

#![no_main]

use std::sync::{LazyLock, Mutex};

use bytes::Bytes;
use gateway_fuzz::{Answer, Edge};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};
use libfuzzer_sys::fuzz_target;

static EDGE: LazyLock<Mutex<Edge>> = LazyLock::new(|| Mutex::new(Edge::start()));

fuzz_target!(|input: &[u8]| {
    let mut edge = EDGE.lock().expect("one thread at a time");
    let Some((request, body)) = request(input, &edge.token) else { return };
    let is_grpc = request.headers().get("content-type").is_some_and(|kind| {
        request.method() == "POST" && kind.as_bytes().starts_with(b"application/grpc")
    });
    let is_head = request.method() == "HEAD";
    let Some(answer) = edge.send(request, body) else { return };
    check(&answer, is_grpc || is_head);
});

fn request(input: &[u8], token: &str) -> Option<(Request<()>, Bytes)> {
    let end = input.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((input, &[][..]), |end| (&input[..end], &input[end + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let (method, target) = str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let uri = format!("http://edge.example{target}");
    let mut request =
        Request::builder().method(method).uri(uri).version(Version::HTTP_2).body(()).ok()?;
    for line in lines {
        add(request.headers_mut(), line, token);
    }
    Some((request, Bytes::copy_from_slice(body)))
}

/// Adds a header; what is none is left out.
fn add(headers: &mut HeaderMap, line: &[u8], token: &str) -> Option<()> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = line[colon + 1..].trim_ascii();
    let value = match str::from_utf8(value) {
        Ok(text) => HeaderValue::try_from(text.replace("$TOKEN", token)).ok()?,
        Err(_) => HeaderValue::from_bytes(value).ok()?,
    };
    headers.append(name, value);
    Some(())
}

fn check(answer: &Answer, is_bare: bool) {
    let Answer { head, body } = answer;
    let status = head.status.as_u16();
    // The service is well, so nothing that a client says is a fault inside.
    assert_ne!(status, 500, "{}", String::from_utf8_lossy(body));
    let ids: Vec<_> = head.headers.get_all("x-correlation-id").iter().collect();
    assert_eq!(ids.len(), 1);
    let id = ids[0].to_str().expect("visible ASCII");
    assert!((1..=128).contains(&id.len()));
    if status < 400 || is_bare || head.headers.contains_key("content-encoding") {
        return;
    }
    assert_eq!(head.headers["content-type"], "application/problem+json");
    let problem: serde_json::Value = serde_json::from_slice(body).expect("a problem is JSON");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["correlationId"], id);
    assert!(problem["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
}
