//! The way to one upstream, as generated clients take it.

use std::fmt;
use std::task::{Context, Poll};

use tonic::Status;
use tower::Service;
use tower::util::BoxCloneSyncService;

use crate::around::{Request, Response};

/// The way to one upstream: `LedgerServiceClient::new(mesh.channel("ledger"))`.
///
/// Cheap to clone; all clones share connections, breaker and budget. Its error is a [`Status`], so
/// that nothing is lost on the way through a generated client.
#[derive(Clone)]
pub struct Channel {
    stack: BoxCloneSyncService<Request, Response, Status>,
}

impl Channel {
    pub(super) fn new(stack: BoxCloneSyncService<Request, Response, Status>) -> Self {
        Self { stack }
    }
}

impl Service<Request> for Channel {
    type Response = Response;
    type Error = Status;
    type Future = <BoxCloneSyncService<Request, Response, Status> as Service<Request>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.stack.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.stack.call(request)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Channel").finish_non_exhaustive()
    }
}
