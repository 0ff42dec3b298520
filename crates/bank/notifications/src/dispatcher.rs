//! Takes what is due to its channel, and records what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use auth::TenantId;
use chrono::{DateTime, Utc};
use clock::Clock;
use futures::stream::{FuturesUnordered, StreamExt};
use jiff::tz::TimeZone;
use metrics::counter;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::channels::{Carriers, Letter};
use crate::contacts::Contacts;
use crate::domain::attempts::{Outcome, Retries};
use crate::domain::{Channel, Recipient, Status, address, preferences};
use crate::error::NotificationError;
use crate::hub::Hub;
use crate::store::{Claimed, Store};
use crate::templates::{Filled, Library, Reader, Template};

/// What an attempt may take beyond the time of its channel: to find the address, and to record it.
const LEASE_MARGIN: Duration = Duration::from_secs(15);

/// Delivers, one task for each channel: a provider that hangs keeps no other channel waiting, and an
/// address that hangs no other address.
///
/// A delivery is claimed on disk before it is tried. Whoever dies while it tries leaves a claim that
/// ends, and the delivery is tried again, under its own id: a channel may get it twice, never not.
#[derive(Clone)]
pub(crate) struct Dispatcher {
    pub(crate) store: Store,
    pub(crate) contacts: Contacts,
    pub(crate) library: Arc<Library>,
    pub(crate) carriers: Arc<Carriers>,
    pub(crate) clock: Clock,
    pub(crate) hub: Arc<Hub>,
    /// Zone of who has chosen none.
    pub(crate) zone: TimeZone,
    pub(crate) retries: Retries,
    pub(crate) interval: Duration,
    pub(crate) concurrency: u16,
    pub(crate) attempt_timeout: Duration,
}

impl Dispatcher {
    /// Delivers what is due on `channel`, whenever something changes and at every interval.
    pub(crate) async fn run(self, channel: Channel) {
        let concurrency = usize::from(self.concurrency);
        let mut changes = self.hub.changes();
        let mut under_way = FuturesUnordered::new();
        let mut is_due = true;
        loop {
            changes.mark_unchanged();
            let free = concurrency - under_way.len();
            // Not for each that ends: claims are made of several, where that keeps none waiting long.
            if free >= concurrency.div_ceil(4) || (is_due && free > 0) {
                match self.claim(channel, free).await {
                    Ok(claimed) => under_way.extend(claimed.into_iter().map(|it| self.deliver(it))),
                    Err(error) => {
                        tracing::warn!(
                            channel = channel.as_str(),
                            ?error,
                            "no look at what is due"
                        );
                    }
                }
            }
            is_due = tokio::select! {
                Some(()) = under_way.next() => false,
                _ = changes.changed() => true,
                () = sleep(self.interval) => true,
            };
        }
    }

    /// Claims up to `free` deliveries that are due, of whatever tenants.
    async fn claim(
        &self,
        channel: Channel,
        free: usize,
    ) -> Result<Vec<(TenantId, Claimed)>, NotificationError> {
        let (now, lease) = (self.clock.now(), self.attempt_timeout + LEASE_MARGIN);
        let limit = i64::try_from(free).unwrap_or(i64::MAX);
        let mut of_tenants: BTreeMap<TenantId, Vec<Uuid>> = BTreeMap::new();
        for (tenant, id) in self.store.deliveries_due(channel, now, limit).await? {
            of_tenants.entry(tenant).or_default().push(id);
        }
        let mut claimed = Vec::new();
        for (tenant, ids) in of_tenants {
            let of_tenant = self.store.deliveries_claim(tenant, &ids, now, lease).await?;
            claimed.extend(of_tenant.into_iter().map(|it| (tenant, it)));
        }
        Ok(claimed)
    }

