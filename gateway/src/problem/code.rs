//! Codes of gRPC and statuses of HTTP.

use http::StatusCode;
use tonic::{Code, Status};

/// Domains of the errors that the mesh and the edge answer themselves; those of services end alike.
const OWN_DOMAINS: [&str; 2] = ["mesh.malha", "gateway.malha"];
const DOMAIN_END: &str = ".malha";

/// HTTP status of a gRPC code, as google.rpc maps them.
pub(super) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Whether the code tells of a fault in the callee, of which a client must learn nothing.
pub(crate) fn is_fault(code: Code) -> bool {
    matches!(code, Code::Unknown | Code::Internal | Code::DataLoss)
}

/// Whether errors of this domain are a service's own.
pub(super) fn is_service(domain: &str) -> bool {
    domain.ends_with(DOMAIN_END) && !OWN_DOMAINS.contains(&domain)
}

/// Whether a callee that answers this code says too little: nobody knows then whether it carried the
/// call out, and its words are about its insides. A service of ours that explains a refusal is
/// believed, but not what it says of a fault.
pub(super) fn is_unexplained(code: Code, of_service: bool) -> bool {
    let is_vague = matches!(code, Code::Cancelled | Code::DeadlineExceeded | Code::Unavailable);
    is_fault(code) || (is_vague && !of_service)
}

/// What a client is told of it.
pub(super) fn public_detail(status: &Status, of_service: bool) -> Box<str> {
    Box::from(match status.code() {
        code if !is_unexplained(code, of_service) => status.message(),
        Code::Unavailable => "the service is unavailable",
        Code::DeadlineExceeded => "the service did not answer in time",
        Code::Cancelled => "the service gave the request up",
        _ => "the request failed inside",
    })
}

/// Name of a code, for upstreams that give no reason.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::Aborted => "ABORTED",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Unavailable => "UNAVAILABLE",
        Code::Unauthenticated => "UNAUTHENTICATED",
        Code::Unknown | Code::Internal | Code::DataLoss => "INTERNAL",
    }
}

/// The code of gRPC that says the most of what an HTTP status does.
pub(super) fn of_http(status: StatusCode) -> Code {
    match status.as_u16() {
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        408 | 504 => Code::DeadlineExceeded,
        409 => Code::Aborted,
        413 | 429 => Code::ResourceExhausted,
        405 | 501 => Code::Unimplemented,
        499 => Code::Cancelled,
        503 => Code::Unavailable,
        400..=499 => Code::InvalidArgument,
        _ => Code::Internal,
    }
}
