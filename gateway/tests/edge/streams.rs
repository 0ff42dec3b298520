//! Streams of messages, in every form.

use std::fs;
use std::time::{Duration, Instant};

use auth::{Claims, KeysConfig, Role, TenantId, TokenSigner, UserId};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use gateway::{Access, IssuerConfig, Rule};
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::{Value, json};
use testkit::greeter::Greeter;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::alone::Alone;
use crate::codings::unpacked;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_as_lines() {
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |_| {}).await;
    let answer = alone.client.get(alone.url("/v1/hellos/ana?times=3")).send().await.unwrap();

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    let lines = lines(&answer.text().await.unwrap());
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2], json!({"message": "Hello, ana!", "greeted": "3"}));
}

/// A message does not wait for those after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_stream_is_read_message_by_message() {
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |_| {}).await;
    for coding in ["gzip", "br", "zstd"] {
        // Each is greeted after 300 ms.
        let request = alone.client.get(alone.url("/v1/hellos/slow?times=3"));
        let mut answer = request.header("accept-encoding", coding).send().await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], coding);
        assert_eq!(answer.headers()["vary"], "accept-encoding");
        let mut sent = Vec::new();
        let first = answer.chunk().await.unwrap().unwrap();
        let begun = Instant::now();
        sent.extend_from_slice(&first);
        while let Some(piece) = answer.chunk().await.unwrap() {
            sent.extend_from_slice(&piece);
        }
        assert!(begun.elapsed() > Duration::from_millis(400), "{coding}: it came at once");
        let text = String::from_utf8(unpacked(coding, &sent)).unwrap();
        assert_eq!(lines(&text).len(), 3, "{coding}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_goes_wrong_says_so_at_its_end() {
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |_| {}).await;
    let answer = alone.client.get(alone.url("/v1/hellos/nobody?times=2")).send().await.unwrap();
    let id = answer.headers()["x-correlation-id"].to_str().unwrap().to_owned();
    let lines = lines(&answer.text().await.unwrap());
    let error = &lines.last().unwrap()["error"];
    assert_eq!((&error["reason"], &error["status"]), (&json!("NOT_FOUND"), &json!(404)));
    assert_eq!(error["correlationId"], id);

    let events = alone.client.get(alone.url("/v1/hellos/nobody?times=2"));
    let events = events.header("accept", "text/event-stream").send().await.unwrap();
    let events = events.text().await.unwrap();
    assert!(events.contains("\n\nevent: error\ndata: {"), "{events}");

    // What is wrong with the request itself is told by the status.
    let refused = alone.client.get(alone.url("/v1/hellos/ana?times=x")).send().await.unwrap();
    assert_eq!(refused.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_as_events_that_show_that_they_live() {
    let greeter = Greeter::start().await;
    let beat = |config: &mut gateway::Config| {
        config.streams.heartbeat = Duration::from_millis(80);
        config.streams.retry = Duration::from_millis(1500);
    };
    let alone = Alone::of(&greeter, beat).await;
    let answer = alone.client.get(alone.url("/v1/hellos/slow?times=2"));
    let answer = answer.header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let events = answer.text().await.unwrap();
    assert!(events.starts_with("retry: 1500\n\n"), "{events}");
    assert!(events.matches(": still here\n\n").count() >= 2, "{events}");
    let first = "id: 1\ndata: {\"message\":\"Hello, slow!\",\"greeted\":\"1\"}\n\n";
    assert!(events.contains(first) && events.contains("id: 2\n"), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_ends() {
    let greeter = Greeter::start().await;
    let hasty = |config: &mut gateway::Config| {
        config.streams.idle_timeout = Duration::from_millis(100);
    };
    let alone = Alone::of(&greeter, hasty).await;
    let answer = alone.client.get(alone.url("/v1/hellos/slow?times=2")).send().await.unwrap();
    let lines = lines(&answer.text().await.unwrap());
    assert_eq!(lines[0]["error"]["reason"], "STREAM_IDLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_go_to_the_service_one_by_one() {
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |_| {}).await;
    let post = |path: &str, body: &'static str| {
        let request = alone.client.post(alone.url(path)).body(body);
        request.header("content-type", "application/x-ndjson").send()
    };
    let people = "{\"name\":\"ana\"}\n\n{\"name\":\"bob\"}";
    let collected = post("/v1/hellos:collect", people).await.unwrap();
    assert_eq!(collected.status(), 200);
    let collected: Value = collected.json().await.unwrap();
    assert_eq!(collected["message"], "Hello, ana and bob!");

    let chat = post("/v1/chat", people).await.unwrap().text().await.unwrap();
    let chat = lines(&chat);
    assert_eq!(chat.len(), 2);
    assert_eq!(chat[1]["message"], "Hello, bob!");

    let wrong = "{\"name\":\"ana\"}\n{\"nome\":\"bob\"}\n";
    let refused = post("/v1/hellos:collect", wrong).await.unwrap();
    assert_eq!(refused.status(), 400);
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["errors"][0]["field"], "nome");
}

/// Whether the service has answered before is a matter of luck, so it makes no difference.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_both_ways_is_told_by_the_last_line() {
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |_| {}).await;
    let chat = |body: reqwest::Body| {
        let request = alone.client.post(alone.url("/v1/chat")).body(body);
        request.header("content-type", "application/x-ndjson").send()
    };
    for said in ["{\"nome\":\"ana\"}", "{\"name\":\"ana\"}\n{\"nome\":\"bob\"}\n"] {
        let answer = chat(said.into()).await.unwrap();
        assert_eq!(answer.status(), 200);
        let lines = lines(&answer.text().await.unwrap());
        let error = &lines.last().unwrap()["error"];
        assert_eq!(
            (&error["reason"], &error["errors"][0]["field"]),
            (&json!("INVALID_FIELD"), &json!("nome"))
        );
    }

    // What was said and answered before stays.
    let (lines_to_say, said) = tokio::sync::mpsc::channel::<&str>(1);
    let said = futures::stream::unfold(said, |mut said| async move {
        let line = said.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(line))), said))
    });
    let answering = tokio::spawn(chat(reqwest::Body::wrap(StreamBody::new(said))));
    lines_to_say.send("{\"name\":\"ana\"}\n").await.unwrap();
    let mut answer = answering.await.unwrap().unwrap();
    let first = answer.chunk().await.unwrap().unwrap();
    assert_eq!(&first[..], b"{\"message\":\"Hello, ana!\",\"greeted\":\"1\"}\n");
    lines_to_say.send("{\"nome\":\"bob\"}\n").await.unwrap();
    let last = lines(&answer.text().await.unwrap());
    assert_eq!(last.len(), 1);
    assert_eq!(last[0]["error"]["reason"], "INVALID_FIELD");
}

