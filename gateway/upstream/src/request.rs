//! The head of a request, as gRPC wants it.

use std::time::Duration;

use http::header::{CONTENT_TYPE, TE};
use http::uri::{Parts, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use mesh::timeout::{GRPC_TIMEOUT, value};

use crate::endpoint::Endpoint;
use crate::wire::{GRPC, TRAILERS};

const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Stands where each attempt tells its own time.
const NO_TIME: HeaderValue = HeaderValue::from_static("0n");

/// The headers of a call without metadata.
pub(crate) fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    complete(&mut headers);
    headers
}

/// Adds what gRPC wants to `headers`, with room for the deadline, once for all attempts.
///
/// No encoding but identity is ever offered, so that messages come as they are.
pub(crate) fn complete(headers: &mut HeaderMap) {
    headers.insert(TE, TRAILERS);
    headers.entry(CONTENT_TYPE).or_insert(GRPC);
    headers.remove(GRPC_ACCEPT_ENCODING);
    headers.insert(GRPC_TIMEOUT, NO_TIME);
}

/// A request of `path` to `endpoint`, which is told the time `left`.
pub(crate) fn of(
    endpoint: &Endpoint,
    path: &PathAndQuery,
    mut headers: HeaderMap,
    left: Option<Duration>,
) -> Request<()> {
    match left {
        Some(left) => headers.insert(GRPC_TIMEOUT, value(left)),
        None => headers.remove(GRPC_TIMEOUT),
    };
    let mut parts = Parts::default();
    parts.scheme = Some(endpoint.scheme.clone());
    parts.authority = Some(endpoint.authority.clone());
    parts.path_and_query = Some(path.clone());
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    // Scheme, authority and path are all there, which is all that can be wrong.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    request
}
