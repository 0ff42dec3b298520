//! Tells what the ledger accepted (K-16), from its change stream.
//!
//! The place in the stream is a row that moves on in the transaction that publishes, so each transfer
//! is told once, whoever dies meanwhile. Replicas of payments may all feed: who comes second finds
//! the place moved, and goes there.

use std::collections::HashMap;
use std::time::Duration;

use auth::TenantId;
use contracts::ledger::v1 as pb;
use contracts::ledger::v1::change::Change;
use contracts::ledger::v1::ledger_service_client::LedgerServiceClient;
use events::{Event, EventError};
use mesh::{Channel, Context};
use tokio::task::JoinSet;
use tonic::Status;

use crate::domain::derived_id;
use crate::error::PaymentError;
use crate::store::Store;

/// Time between two looks for tenants that are new, and before a stream that broke is opened again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reads the change streams of all tenants, for ever.
#[derive(Clone)]
pub(crate) struct Feed {
    pub(crate) store: Store,
    pub(crate) ledger: LedgerServiceClient<Channel>,
}

impl Feed {
    pub(crate) async fn run(self) {
        let mut streams = JoinSet::new();
        let mut followed = HashMap::new();
        loop {
            match self.store.feed_tenants().await {
                Ok(tenants) => {
                    for tenant in tenants {
                        followed.entry(tenant).or_insert_with(|| {
                            let follow = self.clone().follow(tenant);
                            streams.spawn(Context::system(tenant).scope(follow))
                        });
                    }
                }
                Err(error) => tracing::warn!(%error, "the tenants of the ledger are not known"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Follows the ledger of one tenant, for ever.
    async fn follow(self, tenant: TenantId) {
        loop {
            // A stream ends with its deadline: that is no failure.
            if let Err(error) = self.stream(tenant).await {
                tracing::debug!(?error, "the ledger is followed again");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    async fn stream(&self, tenant: TenantId) -> Result<(), PaymentError> {
        let mut after = self.store.feed_place(tenant).await?;
        let request = pb::WatchRequest { after };
        let watching = self.ledger.clone().watch(request).await;
        let mut changes = watching.map_err(PaymentError::Upstream)?.into_inner();
        loop {
            let next = match changes.message().await {
                Ok(Some(next)) => next,
                Ok(None) => return Ok(()),
                Err(status) if is_end(&status) => return Ok(()),
                Err(status) => return Err(PaymentError::Upstream(status)),
            };
            let Some(last) = next.changes.last().map(|change| change.sequence) else { continue };
            let events = of_changes(tenant, &next.changes).map_err(storage::Error::from)?;
            if !self.store.feed_publish(tenant, after, last, &events).await? {
                return Ok(());
            }
            after = last;
        }
    }
}

fn is_end(status: &Status) -> bool {
    status.code() == tonic::Code::DeadlineExceeded
}

/// Two events for each transfer, one for each of its accounts.
fn of_changes(tenant: TenantId, changes: &[pb::Change]) -> Result<Vec<Event>, EventError> {
    let mut events = Vec::with_capacity(changes.len() * 2);
    for change in changes {
        let Some(Change::Transfer(transfer)) = &change.change else { continue };
        let at = change.created_at.as_ref().and_then(mesh::wire::time).unwrap_or_default();
        for account in [&transfer.debit_account_id, &transfer.credit_account_id] {
            let parts = [tenant.to_string(), transfer.id.clone(), account.clone()];
            let id = derived_id(&["ledger", &parts[0], &parts[1], &parts[2]]);
            events.push(Event::new(tenant, at, &told(account, transfer, change))?.with_id(id));
        }
    }
    Ok(events)
}

fn told(account: &str, transfer: &pb::Transfer, change: &pb::Change) -> pb::TransferCreated {
    pb::TransferCreated {
        account_id: account.to_owned(),
        transfer_id: transfer.id.clone(),
        debit_account_id: transfer.debit_account_id.clone(),
        credit_account_id: transfer.credit_account_id.clone(),
        amount: transfer.amount,
        ledger: transfer.ledger,
        code: transfer.code,
        kind: transfer.kind,
        sequence: change.sequence,
        created_at: change.created_at,
    }
}
