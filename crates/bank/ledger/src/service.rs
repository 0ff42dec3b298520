//! The calls of the contract: read them, make them, answer them.

use std::sync::Arc;

use contracts::ledger::v1 as pb;
use contracts::ledger::v1::ledger_service_server::LedgerService;
use mesh::Context;
use tonic::{Request, Response, Status};

use crate::domain::{AccountId, State, TransferId};
use crate::engine::Engine;
use crate::error::LedgerError;
use crate::wire;

/// Entries of a page when the caller does not say.
const PAGE_SIZE_DEFAULT: usize = 100;

/// Serves the ledger that an engine runs.
pub(crate) struct Ledger {
    engine: Arc<Engine>,
}

impl Ledger {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl LedgerService for Ledger {
    async fn create_accounts(
        &self,
        request: Request<pb::CreateAccountsRequest>,
    ) -> Result<Response<pb::CreateAccountsResponse>, Status> {
        let tenant = Context::current()?.tenant;
        let accounts = request.into_inner().accounts;
        let accounts = wire::batch("accounts", accounts, wire::new_account)?;
        let outcomes = self.engine.create_accounts(tenant, accounts).await?;
        let results = outcomes.into_iter().map(wire::account_result).collect();
        Ok(Response::new(pb::CreateAccountsResponse { results }))
    }

    async fn create_transfers(
        &self,
        request: Request<pb::CreateTransfersRequest>,
    ) -> Result<Response<pb::CreateTransfersResponse>, Status> {
        let tenant = Context::current()?.tenant;
        let transfers = request.into_inner().transfers;
        let transfers = wire::batch("transfers", transfers, wire::new_transfer)?;
        let outcomes = self.engine.create_transfers(tenant, transfers).await?;
        let results = outcomes.into_iter().map(wire::transfer_result).collect();
        Ok(Response::new(pb::CreateTransfersResponse { results }))
    }

    async fn lookup_accounts(
        &self,
        request: Request<pb::LookupAccountsRequest>,
    ) -> Result<Response<pb::LookupAccountsResponse>, Status> {
        let tenant = Context::current()?.tenant;
        let ids: Vec<AccountId> = wire::batch("ids", request.into_inner().ids, wire::item_id)?;
        let items = ids.len();
        let lookup = move |state: &State| -> Vec<_> {
            ids.iter().filter_map(|id| state.account(tenant, *id).cloned()).collect()
        };
        let accounts = self.engine.read(items, lookup).await?;
        let accounts = accounts.into_iter().map(wire::account).collect();
        Ok(Response::new(pb::LookupAccountsResponse { accounts }))
    }

    async fn lookup_transfers(
        &self,
        request: Request<pb::LookupTransfersRequest>,
    ) -> Result<Response<pb::LookupTransfersResponse>, Status> {
        let tenant = Context::current()?.tenant;
        let ids: Vec<TransferId> = wire::batch("ids", request.into_inner().ids, wire::item_id)?;
        let items = ids.len();
        let lookup = move |state: &State| -> Vec<_> {
            ids.iter().filter_map(|id| state.transfer(tenant, *id).cloned()).collect()
        };
        let transfers = self.engine.read(items, lookup).await?;
        let transfers = transfers.into_iter().map(wire::transfer).collect();
        Ok(Response::new(pb::LookupTransfersResponse { transfers }))
    }

    async fn list_account_history(
        &self,
        request: Request<pb::ListAccountHistoryRequest>,
    ) -> Result<Response<pb::ListAccountHistoryResponse>, Status> {
        let tenant = Context::current()?.tenant;
        let request = mesh::valid(request)?;
        let account: AccountId = wire::id("account_id", &request.account_id)?;
        let older = wire::page_token(&request.page_token)?;
        let size = mesh::wire::page_size(request.page_size, PAGE_SIZE_DEFAULT);
        let page = self
            .engine
            .read(size, move |state| state.history(tenant, account, older, size))
            .await?
            .ok_or(LedgerError::AccountNotFound)?;
        Ok(Response::new(pb::ListAccountHistoryResponse {
            entries: page.entries.into_iter().map(wire::history_entry).collect(),
            next_page_token: wire::next_page_token(page.older),
        }))
    }
}
