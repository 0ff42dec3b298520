//! Profiles, as customers would tell them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use auth::UserId;
use contracts::customers::v1::customers_service_server::{
    CustomersService, CustomersServiceServer,
};
use contracts::customers::v1::{GetContactRequest, GetContactResponse};
use tonic::{Request, Response, Status};

/// A stand-in for customers.
#[derive(Clone, Default)]
pub(crate) struct Customers {
    contacts: Arc<Mutex<HashMap<String, GetContactResponse>>>,
    pub(crate) is_away: Arc<AtomicBool>,
}

impl Customers {
    pub(crate) fn service(&self) -> mesh::Service {
        mesh::Service::new("customers").mount(CustomersServiceServer::new(self.clone()))
    }

    /// A new user of this profile.
    pub(crate) fn add(&self, name: &str, email: &str, phone: &str) -> UserId {
        let user = UserId::random();
        self.put(user, name, email, phone);
        user
    }

    pub(crate) fn put(&self, user: UserId, name: &str, email: &str, phone: &str) {
        let contact =
            GetContactResponse { name: name.into(), email: email.into(), phone: phone.into() };
        self.contacts.lock().unwrap().insert(user.to_string(), contact);
    }
}

#[tonic::async_trait]
impl CustomersService for Customers {
    async fn get_contact(
        &self,
        request: Request<GetContactRequest>,
    ) -> Result<Response<GetContactResponse>, Status> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(Status::unavailable("away"));
        }
        let found = self.contacts.lock().unwrap().get(&request.into_inner().id).cloned();
        found.map(Response::new).ok_or_else(|| Status::not_found("no profile"))
    }
}
