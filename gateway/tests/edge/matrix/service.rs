//! The service behind the matrix: it notes what it hears, and says it again.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use futures::future::{BoxFuture, ready};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use prost::Message;
use testkit::greeter;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};
use tower::service_fn;

/// Its descriptor set.
pub(crate) fn descriptors() -> Vec<u8> {
    const HTTP_BODY: &str =
        include_str!("../../../transcoder/tests/proto/google/api/httpbody.proto");
    let imports = [("google/api/httpbody.proto", HTTP_BODY)];
    greeter::compile_with("corners.proto", include_str!("corners.proto"), &imports)
}

/// A message that the service heard, and by which method.
pub(crate) type Heard = (String, Bytes);

/// The service, and what it has heard since it was last asked.
#[derive(Clone, Default)]
pub(crate) struct Corners(Arc<Mutex<Vec<Heard>>>);

impl Corners {
    /// Serves somewhere on this machine until the test ends.
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind(greeter::anywhere()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let corners = Self::default();
        let server = Server::builder().add_service(corners.clone());
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        (corners, address)
    }

    /// What it has heard since.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn hear(&self, method: &str, message: &Bytes) {
        self.0.lock().unwrap().push((method.to_owned(), message.clone()));
    }
}

/// What the service answers when it hears these messages, one after the other.
pub(crate) fn answers(method: &str, heard: &[Bytes]) -> Result<Vec<Bytes>, Status> {
    match method {
        "Split" | "Pieces" => {
            let listed = Listed::decode(heard.concat().as_slice()).unwrap();
            Ok(listed.items.into_iter().map(Bytes::from).collect())
        }
        "Join" | "Gather" => {
            let items = heard.iter().map(|message| message.to_vec()).collect();
            Ok(vec![Listed { items }.encode_to_vec().into()])
        }
        "Refuse" => {
            let refusal = Refusal::decode(heard.concat().as_slice()).unwrap();
            Err(Status::new(Code::from_i32(refusal.code), refusal.message))
        }
        _ => Ok(heard.to_vec()),
    }
}

/// `Things` and `Files` alike: messages are bytes.
#[derive(Clone, PartialEq, Message)]
struct Listed {
    #[prost(bytes = "vec", repeated, tag = "1")]
    items: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Refusal {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

impl NamedService for Corners {
    const NAME: &'static str = "corners.v1.Corners";
}

type Answers = BoxStream<'static, Result<Bytes, Status>>;

impl Corners {
    fn many(&self, method: &str, request: Request<Bytes>) -> Result<Response<Answers>, Status> {
        let message = request.into_inner();
        self.hear(method, &message);
        let answers = answers(method, &[message])?;
        Ok(Response::new(stream::iter(answers).map(Ok).boxed()))
    }

    fn one(&self, method: &str, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        let message = request.into_inner();
        self.hear(method, &message);
        Ok(Response::new(answers(method, &[message])?.concat().into()))
    }

    async fn gather(
        self,
        method: &str,
        request: Request<Streaming<Bytes>>,
    ) -> Result<Response<Bytes>, Status> {
        let heard = request.into_inner().inspect_ok(|message| self.hear(method, message));
        let heard: Vec<_> = heard.try_collect().await?;
        Ok(Response::new(answers(method, &heard)?.concat().into()))
    }

    fn talk(self, method: String, request: Request<Streaming<Bytes>>) -> Response<Answers> {
        let heard = request.into_inner();
        Response::new(heard.inspect_ok(move |message| self.hear(&method, message)).boxed())
    }
}

impl Service<http::Request<Body>> for Corners {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let corners = self.clone();
        async move {
            let mut grpc = Grpc::new(AsItIs);
            let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            let name = method.as_str();
            Ok(match name {
                "Split" | "Pieces" => {
                    let many = service_fn(|it| ready(corners.many(name, it)));
                    grpc.server_streaming(many, request).await
                }
                "Join" | "Gather" => {
                    let gather = service_fn(|it| corners.clone().gather(name, it));
                    grpc.client_streaming(gather, request).await
                }
                "Chat" | "Pipe" => {
                    let talk =
                        service_fn(|it| ready(Ok(corners.clone().talk(name.to_owned(), it))));
                    grpc.streaming(talk, request).await
                }
                _ => grpc.unary(service_fn(|it| ready(corners.one(name, it))), request).await,
            })
        }
        .boxed()
    }
}

/// Messages as the bytes that they are.
#[derive(Clone, Copy, Default)]
pub(crate) struct AsItIs;

impl Codec for AsItIs {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for AsItIs {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for AsItIs {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
