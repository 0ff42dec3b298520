//! What accounts ask of the ledger, in their own words.

use contracts::ledger::v1 as pb;
use contracts::ledger::v1::ledger_service_client::LedgerServiceClient;
use mesh::wire;
use money::Currency;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::domain::{Account, Balances, Movement, money};
use crate::error::AccountError;

/// Code of a ledger account that holds a customer's money.
const CODE_CUSTOMER: u32 = 1;

/// The ledger, over the mesh.
pub(crate) struct Ledger {
    client: LedgerServiceClient<mesh::Channel>,
}

/// A part of an account's history, newest first.
pub(crate) struct HistoryPage {
    /// What changed the posted balance; holds are left out, so a page may be short or empty.
    pub(crate) movements: Vec<Movement>,
    /// The ledger's token of the next page; empty at the end.
    pub(crate) next_page_token: String,
}

impl Ledger {
    pub(crate) fn new(channel: mesh::Channel) -> Self {
        Self { client: LedgerServiceClient::new(channel) }
    }

    /// Creates the ledger account of an account; a repeat changes nothing.
    pub(crate) async fn account_create(&self, account: &Account) -> Result<(), AccountError> {
        let account = pb::NewAccount {
            id: account.id.to_string(),
            ledger: account.currency.number(),
            code: CODE_CUSTOMER,
            limit: pb::BalanceLimit::DebitsWithinCredits.into(),
            external_id: account.owner.to_string(),
            ..pb::NewAccount::default()
        };
        let request = pb::CreateAccountsRequest { accounts: vec![account] };
        let response = self.client.clone().create_accounts(request).await.map_err(failure)?;
        let status = response.into_inner().results.first().map(pb::CreateAccountResult::status);
        match status {
            Some(pb::CreateAccountStatus::Created | pb::CreateAccountStatus::Exists) => Ok(()),
            status => {
                tracing::error!(?status, "the ledger refused an account");
                Err(AccountError::LedgerInconsistent)
            }
        }
    }

    /// Reads the balances of an open account as they are now.
    pub(crate) async fn balances(&self, id: Uuid) -> Result<Balances, AccountError> {
        let request = pb::LookupAccountsRequest { ids: vec![id.to_string()] };
        let response = self.client.clone().lookup_accounts(request).await.map_err(failure)?;
        let account = response.into_inner().accounts.pop();
        let account = account.ok_or(AccountError::LedgerInconsistent)?;
        Ok(Balances {
            debits_pending: account.debits_pending,
            debits_posted: account.debits_posted,
            credits_posted: account.credits_posted,
        })
    }

    /// Reads up to `page_size` changes of an open account.
    pub(crate) async fn history(
        &self,
        account: &Account,
        page_size: usize,
        page_token: String,
    ) -> Result<HistoryPage, AccountError> {
        let request = pb::ListAccountHistoryRequest {
            account_id: account.id.to_string(),
            page_size: i32::try_from(page_size).unwrap_or(i32::MAX),
            page_token,
            ..pb::ListAccountHistoryRequest::default()
        };
        let response = self.client.clone().list_account_history(request).await;
        let page = response.map_err(history_failure)?.into_inner();
        let movements: Result<Vec<_>, _> =
            page.entries.into_iter().filter_map(|entry| movement(account, entry)).collect();
        Ok(HistoryPage { movements: movements?, next_page_token: page.next_page_token })
    }
}

/// The movement that a change of balances is; `None` when only holds changed.
fn movement(account: &Account, entry: pb::HistoryEntry) -> Option<Result<Movement, AccountError>> {
    let transfer = entry.transfer.clone().unwrap_or_default();
    match transfer.kind() {
        pb::TransferKind::Unspecified | pb::TransferKind::PostPending => {
            Some(decode_movement(account.id, account.currency, &transfer, &entry))
        }
        pb::TransferKind::Pending | pb::TransferKind::VoidPending => None,
    }
}

