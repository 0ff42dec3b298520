//! Servers that die, hang, lie and reset.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason as Reset;
use h2::server::Builder;
use http::{HeaderMap, HeaderValue, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tonic::Code;
use upstream::{Call, Reason};

use crate::world::*;

/// Answers with `head`, then `data` if any, then `trailers` if any.
async fn answers(
    head: http::response::Builder,
    data: Option<&'static [u8]>,
    trailers: Option<&'static str>,
) -> Served {
    let head = Arc::new(head.body(()).unwrap());
    h2_server(Builder::new(), move |_, _, mut respond| {
        let mut response = Response::new(());
        *response.status_mut() = head.status();
        *response.headers_mut() = head.headers().clone();
        async move {
            let last = data.is_none() && trailers.is_none();
            let mut body = respond.send_response(response, last).unwrap();
            if let Some(data) = data {
                body.send_data(Bytes::from_static(data), trailers.is_none()).unwrap();
            }
            if let Some(status) = trailers {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static(status));
                body.send_trailers(trailers).unwrap();
            }
        }
    })
    .await
}

fn grpc() -> http::response::Builder {
    Response::builder().header("content-type", "application/grpc")
}

#[tokio::test]
async fn answers_that_are_not_grpc_are_refused_and_harm_nobody_else() {
    let whole: &[u8] = b"\0\0\0\0\x02ok";
    let table = [
        ("good", grpc(), Some(whole), Some("0"), None),
        (
            "html",
            Response::builder().header("content-type", "text/html"),
            Some(whole),
            None,
            Some(Code::Unknown),
        ),
        ("bad gateway", Response::builder().status(502), None, None, Some(Code::Unavailable)),
        ("no trailers", grpc(), Some(whole), None, Some(Code::Unknown)),
        ("no status", grpc(), None, None, Some(Code::Unknown)),
        ("no message", grpc(), None, Some("0"), Some(Code::Internal)),
        (
            "two messages",
            grpc(),
            Some(b"\0\0\0\0\x01a\0\0\0\0\x01b"),
            Some("0"),
            Some(Code::Internal),
        ),
        ("half a message", grpc(), Some(b"\0\0\0\0\x09ok"), Some("0"), Some(Code::Internal)),
        ("compressed", grpc(), Some(b"\x01\0\0\0\x02ok"), Some("0"), Some(Code::Internal)),
        ("huge", grpc(), Some(b"\0\xff\xff\xff\xffok"), Some("0"), Some(Code::ResourceExhausted)),
        ("not a code", grpc(), Some(whole), Some("x"), Some(Code::Unknown)),
        ("trailers only", grpc().header("grpc-status", "5"), None, None, Some(Code::NotFound)),
    ];
    for (what, head, data, trailers, expected) in table {
        let server = answers(head, data, trailers).await;
        let world = World::new(at(&[server.address]));
        for _ in 0..2 {
            let code = world.call("Echo").await.err().map(|failure| failure.code);
            assert_eq!(code, expected, "{what}");
        }
        assert_eq!(world.endpoint(server.address).connects, 1, "{what}: the connection stays");
    }
}

#[tokio::test]
async fn what_does_not_speak_http2_is_lost_or_broken() {
    for greeting in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"", &[0xff; 64]] {
        let server = listen(move |_, mut socket| async move {
            socket.write_all(greeting).await.unwrap();
        })
        .await;
        let world = World::new(at(&[server.address]));
        let failure = world.call("Echo").await.unwrap_err();
        let expected = [Some(Reason::Lost), Some(Reason::Broken), Some(Reason::Unreachable)];
        assert!(expected.contains(&failure.reason), "{failure:?}");
        let connects = world.endpoint(server.address).connects;
        assert!(connects <= 4, "it is not connected to again and again: {connects}");
    }
}

#[tokio::test]
async fn nobody_there_is_surely_not_sent_and_silence_is_bounded() {
    let failure = World::new(at(&[nowhere().await])).call("Echo").await.unwrap_err();
    assert_eq!(failure.reason, Some(Reason::Unreachable));
    assert!(failure.surely_not_sent);

    // It accepts and says nothing: pings find out.
    let silent = listen(|_, socket| async move {
        let _kept = socket;
        std::future::pending::<()>().await;
    })
    .await;
    let mut config = at(&[silent.address]);
    config.limits.keep_alive = Duration::from_millis(100);
    let started = Instant::now();
    let failure = World::new(config).call("Echo").await.unwrap_err();
    assert_eq!((failure.reason, failure.surely_not_sent), (Some(Reason::Lost), false));
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// It dies with calls under way, and comes back at the same address.
#[tokio::test]
async fn a_server_that_dies_is_connected_to_again() {
    let server = h2_server(Builder::new(), |number, _, respond| async move {
        if number == 0 {
            sleep(AGES).await;
        }
        answer(respond);
    })
    .await;
    let address = server.address;
    let world = World::new(at(&[address]));
    let (lost, ()) = tokio::join!(world.call("Echo"), async {
        sleep(Duration::from_millis(100)).await;
        drop(server);
    });
    let lost = lost.unwrap_err();
    assert_eq!((lost.reason, lost.surely_not_sent), (Some(Reason::Lost), false));

    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((_, respond))) = connection.accept().await {
            answer(respond);
        }
    });
    assert_eq!(world.call("Echo").await.unwrap().message, "ok");
}

