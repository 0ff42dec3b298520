//! Gives a registered person an account and a profile.

use auth::UserId;
use contracts::accounts::v1::accounts_service_client::AccountsServiceClient;
use contracts::accounts::v1::{Account, OpenAccountRequest};
use contracts::customers::v1::customers_service_client::CustomersServiceClient;
use contracts::customers::v1::{AccountType, BankingDetails, CreateCustomerRequest};
use mesh::{Channel, Mesh};
use tonic::Status;

use crate::domain::{Email, Profile};
use crate::error::IdentityError;

/// Currency of the account that everybody gets.
const CURRENCY: &str = "BRL";

/// Calls accounts and customers, in the tenant of the call being served.
#[derive(Clone)]
pub(crate) struct Provisioning {
    accounts: AccountsServiceClient<Channel>,
    customers: CustomersServiceClient<Channel>,
}

impl Provisioning {
    pub(crate) fn new(mesh: &Mesh) -> Self {
        Self {
            accounts: AccountsServiceClient::new(mesh.channel("accounts")),
            customers: CustomersServiceClient::new(mesh.channel("customers")),
        }
    }

    /// Opens the account and creates the profile; what exists already is left as it is.
    pub(crate) async fn provision(
        &self,
        user: UserId,
        email: &Email,
        profile: Profile,
    ) -> Result<(), IdentityError> {
        let account =
            self.open_account(user).await.map_err(|status| failed("accounts", &status))?;
        self.create_customer(user, email, profile, account)
            .await
            .map_err(|status| failed("customers", &status))
    }

    async fn open_account(&self, user: UserId) -> Result<Account, Status> {
        let request =
            OpenAccountRequest { user_id: user.to_string(), currency: CURRENCY.to_owned() };
        let opened = self.accounts.clone().open_account(request).await?.into_inner();
        opened.account.ok_or_else(|| Status::internal("accounts answered no account"))
    }

    async fn create_customer(
        &self,
        user: UserId,
        email: &Email,
        profile: Profile,
        account: Account,
    ) -> Result<(), Status> {
        let request = CreateCustomerRequest {
            id: user.to_string(),
            name: profile.name,
            email: email.as_str().to_owned(),
            address: profile.address,
            banking_details: Some(BankingDetails {
                agency: account.agency,
                account_number: account.account_number,
                account_type: AccountType::Payment.into(),
            }),
        };
        self.customers.clone().create_customer(request).await?;
        Ok(())
    }
}

fn failed(upstream: &str, status: &Status) -> IdentityError {
    let reason = mesh::error::reason(status);
    tracing::warn!(upstream, code = ?status.code(), reason, "provisioning is incomplete");
    IdentityError::Provisioning
}
