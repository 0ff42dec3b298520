//! The upstream side of the edge: gRPC over HTTP/2, spoken directly.
//!
//! [`Upstreams`] is shared by all: which upstreams there are, their endpoints, breakers and counts,
//! in atomics. Each core has a [`Worker`] with connections of its own, so that a call takes no lock
//! that another core wants. A call goes: choice of an endpoint (sticky, canary, the less busy of
//! two), the breaker of its group, a connection of this core, one exchange; then, where it is safe and the budget
//! allows it, again.

mod balance;
mod call;
mod config;
mod connection;
mod endpoint;
mod exchange;
mod failure;
mod health;
mod lane;
mod meters;
mod request;
mod status;
mod stream;
mod target;
mod upstream;
mod upstreams;
mod wire;
mod worker;

pub use call::{Call, Reply, Route, StreamCall};
pub use config::{
    Canary, Config, ConfigError, Health, Limits, Outlier, Sticky, Tls, UpstreamConfig,
};
pub use failure::{Failure, Reason};
pub use status::{EndpointStatus, Group, UpstreamStatus};
pub use stream::{Receiver, Sender};
pub use upstreams::{Left, Upstreams};
pub use worker::Worker;

// Settings that the mesh has too.
pub use mesh::{BreakerConfig, BreakerState, RetryConfig};
