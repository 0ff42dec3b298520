//! accounts and customers, as far as identity knows them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use contracts::accounts::v1::accounts_service_server::{AccountsService, AccountsServiceServer};
use contracts::accounts::v1::{Account, OpenAccountRequest, OpenAccountResponse};
use contracts::customers::v1::customers_service_server::{
    CustomersService, CustomersServiceServer,
};
use contracts::customers::v1::{CreateCustomerRequest, CreateCustomerResponse};
use mesh::Context;
use std::sync::Mutex;
use testkit::TenantId;
use tonic::{Request, Response, Status};

/// What the fakes were asked, and whether they answer.
#[derive(Default)]
pub(crate) struct Neighbours {
    pub(crate) accounts_down: AtomicBool,
    pub(crate) customers_down: AtomicBool,
    pub(crate) opened: Mutex<Vec<(TenantId, OpenAccountRequest)>>,
    pub(crate) created: Mutex<Vec<CreateCustomerRequest>>,
}

impl Neighbours {
    pub(crate) fn services(self: &Arc<Self>) -> [mesh::Service; 2] {
        [
            mesh::Service::new("accounts")
                .mount(AccountsServiceServer::new(Accounts(Arc::clone(self)))),
            mesh::Service::new("customers")
                .mount(CustomersServiceServer::new(Customers(Arc::clone(self)))),
        ]
    }

    pub(crate) fn opened(&self) -> usize {
        self.opened.lock().unwrap().len()
    }
}

struct Accounts(Arc<Neighbours>);

#[tonic::async_trait]
impl AccountsService for Accounts {
    async fn open_account(
        &self,
        request: Request<OpenAccountRequest>,
    ) -> Result<Response<OpenAccountResponse>, Status> {
        let request = mesh::valid(request)?;
        if self.0.accounts_down.load(Ordering::SeqCst) {
            return Err(Status::failed_precondition("down"));
        }
        let tenant = Context::current()?.tenant;
        self.0.opened.lock().unwrap().push((tenant, request.clone()));
        let account = Account {
            user_id: request.user_id,
            agency: "0001".to_owned(),
            account_number: "123456-7".to_owned(),
            ..Account::default()
        };
        Ok(Response::new(OpenAccountResponse { account: Some(account) }))
    }
}

struct Customers(Arc<Neighbours>);

#[tonic::async_trait]
impl CustomersService for Customers {
    async fn create_customer(
        &self,
        request: Request<CreateCustomerRequest>,
    ) -> Result<Response<CreateCustomerResponse>, Status> {
        let request = mesh::valid(request)?;
        if self.0.customers_down.load(Ordering::SeqCst) {
            return Err(Status::failed_precondition("down"));
        }
        self.0.created.lock().unwrap().push(request);
        Ok(Response::new(CreateCustomerResponse { customer: None }))
    }
}