    async fn deliver(&self, (tenant, claimed): (TenantId, Claimed)) {
        let recorded = match self.quiet_until(&claimed) {
            Some(until) => self.store.delivery_hold(tenant, &claimed, until).await,
            None => self.attempt(tenant, &claimed).await,
        };
        if let Err(error) = recorded {
            let delivery = claimed.id.to_string();
            tracing::warn!(delivery, ?error, "an attempt is not recorded, and will be made again");
        }
    }

    fn quiet_until(&self, claimed: &Claimed) -> Option<DateTime<Utc>> {
        if preferences::is_fixed(claimed.category) {
            return None;
        }
        let hours = claimed.preferences.quiet_hours?;
        hours.end(self.clock.now(), &claimed.preferences.zone(&self.zone))
    }

    async fn attempt(&self, tenant: TenantId, claimed: &Claimed) -> Result<(), NotificationError> {
        let (outcome, shown) = match self.recipient(tenant, claimed).await {
            // Nobody came back to tell what became of the last one.
            _ if claimed.attempt > self.retries.attempts_max => {
                (Outcome::Refused("ATTEMPTS_EXHAUSTED"), String::new())
            }
            Ok(recipient) => match recipient.address(claimed.channel, claimed.user) {
                Some(address) => {
                    let outcome = self.carry(claimed, &address, recipient.greeting()).await;
                    (outcome, address::masked(claimed.channel, &address))
                }
                None => (Outcome::Refused("NO_ADDRESS"), String::new()),
            },
            Err(outcome) => (outcome, String::new()),
        };
        let now = self.clock.now();
        let next = self.retries.next(outcome, claimed.attempt, now, rand::random());
        let (channel, status) = (claimed.channel.as_str(), next.status.as_str());
        counter!("notifications_attempts_total", "channel" => channel, "status" => status)
            .increment(1);
        let (delivery, reason) = (claimed.id.to_string(), next.reason);
        match next.status {
            Status::Failed => tracing::warn!(delivery, channel, reason, "a delivery is given up"),
            Status::Pending => tracing::info!(delivery, channel, reason, "it is tried again later"),
            _ => {}
        }
        self.store.delivery_settle(tenant, claimed, &next, &shown, now).await
    }

    /// Whom the order names, else whom the profile does.
    async fn recipient(&self, tenant: TenantId, claimed: &Claimed) -> Result<Recipient, Outcome> {
        let given = claimed.recipient.clone().unwrap_or_default();
        if given.address(claimed.channel, claimed.user).is_some() {
            return Ok(given);
        }
        match self.contacts.find(tenant, claimed.user).await {
            Ok(Some(recipient)) => Ok(recipient),
            // The profile may come later than what there is to tell.
            Ok(None) => Err(Outcome::unsure("NO_PROFILE")),
            Err(error) => {
                tracing::warn!(code = ?error.code(), "customers does not tell an address");
                Err(Outcome::unsure("PROFILE_UNAVAILABLE"))
            }
        }
    }

    async fn carry(&self, claimed: &Claimed, address: &str, name: &str) -> Outcome {
        let Some(carrier) = self.carriers.of(claimed.channel) else {
            return Outcome::unsure("NOT_CONFIGURED");
        };
        let words = match self.words(claimed, name) {
            Ok(words) => words,
            Err(error) => {
                tracing::error!(template = claimed.template, %error, "a template cannot be filled in");
                return Outcome::Refused("TEMPLATE_FAILED");
            }
        };
        let (id, channel, now) = (claimed.id, claimed.channel, self.clock.now());
        let letter = Letter { id, channel, address, name, words: &words, now };
        let outcome = timeout(self.attempt_timeout, carrier.carry(letter)).await;
        outcome.unwrap_or_else(|_| Outcome::unsure("TIMED_OUT"))
    }

    fn words(&self, claimed: &Claimed, name: &str) -> Result<Filled, NotificationError> {
        let template = Template::find(&claimed.template)?;
        let zone = claimed.preferences.zone(&self.zone);
        let reader = Reader { locale: &claimed.locale, zone: &zone, name };
        self.library.fill(template, &claimed.variables, &reader)
    }
}
