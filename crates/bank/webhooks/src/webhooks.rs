//! What is done for a call, beside the wire.

use std::sync::Arc;
use std::time::Duration;

use auth::TenantId;
use clock::Clock;
use sealing::{SealError, Sealer};
use serde_json::value::RawValue;
use tokio::sync::Notify;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::domain::Broken;
use crate::domain::endpoint::{Changes, DisabledReason, Endpoint, Target};
use crate::domain::inbound::{Provider, Secrets};
use crate::domain::message::{Delivery, Occurrence, PING};
use crate::domain::signature::{Scheme, Secret};
use crate::error::WebhookError;
use crate::store::{NewSecret, Received, Replay, Store};

/// How long old secrets sign beside a new one, unless it is said.
const OVERLAP: Duration = Duration::from_hours(24);

/// Webhooks, both ways.
#[derive(Clone)]
pub(crate) struct Webhooks {
    pub(crate) store: Store,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) clock: Clock,
    pub(crate) development_targets: bool,
    /// Tells the sender that something is due.
    pub(crate) wake: Arc<Notify>,
}

/// Largest body that is received.
const BODY_BYTES_MAX: usize = 1 << 20;

/// An endpoint, and a new secret as its receiver is shown it.
pub(crate) struct Shown {
    pub(crate) endpoint: Endpoint,
    pub(crate) secret: String,
}

impl Webhooks {
    /// Reads where an endpoint is to be.
    pub(crate) fn target(&self, url: &str) -> Result<Target, Broken> {
        Target::parse(url, self.development_targets)
    }

    pub(crate) async fn create(
        &self,
        tenant: TenantId,
        mut endpoint: Endpoint,
        scheme: Scheme,
    ) -> Result<Shown, WebhookError> {
        self.target(&endpoint.url)?.as_str().clone_into(&mut endpoint.url);
        let (new, secret) = self.secret(tenant, scheme)?;
        let endpoint = self.store.endpoint_insert(tenant, &endpoint, &new).await?;
        Ok(Shown { endpoint, secret })
    }

    pub(crate) async fn update(
        &self,
        tenant: TenantId,
        id: Uuid,
        changes: &Changes,
    ) -> Result<Endpoint, WebhookError> {
        self.store.endpoint_update(tenant, id, changes, self.clock.now()).await
    }

    pub(crate) async fn enable(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Endpoint, WebhookError> {
        let enabled = self.store.endpoint_set_state(tenant, id, None, self.clock.now()).await?;
        self.wake.notify_one();
        Ok(enabled)
    }

    pub(crate) async fn disable(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Endpoint, WebhookError> {
        let reason = Some(DisabledReason::Requested);
        self.store.endpoint_set_state(tenant, id, reason, self.clock.now()).await
    }

    /// Adds a secret of `scheme`, or of that of the newest one.
    pub(crate) async fn rotate(
        &self,
        tenant: TenantId,
        id: Uuid,
        scheme: Option<Scheme>,
        overlap: Option<Duration>,
    ) -> Result<Shown, WebhookError> {
        let now = self.clock.now();
        let scheme = if let Some(scheme) = scheme {
            scheme
        } else {
            let endpoint = self.store.endpoint_fetch(tenant, id, now).await?;
            endpoint.keys.first().map_or(Scheme::Hmac, |newest| newest.scheme)
        };
        let (new, secret) = self.secret(tenant, scheme)?;
        let old_until = now + overlap.unwrap_or(OVERLAP);
        let endpoint = self.store.secret_rotate(tenant, id, &new, old_until).await?;
        Ok(Shown { endpoint, secret })
    }

    pub(crate) async fn ping(&self, tenant: TenantId, id: Uuid) -> Result<Delivery, WebhookError> {
        let now = self.clock.now();
        let occurrence = Occurrence { kind: PING, at: now, data: RawValue::NULL };
        let payload = occurrence.payload();
        let delivery = self.store.message_insert_for(tenant, id, PING, &payload, now).await?;
        self.wake.notify_one();
        Ok(delivery)
    }

    pub(crate) async fn replay_range(
        &self,
        tenant: TenantId,
        replay: Replay,
    ) -> Result<i64, WebhookError> {
        let replayed = self.store.range_replay(tenant, replay, self.clock.now()).await?;
        self.wake.notify_one();
        Ok(replayed)
    }

    pub(crate) async fn replay_message(
        &self,
        tenant: TenantId,
        message: Uuid,
        endpoint: Option<Uuid>,
    ) -> Result<i64, WebhookError> {
        let now = self.clock.now();
        let replayed = self.store.message_replay(tenant, message, endpoint, now).await?;
        self.wake.notify_one();
        Ok(replayed)
    }

    pub(crate) async fn set_provider(
        &self,
        tenant: TenantId,
        provider: Provider,
        secrets: &Secrets,
    ) -> Result<Provider, WebhookError> {
        let provider = provider.checked(secrets)?;
        let plain = Zeroizing::new(serde_json::to_vec(&**secrets).map_err(|_| SealError)?);
        let sealed = self.sealer.seal(&provider_name(tenant, &provider.name), &plain)?;
        self.store.provider_set(tenant, &provider, &sealed).await?;
        Ok(provider)
    }

    /// Verifies, keeps and publishes a message: the id under which it is kept, and whether it was
    /// received before.
    pub(crate) async fn receive<'h>(
        &self,
        tenant: TenantId,
        provider: &str,
        header: impl Fn(&str) -> Option<&'h str>,
        content_type: &str,
        body: &[u8],
    ) -> Result<(Uuid, bool), WebhookError> {
        if body.len() > BODY_BYTES_MAX {
            return Err(WebhookError::BodyTooLarge { max: BODY_BYTES_MAX });
        }
        let (provider, sealed) = self.store.provider_fetch(tenant, provider).await?;
        let plain = self.sealer.open(&provider_name(tenant, &provider.name), &sealed)?;
        let secrets = serde_json::from_slice(&plain).map_err(|_| SealError)?;
        let secrets: Secrets = Zeroizing::new(secrets);
        let now = self.clock.now();
        let provider_id = provider.receive(&secrets, header, body, now)?;
        let received = Received {
            id: Uuid::now_v7(),
            provider: &provider.name,
            provider_id: &provider_id,
            content_type,
            body,
            at: now,
        };
        let first = self.store.inbound_insert(tenant, &received).await?;
        Ok((first.unwrap_or(received.id), first.is_some()))
    }

    fn secret(
        &self,
        tenant: TenantId,
        scheme: Scheme,
    ) -> Result<(NewSecret, String), WebhookError> {
        let secret = Secret::generate(scheme)?;
        let id = Uuid::now_v7();
        let shown = secret.shown()?;
        let new = NewSecret {
            id,
            scheme,
            sealed: self.sealer.seal(&secret_name(tenant, id), secret.bytes())?,
            public_key: (scheme == Scheme::Ed25519).then(|| shown.clone()),
            created_at: self.clock.now(),
        };
        Ok((new, shown))
    }
}

/// What an endpoint's encrypted secret is bound to.
pub(crate) fn secret_name(tenant: TenantId, id: Uuid) -> String {
    format!("endpoint {tenant} {id}")
}

/// What a provider's encrypted secrets are bound to.
pub(crate) fn provider_name(tenant: TenantId, name: &str) -> String {
    format!("provider {tenant} {name}")
}
