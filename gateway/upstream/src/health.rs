//! Active health checks: every endpoint is asked whether it serves.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::{sleep, timeout};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::balance::Balance;
use crate::config::UpstreamConfig;
use crate::endpoint::Endpoint;
use crate::{exchange, lane, request};

const PATH: PathAndQuery = PathAndQuery::from_static("/grpc.health.v1.Health/Check");

/// Bytes of an answer.
const ANSWER_MAX: usize = 1024;

/// Checks the endpoints of `balance` for ever, on connections of the last lane.
pub(crate) async fn keep_checking(balance: Arc<Balance>, config: Arc<UpstreamConfig>, lane: usize) {
    let mut silent: HashMap<SocketAddr, u32> = HashMap::new();
    loop {
        let endpoints = balance.endpoints();
        let asking = endpoints.iter().map(|endpoint| check(endpoint, &config, lane));
        for (endpoint, serving) in endpoints.iter().zip(join_all(asking).await) {
            let times = silent.entry(endpoint.address).or_default();
            *times = if serving.is_some() { 0 } else { times.saturating_add(1) };
            let serving =
                serving.or_else(|| (*times >= config.health.failures.get()).then_some(false));
            if let Some(serving) = serving
                && endpoint.set_serving(serving)
            {
                tracing::info!(address = %endpoint.address, serving, "health of an endpoint changed");
            }
        }
        silent.retain(|address, _| endpoints.iter().any(|endpoint| endpoint.address == *address));
        // Not held while waiting: an endpoint that left may close its connections.
        drop(endpoints);
        sleep(config.health.interval).await;
    }
}

/// Whether `endpoint` says that it serves; `None` when it says nothing.
async fn check(endpoint: &Arc<Endpoint>, config: &UpstreamConfig, lane: usize) -> Option<bool> {
    let asking = async {
        let (slot, sender) = lane::acquire(endpoint, lane).await.ok()?;
        let asked = HealthCheckRequest { service: config.health.service.clone() };
        let request = request::of(endpoint, &PATH, request::headers(), Some(config.health.timeout));
        let message = Bytes::from(asked.encode_to_vec());
        match exchange::unary(slot, sender, request, message, ANSWER_MAX).await {
            Ok(answer) => {
                let answer = HealthCheckResponse::decode(answer.message).ok()?;
                Some(answer.status() == ServingStatus::Serving)
            }
            // It has no such service, and answers.
            Err(failure) if failure.reason.is_none() && failure.code == Code::Unimplemented => {
                Some(true)
            }
            // It does not know the service that it is asked for.
            Err(failure) if failure.reason.is_none() && failure.code == Code::NotFound => {
                Some(false)
            }
            Err(_) => None,
        }
    };
    timeout(config.health.timeout, asking).await.ok().flatten()
}
