//! How users are reached, as their profiles say.

use auth::{TenantId, UserId};
use contracts::customers::v1::GetContactRequest;
use contracts::customers::v1::customers_service_client::CustomersServiceClient;
use mesh::{Channel, Context};
use tonic::{Code, Status};

use crate::domain::Recipient;

/// Asks customers.
#[derive(Clone)]
pub(crate) struct Contacts {
    customers: CustomersServiceClient<Channel>,
}

impl Contacts {
    pub(crate) fn new(customers: Channel) -> Self {
        Self { customers: CustomersServiceClient::new(customers) }
    }

    /// How `user` is reached; `None` when it has no profile, or none yet.
    pub(crate) async fn find(
        &self,
        tenant: TenantId,
        user: UserId,
    ) -> Result<Option<Recipient>, Status> {
        let request = GetContactRequest { id: user.to_string() };
        let mut customers = self.customers.clone();
        let answer = Context::system(tenant).scope(customers.get_contact(request)).await;
        match answer.map(tonic::Response::into_inner) {
            Ok(found) => {
                Ok(Some(Recipient { name: found.name, email: found.email, phone: found.phone }))
            }
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }
}
