//! Native gRPC and gRPC-Web through the edge.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt, TryStreamExt, stream};
use gateway::{Access, Rule};
use prost::Message;
use testkit::greeter::{Greeter, Greeting, Hello};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use crate::alone::Alone;
use crate::frames::{self, unframed};
use crate::unknown::{self, refusing};

fn hello(name: &str) -> Hello {
    Hello { name: name.to_owned(), times: 2 }
}

type Codec = ProstCodec<Hello, Greeting>;

async fn client(alone: &Alone) -> Grpc<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", alone.address)).unwrap();
    let mut client = Grpc::new(endpoint.connect().await.unwrap());
    client.ready().await.unwrap();
    client
}

async fn unary(alone: &Alone, method: &str, request: Request<Hello>) -> Result<Greeting, Status> {
    let path = format!("/greeter.v1.GreeterService/{method}").parse().unwrap();
    let answer = client(alone).await.unary(request, path, Codec::default()).await?;
    Ok(answer.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn native_calls_pass_through() {
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |_| {}).await;
    let answer = unary(&alone, "SayGoodbye", Request::new(hello("ana"))).await.unwrap();
    assert_eq!(answer, Greeting { message: "Hello, ana!".to_owned(), greeted: 1 });

    let path = || "/greeter.v1.GreeterService/Chat".parse().unwrap();
    let people = Request::new(stream::iter([hello("bob"), hello("eva")]));
    let chat = client(&alone).await.streaming(people, path(), Codec::default()).await.unwrap();
    let chat: Vec<Greeting> = chat.into_inner().try_collect().await.unwrap();
    assert_eq!(chat.len(), 2);
    assert_eq!(chat[1].message, "Hello, eva!");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_statuses_with_details() {
    let greeter = Greeter::start().await;
    let closed = |config: &mut gateway::Config| {
        config.limits.body_bytes_max = 1000;
        config.policies.push(Rule {
            methods: "*/SayGoodbye".to_owned(),
            access: Some(Access::Authenticated),
            ..Rule::default()
        });
    };
    let alone = Alone::of(&greeter, closed).await;

    let theirs = unary(&alone, "SayHello", Request::new(hello("nobody"))).await.unwrap_err();
    assert_eq!((theirs.code(), theirs.message()), (Code::NotFound, "nobody of that name"));

    let ours = unary(&alone, "SayGoodbye", Request::new(hello("ana"))).await.unwrap_err();
    assert_eq!(ours.code(), Code::Unauthenticated);
    assert_eq!(ours.get_details_error_info().unwrap().reason, "TOKEN_MISSING");
    let id = ours.metadata().get("x-correlation-id").unwrap().to_str().unwrap();
    assert_eq!(ours.get_details_request_info().unwrap().request_id, id);

    let unknown = unary(&alone, "SayNothing", Request::new(hello("ana"))).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);

    let long = unary(&alone, "SayHello", Request::new(hello(&"a".repeat(2000)))).await;
    assert_eq!(long.unwrap_err().code(), Code::ResourceExhausted);
}

fn framed(message: &Hello) -> Vec<u8> {
    frames::framed(&message.encode_to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_speak_grpc_web() {
    let greeter = Greeter::start().await;
    let origins = vec!["https://app.example".to_owned()];
    let alone = Alone::of(&greeter, |config| config.cors_origins = origins).await;
    let call = |method: &str, kind: &'static str, body: Vec<u8>| {
        let url = alone.url(&format!("/greeter.v1.GreeterService/{method}"));
        let request = alone.client.post(url).header("content-type", kind);
        request.header("origin", "https://app.example").body(body).send()
    };
    let binary = call("SayHellos", "application/grpc-web+proto", framed(&hello("ana"))).await;
    let binary = binary.unwrap();
    assert_eq!(binary.headers()["content-type"], "application/grpc-web+proto");
    assert_eq!(binary.headers()["access-control-allow-origin"], "https://app.example");
    let exposed = binary.headers()["access-control-expose-headers"].to_str().unwrap().to_owned();
    assert!(exposed.contains("grpc-status"), "{exposed}");
    let frames = unframed(&binary.bytes().await.unwrap());
    assert_eq!(frames.len(), 3);
    assert_eq!(Greeting::decode(&*frames[1].1).unwrap().message, "Hello, ana!");
    assert_eq!(frames[2].0, 0x80);
    assert!(String::from_utf8_lossy(&frames[2].1).contains("grpc-status: 0\r\n"));

    let text = STANDARD.encode(framed(&hello("bob"))).into_bytes();
    let text = call("SayHello", "application/grpc-web-text", text).await.unwrap();
    assert_eq!(text.headers()["content-type"], "application/grpc-web-text");
    let text = text.text().await.unwrap();
    // Each part is padded by itself.
    let decoded = text.as_bytes().chunks(4).flat_map(|group| STANDARD.decode(group).unwrap());
    let frames = unframed(&decoded.collect::<Vec<_>>());
    assert_eq!(Greeting::decode(&*frames[0].1).unwrap().message, "Hello, bob!");
    assert_eq!(frames[1].0, 0x80);

    let refused = call("SayHello", "application/grpc-web", framed(&hello("nobody"))).await;
    let refused = refused.unwrap();
    assert_eq!(refused.status(), 200);
    let frames = unframed(&refused.bytes().await.unwrap());
    let trailers = String::from_utf8_lossy(&frames.last().unwrap().1).into_owned();
    assert!(trailers.contains("grpc-status: 5\r\n"), "{trailers}");

    let url = alone.url("/greeter.v1.GreeterService/SayHello");
    let late = alone.client.post(url).header("content-type", "application/grpc-web");
    let late = late.header("grpc-timeout", "100m").body(framed(&hello("slow")));
    let frames = unframed(&late.send().await.unwrap().bytes().await.unwrap());
    let trailers = String::from_utf8_lossy(&frames.last().unwrap().1).into_owned();
    // The service, which is told the deadline, may be the first to give up; tonic calls that 1.
    assert!(trailers.contains("grpc-status: 4\r\n"), "{trailers}");

    let cut = framed(&hello("ana"))[..6].to_vec();
    let cut = call("SayHello", "application/grpc-web", cut).await.unwrap();
    let frames = unframed(&cut.bytes().await.unwrap());
    let trailers = String::from_utf8_lossy(&frames.last().unwrap().1).into_owned();
    assert!(trailers.contains("grpc-status: 3\r\n"), "{trailers}");
}

/// The service, which is told the deadline, may be the first to give up, and tonic then says that the
/// call was cancelled.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_told_alike_whoever_gives_up_first() {
    let greeter = Greeter::start().await;
    let brief = |config: &mut gateway::Config| {
        let deadline = Some(Duration::from_millis(200));
        config.policies.push(Rule { methods: "*".to_owned(), deadline, ..Rule::default() });
    };
    let alone = Alone::of(&greeter, brief).await;
    for _ in 0..5 {
        let (status, problem) = alone.get("/v1/hello/slow").await;
        assert_eq!((status, &problem["reason"]), (504, &"DEADLINE_EXCEEDED".into()));
        let (status, line) = alone.get("/v1/hellos/slow?times=1").await;
        assert_eq!((status, &line["error"]["reason"]), (200, &"DEADLINE_EXCEEDED".into()));
        let native = unary(&alone, "SayHello", Request::new(hello("slow"))).await.unwrap_err();
        assert_eq!(native.code(), Code::DeadlineExceeded);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_reads_is_not_gathered() {
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |_| {}).await;
    let path = "/greeter.v1.GreeterService/SayHellos".parse().unwrap();
    let many = Request::new(Hello { name: "ana".repeat(100), times: 1_000_000 });
    let mut client = client(&alone).await;
    let answer = client.server_streaming(many, path, Codec::default()).await.unwrap();
    let mut answer = answer.into_inner();
    answer.next().await.unwrap().unwrap();
    sleep(Duration::from_millis(800)).await;
    // The greeter counts whom it greets: most are not asked for yet.
    let (_, other) = alone.get("/v1/hello/bob").await;
    let count: u64 = other["greeted"].as_str().unwrap().parse().unwrap();
    assert!(count < 100_000, "{count}");
}

/// K-35, K-36: a key holds over gRPC too, in either dialect.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_a_key_is_carried_out_once() {
    let greeter = Greeter::start().await;
    let keyed = |config: &mut gateway::Config| config.policies[0].idempotency_key = Some(true);
    let alone = Alone::of(&greeter, keyed).await;
    let call = async |name: &str| {
        let mut request = Request::new(hello(name));
        request.metadata_mut().insert("idempotency-key", "k-1".parse().unwrap());
        let path = "/greeter.v1.GreeterService/SayHello".parse().unwrap();
        client(&alone).await.unary(request, path, Codec::default()).await
    };
    let first = call("ana").await.unwrap();
    assert!(!first.metadata().contains_key("x-idempotent-replay"));
    let again = call("ana").await.unwrap();
    assert_eq!(again.metadata().get("x-idempotent-replay").unwrap(), "true");
    assert_eq!(again.into_inner(), first.into_inner(), "the service was not asked again");
    let other = call("bob").await.unwrap_err();
    assert_eq!(other.get_details_error_info().unwrap().reason, "IDEMPOTENCY_KEY_REUSED");

    let web = async || {
        let request = alone.client.post(alone.url("/greeter.v1.GreeterService/SayHello"));
        let request = request.header("content-type", "application/grpc-web");
        let request = request.header("idempotency-key", "k-2").body(framed(&hello("eva")));
        let frames = unframed(&request.send().await.unwrap().bytes().await.unwrap());
        Greeting::decode(&*frames[0].1).unwrap().greeted
    };
    assert_eq!(web().await, web().await);
}

/// A method is sent again as often as over REST, where its policy says that it may be.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_sent_again_as_over_rest() {
    for retry_safe in [true, false] {
        let calls = Arc::default();
        let service = refusing(Code::Unavailable, Arc::clone(&calls)).await;
        let alone = unknown::alone(service, retry_safe).await;
        alone.get("/v1/hello/ana").await;
        let over_rest = calls.swap(0, Ordering::Relaxed);
        assert_eq!(over_rest > 1, retry_safe);
        unary(&alone, "SayHello", Request::new(hello("ana"))).await.unwrap_err();
        assert_eq!(calls.load(Ordering::Relaxed), over_rest);
    }
}

