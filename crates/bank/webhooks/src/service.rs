//! The gRPC face of webhooks: decode, call, encode.

use std::time::Duration;

use auth::TenantId;
use contracts::webhooks::v1 as pb;
use contracts::webhooks::v1::webhooks_service_server::WebhooksService;
use mesh::Context;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::store::Replay;
use crate::webhooks::{Shown, Webhooks};
use crate::wire;

const PAGE_SIZE_DEFAULT: usize = 50;

/// Serves `malha.webhooks.v1`.
pub(crate) struct Service {
    pub(crate) webhooks: Webhooks,
}

/// The tenant of the user who asks.
fn tenant() -> Result<TenantId, Status> {
    Ok(Context::principal()?.tenant)
}

fn id(text: &str) -> Result<Uuid, Status> {
    mesh::wire::id("id", text)
}

#[tonic::async_trait]
impl WebhooksService for Service {
    async fn create_endpoint(
        &self,
        request: Request<pb::CreateEndpointRequest>,
    ) -> Result<Response<pb::CreateEndpointResponse>, Status> {
        let request = mesh::valid(request)?;
        let scheme = wire::scheme(request.scheme()).unwrap_or(wire::SCHEME_DEFAULT);
        let now = self.webhooks.clock.now();
        let endpoint = wire::new_endpoint(request.endpoint.unwrap_or_default(), now)?;
        let Shown { endpoint, secret } = self.webhooks.create(tenant()?, endpoint, scheme).await?;
        let endpoint = Some(wire::endpoint(endpoint));
        Ok(Response::new(pb::CreateEndpointResponse { endpoint, secret }))
    }

    async fn get_endpoint(
        &self,
        request: Request<pb::GetEndpointRequest>,
    ) -> Result<Response<pb::GetEndpointResponse>, Status> {
        let id = id(&mesh::valid(request)?.id)?;
        let now = self.webhooks.clock.now();
        let endpoint = self.webhooks.store.endpoint_fetch(tenant()?, id, now).await?;
        Ok(Response::new(pb::GetEndpointResponse { endpoint: Some(wire::endpoint(endpoint)) }))
    }

    async fn list_endpoints(
        &self,
        request: Request<pb::ListEndpointsRequest>,
    ) -> Result<Response<pb::ListEndpointsResponse>, Status> {
        let request = mesh::valid(request)?;
        let before = wire::page(&request.page_token)?;
        let size = mesh::wire::page_size(request.page_size, PAGE_SIZE_DEFAULT);
        let (limit, now) = (wire::limit(size), self.webhooks.clock.now());
        let found = self.webhooks.store.endpoint_list(tenant()?, before, limit, now).await?;
        let (endpoints, next_page_token) = wire::cut(found, size, |endpoint| endpoint.id);
        let endpoints = endpoints.into_iter().map(wire::endpoint).collect();
        Ok(Response::new(pb::ListEndpointsResponse { endpoints, next_page_token }))
    }

    async fn update_endpoint(
        &self,
        request: Request<pb::UpdateEndpointRequest>,
    ) -> Result<Response<pb::UpdateEndpointResponse>, Status> {
        let request = mesh::valid(request)?;
        let id = id(&request.id)?;
        let paths = request.update_mask.unwrap_or_default().paths;
        let read = |url: &str| self.webhooks.target(url);
        let changes = wire::changes(request.endpoint.unwrap_or_default(), &paths, read)?;
        let endpoint = self.webhooks.update(tenant()?, id, &changes).await?;
        Ok(Response::new(pb::UpdateEndpointResponse { endpoint: Some(wire::endpoint(endpoint)) }))
    }

    async fn delete_endpoint(
        &self,
        request: Request<pb::DeleteEndpointRequest>,
    ) -> Result<Response<pb::DeleteEndpointResponse>, Status> {
        let id = id(&mesh::valid(request)?.id)?;
        self.webhooks.store.endpoint_delete(tenant()?, id, self.webhooks.clock.now()).await?;
        Ok(Response::new(pb::DeleteEndpointResponse {}))
    }

