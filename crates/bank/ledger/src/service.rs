//! The calls of the contract: read them, make them, answer them.

use std::sync::Arc;

use contracts::ledger::v1 as pb;
use contracts::ledger::v1::ledger_service_server::LedgerService;
use engine::{Engine, Reader};
use futures::stream::BoxStream;
use mesh::Context;
use proof::{AccountId, Kind, TenantId, TransferId};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::error::LedgerError;
use crate::watch::Streams;
use crate::{prove, read, show, watch};

/// Serves the ledger that an engine runs.
pub(crate) struct Ledger {
    engine: Arc<Engine>,
    reader: Reader,
    streams: Streams,
    /// Ends the streams.
    stop: CancellationToken,
}

impl Ledger {
    pub(crate) fn new(engine: Arc<Engine>, stop: CancellationToken) -> Self {
        let reader = engine.reader();
        Self { engine, reader, streams: Streams::default(), stop }
    }

    /// Makes one transfer that settles a hold.
    async fn settle(&self, transfer: book::Transfers) -> Result<pb::CreateTransferResult, Status> {
        let outcomes = self.engine.create_transfers(tenant()?, transfer).await;
        let outcomes = outcomes.map_err(LedgerError::from)?;
        let outcome = outcomes.first().ok_or(LedgerError::Stopped)?;
        Ok(show::transfer_result(outcome))
    }
}

/// Whose money the call may see and move.
fn tenant() -> Result<TenantId, Status> {
    Ok(Context::current()?.tenant.as_uuid().as_u128().into())
}

#[tonic::async_trait]
impl LedgerService for Ledger {
    async fn create_accounts(
        &self,
        request: Request<pb::CreateAccountsRequest>,
    ) -> Result<Response<pb::CreateAccountsResponse>, Status> {
        let accounts = read::accounts(request.into_inner().accounts)?;
        let outcomes = self.engine.create_accounts(tenant()?, accounts).await;
        let outcomes = outcomes.map_err(LedgerError::from)?;
        let results = outcomes.iter().map(show::account_result).collect();
        Ok(Response::new(pb::CreateAccountsResponse { results }))
    }

    async fn update_accounts(
        &self,
        request: Request<pb::UpdateAccountsRequest>,
    ) -> Result<Response<pb::UpdateAccountsResponse>, Status> {
        let updates = read::updates(request.into_inner().updates)?;
        let outcomes = self.engine.amend_accounts(tenant()?, updates).await;
        let outcomes = outcomes.map_err(LedgerError::from)?;
        let results = outcomes.iter().map(show::update_result).collect();
        Ok(Response::new(pb::UpdateAccountsResponse { results }))
    }

    async fn create_transfers(
        &self,
        request: Request<pb::CreateTransfersRequest>,
    ) -> Result<Response<pb::CreateTransfersResponse>, Status> {
        let request = request.into_inner();
        let is_packed = !request.packed.is_empty();
        let transfers = read::transfers(request)?;
        let outcomes = self.engine.create_transfers(tenant()?, transfers).await;
        let outcomes = outcomes.map_err(LedgerError::from)?;
        let mut response = pb::CreateTransfersResponse::default();
        if is_packed {
            response.packed_results = show::packed_results(&outcomes);
        } else {
            response.results = outcomes.iter().map(show::transfer_result).collect();
        }
        Ok(Response::new(response))
    }

    async fn post_hold(
        &self,
        request: Request<pb::PostHoldRequest>,
    ) -> Result<Response<pb::PostHoldResponse>, Status> {
        let pb::PostHoldRequest { id, pending_id, amount, chain } = mesh::valid(request)?;
        let transfer = read::settlement(Kind::PostPending, &id, &pending_id, amount, chain)?;
        let result = Some(self.settle(transfer).await?);
        Ok(Response::new(pb::PostHoldResponse { result }))
    }

