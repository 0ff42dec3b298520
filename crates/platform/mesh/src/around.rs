//! The shape of every layer of the mesh: one async function around the rest of the stack.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

/// A gRPC call on the wire.
pub(crate) type Request = http::Request<Body>;
/// Its answer: an error of the peer is an answer too, with `grpc-status` in its headers.
pub(crate) type Response = http::Response<Body>;

/// The rest of the stack, as a layer sees it. Call it with `oneshot`.
pub(crate) trait Next:
    Service<Request, Response = Response, Error = Status, Future: Send> + Clone + Send + 'static
{
}

impl<S> Next for S where
    S: Service<Request, Response = Response, Error = Status, Future: Send> + Clone + Send + 'static
{
}

/// What a layer does.
pub(crate) trait Around: Clone + Send + 'static {
    /// Answers `request`, as a rule by calling `next`.
    fn around(
        self,
        request: Request,
        next: impl Next,
    ) -> impl Future<Output = Result<Response, Status>> + Send;
}

/// Makes a tower layer of what a layer does.
#[derive(Clone)]
pub(crate) struct Layer<A>(pub(crate) A);

impl<A: Clone, S> tower::Layer<S> for Layer<A> {
    type Service = Layered<A, S>;

    fn layer(&self, next: S) -> Self::Service {
        Layered { around: self.0.clone(), next }
    }
}

/// A layer with the rest of the stack inside it.
#[derive(Clone)]
pub(crate) struct Layered<A, S> {
    around: A,
    next: S,
}

impl<A: Around, S: Next> Service<Request> for Layered<A, S> {
    type Response = Response;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // What is inside is made ready by the `oneshot` that calls it.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(self.around.clone().around(request, self.next.clone()))
    }
}
