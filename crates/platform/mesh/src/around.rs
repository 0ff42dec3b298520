//! The shape of every layer of the mesh: one async function around the rest of the stack.
//!
//! Layers are called by reference and their futures are parts of one: a call costs no allocation
//! and no clone per layer.

use tonic::Status;
use tonic::body::Body;

/// A gRPC call on the wire.
pub(crate) type Request = http::Request<Body>;
/// Its answer: an error of the peer is an answer too, with `grpc-status` in its headers.
pub(crate) type Response = http::Response<Body>;

/// The rest of the stack, as a layer sees it.
pub(crate) trait Next: Send + Sync + 'static {
    /// Answers `request`.
    fn call(&self, request: Request) -> impl Future<Output = Result<Response, Status>> + Send;
}

/// What a layer does.
pub(crate) trait Around: Send + Sync + 'static {
    /// Answers `request`, as a rule by calling `next`.
    fn around(
        &self,
        request: Request,
        next: &impl Next,
    ) -> impl Future<Output = Result<Response, Status>> + Send;
}

/// Makes a tower layer of what a layer does: `ServiceBuilder` puts stacks together.
pub(crate) struct Layer<A>(pub(crate) A);

impl<A: Clone, N> tower::Layer<N> for Layer<A> {
    type Service = Layered<A, N>;

    fn layer(&self, next: N) -> Self::Service {
        Layered { around: self.0.clone(), next }
    }
}

/// A layer with the rest of the stack inside it.
pub(crate) struct Layered<A, N> {
    around: A,
    next: N,
}

impl<A: Around, N: Next> Next for Layered<A, N> {
    fn call(&self, request: Request) -> impl Future<Output = Result<Response, Status>> + Send {
        self.around.around(request, &self.next)
    }
}
