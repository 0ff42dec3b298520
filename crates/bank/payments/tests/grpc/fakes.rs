//! The neighbours of payments, in memory.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use auth::UserId;
use contracts::accounts::v1 as accounts_pb;
use contracts::accounts::v1::accounts_service_server::AccountsService;
use contracts::ledger::v1::ledger_service_server::LedgerService;
use contracts::ledger::v1::*;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// How the ledger behaves until it is told otherwise.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Mode {
    #[default]
    Work,
    /// Fails before it does anything.
    Down,
    /// Does what it is asked, then fails.
    LoseAnswer,
    /// Does nothing and never answers.
    Hang,
    /// Does what it is asked, and answers once it is released.
    Hold,
    /// Answers what no release of payments asked for.
    Differ,
}

/// A ledger with real balances that remembers refused ids.
#[derive(Clone, Default)]
pub(crate) struct FakeLedger(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    mode: Mode,
    accounts: HashMap<String, Account>,
    transfers: HashMap<String, NewTransfer>,
    refused: HashSet<String>,
    asked: usize,
    released: bool,
}

struct Account {
    limited: bool,
    balance: i128,
}

impl FakeLedger {
    pub(crate) fn set(&self, mode: Mode) {
        self.books().mode = mode;
    }

    /// Lets the answers go that are held.
    pub(crate) fn release(&self) {
        self.books().released = true;
    }

    pub(crate) fn balance(&self, account: Uuid) -> i128 {
        self.books().accounts[&account.to_string()].balance
    }

    /// What all accounts hold together: zero, always.
    pub(crate) fn total(&self) -> i128 {
        self.books().accounts.values().map(|account| account.balance).sum()
    }

    pub(crate) fn overdrawn(&self) -> bool {
        self.books().accounts.values().any(|account| account.limited && account.balance < 0)
    }

    pub(crate) fn has(&self, transfer: &str) -> bool {
        self.books().transfers.contains_key(transfer)
    }

    pub(crate) fn transfers(&self) -> Vec<NewTransfer> {
        self.books().transfers.values().cloned().collect()
    }

    /// Transfers that were asked for, however often.
    pub(crate) fn asked(&self) -> usize {
        self.books().asked
    }

    fn open(&self, account: Uuid) {
        let account = (account.to_string(), Account { limited: true, balance: 0 });
        self.books().accounts.extend([account]);
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }

    /// Lets the mode decide before the work.
    async fn before(&self) -> Result<Mode, Status> {
        let mode = self.books().mode;
        match mode {
            Mode::Down => Err(Status::unavailable("as told")),
            Mode::Hang => std::future::pending().await,
            _ => Ok(mode),
        }
    }

    /// Lets the mode in which a call came decide after the work.
    async fn after(&self, mode: Mode) -> Result<(), Status> {
        while mode == Mode::Hold && !self.books().released {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if mode == Mode::LoseAnswer { Err(Status::unavailable("as told")) } else { Ok(()) }
    }
}

impl Books {
    fn create(&mut self, transfer: &NewTransfer) -> CreateTransferStatus {
        use CreateTransferStatus as S;
        if self.mode == Mode::Differ {
            return S::ExistsWithDifferentCode;
        }
        if let Some(first) = self.transfers.get(&transfer.id) {
            return if first == transfer { S::Exists } else { S::ExistsWithDifferentAmount };
        }
        if self.refused.contains(&transfer.id) {
            return S::IdAlreadyFailed;
        }
        let (debit, credit) = (&transfer.debit_account_id, &transfer.credit_account_id);
        let amount = i128::from(transfer.amount);
        let refusal = match (self.accounts.get(debit), self.accounts.get(credit)) {
            (None, _) => Some(S::DebitAccountNotFound),
            (_, None) => Some(S::CreditAccountNotFound),
            (Some(from), _) if from.limited && from.balance < amount => Some(S::ExceedsCredits),
            _ => None,
        };
        if let Some(refusal) = refusal {
            self.refused.insert(transfer.id.clone());
            return refusal;
        }
        self.accounts.get_mut(debit).unwrap().balance -= amount;
        self.accounts.get_mut(credit).unwrap().balance += amount;
        self.transfers.insert(transfer.id.clone(), transfer.clone());
        S::Created
    }
}

#[tonic::async_trait]
impl LedgerService for FakeLedger {
    async fn create_accounts(
        &self,
        request: Request<CreateAccountsRequest>,
    ) -> Result<Response<CreateAccountsResponse>, Status> {
        let request = mesh::valid(request)?;
        let mode = self.before().await?;
        let result = |account: NewAccount| {
            let limited = account.limit() != BalanceLimit::Unspecified;
            let entry = self
                .books()
                .accounts
                .entry(account.id)
                .or_insert(Account { limited, balance: 0 })
                .limited;
            assert_eq!(entry, limited);
            CreateAccountResult { status: CreateAccountStatus::Exists.into(), created_at: None }
        };
        let results = request.accounts.into_iter().map(result).collect();
        self.after(mode).await?;
        Ok(Response::new(CreateAccountsResponse { results }))
    }

    async fn create_transfers(
        &self,
        request: Request<CreateTransfersRequest>,
    ) -> Result<Response<CreateTransfersResponse>, Status> {
        let request = mesh::valid(request)?;
        self.books().asked += request.transfers.len();
        let mode = self.before().await?;
        let results = request
            .transfers
            .iter()
            .map(|transfer| CreateTransferResult {
                status: self.books().create(transfer).into(),
                ..CreateTransferResult::default()
            })
            .collect();
        self.after(mode).await?;
        Ok(Response::new(CreateTransfersResponse { results, ..Default::default() }))
    }
}

/// Accounts of users, opened by the test.
#[derive(Clone, Default)]
pub(crate) struct FakeAccounts {
    opened: Arc<Mutex<HashMap<UserId, Uuid>>>,
}

impl FakeAccounts {
    /// Opens an account, in the ledger too.
    pub(crate) fn open(&self, user: UserId, ledger: &FakeLedger) {
        let account = Uuid::now_v7();
        ledger.open(account);
        self.opened.lock().unwrap().insert(user, account);
    }

    pub(crate) fn account(&self, user: UserId) -> Uuid {
        self.opened.lock().unwrap()[&user]
    }
}

#[tonic::async_trait]
impl AccountsService for FakeAccounts {
    async fn resolve_accounts(
        &self,
        request: Request<accounts_pb::ResolveAccountsRequest>,
    ) -> Result<Response<accounts_pb::ResolveAccountsResponse>, Status> {
        let request = mesh::valid(request)?;
        let opened = self.opened.lock().unwrap();
        let account = |user: &String| {
            Some(accounts_pb::Account {
                id: opened.get(&user.parse().ok()?)?.to_string(),
                user_id: user.clone(),
                currency: request.currency.clone(),
                ..Default::default()
            })
        };
        let accounts = request.user_ids.iter().filter_map(account).collect();
        Ok(Response::new(accounts_pb::ResolveAccountsResponse { accounts }))
    }
}
