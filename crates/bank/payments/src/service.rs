//! The gRPC face of payments: decode, call, encode.

use contracts::payments::v1 as pb;
use contracts::payments::v1::payments_service_server::PaymentsService;
use mesh::Context;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Response, Status};

use crate::domain::Refusal;
use crate::error::PaymentError;
use crate::payments::{Created, Payments};
use crate::{domain, page, wire};

/// Says that an answer is that of an earlier request with the same key.
const REPLAY: &str = "x-idempotent-replay";

const PAGE_SIZE_DEFAULT: usize = 50;

/// Serves [`Payments`].
pub(crate) struct Service {
    pub(crate) payments: Payments,
}

#[tonic::async_trait]
impl PaymentsService for Service {
    #[tracing::instrument(skip_all, fields(rpc = "payments.create_transaction", transactionId))]
    async fn create_transaction(
        &self,
        request: Request<pb::CreateTransactionRequest>,
    ) -> Result<Response<pb::CreateTransactionResponse>, Status> {
        let request = mesh::valid(request)?;
        let context = Context::current()?;
        let principal = Context::principal()?;
        let order = wire::order(request, principal.user, self.payments.amount_max)?;
        let key = context.idempotency_key.map(|key| wire::key(&key, &order)).transpose()?;
        let Created { transaction, replay } =
            self.payments.create(&principal, order, key.as_ref()).await?;
        let id = transaction.id;
        tracing::Span::current().record("transactionId", tracing::field::display(id));
        if let Some(refusal) = transaction.failure {
            let mut status = Status::from(match refusal {
                Refusal::LedgerUnavailable => PaymentError::LedgerUnavailable { transaction: id },
                refusal => PaymentError::Refused { transaction: id, refusal },
            });
            mark_replay(status.metadata_mut(), replay);
            return Err(status);
        }
        let transaction = Some(wire::transaction(transaction));
        let mut response = Response::new(pb::CreateTransactionResponse { transaction });
        mark_replay(response.metadata_mut(), replay);
        Ok(response)
    }

    #[tracing::instrument(skip_all, fields(rpc = "payments.get_transaction"))]
    async fn get_transaction(
        &self,
        request: Request<pb::GetTransactionRequest>,
    ) -> Result<Response<pb::GetTransactionResponse>, Status> {
        let id = mesh::wire::id("id", &mesh::valid(request)?.id)?;
        let transaction = self.payments.get(&Context::principal()?, id).await?;
        let transaction = Some(wire::transaction(transaction));
        Ok(Response::new(pb::GetTransactionResponse { transaction }))
    }

    #[tracing::instrument(skip_all, fields(rpc = "payments.list_transactions"))]
    async fn list_transactions(
        &self,
        request: Request<pb::ListTransactionsRequest>,
    ) -> Result<Response<pb::ListTransactionsResponse>, Status> {
        let request = mesh::valid(request)?;
        let principal = Context::principal()?;
        let mut filter = wire::filter(&request)?;
        filter.party = domain::listed_party(&principal, filter.party)?;
        let cursor = page::cursor(&request.page_token, &filter)?;
        let size = mesh::wire::page_size(request.page_size, PAGE_SIZE_DEFAULT);
        let (found, next) = self.payments.list(&principal, &filter, cursor, size).await?;
        Ok(Response::new(pb::ListTransactionsResponse {
            transactions: found.into_iter().map(wire::transaction).collect(),
            next_page_token: next.map(|next| page::token(next, &filter)).unwrap_or_default(),
        }))
    }

    #[tracing::instrument(skip_all, fields(rpc = "payments.reverse_transaction", transactionId))]
    async fn reverse_transaction(
        &self,
        request: Request<pb::ReverseTransactionRequest>,
    ) -> Result<Response<pb::ReverseTransactionResponse>, Status> {
        let id = mesh::wire::id("id", &mesh::valid(request)?.id)?;
        tracing::Span::current().record("transactionId", tracing::field::display(id));
        let transaction = self.payments.reverse(Context::principal()?.tenant, id).await?;
        let transaction = Some(wire::transaction(transaction));
        Ok(Response::new(pb::ReverseTransactionResponse { transaction }))
    }
}

fn mark_replay(metadata: &mut MetadataMap, replay: bool) {
    if replay {
        metadata.insert(REPLAY, MetadataValue::from_static("true"));
    }
}
