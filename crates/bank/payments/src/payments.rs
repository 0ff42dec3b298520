//! The life of a payment: recorded, asked of the ledger, settled.

use std::time::Duration;

use auth::{Principal, TenantId, UserId};
use clock::Clock;
use contracts::policy::Role;
use mesh::Context;
use mesh::error::surely_not_sent;
use money::Money;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::accounts::Accounts;
use crate::domain::{IdempotencyKey, Kind, Order, Outcome, Refusal, Sides, Status, Transaction};
use crate::error::PaymentError;
use crate::ledger::Ledger;
use crate::store::{Cursor, Filter, Inserted, Store};

/// How often, and how long apart, one looks whether the other who was told a reason has recorded it.
const REASON_LOOKS: u32 = 20;
const REASON_PAUSE: Duration = Duration::from_millis(25);

/// Kept of a request's time to send an answer that is ready. Shorter than what the ledger leaves of
/// it, so that there is time in between to record what the ledger said.
const SEND_TIME: Duration = Duration::from_millis(100);

/// Everything that can be done with payments.
#[derive(Clone)]
pub(crate) struct Payments {
    pub(crate) store: Store,
    pub(crate) ledger: Ledger,
    pub(crate) accounts: Accounts,
    pub(crate) clock: Clock,
    /// Largest amount of one payment; its currency is that of all.
    pub(crate) amount_max: Money,
    pub(crate) customer_cash: bool,
    pub(crate) recovery_after: Duration,
}

/// Why a payment is not at its end yet. Recovery will drive it there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Open {
    /// The ledger has surely not heard of it from this caller.
    Unasked,
    /// The ledger may have moved the money.
    Unknown,
}

/// A payment that was carried out, refused, or is PENDING; see [`Payments::create`].
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) transaction: Transaction,
    /// Whether it is the answer to an earlier request with the same key.
    pub(crate) replay: bool,
}

impl Payments {
    /// Carries an order out, or finds what became of it when its key was used before.
    ///
    /// When the ledger does not answer, a repeat under the same key is right: it finds this payment.
    /// Without a key a repeat is another payment. So the caller gets this one as it is, PENDING, or,
    /// where the ledger was surely not asked, FAILED for good.
    pub(crate) async fn create(
        &self,
        principal: &Principal,
        order: Order,
        key: Option<&IdempotencyKey>,
    ) -> Result<Created, PaymentError> {
        self.check_cash(principal, order.kind)?;
        let tenant = principal.tenant;
        let sides = self.sides(tenant, order.kind, order.sender, order.receiver).await?;
        let now = self.clock.now();
        let new = Transaction::pending(order, sides, now, now + self.recovery_after);
        match self.store.transaction_insert(tenant, &new, key).await? {
            Inserted::New => {
                let started = Instant::now();
                let transaction = match key {
                    Some(_) => self.drive_or_pend(tenant, new).await?,
                    None => self.drive_or_give_up(tenant, new).await,
                };
                if transaction.status != Status::Pending {
                    log_settled(&transaction, started);
                }
                Ok(Created { transaction, replay: false })
            }
            Inserted::Repeated { fingerprint, .. }
                if key.is_none_or(|key| key.fingerprint[..] != fingerprint) =>
            {
                Err(PaymentError::KeyReused)
            }
            Inserted::Repeated { first, .. } => {
                let pending = first.status == Status::Pending;
                let transaction =
                    if pending { self.drive_or_pend(tenant, *first).await? } else { *first };
                Ok(Created { transaction, replay: true })
            }
            Inserted::Unknown => {
                let repeatable = key.is_some();
                Err(PaymentError::OutcomePending { transaction: new.id, repeatable })
            }
        }
    }

    /// Reads a transaction. One that the caller may not see does not exist for it.
    pub(crate) async fn get(
        &self,
        principal: &Principal,
        id: Uuid,
    ) -> Result<Transaction, PaymentError> {
        let found = self.store.transaction_fetch(principal.tenant, id).await?;
        found
            .filter(|found| principal.is_staff() || found.has_party(principal.user))
            .ok_or(PaymentError::NotFound)
    }

