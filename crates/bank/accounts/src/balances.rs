//! Tells users' balances (L-33): whoever hears of the ledger's transfers does not know whose the
//! accounts are.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use contracts::accounts::v1::UserBalanceUpdated;
use contracts::ledger::v1::{TransferCreated, TransferKind};
use events::{Bus, Consumer, ConsumerConfig, Event, Handler, HandlerError, Outbox};
use money::Money;
use storage::{Database, Transaction};
use uuid::Uuid;

use crate::domain::Account;
use crate::store::account_by_id_in_txn;

/// Hears of the transfers of the ledger and tells of those that changed the balance of a user.
pub(crate) fn consumer(database: Database, bus: Arc<dyn Bus>) -> Consumer {
    let balances = Balances { outbox: Outbox::new(&database) };
    Consumer::builder("balances", database, bus, ConsumerConfig::default())
        .on("transactions.created", Arc::new(balances))
        .build()
}

struct Balances {
    outbox: Outbox,
}

#[async_trait]
impl Handler for Balances {
    async fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Event,
    ) -> Result<(), HandlerError> {
        let transfer: TransferCreated = event.decode()?;
        // A hold is no change of what is posted, nor is its release.
        let moved =
            matches!(transfer.kind(), TransferKind::Unspecified | TransferKind::PostPending);
        let id = transfer.account_id.parse::<Uuid>()?;
        // Others, such as that of the outside world, are nobody's.
        if let Some(account) = account_by_id_in_txn(transaction, id).await?.filter(|_| moved) {
            let told = updated(&account, &transfer, event.time)?;
            let told = Event::new(event.tenant, event.time, &told)?.caused_by(event);
            self.outbox.publish(transaction, &[told]).await?;
        }
        Ok(())
    }
}

fn updated(
    account: &Account,
    transfer: &TransferCreated,
    at: DateTime<Utc>,
) -> Result<UserBalanceUpdated, HandlerError> {
    let amount = Money::new(transfer.amount.try_into()?, account.currency);
    let is_debit = transfer.debit_account_id == transfer.account_id;
    let change = if is_debit { amount.checked_neg()? } else { amount };
    Ok(UserBalanceUpdated {
        user_id: account.owner.to_string(),
        account_id: account.id.to_string(),
        transfer_id: transfer.transfer_id.clone(),
        change: change.to_string(),
        currency: account.currency.code().into(),
        updated_at: Some(mesh::wire::timestamp(at)),
    })
}
