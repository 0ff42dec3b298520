//! Layer: one attempt within the time that is left.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::around::{Around, Next, Request, Response};
use crate::deadline::{self, Deadline};
use crate::error::{Unsent, deadline_exceeded, mark_unsent};

/// What the way there and back may take: the callee gets that much less, so that its answer, even
/// the one that time is over, still arrives.
const HOP_COST: Duration = Duration::from_millis(2);

#[derive(Clone)]
pub(super) struct Hop;

impl Around for Hop {
    async fn around(&self, mut request: Request, next: &impl Next) -> Result<Response, Status> {
        let Some(&Deadline(deadline)) = request.extensions().get() else {
            return next.call(request).await;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let Some(left) = left.checked_sub(HOP_COST).filter(|left| !left.is_zero()) else {
            return Err(mark_unsent(deadline_exceeded(), Unsent::HeldBack));
        };
        deadline::write(request.headers_mut(), left);
        timeout_at(deadline, next.call(request)).await.unwrap_or_else(|_| Err(deadline_exceeded()))
    }
}