/// What a service says of its insides reaches no client, whatever it speaks.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_does_not_explain_stays_inside() {
    for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled, Code::Internal] {
        let alone = unknown::alone(refusing(code, Arc::default()).await, false).await;
        let (_, rest) = alone.get("/v1/hello/ana").await;
        assert!(!rest.to_string().contains("secret"), "{rest}");
        let one = unary(&alone, "SayHello", Request::new(hello("ana"))).await.unwrap_err();
        let path = "/greeter.v1.GreeterService/SayHellos".parse().unwrap();
        let mut many = client(&alone).await;
        let many = many.server_streaming(Request::new(hello("ana")), path, Codec::default()).await;
        let many = match many {
            Ok(answers) => answers.into_inner().try_collect::<Vec<Greeting>>().await.unwrap_err(),
            Err(status) => status,
        };
        for told in [one, many] {
            assert_eq!(told.code(), code);
            assert!(!format!("{told:?}").contains("secret"), "{told:?}");
        }
    }
}

/// The time that a client allows runs while its message is on its way, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_given_up_while_its_message_comes() {
    let greeter = Greeter::start().await;
    let alone = Alone::of(&greeter, |_| {}).await;
    let body = framed(&hello("ana"));
    let call = async |given: &str| {
        let head = format!(
            "POST /greeter.v1.GreeterService/SayHello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/grpc-web\r\ngrpc-timeout: {given}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let (mut stream, mut answer) =
            (TcpStream::connect(alone.address).await.unwrap(), Vec::new());
        stream.write_all(head.as_bytes()).await.unwrap();
        let answering = stream.read_to_end(&mut answer);
        if timeout(Duration::from_millis(500), answering).await.is_err() {
            stream.write_all(&body).await.unwrap();
            stream.read_to_end(&mut answer).await.unwrap();
        }
        String::from_utf8_lossy(&answer).into_owned()
    };
    let (late, early) = (call("200m").await, call("10S").await);
    assert!(late.contains("grpc-status: 4\r\n"), "{late}");
    assert!(early.contains("grpc-status: 0\r\n"), "{early}");
}

