//! What belongs to one call, from the edge to the last hop.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use auth::{Principal, TenantId};
use tokio::time::Instant;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::error::mesh_status;

tokio::task_local! {
    static CURRENT: Context;
}

/// What belongs to the call being served, and travels with every call made for it.
///
/// It is task-local: a spawned task does not see it, and takes it along with [`Context::scope`].
#[derive(Clone)]
pub struct Context {
    /// Programme whose data the call may touch.
    pub tenant: TenantId,
    /// The user for whom the call is made, verified.
    pub principal: Option<Principal>,
    /// The user's signed token, shown again to every callee.
    pub token: Option<Arc<str>>,
    /// Names the request in logs, from the edge to the last hop.
    pub correlation_id: Arc<str>,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// Key under which a repeat of the request has no further effect.
    pub idempotency_key: Option<Arc<str>>,
}

impl Context {
    /// The context of the call being served.
    ///
    /// # Errors
    /// `INTERNAL`, reason `CONTEXT_MISSING`, outside of any call: a mistake of the program.
    pub fn current() -> Result<Self, Status> {
        Self::find().ok_or_else(|| {
            mesh_status(Code::Internal, "CONTEXT_MISSING", "no call is being served here")
        })
    }

    /// The verified user of the call being served.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, reason `TOKEN_MISSING`, when the call is made for no user.
    pub fn principal() -> Result<Principal, Status> {
        Self::current()?.principal.ok_or_else(token_missing)
    }

    /// A context for work that no request started: no user, no deadline, a new correlation id.
    pub fn system(tenant: TenantId) -> Self {
        Self {
            tenant,
            principal: None,
            token: None,
            correlation_id: Uuid::now_v7().to_string().into(),
            deadline: None,
            idempotency_key: None,
        }
    }

    /// Runs `future` in this context: the calls that it makes carry it.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// Time until the deadline, zero when it has passed; `None` without a deadline.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// The context of the call being served, if any.
    pub(crate) fn find() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }
}

impl fmt::Debug for Context {
    /// Shows everything but the token.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Context")
            .field("tenant", &self.tenant)
            .field("principal", &self.principal)
            .field("correlation_id", &self.correlation_id)
            .field("deadline", &self.deadline)
            .field("idempotency_key", &self.idempotency_key)
            .finish_non_exhaustive()
    }
}

/// The answer to a call that needs a user and has none.
pub(crate) fn token_missing() -> Status {
    mesh_status(Code::Unauthenticated, "TOKEN_MISSING", "the call needs a user's token")
}

/// Names of the metadata that carries a context between services.
pub(crate) mod header {
    use http::HeaderName;

    pub(crate) const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
    pub(crate) const TENANT: HeaderName = HeaderName::from_static("x-malha-tenant");
    pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
}