    async fn void_hold(
        &self,
        request: Request<pb::VoidHoldRequest>,
    ) -> Result<Response<pb::VoidHoldResponse>, Status> {
        let pb::VoidHoldRequest { id, pending_id, chain } = mesh::valid(request)?;
        let transfer = read::settlement(Kind::VoidPending, &id, &pending_id, 0, chain)?;
        let result = Some(self.settle(transfer).await?);
        Ok(Response::new(pb::VoidHoldResponse { result }))
    }

    async fn lookup_accounts(
        &self,
        request: Request<pb::LookupAccountsRequest>,
    ) -> Result<Response<pb::LookupAccountsResponse>, Status> {
        let ids = read::ids(request.into_inner().ids)?;
        let found = self.reader.accounts(tenant()?, ids).await.map_err(LedgerError::from)?;
        let accounts = found.into_iter().map(show::account).collect();
        Ok(Response::new(pb::LookupAccountsResponse { accounts }))
    }

    async fn lookup_transfers(
        &self,
        request: Request<pb::LookupTransfersRequest>,
    ) -> Result<Response<pb::LookupTransfersResponse>, Status> {
        let ids = read::ids(request.into_inner().ids)?;
        let found = self.reader.transfers(tenant()?, ids).await.map_err(LedgerError::from)?;
        let transfers = found.into_iter().map(show::transfer).collect();
        Ok(Response::new(pb::LookupTransfersResponse { transfers }))
    }

    async fn get_account(
        &self,
        request: Request<pb::GetAccountRequest>,
    ) -> Result<Response<pb::GetAccountResponse>, Status> {
        let id: AccountId = read::id("id", &mesh::valid(request)?.id)?;
        let mut found =
            self.reader.accounts(tenant()?, vec![id]).await.map_err(LedgerError::from)?;
        let account = show::account(found.pop().ok_or(LedgerError::AccountNotFound)?);
        Ok(Response::new(pb::GetAccountResponse { account: Some(account) }))
    }

    async fn get_transfer(
        &self,
        request: Request<pb::GetTransferRequest>,
    ) -> Result<Response<pb::GetTransferResponse>, Status> {
        let id: TransferId = read::id("id", &mesh::valid(request)?.id)?;
        let mut found =
            self.reader.transfers(tenant()?, vec![id]).await.map_err(LedgerError::from)?;
        let transfer = show::transfer(found.pop().ok_or(LedgerError::TransferNotFound)?);
        Ok(Response::new(pb::GetTransferResponse { transfer: Some(transfer) }))
    }

    async fn get_balance(
        &self,
        request: Request<pb::GetBalanceRequest>,
    ) -> Result<Response<pb::GetBalanceResponse>, Status> {
        let request = mesh::valid(request)?;
        let account = read::id("account_id", &request.account_id)?;
        let as_of = read::as_of(request.as_of)?;
        let found = self.reader.balances(tenant()?, account, as_of).await;
        let balances = found.map_err(LedgerError::from)?.ok_or(LedgerError::AccountNotFound)?;
        Ok(Response::new(pb::GetBalanceResponse { balance: Some(show::balance(balances)) }))
    }

    async fn list_accounts(
        &self,
        request: Request<pb::ListAccountsRequest>,
    ) -> Result<Response<pb::ListAccountsResponse>, Status> {
        let filter = read::account_filter(&mesh::valid(request)?)?;
        let page = self.reader.find_accounts(tenant()?, filter).await;
        let (accounts, next_page_token) =
            show::page(page.map_err(LedgerError::from)?, show::account);
        Ok(Response::new(pb::ListAccountsResponse { accounts, next_page_token }))
    }

