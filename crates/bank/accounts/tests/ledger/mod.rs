//! A ledger made of plain memory, which a test scripts.

use std::sync::{Arc, Mutex, MutexGuard};

use contracts::ledger::v1::ledger_service_server::{LedgerService, LedgerServiceServer};
use contracts::ledger::v1::{
    Account, CreateAccountResult, CreateAccountStatus, CreateAccountsRequest,
    CreateAccountsResponse, HistoryEntry, ListAccountHistoryRequest, ListAccountHistoryResponse,
    LookupAccountsRequest, LookupAccountsResponse, Transfer, TransferKind,
};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

/// Clones share their accounts.
#[derive(Clone, Default)]
pub(crate) struct FakeLedger(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    accounts: Vec<Account>,
    /// Oldest first.
    history: Vec<(Uuid, HistoryEntry)>,
    failure: Option<Code>,
    refuses_accounts: bool,
}

impl FakeLedger {
    /// The ledger as a service of the mesh.
    pub(crate) fn service(&self) -> mesh::Service {
        mesh::Service::new("ledger").mount(LedgerServiceServer::new(self.clone()))
    }

    /// Answers every call with `failure` from now on, until `None`.
    pub(crate) fn fail_with(&self, failure: Option<Code>) {
        self.state().failure = failure;
    }

    /// Says from now on that account ids belong to other accounts.
    pub(crate) fn refuse_accounts(&self) {
        self.state().refuses_accounts = true;
    }

    /// The account that was created under `id`.
    pub(crate) fn account(&self, id: Uuid) -> Option<Account> {
        self.state().accounts.iter().find(|account| account.id == id.to_string()).cloned()
    }

    /// Credits an account from nowhere.
    pub(crate) fn credit(&self, id: Uuid, amount: u64) {
        self.change(id, TransferKind::Unspecified, amount, |account| {
            account.credits_posted += amount;
            false
        });
    }

    /// Debits an account to nowhere.
    pub(crate) fn debit(&self, id: Uuid, amount: u64) {
        self.change(id, TransferKind::Unspecified, amount, |account| {
            account.debits_posted += amount;
            true
        });
    }

    /// Puts money of an account on hold.
    pub(crate) fn hold(&self, id: Uuid, amount: u64) {
        self.change(id, TransferKind::Pending, amount, |account| {
            account.debits_pending += amount;
            true
        });
    }

    /// Posts a hold that was made here and now; the id of the posting.
    pub(crate) fn settle(&self, id: Uuid, amount: u64) -> Uuid {
        self.change(id, TransferKind::PostPending, amount, |account| {
            account.debits_posted += amount;
            true
        })
    }

    /// Records a debit of `kind` that changes no posted balance.
    pub(crate) fn record(&self, id: Uuid, kind: TransferKind, amount: u64) {
        self.change(id, kind, amount, |account| {
            account.debits_pending -= amount;
            true
        });
    }

    /// Applies `change`, which answers whether the account is debited.
    fn change(
        &self,
        id: Uuid,
        kind: TransferKind,
        amount: u64,
        change: impl FnOnce(&mut Account) -> bool,
    ) -> Uuid {
        let mut state = self.state();
        let id_text = id.to_string();
        let account = state.accounts.iter_mut().find(|account| account.id == id_text).unwrap();
        let is_debit = change(account);
        let transfer = Uuid::new_v4();
        let nowhere = Uuid::max().to_string();
        let (debit_account_id, credit_account_id) =
            if is_debit { (id_text, nowhere) } else { (nowhere, id_text) };
        let entry = HistoryEntry {
            transfer: Some(Transfer {
                id: transfer.to_string(),
                debit_account_id,
                credit_account_id,
                amount,
                kind: kind.into(),
                ..Transfer::default()
            }),
            debits_pending: account.debits_pending,
            debits_posted: account.debits_posted,
            credits_pending: account.credits_pending,
            credits_posted: account.credits_posted,
            at: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 5_000 }),
            ..HistoryEntry::default()
        };
        state.history.push((id, entry));
        transfer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn answering(&self) -> Result<MutexGuard<'_, State>, Status> {
        let state = self.state();
        match state.failure {
            Some(code) => Err(Status::new(code, "scripted")),
            None => Ok(state),
        }
    }
}

#[tonic::async_trait]
impl LedgerService for FakeLedger {
    async fn create_accounts(
        &self,
        request: Request<CreateAccountsRequest>,
    ) -> Result<Response<CreateAccountsResponse>, Status> {
        let mut state = self.answering()?;
        let mut results = Vec::new();
        for new in request.into_inner().accounts {
            let status = if state.refuses_accounts {
                CreateAccountStatus::ExistsWithDifferentExternalId
            } else if state.accounts.iter().any(|account| account.id == new.id) {
                CreateAccountStatus::Exists
            } else {
                state.accounts.push(Account {
                    id: new.id,
                    ledger: new.ledger,
                    code: new.code,
                    limit: new.limit,
                    external_id: new.external_id,
                    ..Account::default()
                });
                CreateAccountStatus::Created
            };
            results.push(CreateAccountResult { status: status.into(), created_at: None });
        }
        Ok(Response::new(CreateAccountsResponse { results }))
    }

    async fn lookup_accounts(
        &self,
        request: Request<LookupAccountsRequest>,
    ) -> Result<Response<LookupAccountsResponse>, Status> {
        let state = self.answering()?;
        let ids = request.into_inner().ids;
        let found = state.accounts.iter().filter(|account| ids.contains(&account.id));
        Ok(Response::new(LookupAccountsResponse { accounts: found.cloned().collect() }))
    }

    /// A page token is the number of entries before the page.
    async fn list_account_history(
        &self,
        request: Request<ListAccountHistoryRequest>,
    ) -> Result<Response<ListAccountHistoryResponse>, Status> {
        let state = self.answering()?;
        let request = request.into_inner();
        let page_size = usize::try_from(request.page_size).unwrap();
        let skipped: usize = match request.page_token.as_str() {
            "" => 0,
            token => token.parse().map_err(|_| Status::invalid_argument("page token"))?,
        };
        let newest_first: Vec<_> = state
            .history
            .iter()
            .rev()
            .filter(|(account, _)| account.to_string() == request.account_id)
            .map(|(_, entry)| entry.clone())
            .collect();
        let end = newest_first.len().min(skipped + page_size);
        let entries = newest_first[skipped..end].to_vec();
        let next_page_token =
            if end < newest_first.len() { end.to_string() } else { String::new() };
        Ok(Response::new(ListAccountHistoryResponse { entries, next_page_token }))
    }
}
