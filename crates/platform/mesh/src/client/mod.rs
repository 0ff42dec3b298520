//! Calls other services of the mesh.

pub(crate) mod balance;
pub(crate) mod breaker;
mod carry;
pub(crate) mod channel;
mod circuit;
pub(crate) mod dial;
mod endpoint;
mod hop;
mod observe;
pub(crate) mod resolve;
mod retry;
pub(crate) mod status;
pub(crate) mod upstream;

use std::sync::Arc;

use tower::ServiceBuilder;

use crate::around::{Layer, Next};
use crate::config::RetryConfig;

use balance::Endpoints;
use breaker::Breaker;
use carry::Carry;
use circuit::Circuit;
use hop::Hop;
use observe::Observe;
use retry::Retry;

/// The stack around every call to one upstream, outermost first.
fn layers(
    service: &Arc<str>,
    upstream: &Arc<str>,
    retry: &RetryConfig,
    breaker: &Arc<Breaker>,
    endpoints: &Arc<Endpoints>,
) -> impl Next + use<> {
    ServiceBuilder::new()
        // Outside of all: one span and one count per call, however often it is sent.
        .layer(Layer(Observe::new(service, upstream)))
        // Inside the span, which it names to the callee; outside of retries, whose attempts share
        // one deadline.
        .layer(Layer(Carry))
        // Outside of the breaker, so that the breaker judges every attempt.
        .layer(Layer(Retry::new(retry, service, upstream)))
        // Outside of the deadline, so that silence counts against the upstream.
        .layer(Layer(Circuit { breaker: Arc::clone(breaker), upstream: Arc::clone(upstream) }))
        // Last before the wire: tells the callee the time that is left now.
        .layer(Layer(Hop))
        .service(Arc::clone(endpoints))
}
