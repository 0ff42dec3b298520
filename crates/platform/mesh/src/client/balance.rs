//! Spreads calls over the endpoints of an upstream: power of two choices by calls in flight.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tonic::{Code, Status, transport};

use crate::around::{Next, Request, Response};
use crate::client::endpoint::Endpoint;
use crate::client::resolve::Resolved;
use crate::client::status::EndpointStatus;
use crate::config::Limits;
use crate::error::{Unsent, deadline_exceeded, mark_unsent, mesh_status};
use crate::tls::Identity;

/// The endpoints of one upstream.
pub(crate) struct Endpoints {
    upstream: Arc<str>,
    identity: Arc<Identity>,
    limits: Limits,
    /// `None` until the names were resolved for the first time.
    list: watch::Sender<Option<Arc<[Arc<Endpoint>]>>>,
    /// Wakes the resolver: what it found last may be outdated.
    failed: Notify,
}

impl Endpoints {
    pub(super) fn new(upstream: Arc<str>, identity: Arc<Identity>, limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            upstream,
            identity,
            limits: limits.clone(),
            list: watch::Sender::new(None),
            failed: Notify::new(),
        })
    }

    fn endpoint(&self, address: SocketAddr) -> Endpoint {
        Endpoint::new(&self.upstream, address, &self.identity, &self.limits)
    }

    pub(super) fn statuses(&self) -> Vec<EndpointStatus> {
        let now = Instant::now();
        let list = self.list.borrow().clone().unwrap_or_default();
        let status = |endpoint: &Arc<Endpoint>| EndpointStatus {
            address: endpoint.address,
            in_flight: endpoint.in_flight(),
            ejected: endpoint.is_ejected(now),
        };
        list.iter().map(status).collect()
    }

    /// Sends a call to one of the endpoints.
    async fn send(&self, request: Request) -> Result<Response, Status> {
        let mut known = self.list.subscribe();
        let list = match known.wait_for(Option::is_some).await {
            Ok(list) => list.clone().unwrap_or_default(),
            // Cannot happen: we hold the sender.
            Err(_) => Arc::default(),
        };
        let endpoint = choose(&list).ok_or_else(|| self.unknown())?;
        endpoint.call(request).await.map_err(|error| self.failure(&endpoint, &error))
    }

    fn unknown(&self) -> Status {
        let message = format!("no endpoint of {} is known", self.upstream);
        unreachable("UPSTREAM_UNKNOWN", &message)
    }

    /// Passes an endpoint over for a while that is not to be spoken to.
    fn failure(&self, endpoint: &Endpoint, error: &transport::Error) -> Status {
        // tonic counts `grpc-timeout` too: the call is late, and the endpoint may well live.
        if chain(error).any(<dyn Error>::is::<tonic::TimeoutExpired>) {
            return deadline_exceeded();
        }
        if endpoint.eject(Instant::now() + self.limits.eject_time) {
            let (upstream, address) = (&*self.upstream, endpoint.address);
            tracing::warn!(upstream, %address, error = %causes(error), "endpoint failed");
        }
        self.failed.notify_one();
        if is_unsent(error) {
            let message = format!("{} cannot be reached", self.upstream);
            unreachable("UPSTREAM_UNREACHABLE", &message)
        } else {
            let message = format!("the connection to {} was lost", self.upstream);
            mesh_status(Code::Unavailable, "UPSTREAM_LOST", &message)
        }
    }
}

impl Resolved for Endpoints {
    /// Endpoints that stay keep their connection.
    fn set(&self, addresses: &[SocketAddr]) {
        self.list.send_modify(|list| {
            let old = list.take().unwrap_or_default();
            let keep = |address: &SocketAddr| {
                let known = old.iter().find(|endpoint| endpoint.address == *address);
                known.cloned().unwrap_or_else(|| Arc::new(self.endpoint(*address)))
            };
            *list = Some(addresses.iter().map(keep).collect());
        });
    }

    fn is_known(&self) -> bool {
        self.list.borrow().as_ref().is_some_and(|list| !list.is_empty())
    }

    fn outdated(&self) -> &Notify {
        &self.failed
    }
}

impl Next for Arc<Endpoints> {
    fn call(&self, request: Request) -> impl Future<Output = Result<Response, Status>> + Send {
        self.send(request)
    }
}

fn unreachable(reason: &str, message: &str) -> Status {
    mark_unsent(mesh_status(Code::Unavailable, reason, message), Unsent::Unreachable)
}

/// The less busy of two endpoints drawn at random, among those that live; among all when none does.
fn choose(list: &[Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
    if let [only] = list {
        return Some(Arc::clone(only));
    }
    let now = Instant::now();
    let live: Vec<_> = list.iter().filter(|endpoint| !endpoint.is_ejected(now)).collect();
    let drawn: Vec<_> = if live.is_empty() { list.iter().collect() } else { live };
    let [first, second] = two_of(drawn.len())?.map(|index| drawn[index]);
    let less_busy = if second.in_flight() < first.in_flight() { second } else { first };
    Some(Arc::clone(less_busy))
}

/// Two indices below `count`, different where they can be.
pub fn two_of(count: usize) -> Option<[usize; 2]> {
    match count {
        0 => None,
        1 => Some([0, 0]),
        _ => {
            let first = rand::random_range(0..count);
            let second = rand::random_range(0..count - 1);
            Some([first, if second >= first { second + 1 } else { second }])
        }
    }
}

/// Whether the call surely did not reach the wire: there was no connection, or it was closed
/// before the call's turn came.
fn is_unsent(error: &transport::Error) -> bool {
    chain(error).any(|cause| {
        cause.is::<tonic::ConnectError>()
            || cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
    })
}

fn causes(error: &transport::Error) -> String {
    chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn chain(error: &transport::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(Some(error as &(dyn Error + 'static)), |&error| error.source())
}
