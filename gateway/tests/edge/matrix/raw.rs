//! Streams of raw bytes, piece by piece.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::{Body, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::World;

/// A body that is sent when the test says so.
fn body() -> (Sender<&'static str>, Body) {
    let (sender, pieces) = channel(1);
    let pieces = stream::unfold(pieces, |mut pieces: Receiver<&'static str>| async move {
        let piece = Frame::data(Bytes::from(pieces.recv().await?));
        Some((Ok::<_, Infallible>(piece), pieces))
    });
    (sender, Body::wrap(StreamBody::new(pieces)))
}

async fn post(world: &World, path: &str, body: Body) -> Response {
    let request = world.http2.post(world.alone.url(path)).body(body);
    request.header("content-type", "text/plain").send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_uploaded_reaches_the_service_as_it_comes() {
    let world = World::start(|_| {}).await;
    let (pieces, body) = body();
    let (answer, ()) = tokio::join!(post(&world, "/v1/gathered", body), async {
        for piece in ["first", "second"] {
            pieces.send(piece).await.unwrap();
            let (method, message) = loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                if let Some(heard) = world.corners.heard().pop() {
                    break heard;
                }
            };
            let message = world.message(&method, message).to_text_format();
            assert_eq!(message, format!("content_type:\"text/plain\",data:\"{piece}\""));
        }
        drop(pieces);
    });
    let gathered: Value = answer.json().await.unwrap();
    let file = |data: &str| json!({"contentType": "text/plain", "data": data});
    assert_eq!(gathered, json!({"files": [file("Zmlyc3Q="), file("c2Vjb25k")]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_says_comes_before_all_was_said_to_it() {
    let world = World::start(|_| {}).await;
    let (pieces, body) = body();
    pieces.send("first").await.unwrap();
    let mut answer = post(&world, "/v1/pipe", body).await;
    assert_eq!(answer.headers()["content-type"], "text/plain");
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "first");
    pieces.send("second").await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "second");
    drop(pieces);
    assert_eq!(answer.bytes().await.unwrap(), "");
}
