//! The call of a row as gRPC: native, and gRPC-Web in binary and in text, over HTTP/1.1 and HTTP/2.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use reqwest::Client;
use tonic::client::Grpc;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

use super::World;
use super::row::Calls;
use super::service::{AsItIs, answers};
use crate::frames::{framed, unframed};

/// What a call ends with: messages, or a code and words.
type Ended = Result<Vec<Bytes>, (Code, String)>;

/// The call in all forms that it has as gRPC.
pub(crate) async fn proofs(world: &World, calls: &Calls) -> Vec<Result<(), String>> {
    let expected = answers(calls.method.name(), &calls.messages).map_err(|it| told(&it));
    let web = |client, text| web(world, calls, client, text);
    let ended = [
        ("native gRPC", native(world, calls).await, world.check_heard(Some(calls))),
        ("gRPC-Web over HTTP/1.1", web(&world.http1, false).await, world.check_heard(Some(calls))),
        ("gRPC-Web over HTTP/2", web(&world.http2, false).await, world.check_heard(Some(calls))),
        ("gRPC-Web as text", web(&world.http1, true).await, world.check_heard(Some(calls))),
        ("the same, HTTP/2", web(&world.http2, true).await, world.check_heard(Some(calls))),
    ];
    let judged = ended.into_iter().map(|(form, ended, heard)| {
        heard.map_err(|fault| format!("{form}: {fault}"))?;
        if ended == expected {
            return Ok(());
        }
        Err(format!("{form}: it ended with {ended:?}, not {expected:?}"))
    });
    judged.collect()
}

fn told(status: &Status) -> (Code, String) {
    (status.code(), status.message().to_owned())
}

fn path(calls: &Calls) -> String {
    format!("/{}/{}", calls.method.parent_service().full_name(), calls.method.name())
}

async fn native(world: &World, calls: &Calls) -> Ended {
    let endpoint = Endpoint::from_shared(world.alone.url("")).unwrap();
    let mut client = Grpc::new(endpoint.connect().await.unwrap());
    client.ready().await.unwrap();
    let messages = Request::new(stream::iter(calls.messages.clone()));
    let answer = client.streaming(messages, path(calls).parse().unwrap(), AsItIs).await;
    let answer = answer.map_err(|status| told(&status))?.into_inner();
    answer.try_collect().await.map_err(|status| told(&status))
}

async fn web(world: &World, calls: &Calls, client: &Client, text: bool) -> Ended {
    let body = calls.messages.iter().flat_map(|message| framed(message)).collect::<Vec<_>>();
    let (kind, body) = if text {
        ("application/grpc-web-text+proto", STANDARD.encode(body).into_bytes())
    } else {
        ("application/grpc-web+proto", body)
    };
    let request = client.post(world.alone.url(&path(calls))).header("content-type", kind);
    let answer = request.body(body).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &kind.parse().unwrap())
    );
    let mut body = answer.bytes().await.unwrap();
    if text {
        // Each part is padded by itself.
        body = body.chunks(4).flat_map(|group| STANDARD.decode(group).unwrap()).collect();
    }
    let mut frames = unframed(&body);
    let (mark, trailers) = frames.pop().unwrap();
    assert_eq!(mark, 0x80, "trailers come last");
    let trailers = std::str::from_utf8(&trailers).unwrap();
    let trailer = |name| trailers.lines().find_map(|line| line.strip_prefix(name));
    match Code::from_bytes(trailer("grpc-status: ").unwrap().as_bytes()) {
        Code::Ok => Ok(frames.into_iter().map(|(_, message)| message.into()).collect()),
        code => Err((code, trailer("grpc-message: ").unwrap_or_default().replace("%20", " "))),
    }
}
