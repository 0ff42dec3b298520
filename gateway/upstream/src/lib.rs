//! Calls of gRPC services over HTTP/2, with the care that an edge owes its upstreams.
