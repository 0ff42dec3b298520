//! What payments ask of the ledger.

use std::time::Duration;

use auth::TenantId;
use contracts::ledger::v1::ledger_service_client::LedgerServiceClient;
use contracts::ledger::v1::{
    BalanceLimit, CreateAccountResult, CreateAccountStatus, CreateAccountsRequest,
    CreateTransferStatus, CreateTransfersRequest, NewAccount, NewTransfer, TransferKind,
};
use mesh::{Channel, Context};
use moka::future::Cache;
use money::Currency;
use tokio::time::Instant;
use tonic::Status;
use uuid::Uuid;

use crate::domain::{Movement, Outcome, Refusal, settlement_account};
use crate::error::PaymentError;

/// Ledger code of a settlement account.
const SETTLEMENT_CODE: u32 = 2;

/// Tenants whose settlement account is known to exist.
const SETTLEMENTS_CACHED_MAX: u64 = 10_000;

/// Kept of a request's time to tell how it ended.
const ANSWER_TIME: Duration = Duration::from_millis(250);

/// The ledger, as payments see it.
#[derive(Clone)]
pub(crate) struct Ledger {
    client: LedgerServiceClient<Channel>,
    settlements: Cache<(TenantId, Currency), Uuid>,
}

impl Ledger {
    pub(crate) fn new(channel: Channel) -> Self {
        let client = LedgerServiceClient::new(channel);
        Self { client, settlements: Cache::new(SETTLEMENTS_CACHED_MAX) }
    }

    /// Asks for `movements` and says for each what became of it, in the same order; `None` where that
    /// is not known. After an error nothing is known of any.
    pub(crate) async fn transfer(
        &self,
        movements: &[Movement],
    ) -> Result<Vec<Option<Outcome>>, Status> {
        let transfers = movements.iter().map(new_transfer).collect();
        let request = CreateTransfersRequest { transfers, ..Default::default() };
        let call = async { self.client.clone().create_transfers(request).await };
        let results = with_time_to_answer(Context::current()?).scope(call).await?;
        let results = results.into_inner().results;
        let answer = |(index, movement): (usize, &Movement)| {
            let status = results.get(index)?.status();
            let outcome = outcome(status);
            if outcome.is_none() {
                tracing::error!(
                    transactionId = %movement.transaction,
                    status = status.as_str_name(),
                    "the ledger's answer settles nothing"
                );
            }
            outcome
        };
        Ok(movements.iter().enumerate().map(answer).collect())
    }

    /// The account that stands for the outside world, created before its first use.
    pub(crate) async fn settlement_account(
        &self,
        tenant: TenantId,
        currency: Currency,
    ) -> Result<Uuid, PaymentError> {
        let create = self.settlement_create(tenant, currency);
        let created = self.settlements.try_get_with((tenant, currency), create).await;
        created.map_err(|status| PaymentError::Upstream((*status).clone()))
    }

    async fn settlement_create(
        &self,
        tenant: TenantId,
        currency: Currency,
    ) -> Result<Uuid, Status> {
        let id = settlement_account(tenant, currency);
        let account = NewAccount {
            id: id.to_string(),
            ledger: currency.number(),
            code: SETTLEMENT_CODE,
            limit: BalanceLimit::Unspecified.into(),
            ..NewAccount::default()
        };
        let request = CreateAccountsRequest { accounts: vec![account] };
        let response = self.client.clone().create_accounts(request).await?.into_inner();
        match response.results.first().map(CreateAccountResult::status) {
            Some(CreateAccountStatus::Created | CreateAccountStatus::Exists) => Ok(id),
            refused => {
                tracing::error!(?refused, "the ledger refused the settlement account");
                Err(Status::internal("the ledger refused the settlement account"))
            }
        }
    }
}

/// Shortens the deadline, so that a request whose ledger is silent can still name its transaction.
fn with_time_to_answer(context: Context) -> Context {
    let earlier = |deadline: Instant| deadline.checked_sub(ANSWER_TIME).unwrap_or(deadline);
    Context { deadline: context.deadline.map(earlier), ..context }
}

fn new_transfer(movement: &Movement) -> NewTransfer {
    NewTransfer {
        id: movement.id.to_string(),
        debit_account_id: movement.sides.debit.to_string(),
        credit_account_id: movement.sides.credit.to_string(),
        amount: movement.amount.minor().unsigned_abs(),
        ledger: movement.amount.currency().number(),
        code: movement.code,
        kind: TransferKind::Unspecified.into(),
        external_id: movement.transaction.to_string(),
        ..NewTransfer::default()
    }
}

/// Only what the ledger will repeat for ever settles a payment: a movement, or a refusal that it calls
/// final. Any other status is a mistake of ours; the payment waits until it is mended.
fn outcome(status: CreateTransferStatus) -> Option<Outcome> {
    use CreateTransferStatus as S;
    Some(match status {
        S::Created | S::Exists => Outcome::Moved,
        S::ExceedsCredits => Outcome::Refused(Refusal::InsufficientFunds),
        S::DebitAccountNotFound | S::CreditAccountNotFound => {
            Outcome::Refused(Refusal::AccountNotFound)
        }
        S::OverflowsBalance => Outcome::Refused(Refusal::BalanceOverflow),
        S::IdAlreadyFailed => Outcome::Refused(Refusal::RefusedByLedger),
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_final_settles_a_payment() {
        use CreateTransferStatus as S;
        let settled = [
            (S::Created, Outcome::Moved),
            (S::Exists, Outcome::Moved),
            (S::IdAlreadyFailed, Outcome::Refused(Refusal::RefusedByLedger)),
            (S::DebitAccountNotFound, Outcome::Refused(Refusal::AccountNotFound)),
            (S::CreditAccountNotFound, Outcome::Refused(Refusal::AccountNotFound)),
            (S::OverflowsBalance, Outcome::Refused(Refusal::BalanceOverflow)),
            (S::ExceedsCredits, Outcome::Refused(Refusal::InsufficientFunds)),
        ];
        for status in (0..=44).map(|number| S::try_from(number).unwrap()) {
            let expected = settled.iter().find(|(one, _)| *one == status).map(|(_, to)| *to);
            assert_eq!(outcome(status), expected, "{}", status.as_str_name());
        }
    }
}
