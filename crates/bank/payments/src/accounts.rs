//! Which ledger accounts users have.

use auth::{TenantId, UserId};
use contracts::accounts::v1::ResolveAccountsRequest;
use contracts::accounts::v1::accounts_service_client::AccountsServiceClient;
use mesh::Channel;
use moka::future::Cache;
use money::Currency;
use tonic::Status;
use uuid::Uuid;

use crate::error::PaymentError;

/// The accounts of users in one currency. A user's account never changes, so it is asked for once.
#[derive(Clone)]
pub(crate) struct Accounts {
    client: AccountsServiceClient<Channel>,
    currency: Currency,
    known: Cache<(TenantId, UserId), Uuid>,
}

impl Accounts {
    pub(crate) fn new(channel: Channel, currency: Currency, cached_max: u64) -> Self {
        let client = AccountsServiceClient::new(channel);
        Self { client, currency, known: Cache::new(cached_max) }
    }

    /// Finds the accounts of `users`, in their order; `None` for a user who has none.
    pub(crate) async fn resolve<const N: usize>(
        &self,
        tenant: TenantId,
        users: [UserId; N],
    ) -> Result<[Option<Uuid>; N], PaymentError> {
        let mut accounts = [None; N];
        for (account, user) in accounts.iter_mut().zip(users) {
            *account = self.known.get(&(tenant, user)).await;
        }
        if accounts.iter().any(Option::is_none) {
            let found = self.fetch(&users).await.map_err(PaymentError::Upstream)?;
            for (user, account) in found {
                self.known.insert((tenant, user), account).await;
                for (index, _) in users.iter().enumerate().filter(|(_, one)| **one == user) {
                    accounts[index] = Some(account);
                }
            }
        }
        Ok(accounts)
    }

    async fn fetch(&self, users: &[UserId]) -> Result<Vec<(UserId, Uuid)>, Status> {
        let request = ResolveAccountsRequest {
            user_ids: users.iter().map(ToString::to_string).collect(),
            currency: self.currency.code().to_owned(),
        };
        let response = self.client.clone().resolve_accounts(request).await?.into_inner();
        let pair = |account: &contracts::accounts::v1::Account| {
            let user: Uuid = account.user_id.parse().ok()?;
            Some((UserId::from(user), account.id.parse().ok()?))
        };
        let malformed = || Status::internal("an account's ids are no UUIDs");
        response.accounts.iter().map(|account| pair(account).ok_or_else(malformed)).collect()
    }
}