type Socket = WebSocketStream<TcpStream>;

async fn connect(alone: &Alone, protocol: Option<&str>) -> Result<Socket, u16> {
    let mut request = format!("ws://{}/v1/chat", alone.address).into_client_request().unwrap();
    if let Some(protocol) = protocol {
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    }
    let stream = TcpStream::connect(alone.address).await.unwrap();
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, answer)) => {
            let chosen = answer.headers().get("sec-websocket-protocol");
            assert_eq!(chosen.map(|it| it.to_str().unwrap()), protocol.map(|_| "bearer"));
            Ok(socket)
        }
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn heard(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Close(frame) => {
                let frame = frame.unwrap();
                return json!({"code": u16::from(frame.code), "reason": frame.reason.as_str()});
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_talk_over_a_web_socket() {
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |_| {}).await;
    let mut socket = connect(&alone, None).await.unwrap();
    for (name, count) in [("ana", "1"), ("bob", "2")] {
        socket.send(Message::text(json!({"name": name}).to_string())).await.unwrap();
        let expected = json!({"message": format!("Hello, {name}!"), "greeted": count});
        assert_eq!(heard(&mut socket).await, expected);
    }
    socket.send(Message::text("")).await.unwrap();
    assert_eq!(heard(&mut socket).await, json!({"code": 1000, "reason": "OK"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_closes_with_the_status_of_the_call() {
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |config| config.limits.body_bytes_max = 1000).await;
    let long = json!({"name": "a".repeat(2000)}).to_string();
    for (said, reason, code) in [
        ("{\"nome\":\"ana\"}", "INVALID_FIELD", 1007),
        ("{\"name\":\"nobody\"}", "NOT_FOUND", 4005),
        (long.as_str(), "BODY_TOO_LARGE", 4008),
    ] {
        let mut socket = connect(&alone, None).await.unwrap();
        socket.send(Message::text(said)).await.unwrap();
        assert_eq!(heard(&mut socket).await["error"]["reason"], reason);
        assert_eq!(heard(&mut socket).await, json!({"code": code, "reason": reason}));
    }
}

/// To answer a ping is not to say anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_web_socket_ends_though_its_client_lives() {
    let greeter = Greeter::start().await;
    let hasty = |config: &mut gateway::Config| {
        config.streams.idle_timeout = Duration::from_secs(1);
        config.streams.heartbeat = Duration::from_millis(300);
    };
    let alone = Alone::of(&greeter, hasty).await;
    let mut socket = connect(&alone, None).await.unwrap();
    // What it says puts the end off.
    tokio::time::sleep(Duration::from_millis(700)).await;
    socket.send(Message::text(json!({"name": "ana"}).to_string())).await.unwrap();
    let said = Instant::now();
    assert_eq!(heard(&mut socket).await["message"], "Hello, ana!");
    let end = tokio::time::timeout(Duration::from_secs(5), heard(&mut socket)).await.unwrap();
    assert_eq!(end["error"]["reason"], "STREAM_IDLE");
    assert!(said.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_is_one_of_the_connections() {
    let greeter = Greeter::start().await;
    let few = |config: &mut gateway::Config| config.limits.connections_max = 2.try_into().unwrap();
    let alone = Alone::of(&greeter, few).await;
    let mut first = connect(&alone, None).await.unwrap();
    let _second = connect(&alone, None).await.unwrap();
    let third = tokio::time::timeout(Duration::from_millis(500), connect(&alone, None)).await;
    assert!(third.is_err(), "a third waits for a place");
    first.send(Message::text("")).await.unwrap();
    assert_eq!(heard(&mut first).await["code"], 1000);
    drop(first);
    let fourth = tokio::time::timeout(Duration::from_secs(5), connect(&alone, None)).await;
    fourth.expect("a place was left").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_hears_that_the_gateway_goes() {
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |_| {}).await;
    let mut socket = connect(&alone, None).await.unwrap();
    socket.send(Message::text(json!({"name": "ana"}).to_string())).await.unwrap();
    assert_eq!(heard(&mut socket).await["message"], "Hello, ana!");
    alone.drain();
    assert_eq!(heard(&mut socket).await["code"], 1001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_its_token_among_the_protocols() {
    let greeter = Greeter::start().await;
    let signer = TokenSigner::generate().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    fs::write(&file, json!({"keys": [signer.public_jwk()]}).to_string()).unwrap();
    let closed = |config: &mut gateway::Config| {
        config.issuers =
            vec![IssuerConfig { keys: KeysConfig::File(file), ..IssuerConfig::malha() }];
        config.policies = vec![Rule {
            methods: "*".to_owned(),
            access: Some(Access::Authenticated),
            ..Rule::default()
        }];
    };
    let alone = Alone::of(&greeter, closed).await;
    let token = |lasts| {
        let now = clock::Clock::system().now();
        let roles = vec![Role::Customer];
        let claims = Claims::new(UserId::random(), TenantId::DEFAULT, roles, now, lasts);
        signer.sign(&claims).unwrap()
    };
    assert_eq!(connect(&alone, None).await.err(), Some(401));

    let long = token(Duration::from_mins(1));
    let mut socket = connect(&alone, Some(&format!("bearer, {long}"))).await.unwrap();
    socket.send(Message::text("{\"name\":\"ana\"}")).await.unwrap();
    assert_eq!(heard(&mut socket).await["message"], "Hello, ana!");

    let brief = token(Duration::from_secs(1));
    let mut socket = connect(&alone, Some(&format!("bearer, {brief}"))).await.unwrap();
    assert_eq!(heard(&mut socket).await["error"]["reason"], "TOKEN_EXPIRED");
    assert_eq!(heard(&mut socket).await["code"], 1008);
}
