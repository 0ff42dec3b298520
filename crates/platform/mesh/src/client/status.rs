//! What an operator sees of an upstream.

use std::net::SocketAddr;

use serde::Serialize;

use crate::client::breaker::BreakerState;

/// One service that this member calls, as it is seen from here.
#[derive(Clone, Debug, Serialize)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: String,
    /// Whether calls go through.
    pub breaker: BreakerState,
    /// Where it is reached.
    pub endpoints: Vec<EndpointStatus>,
}

/// One address of an upstream, as it is seen from here.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointStatus {
    /// Where it is.
    pub address: SocketAddr,
    /// Calls under way.
    pub in_flight: usize,
    /// Whether it failed lately and is passed over.
    pub ejected: bool,
}
