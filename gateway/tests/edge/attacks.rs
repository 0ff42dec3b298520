//! Clients that are slow, half, or hostile cost nothing and disturb nobody.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Version};
use testkit::greeter::Greeter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::alone::Alone;

const PATIENCE: Duration = Duration::from_secs(5);

async fn h2(
    address: SocketAddr,
) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Option<h2::Error>>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    (sender, tokio::spawn(async move { connection.await.err() }))
}

fn get(alone: &Alone, path: &str) -> Request<()> {
    Request::get(alone.url(path)).version(Version::HTTP_2).body(()).unwrap()
}

/// CVE-2023-44487.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_back_a_thousand_requests_is_sent_away() {
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |_| {}).await;
    let (mut sender, ended) = h2(alone.address).await;
    for _ in 0..1000 {
        let Ok(ready) = sender.ready().await else { break };
        sender = ready;
        let Ok((_, mut body)) = sender.send_request(get(&alone, "/v1/hello/slow"), false) else {
            break;
        };
        body.send_reset(h2::Reason::CANCEL);
    }
    let error = timeout(PATIENCE, ended).await.expect("the connection ends").unwrap().unwrap();
    assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM), "{error}");
    assert_eq!(alone.get("/v1/hello/ana").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_settings_and_pings_stops_nobody() {
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |_| {}).await;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let flood = [&settings[..], &ping].concat().repeat(1000);
    let mut stream = TcpStream::connect(alone.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    // Nobody reads the acknowledgements, so the edge must stop reading too.
    let flooding = tokio::spawn(async move {
        for _ in 0..2000 {
            if stream.write_all(&flood).await.is_err() {
                break;
            }
        }
        stream
    });
    sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(alone.get("/v1/hello/ana").await.0, 200);
    }
    assert!(begun.elapsed() < PATIENCE);
    assert!(!flooding.is_finished(), "what is not read is not taken");
    flooding.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end_are_refused() {
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |_| {}).await;
    let (sender, ended) = h2(alone.address).await;
    let mut sender = sender.ready().await.unwrap();
    let long = |count: usize| {
        let mut request = get(&alone, "/v1/hello/ana");
        for number in 0..count {
            let name = http::HeaderName::try_from(format!("x-long-{number}")).unwrap();
            request.headers_mut().insert(name, "y".repeat(1000).parse().unwrap());
        }
        request
    };
    let (answer, _) = sender.send_request(long(20), true).unwrap();
    assert_eq!(timeout(PATIENCE, answer).await.unwrap().unwrap().status(), 431);
    let (answer, _) = sender.send_request(get(&alone, "/v1/hello/ana"), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200, "the connection lives");

    // What goes on and on is not read to its end.
    let (answer, _) = sender.send_request(long(1000), true).unwrap();
    let error = timeout(PATIENCE, answer).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::COMPRESSION_ERROR), "{error}");
    ended.await.unwrap().expect("the connection is closed");
    assert_eq!(alone.get("/v1/hello/ana").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_is_not_waited_for() {
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |config| config.limits.body_rate_min = 10_000).await;
    let mut stream = TcpStream::connect(alone.address).await.unwrap();
    let head = "POST /v1/hello HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let begun = Instant::now();
    let dripping = tokio::spawn(async move {
        while writing.write_all(b" ").await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    let mut answer = vec![0; 4096];
    let read = timeout(PATIENCE, reading.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("BODY_TIMEOUT"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(4), "long before the time of a whole body");
    dripping.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_loses_the_connection() {
    let greeter = Greeter::start().await;
    let brief = |config: &mut gateway::Config| {
        config.limits.send_timeout = Duration::from_millis(300);
    };
    let alone = Alone::of(&greeter, brief).await;
    let mut stream = TcpStream::connect(alone.address).await.unwrap();
    // Far more than the system's buffers hold.
    let asked = "GET /docs HTTP/1.1\r\nhost: x\r\n\r\n".repeat(3000);
    let _ = timeout(Duration::from_secs(1), stream.write_all(asked.as_bytes())).await;
    sleep(Duration::from_secs(1)).await;
    let (mut buffer, mut total) = (vec![0; 1 << 16], 0);
    let ended = loop {
        match timeout(PATIENCE, stream.read(&mut buffer)).await.expect("it does not hang") {
            Ok(0) => break true,
            Ok(read) => total += read,
            Err(error) => break error.kind() == ErrorKind::ConnectionReset,
        }
        assert!(total < 3000 * 5000, "everything was sent");
    };
    assert!(ended);
    assert_eq!(alone.get("/v1/hello/ana").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_takes_is_given_up_alone() {
    let greeter = Greeter::start().await;
    let brief = |config: &mut gateway::Config| {
        config.limits.send_timeout = Duration::from_millis(300);
    };
    let alone = Alone::of(&greeter, brief).await;
    let stream = TcpStream::connect(alone.address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let (sender, connection) =
        builder.initial_window_size(10).handshake::<_, Bytes>(stream).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let post = Request::post(alone.url("/v1/hello")).version(Version::HTTP_2).body(()).unwrap();
    let (stuck, mut body) = sender.send_request(post, false).unwrap();
    let long = format!("{{\"name\":\"{}\"}}", "a".repeat(200_000));
    body.send_data(Bytes::from(long), true).unwrap();
    let mut stuck = stuck.await.unwrap().into_body();
    // The window is never opened; what comes in the end is the reset.
    let first = stuck.data().await.unwrap().unwrap();
    assert!(first.len() <= 10);
    let rest = timeout(PATIENCE, stuck.data()).await.expect("it does not hang");
    assert!(rest.unwrap().unwrap_err().is_reset());
    let (answer, _) = sender.send_request(get(&alone, "/nothing"), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 404, "the connection lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_in_time() {
    let greeter = Greeter::start().await;
    let brief = |config: &mut gateway::Config| {
        config.limits.idle_timeout = Duration::from_millis(300);
        config.limits.header_timeout = Duration::from_millis(300);
    };
    let alone = Alone::of(&greeter, brief).await;
    let (mut sender, ended) = h2(alone.address).await;
    sender = sender.ready().await.unwrap();
    // Longer than idle, but not idle.
    let (answer, _) = sender.send_request(get(&alone, "/v1/hellos/slow?times=3"), true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    let mut lines = Vec::new();
    while let Some(piece) = body.data().await {
        lines.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(String::from_utf8(lines).unwrap().lines().count(), 3);
    assert!(timeout(PATIENCE, ended).await.expect("it is closed").unwrap().is_none());

    let mut silent = TcpStream::connect(alone.address).await.unwrap();
    let read = timeout(PATIENCE, silent.read(&mut [0; 64])).await.expect("it is closed");
    assert_eq!(read.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn halves_of_requests_leave_nothing_behind() {
    let greeter = Greeter::start().await;
    let few = |config: &mut gateway::Config| {
        config.limits.connections_max = NonZeroU32::new(64).unwrap();
        config.limits.header_timeout = Duration::from_millis(500);
    };
    let alone = Alone::of(&greeter, few).await;
    for round in 0..4 {
        let mut halves = Vec::new();
        for half in 0..64 {
            let mut stream = TcpStream::connect(alone.address).await.unwrap();
            let text = "POST /v1/hello HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{\"name\"";
            let _ = stream.write_all(&text.as_bytes()[..10 + half % 50]).await;
            halves.push(stream);
        }
        // Half of them leave at once, the others wait until they are sent away.
        halves.truncate(32);
        let answered = timeout(PATIENCE, alone.get("/v1/hello/ana")).await;
        assert_eq!(answered.expect("there is room again").0, 200, "round {round}");
    }
}

/// However often the edge looks at a conversation, the time of a head runs on.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_drips_is_not_waited_for() {
    let greeter = Greeter::start().await;
    let brief = |config: &mut gateway::Config| {
        config.limits.header_timeout = Duration::from_millis(500);
    };
    let alone = Alone::of(&greeter, brief).await;
    let mut slow = TcpStream::connect(alone.address).await.unwrap();
    slow.write_all(b"GET /v1/hello/ana HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 4096];
    let read = timeout(PATIENCE, slow.read(&mut answer)).await.unwrap().unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200 "));

    let (mut reader, mut writer) = slow.into_split();
    let drip = tokio::spawn(async move {
        let _ = writer.write_all(b"GET /v1/hello/ana HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
        while writer.write_all(b"y").await.is_ok() {
            sleep(Duration::from_millis(30)).await;
        }
    });
    let closed = timeout(PATIENCE, reader.read(&mut answer)).await.expect("it is closed");
    assert!(matches!(closed, Ok(0) | Err(_)));
    drip.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_silent_is_answered_again() {
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |_| {}).await;
    let request = "GET /v1/hello/ana HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut silent = TcpStream::connect(alone.address).await.unwrap();
    let mut halting = TcpStream::connect(alone.address).await.unwrap();
    halting.write_all(&request.as_bytes()[..20]).await.unwrap();
    for round in 0..2 {
        silent.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = timeout(PATIENCE, silent.read(&mut answer)).await.unwrap().unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200 "), "{round}");
        // Longer than the edge remembers a conversation.
        sleep(Duration::from_millis(3500)).await;
    }
    halting.write_all(&request.as_bytes()[20..]).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = timeout(PATIENCE, halting.read(&mut answer)).await.unwrap().unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
}