#[tokio::test]
async fn resets_of_the_upstream_fail_their_call_alone() {
    let table = [
        (Reset::CANCEL, Code::Unavailable, false),
        (Reset::INTERNAL_ERROR, Code::Internal, false),
        (Reset::ENHANCE_YOUR_CALM, Code::ResourceExhausted, false),
        (Reset::INADEQUATE_SECURITY, Code::PermissionDenied, false),
        (Reset::REFUSED_STREAM, Code::Unavailable, true),
    ];
    for (reset, code, unsent) in table {
        let server = h2_server(Builder::new(), move |_, request, mut respond| async move {
            if request.uri().path() == "/test.Echo/Echo" {
                answer(respond);
            } else {
                respond.send_reset(reset);
            }
        })
        .await;
        let world = World::new(at(&[server.address]));
        let failure = world.call("Slow").await.unwrap_err();
        assert_eq!((failure.code, failure.surely_not_sent), (code, unsent), "{reset:?}");
        world.call("Echo").await.unwrap();
        assert_eq!(world.endpoint(server.address).connects, 1, "{reset:?}");
    }
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_though_the_method_is_not_safe() {
    let server = h2_server(Builder::new(), |number, _, mut respond| async move {
        if number == 0 {
            respond.send_reset(Reset::REFUSED_STREAM);
        } else {
            answer(respond);
        }
    })
    .await;
    let mut config = at(&[server.address]);
    config.retry.budget_per_second = 0;
    config.retry.budget_percent = 0;
    let world = World::new(config);
    assert_eq!(world.call("Echo").await.unwrap().message, "ok");
    assert_eq!(world.status().retries, 1);
}

/// One frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A field of HPACK, neither indexed nor compressed.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// Reads until two requests came, says that only the first will be looked at, and answers it.
async fn goaway_between_two(mut socket: TcpStream) {
    let mut preface = [0; 24];
    socket.read_exact(&mut preface).await.unwrap();
    socket.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    let mut requests = 0;
    while requests < 2 {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.unwrap();
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        socket.read_exact(&mut payload).await.unwrap();
        requests += usize::from(head[3] == 1);
    }
    let head = [vec![0x88], field("content-type", "application/grpc")].concat();
    let bytes = [
        frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]),
        frame(1, 4, 1, &head),
        frame(0, 0, 1, b"\0\0\0\0\x05first"),
        frame(1, 5, 1, &field("grpc-status", "0")),
    ];
    socket.write_all(&bytes.concat()).await.unwrap();
    sleep(AGES).await;
}

#[tokio::test]
async fn what_a_goaway_leaves_out_is_sent_again_on_a_new_connection() {
    let server = listen(|number, socket| async move {
        if number == 0 {
            return goaway_between_two(socket).await;
        }
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((_, respond))) = connection.accept().await {
            answer(respond);
        }
    })
    .await;
    let world = World::new(at(&[server.address]));

    let (one, other) = tokio::join!(world.call("Echo"), world.call("Echo"));

    let mut messages = [one.unwrap().message, other.unwrap().message];
    messages.sort();
    assert_eq!(messages, ["first", "ok"]);
    let endpoint = world.endpoint(server.address);
    assert_eq!((endpoint.connects, endpoint.connections, endpoint.failures), (2, 1, 0));
    assert_eq!(world.status().retries, 1);
}

/// Calls ten times a hundred, and drops all at once each time; tells whether the one connection
/// and a call that is on it all the time survive.
async fn survives_a_thousand_dropped_calls(resets_per_second: u32) -> bool {
    let server = tonic_server().await;
    let mut config = at(&[server.address]);
    config.limits.resets_per_second = number(resets_per_second);
    let world = World::new(config);
    world.call("Echo").await.unwrap();
    let worker = world.worker.clone();
    let witness = tokio::spawn(async move {
        worker
            .unary(Call { deadline: Instant::now() + Duration::from_secs(4), ..call("Never") })
            .await
    });
    let mut survived = true;
    for _ in 0..10 {
        let mut calls: Vec<_> = (0..100).map(|_| Box::pin(world.call("Slow"))).collect();
        for call in &mut calls {
            assert!(futures::poll!(call).is_pending());
        }
        drop(calls);
        survived &= world.call("Echo").await.is_ok();
        sleep(Duration::from_millis(250)).await;
    }
    let witness = witness.await.unwrap().unwrap_err();
    survived
        && witness.reason == Some(Reason::Deadline)
        && world.endpoint(server.address).connects == 1
}

/// A crowd that leaves at once must not cost the others their connection. Without the limit it does,
/// which shows that the test can fail.
#[tokio::test]
async fn a_thousand_dropped_calls_do_not_kill_the_connection() {
    assert!(survives_a_thousand_dropped_calls(10).await);
    assert!(!survives_a_thousand_dropped_calls(1_000_000).await, "the server minds bursts");
}

/// What was dropped does not stay: its stream is reset or ends.
#[tokio::test]
async fn dropped_calls_end() {
    let reset = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reset);
    let server = h2_server(Builder::new(), move |_, _, mut respond| {
        let count = Arc::clone(&count);
        async move {
            let reason = std::future::poll_fn(|context| respond.poll_reset(context)).await;
            assert_eq!(reason.unwrap(), Reset::CANCEL);
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let mut config = at(&[server.address]);
    config.limits.resets_per_second = number(50);
    let world = World::new(config);
    let calls = futures::future::join_all((0..30).map(|_| world.call("Never")));
    let _ = tokio::time::timeout(Duration::from_millis(200), calls).await;

    assert!(world.endpoint(server.address).in_flight > 10, "not all at once");
    eventually("all are reset", || reset.load(Ordering::SeqCst) == 30).await;
    assert_eq!(world.endpoint(server.address).in_flight, 0);
}
