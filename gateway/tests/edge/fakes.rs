//! Services that note what reaches them and answer as the request wishes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth::TokenSigner;
use contracts::accounts::v1 as accounts;
use contracts::accounts::v1::accounts_service_server::{AccountsService, AccountsServiceServer};
use contracts::customers::v1 as customers;
use contracts::customers::v1::customers_service_server::{
    CustomersService, CustomersServiceServer,
};
use contracts::identity::v1 as identity;
use contracts::identity::v1::identity_service_server::{IdentityService, IdentityServiceServer};
use contracts::payments::v1 as payments;
use contracts::payments::v1::payments_service_server::{PaymentsService, PaymentsServiceServer};
use mesh::Context;
use tonic::{Code, Request, Response, Status};

/// Contexts of the calls that reached the services, the newest last.
#[derive(Default)]
pub(crate) struct Calls(Mutex<Vec<(Context, HashMap<String, String>)>>);

impl Calls {
    fn note<T>(&self, request: &Request<T>) {
        let metadata = request.metadata().clone().into_headers();
        let metadata = metadata
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("?").to_owned()));
        self.0.lock().unwrap().push((Context::current().unwrap(), metadata.collect()));
    }

    /// The newest call.
    pub(crate) fn last(&self) -> (Context, HashMap<String, String>) {
        self.0.lock().unwrap().last().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// All fake services.
pub(crate) fn all(signer: &Arc<TokenSigner>, calls: &Arc<Calls>) -> Vec<mesh::Service> {
    let identity = Identity { signer: Arc::clone(signer), calls: Arc::clone(calls) };
    // These are well, and offer nothing that is called.
    let idle = ["notifications", "webhooks", "workflows"].map(mesh::Service::new);
    let busy = [
        mesh::Service::new("identity").mount(IdentityServiceServer::new(identity)),
        accounts(),
        mesh::Service::new("customers").mount(CustomersServiceServer::new(Customers)),
        payments(calls),
        mesh::Service::new("ledger").check("disk", || async { Ok(()) }),
    ];
    busy.into_iter().chain(idle).collect()
}

pub(crate) fn accounts() -> mesh::Service {
    mesh::Service::new("accounts").mount(AccountsServiceServer::new(Accounts))
}

fn payments(calls: &Arc<Calls>) -> mesh::Service {
    let payments = Payments { calls: Arc::clone(calls) };
    mesh::Service::new("payments").mount(PaymentsServiceServer::new(payments))
}

struct Identity {
    signer: Arc<TokenSigner>,
    calls: Arc<Calls>,
}

#[tonic::async_trait]
impl IdentityService for Identity {
    async fn register(
        &self,
        request: Request<identity::RegisterRequest>,
    ) -> Result<Response<identity::RegisterResponse>, Status> {
        self.calls.note(&request);
        let identity::RegisterRequest { name, email, .. } = request.into_inner();
        let id = "6f1c1a52-7d0b-4c8e-9f0e-2a3b4c5d6e7f".to_owned();
        Ok(Response::new(identity::RegisterResponse { id, name, email }))
    }

    async fn login(
        &self,
        _: Request<identity::LoginRequest>,
    ) -> Result<Response<identity::LoginResponse>, Status> {
        let refused = "the e-mail or the password is wrong";
        Err(mesh::error::status(
            Code::Unauthenticated,
            "INVALID_CREDENTIALS",
            "identity.malha",
            refused,
        ))
    }

    async fn logout(
        &self,
        _: Request<identity::LogoutRequest>,
    ) -> Result<Response<identity::LogoutResponse>, Status> {
        Ok(Response::new(identity::LogoutResponse {}))
    }

    async fn get_jwks(
        &self,
        _: Request<identity::GetJwksRequest>,
    ) -> Result<Response<identity::GetJwksResponse>, Status> {
        let jwk = self.signer.public_jwk().clone();
        let key = identity::JsonWebKey {
            kty: jwk.kty,
            r#use: jwk.key_use,
            alg: jwk.alg,
            kid: jwk.kid,
            n: jwk.n,
            e: jwk.e,
        };
        Ok(Response::new(identity::GetJwksResponse { keys: vec![key] }))
    }
}

struct Accounts;

#[tonic::async_trait]
impl AccountsService for Accounts {
    async fn list_accounts(
        &self,
        _: Request<accounts::ListAccountsRequest>,
    ) -> Result<Response<accounts::ListAccountsResponse>, Status> {
        Ok(Response::new(accounts::ListAccountsResponse::default()))
    }

    async fn get_balance(
        &self,
        _: Request<accounts::GetBalanceRequest>,
    ) -> Result<Response<accounts::GetBalanceResponse>, Status> {
        Ok(Response::new(accounts::GetBalanceResponse { balance: "1000.00".to_owned() }))
    }
}

struct Customers;

#[tonic::async_trait]
impl CustomersService for Customers {
    /// Answers the mask in place of the address.
    async fn update_customer(
        &self,
        request: Request<customers::UpdateCustomerRequest>,
    ) -> Result<Response<customers::UpdateCustomerResponse>, Status> {
        let request = request.into_inner();
        let address = request.update_mask.unwrap_or_default().paths.join(" ");
        let customer = customers::Customer { address, ..request.customer.unwrap_or_default() };
        Ok(Response::new(customers::UpdateCustomerResponse { customer: Some(customer) }))
    }
}

struct Payments {
    calls: Arc<Calls>,
}

#[tonic::async_trait]
impl PaymentsService for Payments {
    /// Does as the description wishes.
    async fn create_transaction(
        &self,
        request: Request<payments::CreateTransactionRequest>,
    ) -> Result<Response<payments::CreateTransactionResponse>, Status> {
        self.calls.note(&request);
        let payments::CreateTransactionRequest { amount, description, metadata, .. } =
            request.into_inner();
        let status = |code, reason| {
            let refused = mesh::error::detailed(code, reason, "payments.malha", "not carried out");
            refused.metadata("transactionId", "t-1").field("banking_details.x", "odd").build()
        };
        let refused = |code, reason| Err(status(code, reason));
        match description.as_str() {
            "no funds" => return refused(Code::FailedPrecondition, "INSUFFICIENT_FUNDS"),
            "other body" => return refused(Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED"),
            "bad receiver" => {
                let text = "receiver_user_id is required";
                let code = Code::InvalidArgument;
                let refused = mesh::error::detailed(code, "INVALID_FIELD", "payments.malha", text);
                return Err(refused.field("receiver_user_id", "is required").build());
            }
            "refused again" => {
                let mut refused = status(Code::FailedPrecondition, "INSUFFICIENT_FUNDS");
                refused.metadata_mut().insert("x-idempotent-replay", "true".parse().unwrap());
                return Err(refused);
            }
            "closed" => return refused(Code::Unavailable, "CLOSED_TODAY"),
            "late" => return Err(Status::deadline_exceeded("SELECT secret FROM table")),
            "fault" => return Err(Status::internal("SELECT secret FROM table")),
            "panic" => panic!("as the test wishes"),
            "slow" => tokio::time::sleep(Duration::from_millis(500)).await,
            _ => {}
        }
        let transaction = payments::Transaction {
            id: "0199c0de-0000-7000-8000-000000000001".to_owned(),
            amount,
            metadata,
            status: payments::TransactionStatus::Completed.into(),
            r#type: payments::TransactionType::Deposit.into(),
            ..payments::Transaction::default()
        };
        let transaction = Some(transaction);
        let mut response = Response::new(payments::CreateTransactionResponse { transaction });
        if description == "again" {
            response.metadata_mut().insert("x-idempotent-replay", "true".parse().unwrap());
        }
        response.metadata_mut().insert("x-inside", "not for clients".parse().unwrap());
        response.metadata_mut().insert("location", "/transactions/1".parse().unwrap());
        Ok(response)
    }

    async fn list_transactions(
        &self,
        request: Request<payments::ListTransactionsRequest>,
    ) -> Result<Response<payments::ListTransactionsResponse>, Status> {
        self.calls.note(&request);
        Ok(Response::new(payments::ListTransactionsResponse::default()))
    }

    async fn reverse_transaction(
        &self,
        _: Request<payments::ReverseTransactionRequest>,
    ) -> Result<Response<payments::ReverseTransactionResponse>, Status> {
        let transaction = Some(payments::Transaction::default());
        Ok(Response::new(payments::ReverseTransactionResponse { transaction }))
    }
}
