//! One service that is called: its endpoints, its breaker and the stack of layers to it.

use std::sync::Arc;

use metrics::gauge;
use tokio_util::task::AbortOnDropHandle;

use crate::client::balance::Endpoints;
use crate::client::breaker::Breaker;
use crate::client::channel::Channel;
use crate::client::layers;
use crate::client::resolve::follow;
use crate::client::status::UpstreamStatus;
use crate::config::Config;
use crate::tls::Identity;

/// One service that is called.
pub(crate) struct Upstream {
    name: Arc<str>,
    endpoints: Arc<Endpoints>,
    breaker: Arc<Breaker>,
    channel: Channel,
    /// Ends with the upstream.
    _resolver: Option<AbortOnDropHandle<()>>,
}

impl Upstream {
    /// Must be called within a tokio runtime, which will drive the connections.
    pub(crate) fn new(
        service: &Arc<str>,
        name: &str,
        identity: Arc<Identity>,
        config: &Config,
    ) -> Self {
        let name: Arc<str> = name.into();
        let endpoints = Endpoints::new(Arc::clone(&name), identity, &config.limits);
        let labels = [("service", service.to_string()), ("upstream", name.to_string())];
        let gauge = gauge!("malha_mesh_breaker_state", &labels);
        let breaker = Breaker::new(Arc::clone(&name), config.breaker.clone(), gauge);
        let names = config.endpoints.get(&*name).cloned().unwrap_or_default();
        let resolver = follow(&endpoints, names, config.limits.resolve_interval);
        let stack = layers(service, &name, &config.retry, &breaker, &endpoints);
        Self { name, endpoints, breaker, channel: Channel::new(stack), _resolver: resolver }
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn status(&self) -> UpstreamStatus {
        UpstreamStatus {
            name: self.name.to_string(),
            breaker: self.breaker.state(),
            endpoints: self.endpoints.statuses(),
        }
    }
}
