//! Streams of messages over HTTP: lines of JSON, server-sent events, `WebSocket`s.
//!
//! A stream has no deadline unless its contract names one. It ends when it was silent for the idle
//! time, and when the token that it began with expires. The slower side sets the pace: what a client
//! does not take is not read from the upstream, and the other way round. Once a stream has begun its
//! status is told; what goes wrong later is its last message.

mod lines;
mod outcome;
mod pump;
mod rest;
pub(crate) mod websocket;

use std::sync::Arc;

use tokio::time::Instant;
use upstream::{Receiver, Sender, StreamCall};

use crate::edge::{Asked, Exchange, Worker, refused};
use crate::headers::tell;
use crate::problem::Problem;
use crate::site::Route;

pub(crate) use outcome::{Outcome, Silence, Until};
pub(crate) use pump::Pump;

impl Worker {
    /// Opens the call of a stream.
    pub(crate) async fn open(
        &self,
        exchange: &mut Exchange,
        asked: Asked<'_>,
    ) -> Result<(Sender, Receiver), Problem> {
        let Asked { route, head, user, .. } = asked;
        let policy = &route.rpc.policy;
        let (way, sticky) = self.way(&route.rpc, &head.headers);
        let call = StreamCall {
            upstream: Arc::clone(&route.rpc.upstream),
            path: route.rpc.grpc_path.clone(),
            headers: self.rest_metadata(exchange, user, &route.rpc, &head.headers),
            deadline: policy.deadline.map(|deadline| Instant::now() + deadline),
            route: way,
        };
        match self.calls.stream(call).await {
            Ok((sender, receiver)) => {
                exchange.keep(sticky.as_ref(), receiver.sticky());
                Ok((sender, receiver))
            }
            Err(failure) => Err(refused(exchange, route, &failure, false)),
        }
    }
}

/// Waits until the upstream has taken the call, or refused it; also until the client has said what
/// it must not, which is told as it would be after the first answer: which of them comes first is a
/// matter of luck.
pub(crate) async fn accepted(
    exchange: &mut Exchange,
    route: &Route,
    receiver: &mut Receiver,
    pump: Option<&Pump>,
) -> Result<(), Problem> {
    let failure = match receiver.headers().await {
        Ok(head) if head.contains_key("grpc-status") => receiver.message().await.err(),
        Ok(head) => {
            tell(head, &mut exchange.headers);
            None
        }
        Err(failure) => Some(failure),
    };
    match failure {
        Some(failure) if !pump.is_some_and(Pump::is_faulty) => {
            Err(refused(exchange, route, &failure, false))
        }
        _ => Ok(()),
    }
}