    async fn enable_endpoint(
        &self,
        request: Request<pb::EnableEndpointRequest>,
    ) -> Result<Response<pb::EnableEndpointResponse>, Status> {
        let id = id(&mesh::valid(request)?.id)?;
        let endpoint = self.webhooks.enable(tenant()?, id).await?;
        Ok(Response::new(pb::EnableEndpointResponse { endpoint: Some(wire::endpoint(endpoint)) }))
    }

    async fn disable_endpoint(
        &self,
        request: Request<pb::DisableEndpointRequest>,
    ) -> Result<Response<pb::DisableEndpointResponse>, Status> {
        let id = id(&mesh::valid(request)?.id)?;
        let endpoint = self.webhooks.disable(tenant()?, id).await?;
        Ok(Response::new(pb::DisableEndpointResponse { endpoint: Some(wire::endpoint(endpoint)) }))
    }

    async fn rotate_secret(
        &self,
        request: Request<pb::RotateSecretRequest>,
    ) -> Result<Response<pb::RotateSecretResponse>, Status> {
        let request = mesh::valid(request)?;
        let (id, scheme) = (id(&request.id)?, wire::scheme(request.scheme()));
        let overlap = request.overlap_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let overlap = overlap.map(Duration::from_secs);
        let Shown { endpoint, secret } =
            self.webhooks.rotate(tenant()?, id, scheme, overlap).await?;
        let endpoint = Some(wire::endpoint(endpoint));
        Ok(Response::new(pb::RotateSecretResponse { endpoint, secret }))
    }

    async fn ping_endpoint(
        &self,
        request: Request<pb::PingEndpointRequest>,
    ) -> Result<Response<pb::PingEndpointResponse>, Status> {
        let id = id(&mesh::valid(request)?.id)?;
        let delivery = self.webhooks.ping(tenant()?, id).await?;
        Ok(Response::new(pb::PingEndpointResponse { delivery: Some(wire::delivery(delivery)) }))
    }

    async fn replay_range(
        &self,
        request: Request<pb::ReplayRangeRequest>,
    ) -> Result<Response<pb::ReplayRangeResponse>, Status> {
        let request = mesh::valid(request)?;
        let before = match &request.before {
            Some(before) => wire::time("before", Some(before))?,
            None => self.webhooks.clock.now(),
        };
        let replay = Replay {
            endpoint: id(&request.id)?,
            from: wire::time("from", request.from.as_ref())?,
            before,
            include_delivered: request.include_delivered,
        };
        let replayed = self.webhooks.replay_range(tenant()?, replay).await?;
        Ok(Response::new(pb::ReplayRangeResponse { replayed: wire::count(replayed) }))
    }

    async fn replay_message(
        &self,
        request: Request<pb::ReplayMessageRequest>,
    ) -> Result<Response<pb::ReplayMessageResponse>, Status> {
        let request = mesh::valid(request)?;
        let message = wire::message_id("id", &request.id)?;
        let endpoint = wire::optional_id("endpoint_id", &request.endpoint_id)?;
        let replayed = self.webhooks.replay_message(tenant()?, message, endpoint).await?;
        Ok(Response::new(pb::ReplayMessageResponse { replayed: wire::count(replayed) }))
    }

    async fn get_delivery(
        &self,
        request: Request<pb::GetDeliveryRequest>,
    ) -> Result<Response<pb::GetDeliveryResponse>, Status> {
        let id = id(&mesh::valid(request)?.id)?;
        let delivery = self.webhooks.store.delivery_fetch(tenant()?, id).await?;
        Ok(Response::new(pb::GetDeliveryResponse { delivery: Some(wire::delivery(delivery)) }))
    }

