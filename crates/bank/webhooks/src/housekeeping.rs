//! What is done from time to time: old rows are deleted, secrets are brought under the newest key.

use std::sync::Arc;
use std::time::Duration;

use auth::TenantId;
use clock::Clock;
use sealing::Sealer;

use crate::config::Config;
use crate::error::WebhookError;
use crate::store::{Old, Store};
use crate::webhooks::{provider_name, secret_name};

/// How often.
const INTERVAL: Duration = Duration::from_mins(10);

/// Keeps the tables in order.
#[derive(Clone)]
pub(crate) struct Housekeeper {
    pub(crate) store: Store,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Config>,
}

impl Housekeeper {
    /// Runs for ever.
    pub(crate) async fn run(self) {
        loop {
            if let Err(error) = self.keep().await {
                tracing::warn!(%error, "webhooks are not kept in order");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn keep(&self) -> Result<(), WebhookError> {
        let now = self.clock.now();
        let Config { retention, inbound_ids_kept, .. } = *self.config;
        let old = Old { now, before: now - retention, ids_before: now - inbound_ids_kept };
        for tenant in self.store.tenants().await? {
            while self.store.old_delete(tenant, old).await? {}
            let resealed = self.reseal(tenant).await?;
            if resealed > 0 {
                tracing::info!(%tenant, resealed, "secrets are under the newest key now");
            }
        }
        Ok(())
    }

    /// Seals a tenant's secrets anew that are under an older key, if there is one. Returns their number.
    async fn reseal(&self, tenant: TenantId) -> Result<u64, WebhookError> {
        if !self.sealer.has_older() {
            return Ok(0);
        }
        let sealed = self.store.sealed_list(tenant).await?;
        let mut resealed = 0;
        for (id, old) in sealed.endpoints {
            if let Some(new) = self.anew(&secret_name(tenant, id), &old) {
                resealed += self.store.secret_reseal(tenant, id, (&old, &new)).await?;
            }
        }
        for (name, old) in sealed.providers {
            if let Some(new) = self.anew(&provider_name(tenant, &name), &old) {
                resealed += self.store.provider_reseal(tenant, &name, (&old, &new)).await?;
            }
        }
        Ok(resealed)
    }

    fn anew(&self, secret: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.sealer.reseal(secret, sealed).unwrap_or_else(|_| {
            tracing::error!(secret, "no key of webhooks.key_encryption_key opens a secret");
            None
        })
    }
}
