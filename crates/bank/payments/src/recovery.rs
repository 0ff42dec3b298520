//! Drives payments to their end that nobody else will: their process died, or the ledger's answer was
//! lost.

use std::collections::BTreeMap;
use std::time::Duration;

use auth::TenantId;
use mesh::Context;
use metrics::gauge;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::error::PaymentError;
use crate::payments::Payments;

/// Looks for payments whose end is not recorded, for ever.
#[derive(Clone)]
pub(crate) struct Recovery {
    pub(crate) payments: Payments,
    pub(crate) interval: Duration,
    pub(crate) batch: u16,
}

impl Recovery {
    /// Sweeps at once and then at every interval.
    pub(crate) async fn run(self) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.sweep().await {
                tracing::warn!(?error, "recovery will try again");
            }
        }
    }

    /// Takes up everything that is due. Stops at the first failure: the rest would fail alike.
    async fn sweep(&self) -> Result<(), PaymentError> {
        self.measure().await?;
        let store = &self.payments.store;
        loop {
            let now = self.payments.clock.now();
            let due = store.recovery_due(now, self.batch.into()).await?;
            let last = due.len() < usize::from(self.batch);
            let mut of_tenants: BTreeMap<TenantId, Vec<Uuid>> = BTreeMap::new();
            for (tenant, id) in due {
                of_tenants.entry(tenant).or_default().push(id);
            }
            for (tenant, ids) in of_tenants {
                Context::system(tenant).scope(self.recover(tenant, &ids)).await?;
            }
            if last {
                return Ok(());
            }
        }
    }

    async fn recover(&self, tenant: TenantId, ids: &[Uuid]) -> Result<(), PaymentError> {
        let Payments { store, ledger, clock, recovery_after, .. } = &self.payments;
        let claimed = store.recovery_claim(tenant, ids, clock.now(), *recovery_after).await?;
        let (asked, movements): (Vec<_>, Vec<_>) =
            claimed.iter().filter_map(|one| Some((one, one.outstanding(tenant)?))).unzip();
        if movements.is_empty() {
            return Ok(());
        }
        let outcomes = ledger.transfer(&movements).await.map_err(PaymentError::Upstream)?;
        let now = clock.now();
        let settled: Vec<_> = asked
            .into_iter()
            .zip(outcomes)
            .filter_map(|(before, outcome)| Some((before, before.settled(outcome?, now))))
            .collect();
        let pairs: Vec<_> = settled.iter().map(|(before, after)| (*before, after)).collect();
        let recorded = store.transactions_settle(tenant, &pairs).await?;
        let count = recorded.iter().filter(|recorded| **recorded).count();
        tracing::info!(count, "payments were driven to their end");
        Ok(())
    }

    async fn measure(&self) -> Result<(), PaymentError> {
        let outstanding = self.payments.store.recovery_outstanding().await?;
        let age = outstanding.oldest.map(|oldest| self.payments.clock.now() - oldest);
        let age = age.and_then(|age| age.to_std().ok()).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "a gauge of a count")]
        gauge!("payments_outstanding").set(outstanding.count as f64);
        gauge!("payments_outstanding_age_seconds").set(age);
        Ok(())
    }
}
