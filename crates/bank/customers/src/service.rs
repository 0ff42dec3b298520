use clock::Clock;
use contracts::customers::v1 as pb;
use mesh::{Context, owner, wire};
use tonic::{Request, Response, Status};

use crate::domain::{
    AccountType, BankingDetails, Changes, Customer, Proposal, checked_name, checked_text,
};
use crate::error::CustomerError;
use crate::store::Store;

/// Serves `malha.customers.v1`.
pub(crate) struct Customers {
    store: Store,
    clock: Clock,
}

impl Customers {
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }
}

#[tonic::async_trait]
impl pb::customers_service_server::CustomersService for Customers {
    async fn create_customer(
        &self,
        request: Request<pb::CreateCustomerRequest>,
    ) -> Result<Response<pb::CreateCustomerResponse>, Status> {
        let tenant = Context::current()?.tenant;
        let now = self.clock.now();
        let customer = mesh::valid(request)?;
        let customer = Customer {
            id: wire::id("id", &customer.id)?,
            name: checked_name("name", &customer.name)?,
            email: customer.email,
            address: checked_text("address", &customer.address)?,
            profile_picture: String::new(),
            phone: String::new(),
            banking_details: customer
                .banking_details
                .and_then(decode_details)
                .ok_or_else(|| CustomerError::invalid("banking_details", "must not be empty"))?,
            is_active: true,
            created_at: now,
            updated_at: now,
        };
        let stored = self.store.customer_insert(tenant, &customer).await?;
        Ok(Response::new(pb::CreateCustomerResponse { customer: Some(stored.into()) }))
    }

    async fn get_customer(
        &self,
        request: Request<pb::GetCustomerRequest>,
    ) -> Result<Response<pb::GetCustomerResponse>, Status> {
        let request = mesh::valid(request)?;
        let principal = Context::principal()?;
        let id = owner::readable(&principal, "id", &request.id)?;
        let customer = self.store.customer_fetch(principal.tenant, id).await?;
        let customer = customer.ok_or(CustomerError::NotFound)?;
        Ok(Response::new(pb::GetCustomerResponse { customer: Some(customer.into()) }))
    }

    async fn get_contact(
        &self,
        request: Request<pb::GetContactRequest>,
    ) -> Result<Response<pb::GetContactResponse>, Status> {
        let id = wire::id("id", &mesh::valid(request)?.id)?;
        let tenant = Context::current()?.tenant;
        let customer = self.store.customer_fetch(tenant, id).await?;
        let Customer { name, email, phone, .. } = customer.ok_or(CustomerError::NotFound)?;
        Ok(Response::new(pb::GetContactResponse { name, email, phone }))
    }

    async fn update_customer(
        &self,
        request: Request<pb::UpdateCustomerRequest>,
    ) -> Result<Response<pb::UpdateCustomerResponse>, Status> {
        let request = mesh::valid(request)?;
        let principal = Context::principal()?;
        let id = owner::writable(&principal, "id", &request.id)?;
        let proposal = decode_proposal(request.customer.unwrap_or_default());
        let paths = request.update_mask.unwrap_or_default().paths;
        let changes = Changes::select(&proposal, &paths)?;
        let customer = if changes.is_empty() {
            self.store.customer_fetch(principal.tenant, id).await
        } else {
            self.store.customer_update(principal.tenant, id, &changes, self.clock.now()).await
        };
        let customer = customer?.ok_or(CustomerError::NotFound)?;
        Ok(Response::new(pb::UpdateCustomerResponse { customer: Some(customer.into()) }))
    }
}

fn decode_proposal(customer: pb::Customer) -> Proposal {
    Proposal {
        name: customer.name,
        address: customer.address,
        profile_picture: customer.profile_picture,
        phone: customer.phone,
        banking_details: customer.banking_details.and_then(decode_details),
    }
}

/// `None` for an account type that the contract refuses anyway.
fn decode_details(details: pb::BankingDetails) -> Option<BankingDetails> {
    let account_type = match details.account_type() {
        pb::AccountType::Unspecified => return None,
        pb::AccountType::Checking => AccountType::Checking,
        pb::AccountType::Savings => AccountType::Savings,
        pb::AccountType::Salary => AccountType::Salary,
        pb::AccountType::Payment => AccountType::Payment,
    };
    let pb::BankingDetails { agency, account_number, .. } = details;
    Some(BankingDetails { agency, account_number, account_type })
}

impl From<Customer> for pb::Customer {
    fn from(customer: Customer) -> Self {
        Self {
            id: customer.id.to_string(),
            name: customer.name,
            email: customer.email,
            address: customer.address,
            profile_picture: customer.profile_picture,
            phone: customer.phone,
            banking_details: Some(customer.banking_details.into()),
            is_active: customer.is_active,
            created_at: Some(wire::timestamp(customer.created_at)),
            updated_at: Some(wire::timestamp(customer.updated_at)),
        }
    }
}

impl From<BankingDetails> for pb::BankingDetails {
    fn from(details: BankingDetails) -> Self {
        let account_type = match details.account_type {
            AccountType::Checking => pb::AccountType::Checking,
            AccountType::Savings => pb::AccountType::Savings,
            AccountType::Salary => pb::AccountType::Salary,
            AccountType::Payment => pb::AccountType::Payment,
        };
        Self {
            agency: details.agency,
            account_number: details.account_number,
            account_type: account_type.into(),
        }
    }
}
