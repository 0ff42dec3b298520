//! The mesh: how one service of Malha calls another, and how it is called.
//!
//! A service joins with [`Mesh::join`], is called through [`Mesh::serve`] and calls others through
//! [`Mesh::channel`]. Both ends are one stack of layers each, written in one function: read
//! `server::layers` and `client::layers` first. Every layer is one async function around the rest
//! (`around`).
//!
//! - Who calls is proved by certificates (`spiffe://malha/<name>`, TLS 1.3 both ways); who may call
//!   is read from the contract of the method.
//! - For whom a call is made travels as the user's signed token, and is verified by every callee.
//! - What belongs to a call ([`Context`]) is set by the server and carried on by the client.
//!
//! The mesh knows no domain, save that `identity` publishes the keys that verify tokens.

mod around;
pub mod certs;
mod client;
mod config;
mod context;
mod deadline;
pub mod error;
mod keys;
mod measure;
mod member;
pub mod owner;
pub mod page;
mod server;
mod spiffe;
mod tls;
pub mod wire;

/// The circuit breaker of an upstream.
pub mod breaker {
    pub use crate::client::breaker::{Breaker, BreakerState, Permit, is_fault};
}

/// Where the endpoints of an upstream are, and which two to compare.
pub mod endpoints {
    pub use crate::client::balance::two_of;
    pub use crate::client::resolve::{Resolved, follow};
}

/// The time of a call on the wire.
pub mod timeout {
    pub use crate::deadline::{GRPC_TIMEOUT, value};
}

pub use client::breaker::BreakerState;
pub use client::channel::Channel;
pub use client::dial::Dial;
pub use client::status::{EndpointStatus, UpstreamStatus};
pub use config::{BreakerConfig, Config, Limits, RetryConfig};
pub use context::Context;
pub use error::{MeshError, valid};
pub use keys::MeshKeys;
pub use member::{Health, Mesh};
pub use server::service::Service;
