//! One call and its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::uri::PathAndQuery;
use tokio::time::Instant;

/// A unary call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Name of the upstream.
    pub upstream: Arc<str>,
    /// Path of the method, such as `/malha.ledger.v1.LedgerService/LookupAccounts`.
    pub path: PathAndQuery,
    /// Metadata, ready made; `content-type`, `te` and `grpc-timeout` are added. Values that differ
    /// from call to call should be marked sensitive, so that they do not crowd the compression table.
    pub headers: HeaderMap,
    /// The request message, without the frame of gRPC.
    pub message: Bytes,
    /// When the call is given up; repeats do not extend it.
    pub deadline: Instant,
    /// Whether the contract says that the method may be carried out twice.
    pub retry_safe: bool,
    /// Send a second copy when there is no answer after this long; the contract must allow it.
    pub hedge_after: Option<Duration>,
    /// Which endpoint it goes to.
    pub route: Route,
}

/// What a client says about the endpoint that its call goes to.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// It asks for the canary (`X-Canary: true`).
    pub canary: bool,
    /// The value of its sticky cookie.
    pub sticky: Option<Box<str>>,
}

/// The answer to a unary call that succeeded.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Headers of the answer.
    pub headers: HeaderMap,
    /// The message, without the frame of gRPC.
    pub message: Bytes,
    /// Trailers of the answer.
    pub trailers: HeaderMap,
    /// Value of the sticky cookie to set: the upstream is sticky, and the client came with another
    /// value or none.
    pub sticky: Option<Arc<str>>,
}

/// A call whose messages are streams.
#[derive(Clone, Debug)]
pub struct StreamCall {
    /// Name of the upstream.
    pub upstream: Arc<str>,
    /// Path of the method.
    pub path: PathAndQuery,
    /// Metadata, as of [`Call::headers`]; a `content-type` that is there already stays.
    pub headers: HeaderMap,
    /// When the stream is given up, if ever.
    pub deadline: Option<Instant>,
    /// Which endpoint it goes to.
    pub route: Route,
}