fn decode_movement(
    account: Uuid,
    currency: Currency,
    transfer: &pb::Transfer,
    entry: &pb::HistoryEntry,
) -> Result<Movement, AccountError> {
    let is = |id: &str| Uuid::try_parse(id) == Ok(account);
    let sign = match (is(&transfer.debit_account_id), is(&transfer.credit_account_id)) {
        (true, false) => -1,
        (false, true) => 1,
        _ => return Err(AccountError::LedgerInconsistent),
    };
    let balances = Balances {
        debits_pending: entry.debits_pending,
        debits_posted: entry.debits_posted,
        credits_posted: entry.credits_posted,
    };
    // Who moves money names its transaction beside the transfer, whose own id may be of one
    // attempt, such as a reversal's.
    let transaction = match transfer.external_id.as_str() {
        "" => &transfer.id,
        external_id => external_id,
    };
    Ok(Movement {
        transaction: transaction.parse().map_err(|_| AccountError::LedgerInconsistent)?,
        amount: money(sign * i128::from(transfer.amount), currency)?,
        balance: balances.posted(currency)?,
        at: entry.at.as_ref().and_then(wire::time).ok_or(AccountError::LedgerInconsistent)?,
    })
}

fn failure(status: Status) -> AccountError {
    AccountError::Ledger(Box::new(status))
}

/// Of what a history request holds, only the page token comes from outside.
fn history_failure(status: Status) -> AccountError {
    match status.code() {
        Code::InvalidArgument => AccountError::InvalidPageToken,
        _ => failure(status),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use auth::UserId;

    use super::*;
    use crate::domain::AccountNumber;

    fn account() -> Account {
        Account {
            id: Uuid::now_v7(),
            owner: UserId::random(),
            currency: Currency::BRL,
            agency: "0001".to_owned(),
            number: AccountNumber(1),
            opened_at: None,
        }
    }

    fn entry(account: &Account, kind: pb::TransferKind) -> pb::HistoryEntry {
        let transfer = pb::Transfer {
            id: Uuid::now_v7().to_string(),
            debit_account_id: account.id.to_string(),
            credit_account_id: Uuid::now_v7().to_string(),
            amount: 10_050,
            kind: kind.into(),
            ..pb::Transfer::default()
        };
        pb::HistoryEntry {
            transfer: Some(transfer),
            debits_posted: 10_050,
            credits_posted: 100_000,
            at: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 5_000 }),
            ..pb::HistoryEntry::default()
        }
    }

    /// B-13: a hold is no movement until it is posted.
    #[test]
    fn only_what_changes_the_posted_balance_is_a_movement() {
        let account = account();
        for (kind, is_movement) in [
            (pb::TransferKind::Unspecified, true),
            (pb::TransferKind::PostPending, true),
            (pb::TransferKind::Pending, false),
            (pb::TransferKind::VoidPending, false),
        ] {
            let movement = movement(&account, entry(&account, kind)).transpose().unwrap();
            assert_eq!(movement.is_some(), is_movement, "{kind:?}");
        }
    }

    /// B-13: a movement carries its transaction, its sign and the balance that it left.
    #[test]
    fn a_movement_is_told_from_the_side_of_the_account() {
        let account = account();
        let mut entry = entry(&account, pb::TransferKind::Unspecified);
        let own_id = entry.transfer.as_ref().unwrap().id.clone();
        let out = movement(&account, entry.clone()).unwrap().unwrap();

        let transfer = entry.transfer.as_mut().unwrap();
        let transaction = Uuid::now_v7();
        transfer.external_id = transaction.to_string();
        std::mem::swap(&mut transfer.debit_account_id, &mut transfer.credit_account_id);
        let back = movement(&account, entry).unwrap().unwrap();

        assert_eq!((out.amount.minor(), out.balance.minor()), (-10_050, 89_950));
        assert_eq!((out.transaction.to_string(), back.amount.minor()), (own_id, 10_050));
        assert_eq!(back.transaction, transaction);
        assert_eq!(back.at.timestamp_subsec_micros(), 5);
    }

    #[test]
    fn a_movement_of_other_accounts_is_inconsistent() {
        let foreign = entry(&account(), pb::TransferKind::Unspecified);

        let refused = movement(&account(), foreign).unwrap();

        assert!(matches!(refused, Err(AccountError::LedgerInconsistent)));
    }
}
