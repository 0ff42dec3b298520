//! The way to one upstream, as generated clients take it.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tonic::Status;
use tower::Service;

use crate::around::{Next, Request, Response};

/// The way to one upstream: `LedgerServiceClient::new(mesh.channel("ledger"))`.
///
/// Cheap to clone; all clones share connections, breaker and budget. Its error is a [`Status`], so
/// that nothing is lost on the way through a generated client.
#[derive(Clone)]
pub struct Channel {
    stack: Arc<dyn Stack>,
}

/// All layers to an upstream, whatever they are.
trait Stack: Send + Sync {
    fn send(self: Arc<Self>, request: Request) -> BoxFuture<'static, Result<Response, Status>>;
}

impl<N: Next> Stack for N {
    fn send(self: Arc<Self>, request: Request) -> BoxFuture<'static, Result<Response, Status>> {
        Box::pin(async move { self.call(request).await })
    }
}

impl Channel {
    pub(super) fn new(stack: impl Next) -> Self {
        Self { stack: Arc::new(stack) }
    }
}

impl Service<Request> for Channel {
    type Response = Response;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Arc::clone(&self.stack).send(request)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Channel").finish_non_exhaustive()
    }
}