    async fn list_account_history(
        &self,
        request: Request<pb::ListAccountHistoryRequest>,
    ) -> Result<Response<pb::ListAccountHistoryResponse>, Status> {
        let request = mesh::valid(request)?;
        let account = read::id("account_id", &request.account_id)?;
        let filter = read::history_filter(&request)?;
        let page = self.reader.history(tenant()?, account, filter).await;
        let page = page.map_err(LedgerError::from)?.ok_or(LedgerError::AccountNotFound)?;
        let (entries, next_page_token) = show::page(page, show::history_entry);
        Ok(Response::new(pb::ListAccountHistoryResponse { entries, next_page_token }))
    }

    async fn list_transfers(
        &self,
        request: Request<pb::ListTransfersRequest>,
    ) -> Result<Response<pb::ListTransfersResponse>, Status> {
        let filter = read::transfer_filter(&mesh::valid(request)?)?;
        let page = self.reader.find_transfers(tenant()?, filter).await;
        let (transfers, next_page_token) =
            show::page(page.map_err(LedgerError::from)?, show::transfer);
        Ok(Response::new(pb::ListTransfersResponse { transfers, next_page_token }))
    }

    async fn list_changes(
        &self,
        request: Request<pb::ListChangesRequest>,
    ) -> Result<Response<pb::ListChangesResponse>, Status> {
        let request = mesh::valid(request)?;
        let from = request.after.saturating_add(1);
        let found = self.reader.changes(tenant()?, from, read::page_size(request.limit)).await;
        let found = found.map_err(LedgerError::from)?;
        let changes = found.items.into_iter().filter_map(show::change).collect();
        let next_after = found.next.saturating_sub(1);
        Ok(Response::new(pb::ListChangesResponse { changes, next_after }))
    }

    async fn watch(
        &self,
        request: Request<pb::WatchRequest>,
    ) -> Result<Response<BoxStream<'static, Result<pb::WatchResponse, Status>>>, Status> {
        let from = request.into_inner().after.saturating_add(1);
        let user = Context::current()?.principal.map(|principal| principal.user.to_string());
        let counted = self.streams.count(tenant()?, user)?;
        let stream = watch::changes(self.reader.clone(), counted, from, self.stop.clone());
        Ok(Response::new(Box::pin(stream)))
    }

    async fn get_head(
        &self,
        _: Request<pb::GetHeadRequest>,
    ) -> Result<Response<pb::GetHeadResponse>, Status> {
        let head = Some(prove::head(&self.reader.head()));
        Ok(Response::new(pb::GetHeadResponse { head }))
    }

    async fn prove_transfer(
        &self,
        request: Request<pb::ProveTransferRequest>,
    ) -> Result<Response<pb::ProveTransferResponse>, Status> {
        let id = read::id("id", &mesh::valid(request)?.id)?;
        let proof = self.reader.prove_transfer(tenant()?, id).await.map_err(LedgerError::from)?;
        let proof = prove::transfer(proof.ok_or(LedgerError::TransferNotFound)?);
        Ok(Response::new(pb::ProveTransferResponse { proof: Some(proof) }))
    }

    async fn prove_account(
        &self,
        request: Request<pb::ProveAccountRequest>,
    ) -> Result<Response<pb::ProveAccountResponse>, Status> {
        let id = read::id("id", &mesh::valid(request)?.id)?;
        self.engine.checkpoint().await.map_err(LedgerError::from)?;
        let proof = self.reader.prove_account(tenant()?, id).await.map_err(LedgerError::from)?;
        let proof = prove::account(proof.ok_or(LedgerError::AccountNotFound)?);
        Ok(Response::new(pb::ProveAccountResponse { proof: Some(proof) }))
    }

    async fn prove_consistency(
        &self,
        request: Request<pb::ProveConsistencyRequest>,
    ) -> Result<Response<pb::ProveConsistencyResponse>, Status> {
        let from = mesh::valid(request)?.from;
        let proof = self.reader.prove_consistency(from).await.map_err(LedgerError::from)?;
        let proof = prove::consistency(proof.ok_or(LedgerError::HeadNotFound)?);
        Ok(Response::new(pb::ProveConsistencyResponse { proof: Some(proof) }))
    }
}
