//! A gRPC service of a third party: it knows nothing of Malha, has no certificate, and shows its
//! contract by reflection.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, ready};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use prost::Message;
use protox::file::{
    ChainFileResolver, DescriptorSetFileResolver, File, FileResolver, GoogleFileResolver,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tonic_reflection::server::Builder;
use tower::service_fn;

/// The contract, as its owner wrote it.
pub const PROTO: &str = include_str!("greeter.proto");

/// Which reflection a service offers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reflection {
    /// `grpc.reflection.v1`.
    V1,
    /// `grpc.reflection.v1alpha`, as older servers do.
    V1Alpha,
}

/// A running greeter. It ends when it is dropped.
pub struct Greeter {
    address: SocketAddr,
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Greeter {
    /// Starts a greeter at `address` that shows `descriptors`.
    pub async fn start_at(address: SocketAddr, descriptors: &[u8], reflection: Reflection) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("a listener has an address");
        let shown = || Builder::configure().register_encoded_file_descriptor_set(descriptors);
        let mut server = Server::builder();
        let router = server.add_service(Greetings::default());
        let router = match reflection {
            Reflection::V1 => router.add_service(shown().build_v1().expect("descriptors")),
            Reflection::V1Alpha => {
                router.add_service(shown().build_v1alpha().expect("descriptors"))
            }
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let serving = router.serve_with_incoming_shutdown(TcpIncoming::from(listener), stopped);
        let task = tokio::spawn(async { serving.await.expect("the greeter serves") });
        Self { address, stop: stop.drop_guard(), task }
    }

    /// Starts a greeter somewhere on this machine, with its whole contract.
    pub async fn start() -> Self {
        Self::start_at(anywhere(), &descriptors(), Reflection::V1).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as an upstream names it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it, and waits until its connections are closed.
    pub async fn stop(self) {
        drop(self.stop);
        self.task.await.expect("the greeter ends");
    }
}

/// A free place on this machine.
pub fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The greeter's descriptor set, with its imports.
pub fn descriptors() -> Vec<u8> {
    compile("greeter.proto", PROTO)
}

/// The same after one of its methods got another name.
pub fn renamed(method: &str, name: &str) -> Vec<u8> {
    compile("greeter.proto", &PROTO.replace(&format!("rpc {method}("), &format!("rpc {name}(")))
}

/// The descriptor set of a file with this text, with its imports.
pub fn compile(file: &str, text: &str) -> Vec<u8> {
    compile_with(file, text, &[])
}

/// The same of a file that imports more than everybody has: these files, by name and text.
pub fn compile_with(file: &str, text: &str, imports: &[(&str, &str)]) -> Vec<u8> {
    let mut resolver = ChainFileResolver::new();
    for (file, text) in imports.iter().chain([&(file, text)]) {
        resolver.add(Source { file: (*file).to_owned(), text: (*text).to_owned() });
    }
    resolver.add(GoogleFileResolver::new());
    let ours = DescriptorSetFileResolver::decode(contracts::DESCRIPTOR_SET);
    resolver.add(ours.expect("our contracts decode"));
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file(file).expect("the contract compiles");
    compiler.encode_file_descriptor_set()
}

struct Source {
    file: String,
    text: String,
}

impl FileResolver for Source {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == self.file {
            return File::from_source(name, &self.text);
        }
        Err(protox::Error::file_not_found(name))
    }
}

/// Whom to greet; also how often, for those who are greeted again and again.
#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// How often.
    #[prost(int32, tag = "2")]
    pub times: i32,
}

/// A greeting.
#[derive(Clone, PartialEq, Message)]
pub struct Greeting {
    /// What is said.
    #[prost(string, tag = "1")]
    pub message: String,
    /// How many were greeted so far.
    #[prost(int64, tag = "2")]
    pub greeted: i64,
}

/// The service: `slow` is greeted late, `nobody` not at all.
#[derive(Clone, Default)]
struct Greetings {
    greeted: Arc<AtomicI64>,
}

type Greeted = BoxStream<'static, Result<Greeting, Status>>;

impl Greetings {
    async fn greet(self, name: String) -> Result<Greeting, Status> {
        match name.as_str() {
            "nobody" => return Err(Status::not_found("nobody of that name")),
            "slow" => tokio::time::sleep(Duration::from_millis(300)).await,
            _ => {}
        }
        let greeted = self.greeted.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Greeting { message: format!("Hello, {name}!"), greeted })
    }

    async fn say_hello(self, request: Request<Hello>) -> Result<Response<Greeting>, Status> {
        Ok(Response::new(self.greet(request.into_inner().name).await?))
    }

    fn say_hellos(self, request: Request<Hello>) -> Response<Greeted> {
        let Hello { name, times } = request.into_inner();
        let greetings = stream::iter(0..times).then(move |_| self.clone().greet(name.clone()));
        Response::new(greetings.boxed())
    }

    async fn collect(
        self,
        request: Request<Streaming<Hello>>,
    ) -> Result<Response<Greeting>, Status> {
        let names: Vec<_> = request.into_inner().map_ok(|hello| hello.name).try_collect().await?;
        Ok(Response::new(self.greet(names.join(" and ")).await?))
    }

    fn chat(self, request: Request<Streaming<Hello>>) -> Response<Greeted> {
        let greetings = request.into_inner().and_then(move |it| self.clone().greet(it.name));
        Response::new(greetings.boxed())
    }
}

impl NamedService for Greetings {
    const NAME: &'static str = "greeter.v1.GreeterService";
}

impl Service<http::Request<Body>> for Greetings {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let greetings = self.clone();
        async move {
            let mut grpc = Grpc::new(ProstCodec::<Greeting, Hello>::default());
            let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            Ok(match method.as_str() {
                "SayHello" | "SayGoodbye" => {
                    grpc.unary(service_fn(|it| greetings.clone().say_hello(it)), request).await
                }
                "SayHellos" => {
                    let greet = service_fn(|it| ready(Ok(greetings.clone().say_hellos(it))));
                    grpc.server_streaming(greet, request).await
                }
                "Collect" => {
                    let greet = service_fn(|it| greetings.clone().collect(it));
                    grpc.client_streaming(greet, request).await
                }
                "Chat" => {
                    let greet = service_fn(|it| ready(Ok(greetings.clone().chat(it))));
                    grpc.streaming(greet, request).await
                }
                _ => Status::unimplemented("no such method").into_http(),
            })
        }
        .boxed()
    }
}
