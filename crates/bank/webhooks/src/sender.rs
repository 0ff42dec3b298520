//! Delivers what is due: workers of any number of processes share it by leases.
//!
//! A delivery is attempted at least once under one id: whoever dies in the middle of it leaves a lease
//! that ends, and the next one begins anew. Order is not kept, not even within one endpoint.

mod client;
pub(crate) mod resolver;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use metrics::{counter, gauge, histogram};
use sealing::Sealer;
use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use tokio::time::sleep;
use uuid::Uuid;

pub(crate) use client::Client;
pub use client::ClientError;

use crate::config::Config;
use crate::domain::answer::{Answer, Outcome, Patience};
use crate::domain::message;
use crate::domain::signature::Secret;
use crate::error::WebhookError;
use crate::store::{Claimed, Finished, Room, Store};

/// How much longer than an attempt its lease is: time to record how it ended.
const LEASE_MARGIN: Duration = Duration::from_secs(15);

/// Delivers what is due. Clones are the same sender.
#[derive(Clone)]
pub(crate) struct Sender {
    pub(crate) store: Store,
    pub(crate) client: Client,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Config>,
    pub(crate) patience: Arc<Patience>,
    /// Woken when something may be due before the next look.
    pub(crate) wake: Arc<Notify>,
}

/// Deliveries under way in this process.
#[derive(Default)]
struct UnderWay {
    tasks: JoinSet<()>,
    endpoints: BTreeMap<Id, Uuid>,
    counts: BTreeMap<Uuid, usize>,
}

impl UnderWay {
    fn begin(&mut self, endpoint: Uuid, attempt: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(attempt);
        self.endpoints.insert(task.id(), endpoint);
        *self.counts.entry(endpoint).or_default() += 1;
    }

    /// Waits until one has ended; for ever when there is none.
    async fn ended(&mut self) {
        let ended = match self.tasks.join_next_with_id().await {
            None => return std::future::pending().await,
            Some(Ok((id, ()))) => id,
            Some(Err(panic)) => {
                tracing::error!(%panic, "a webhook delivery panicked");
                panic.id()
            }
        };
        let Some(endpoint) = self.endpoints.remove(&ended) else { return };
        if let Some(count) = self.counts.get_mut(&endpoint) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&endpoint);
            }
        }
    }
}

impl Sender {
    /// Runs for ever.
    pub(crate) async fn run(self) {
        let mut under_way = UnderWay::default();
        let mut found = true;
        loop {
            // After a look that found nothing, one delivery that ends brings nothing new.
            if found || under_way.tasks.is_empty() {
                found = self.look(&mut under_way).await;
            }
            let count = u32::try_from(under_way.tasks.len()).unwrap_or(u32::MAX);
            gauge!("webhooks_deliveries_under_way").set(count);
            tokio::select! {
                () = sleep(self.config.poll_interval) => found = true,
                () = self.wake.notified() => found = true,
                () = under_way.ended() => {}
            }
        }
    }

    /// Begins what is due, as far as there is room. Says whether there was any.
    async fn look(&self, under_way: &mut UnderWay) -> bool {
        match self.claim(under_way).await {
            Ok(claimed) => {
                let found = !claimed.is_empty();
                for claimed in claimed {
                    let (sender, endpoint) = (self.clone(), claimed.endpoint);
                    under_way.begin(endpoint, async move { sender.deliver(claimed).await });
                }
                found
            }
            Err(error) => {
                tracing::warn!(%error, "cannot look for webhooks that are due");
                false
            }
        }
    }

    async fn claim(&self, under_way: &UnderWay) -> Result<Vec<Claimed>, WebhookError> {
        let total = self.config.deliveries_max.get().saturating_sub(under_way.tasks.len());
        let each = self.config.endpoint_deliveries_max.get();
        let mut room = Room { total, each, under_way: &under_way.counts };
        if room.total == 0 {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let lease = self.config.attempt_timeout + LEASE_MARGIN;
        let mut claimed = Vec::new();
        for (tenant, endpoints) in self.store.due_endpoints(&room, now).await? {
            let taken =
                self.store.due_claim(tenant, &endpoints, &room, &self.patience, now, lease).await?;
            room.total -= taken.len();
            claimed.extend(taken);
            if room.total == 0 {
                break;
            }
        }
        Ok(claimed)
    }

    /// Attempts one delivery and records how it ended.
    async fn deliver(&self, claimed: Claimed) {
        let started_at = self.clock.now();
        let answer = match self.headers(&claimed, started_at.timestamp()) {
            Ok(headers) => {
                self.client.post(&claimed.url, headers, claimed.payload.clone(), started_at).await
            }
            Err(error) => {
                tracing::error!(endpointId = %claimed.endpoint, %error, "a webhook cannot be signed");
                return;
            }
        };
        count(&answer);
        let now = self.clock.now();
        let step = usize::try_from(claimed.step).unwrap_or_default();
        let next = self.patience.next(&answer, step, rand::random(), now);
        let finished = Finished { claimed: &claimed, answer: &answer, next, started_at, now };
        // Not recorded means attempted again once the lease has ended.
        if let Err(error) = self.store.attempt_finish(&finished, &self.patience).await {
            tracing::warn!(deliveryId = %claimed.id, %error, "an attempt is not recorded");
        }
    }

    /// The headers of an attempt, signed with every secret that has not expired.
    fn headers(&self, claimed: &Claimed, at: i64) -> Result<client::Headers, WebhookError> {
        let id = message::shown(claimed.message);
        let mut signatures = Vec::with_capacity(claimed.secrets.len());
        for kept in &claimed.secrets {
            let name = crate::webhooks::secret_name(claimed.tenant, kept.id);
            let secret = Secret::restore(kept.scheme, self.sealer.open(&name, &kept.sealed)?);
            signatures.push(secret.sign(&id, at, &claimed.payload)?);
        }
        Ok(client::Headers { id, timestamp: at.to_string(), signatures: signatures.join(" ") })
    }
}

fn count(answer: &Answer) {
    let outcome = match answer.outcome {
        Outcome::Delivered => "delivered",
        Outcome::Refused => "refused",
        Outcome::Timeout => "timeout",
        Outcome::Unreachable => "unreachable",
        Outcome::AddressRefused => "address_refused",
    };
    counter!("webhooks_attempts_total", "outcome" => outcome).increment(1);
    histogram!("webhooks_attempt_seconds", "outcome" => outcome).record(answer.latency);
}
