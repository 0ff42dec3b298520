use auth::{TenantId, UserId};
use clock::Clock;
use contracts::accounts::v1 as pb;
use mesh::{Context, owner, wire};
use moka::future::Cache;
use money::Currency;
use tonic::{Request, Response, Status};

use crate::config::Settings;
use crate::domain::{Account, Movement, open_page_token, seal_page_token};
use crate::error::AccountError;
use crate::ledger::Ledger;
use crate::store::Store;

/// Entries of a statement page when the request names no number.
const PAGE_SIZE_DEFAULT: usize = 50;

/// Pages of history read for one page of a statement. Behind many holds a page of a
/// statement is short instead of slow; its token leads on.
const HISTORY_PAGES_MAX: usize = 8;

/// Serves `malha.accounts.v1`.
pub(crate) struct Accounts {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Clock,
    /// Open accounts by tenant, owner and currency. They never change, so they never grow stale.
    pub(crate) known: Cache<(TenantId, UserId, &'static str), Account>,
}

impl Accounts {
    /// Opens an account: first its row, then the ledger account, then the note that both
    /// exist. Each step repeats harmlessly, so a call that failed is completed by the next.
    async fn open(
        &self,
        tenant: TenantId,
        owner: UserId,
        currency: Currency,
    ) -> Result<Account, AccountError> {
        let agency = &self.settings.agency;
        let now = self.clock.now();
        let account = self.store.account_ensure(tenant, owner, currency, agency, now).await?;
        if account.opened_at.is_some() {
            return Ok(account);
        }
        self.ledger.account_create(&account).await?;
        self.store.account_open(tenant, account.id, self.clock.now()).await
    }

    /// The open account of `target` in a currency, if the caller may read it.
    async fn readable(&self, target: &str, currency: &str) -> Result<Account, Status> {
        let principal = Context::principal()?;
        let owner = owner::readable(&principal, "user_id", target)?;
        let currency = match currency {
            "" => self.settings.currency,
            code => decode_currency(code)?,
        };
        let key = (principal.tenant, owner, currency.code());
        if let Some(account) = self.known.get(&key).await {
            return Ok(account);
        }
        let accounts = self.store.accounts_resolve(principal.tenant, &[owner], currency).await?;
        let account = accounts.into_iter().next().ok_or(AccountError::NotFound)?;
        self.known.insert(key, account.clone()).await;
        Ok(account)
    }

    /// A page of movements, newest first, and the token of the next.
    async fn statement(
        &self,
        account: &Account,
        page_size: usize,
        page_token: &str,
    ) -> Result<(Vec<Movement>, String), AccountError> {
        let mut token = open_page_token(account.id, page_token)?;
        let mut movements = Vec::with_capacity(page_size);
        for _ in 0..HISTORY_PAGES_MAX {
            let wanted = page_size - movements.len();
            let page = self.ledger.history(account, wanted, token).await?;
            movements.extend(page.movements);
            token = page.next_page_token;
            if token.is_empty() || movements.len() >= page_size {
                break;
            }
        }
        Ok((movements, seal_page_token(account.id, &token)))
    }
}

#[tonic::async_trait]
impl pb::accounts_service_server::AccountsService for Accounts {
    async fn open_account(
        &self,
        request: Request<pb::OpenAccountRequest>,
    ) -> Result<Response<pb::OpenAccountResponse>, Status> {
        let request = mesh::valid(request)?;
        let tenant = Context::current()?.tenant;
        let owner = wire::id("user_id", &request.user_id)?;
        let account = self.open(tenant, owner, decode_currency(&request.currency)?).await?;
        Ok(Response::new(pb::OpenAccountResponse { account: Some(account.into()) }))
    }

    async fn resolve_accounts(
        &self,
        request: Request<pb::ResolveAccountsRequest>,
    ) -> Result<Response<pb::ResolveAccountsResponse>, Status> {
        let request = mesh::valid(request)?;
        let tenant = Context::current()?.tenant;
        let owners: Result<Vec<_>, _> =
            request.user_ids.iter().map(|id| wire::id("user_ids", id)).collect();
        let currency = decode_currency(&request.currency)?;
        let accounts = self.store.accounts_resolve(tenant, &owners?, currency).await?;
        let accounts = accounts.into_iter().map(pb::Account::from).collect();
        Ok(Response::new(pb::ResolveAccountsResponse { accounts }))
    }

    async fn list_accounts(
        &self,
        request: Request<pb::ListAccountsRequest>,
    ) -> Result<Response<pb::ListAccountsResponse>, Status> {
        let request = mesh::valid(request)?;
        let principal = Context::principal()?;
        let owner = owner::readable(&principal, "user_id", &request.user_id)?;
        let accounts = self.store.accounts_list(principal.tenant, owner).await?;
        let accounts = accounts.into_iter().map(pb::Account::from).collect();
        Ok(Response::new(pb::ListAccountsResponse { accounts }))
    }

    async fn get_balance(
        &self,
        request: Request<pb::GetBalanceRequest>,
    ) -> Result<Response<pb::GetBalanceResponse>, Status> {
        let request = mesh::valid(request)?;
        let account = self.readable(&request.user_id, &request.currency).await?;
        let balances = self.ledger.balances(account.id).await?;
        let balance = balances.available(account.currency)?.to_string();
        Ok(Response::new(pb::GetBalanceResponse { balance }))
    }

    async fn get_statement(
        &self,
        request: Request<pb::GetStatementRequest>,
    ) -> Result<Response<pb::GetStatementResponse>, Status> {
        let request = mesh::valid(request)?;
        let account = self.readable(&request.user_id, &request.currency).await?;
        let page_size = wire::page_size(request.page_size, PAGE_SIZE_DEFAULT);
        let (movements, next_page_token) =
            self.statement(&account, page_size, &request.page_token).await?;
        let entries = movements.into_iter().map(pb::StatementEntry::from).collect();
        Ok(Response::new(pb::GetStatementResponse { entries, next_page_token }))
    }
}

fn decode_currency(code: &str) -> Result<Currency, AccountError> {
    Currency::from_code(code)
        .ok_or(AccountError::invalid("currency", "must be an active ISO 4217 code"))
}

impl From<Account> for pb::Account {
    fn from(account: Account) -> Self {
        Self {
            id: account.id.to_string(),
            user_id: account.owner.to_string(),
            currency: account.currency.code().to_owned(),
            agency: account.agency,
            account_number: account.number.to_string(),
            created_at: account.opened_at.map(wire::timestamp),
        }
    }
}

impl From<Movement> for pb::StatementEntry {
    fn from(movement: Movement) -> Self {
        Self {
            transaction_id: movement.transaction.to_string(),
            amount: movement.amount.to_string(),
            balance: movement.balance.to_string(),
            created_at: Some(wire::timestamp(movement.at)),
        }
    }
}
