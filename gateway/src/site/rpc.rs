//! One method of a service.

use std::sync::{Arc, OnceLock};

use http::uri::PathAndQuery;
use limits::ClassId;
use prost_reflect::MethodDescriptor;

use crate::meter::Meter;
use crate::policy::Policy;

/// A method that the edge offers, whatever protocol it is called by.
#[derive(Debug)]
pub(crate) struct Rpc {
    /// Its contract.
    pub(crate) descriptor: MethodDescriptor,
    /// What is asked of callers.
    pub(crate) policy: Policy,
    /// Name of the upstream that answers.
    pub(crate) upstream: Arc<str>,
    /// `/package.Service/Method`.
    pub(crate) grpc_path: PathAndQuery,
    /// Who sends more than one message.
    pub(crate) streaming: Streaming,
    /// Rate-limit class, looked up at the first call.
    pub(crate) class: OnceLock<ClassId>,
    /// Counts the calls over gRPC.
    pub(crate) meter: Meter,
}

/// Who sends more than one message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Streaming {
    /// Nobody.
    None,
    /// The upstream: NDJSON or server-sent events over REST.
    Server,
    /// The client: NDJSON over REST.
    Client,
    /// Both: NDJSON both ways, or a WebSocket.
    Both,
}

impl Rpc {
    /// The method behind `upstream`.
    pub(super) fn new(
        descriptor: MethodDescriptor,
        policy: Policy,
        upstream: &str,
    ) -> Result<Self, String> {
        let path = contracts::policy::grpc_path(&descriptor);
        Ok(Self {
            grpc_path: path.parse().map_err(|_| "its name is no gRPC path".to_owned())?,
            streaming: match (descriptor.is_client_streaming(), descriptor.is_server_streaming()) {
                (false, false) => Streaming::None,
                (false, true) => Streaming::Server,
                (true, false) => Streaming::Client,
                (true, true) => Streaming::Both,
            },
            upstream: upstream.into(),
            class: OnceLock::new(),
            meter: Meter::new(&path),
            descriptor,
            policy,
        })
    }
}