/// The longest time of a request holds whatever client and contract allow.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_given_up_as_over_rest() {
    let greeter = Greeter::start().await;
    let hasty = |config: &mut gateway::Config| {
        config.limits.request_timeout = Duration::from_millis(100);
        config.policies[0].deadline = Some(Duration::from_secs(10));
    };
    let alone = Alone::of(&greeter, hasty).await;
    assert_eq!(alone.get("/v1/hello/slow").await.0, 504);
    let native = unary(&alone, "SayHello", Request::new(hello("slow"))).await.unwrap_err();
    assert_eq!(native.code(), Code::DeadlineExceeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_kept_at_its_endpoint_and_may_compress_its_message() {
    let greeter = Greeter::start().await;
    let sticky = |config: &mut gateway::Config| {
        config.upstreams.get_mut("greeter").unwrap().sticky = Some(upstream::Sticky::default());
    };
    let alone = Alone::of(&greeter, sticky).await;
    let call = |encoding: &str, body: Vec<u8>| {
        let request = alone.client.post(alone.url("/greeter.v1.GreeterService/SayHello"));
        let request = request.header("content-type", "application/grpc-web+proto");
        request.header("grpc-encoding", encoding.to_owned()).body(body).send()
    };
    let mut press = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    press.write_all(&hello("ana").encode_to_vec()).unwrap();
    let mut body = frames::framed(&press.finish().unwrap());
    body[0] = 1;
    let answer = call("gzip", body.clone()).await.unwrap();
    assert!(answer.headers()["set-cookie"].to_str().unwrap().starts_with("malha-route="));
    let frames = unframed(&answer.bytes().await.unwrap());
    assert_eq!(Greeting::decode(&*frames[0].1).unwrap().message, "Hello, ana!");

    let unknown = call("snappy", body).await.unwrap().bytes().await.unwrap();
    assert!(String::from_utf8_lossy(&unknown).contains("grpc-status: 12\r\n"));
}