    /// Lists a page of transactions and says where the next one begins.
    pub(crate) async fn list(
        &self,
        principal: &Principal,
        filter: &Filter,
        cursor: Option<Cursor>,
        page_size: usize,
    ) -> Result<(Vec<Transaction>, Option<Cursor>), PaymentError> {
        // One more than asked for tells whether there is a next page.
        let limit = i64::try_from(page_size + 1).unwrap_or(i64::MAX);
        let mut page = self.store.transaction_list(principal.tenant, filter, cursor, limit).await?;
        if page.len() <= page_size {
            return Ok((page, None));
        }
        page.truncate(page_size);
        let next = page.last().map(|last| Cursor { created_at: last.created_at, id: last.id });
        Ok((page, next))
    }

    /// Moves the money of a COMPLETED transaction back.
    pub(crate) async fn reverse(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Transaction, PaymentError> {
        let now = self.clock.now();
        let recover_at = now + self.recovery_after;
        let transaction = match self.store.reversal_request(tenant, id, now, recover_at).await? {
            Some(requested) => requested,
            None => self.fetch(tenant, id).await?,
        };
        let transaction = match transaction.status {
            Status::Completed => self.drive_or_pend(tenant, transaction).await?,
            Status::Reversed => return Ok(transaction),
            Status::Pending | Status::Failed => return Err(PaymentError::NotReversible),
        };
        match transaction.status {
            Status::Reversed => Ok(transaction),
            _ if transaction.recover_at.is_some() => {
                Err(PaymentError::OutcomePending { transaction: id, repeatable: true })
            }
            _ => {
                let refusal = transaction.reversal_refusal.unwrap_or(Refusal::RefusedByLedger);
                Err(PaymentError::Refused { transaction: id, refusal })
            }
        }
    }

    /// Asks the ledger for what a transaction is waiting for, and records the answer.
    ///
    /// May be done by several at once, and again at any time: the ledger has one answer for each id.
    async fn drive(&self, tenant: TenantId, transaction: Transaction) -> Result<Transaction, Open> {
        let Some(movement) = transaction.outstanding(tenant) else { return Ok(transaction) };
        let id = transaction.id;
        let open = |why: &dyn std::fmt::Display| {
            tracing::warn!(transactionId = %id, %why, "the ledger did not settle a payment");
            Open::Unknown
        };
        let outcomes = self.ledger.transfer(&[movement]).await.map_err(|status| {
            let unknown = open(&status.code());
            if surely_not_sent(&status) { Open::Unasked } else { unknown }
        })?;
        let outcome = outcomes.into_iter().next().flatten();
        let outcome = outcome.ok_or_else(|| open(&"the ledger's answer settles nothing"))?;
        self.settle(tenant, transaction, outcome).await.map_err(|error| open(&error))
    }

    /// Drives what may be driven again by a repeat of the same request.
    async fn drive_or_pend(
        &self,
        tenant: TenantId,
        transaction: Transaction,
    ) -> Result<Transaction, PaymentError> {
        let pending =
            PaymentError::OutcomePending { transaction: transaction.id, repeatable: true };
        self.drive(tenant, transaction).await.map_err(|_| pending)
    }

    /// Drives a new payment that only this request knows of, and gives it up if the ledger was
    /// surely not asked. Whatever hangs, the answer is in time: `new` itself if nothing better is
    /// known.
    async fn drive_or_give_up(&self, tenant: TenantId, new: Transaction) -> Transaction {
        let end = async {
            match self.drive(tenant, new.clone()).await {
                Ok(settled) => Some(settled),
                Err(Open::Unasked) => self.give_up(tenant, &new).await,
                Err(Open::Unknown) => None,
            }
        };
        let deadline = Context::current().ok().and_then(|context| context.deadline);
        let end = match deadline.and_then(|deadline| deadline.checked_sub(SEND_TIME)) {
            Some(latest) => timeout_at(latest, end).await.ok().flatten(),
            None => end.await,
        };
        end.unwrap_or(new)
    }

    /// Settles a payment as FAILED that the ledger was never asked for, unless recovery has asked
    /// by now. `None` when it is not known which.
    async fn give_up(&self, tenant: TenantId, new: &Transaction) -> Option<Transaction> {
        let abandoned = new.abandoned(self.clock.now());
        let result = match self.store.transaction_abandon(tenant, new, &abandoned).await {
            Ok(true) => return Some(abandoned),
            Ok(false) => self.fetch(tenant, new.id).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = &result {
            tracing::warn!(transactionId = %new.id, ?error, "a payment is left to recovery");
        }
        result.ok()
    }

    async fn settle(
        &self,
        tenant: TenantId,
        transaction: Transaction,
        outcome: Outcome,
    ) -> Result<Transaction, PaymentError> {
        if outcome == Outcome::Refused(Refusal::RefusedByLedger)
            && let Some(settled) = self.settled_by_another(tenant, transaction.id).await?
        {
            return Ok(settled);
        }
        let settled = transaction.settled(outcome, self.clock.now());
        let recorded = self.store.transactions_settle(tenant, &[(&transaction, &settled)]).await?;
        if recorded == [true] { Ok(settled) } else { self.fetch(tenant, transaction.id).await }
    }

    /// The ledger told somebody else why it refused, perhaps a moment ago: a request with the same key
    /// that is still running. Gives it the time to record the reason.
    async fn settled_by_another(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Option<Transaction>, PaymentError> {
        for _ in 0..REASON_LOOKS {
            tokio::time::sleep(REASON_PAUSE).await;
            let transaction = self.fetch(tenant, id).await?;
            if transaction.recover_at.is_none() {
                return Ok(Some(transaction));
            }
        }
        Ok(None)
    }

    async fn fetch(&self, tenant: TenantId, id: Uuid) -> Result<Transaction, PaymentError> {
        self.store.transaction_fetch(tenant, id).await?.ok_or(PaymentError::NotFound)
    }

    fn check_cash(&self, principal: &Principal, kind: Kind) -> Result<(), PaymentError> {
        let allowed = kind == Kind::Transfer
            || self.customer_cash
            || principal.has_any(&[Role::Operator, Role::Admin]);
        if allowed { Ok(()) } else { Err(PaymentError::CashNotAllowed) }
    }

    async fn sides(
        &self,
        tenant: TenantId,
        kind: Kind,
        sender: UserId,
        receiver: UserId,
    ) -> Result<Sides, PaymentError> {
        let missing = |user| {
            if user == sender {
                PaymentError::SenderHasNoAccount
            } else {
                PaymentError::ReceiverNotFound
            }
        };
        match kind {
            Kind::Transfer => {
                let [debit, credit] = self.accounts.resolve(tenant, [sender, receiver]).await?;
                Ok(Sides {
                    debit: debit.ok_or_else(|| missing(sender))?,
                    credit: credit.ok_or_else(|| missing(receiver))?,
                })
            }
            Kind::Deposit => {
                let [credit] = self.accounts.resolve(tenant, [receiver]).await?;
                let credit = credit.ok_or_else(|| missing(receiver))?;
                Ok(Sides { debit: self.outside(tenant).await?, credit })
            }
            Kind::Withdrawal => {
                let [debit] = self.accounts.resolve(tenant, [sender]).await?;
                let debit = debit.ok_or_else(|| missing(sender))?;
                Ok(Sides { debit, credit: self.outside(tenant).await? })
            }
        }
    }

    async fn outside(&self, tenant: TenantId) -> Result<Uuid, PaymentError> {
        self.ledger.settlement_account(tenant, self.amount_max.currency()).await
    }
}

/// The line by which a payment is found in the log (L-69).
fn log_settled(transaction: &Transaction, started: Instant) {
    let duration = format!("{}ms", started.elapsed().as_millis());
    let status = transaction.status.as_str();
    tracing::info!(transactionId = %transaction.id, status, duration, "payment settled");
}