    async fn list_deliveries(
        &self,
        request: Request<pb::ListDeliveriesRequest>,
    ) -> Result<Response<pb::ListDeliveriesResponse>, Status> {
        let request = mesh::valid(request)?;
        let filter = wire::filter(&request)?;
        let before = wire::page(&request.page_token)?;
        let size = mesh::wire::page_size(request.page_size, PAGE_SIZE_DEFAULT);
        let store = &self.webhooks.store;
        let found = store.delivery_list(tenant()?, filter, before, wire::limit(size)).await?;
        let (deliveries, next_page_token) = wire::cut(found, size, |delivery| delivery.id);
        let deliveries = deliveries.into_iter().map(wire::delivery).collect();
        Ok(Response::new(pb::ListDeliveriesResponse { deliveries, next_page_token }))
    }

    async fn list_attempts(
        &self,
        request: Request<pb::ListAttemptsRequest>,
    ) -> Result<Response<pb::ListAttemptsResponse>, Status> {
        let id = id(&mesh::valid(request)?.id)?;
        let attempts = self.webhooks.store.attempt_list(tenant()?, id).await?;
        let attempts = attempts.into_iter().map(wire::attempt).collect();
        Ok(Response::new(pb::ListAttemptsResponse { attempts }))
    }

    async fn set_provider(
        &self,
        request: Request<pb::SetProviderRequest>,
    ) -> Result<Response<pb::SetProviderResponse>, Status> {
        let request = mesh::valid(request)?;
        let now = self.webhooks.clock.now();
        let given = request.provider.unwrap_or_default();
        let (provider, secrets) = wire::new_provider(request.name, given, now)?;
        let provider = self.webhooks.set_provider(tenant()?, provider, &secrets).await?;
        Ok(Response::new(pb::SetProviderResponse { provider: Some(wire::provider(provider)) }))
    }

    async fn list_providers(
        &self,
        _request: Request<pb::ListProvidersRequest>,
    ) -> Result<Response<pb::ListProvidersResponse>, Status> {
        let providers = self.webhooks.store.provider_list(tenant()?).await?;
        let providers = providers.into_iter().map(wire::provider).collect();
        Ok(Response::new(pb::ListProvidersResponse { providers }))
    }

    async fn delete_provider(
        &self,
        request: Request<pb::DeleteProviderRequest>,
    ) -> Result<Response<pb::DeleteProviderResponse>, Status> {
        let name = mesh::valid(request)?.name;
        self.webhooks.store.provider_delete(tenant()?, &name).await?;
        Ok(Response::new(pb::DeleteProviderResponse {}))
    }

    async fn get_received(
        &self,
        request: Request<pb::GetReceivedRequest>,
    ) -> Result<Response<pb::GetReceivedResponse>, Status> {
        let id = id(&mesh::valid(request)?.id)?;
        let kept = self.webhooks.store.inbound_fetch(Context::current()?.tenant, id).await?;
        Ok(Response::new(pb::GetReceivedResponse { received: Some(wire::received(kept)) }))
    }

    async fn receive_webhook(
        &self,
        mut request: Request<pb::ReceiveWebhookRequest>,
    ) -> Result<Response<pb::ReceiveWebhookResponse>, Status> {
        let headers = std::mem::take(request.metadata_mut());
        let request = mesh::valid(request)?;
        // The signature is the authority: it is checked with the secret of this tenant's provider.
        let tenant = wire::optional_id("tenant_id", &request.tenant_id)?.map(TenantId::from);
        let tenant = tenant.map_or_else(|| Context::current().map(|context| context.tenant), Ok)?;
        let body = request.body.unwrap_or_default();
        let (id, duplicate) = self
            .webhooks
            .receive(
                tenant,
                &request.provider,
                |name| only(&headers, name),
                &body.content_type,
                &body.data,
            )
            .await?;
        Ok(Response::new(pb::ReceiveWebhookResponse { id: id.to_string(), duplicate }))
    }
}

/// A header that stands there once.
fn only<'h>(headers: &'h MetadataMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}
