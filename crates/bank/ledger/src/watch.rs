//! The change stream.

use contracts::ledger::v1 as pb;
use engine::Reader;
use futures::stream::{Stream, try_unfold};
use proof::TenantId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::error::LedgerError;
use crate::show;

/// Most changes of one message.
const CHANGES_MAX: usize = 512;

/// Streams what happens to a tenant from entry `from` on, until `stop`.
///
/// Nothing is read ahead: the next message is made when the connection has taken the last one. So
/// a slow reader costs no memory but that of its connection's window.
pub(crate) fn changes(
    reader: Reader,
    tenant: TenantId,
    from: u64,
    stop: CancellationToken,
) -> impl Stream<Item = Result<pb::WatchResponse, Status>> + Send {
    let durable = reader.durable();
    try_unfold(Place { reader, tenant, from, durable }, move |place| {
        let stop = stop.clone();
        async move {
            let next = tokio::select! {
                next = place.next() => next,
                () = stop.cancelled() => Err(LedgerError::Stopping),
            };
            next.map(Some).map_err(Status::from)
        }
    })
}

/// Where a reader of the stream has come to.
struct Place {
    reader: Reader,
    tenant: TenantId,
    /// Number of the first entry that was not looked at.
    from: u64,
    durable: watch::Receiver<u64>,
}

impl Place {
    /// Waits for what happens next.
    async fn next(mut self) -> Result<(pb::WatchResponse, Self), LedgerError> {
        loop {
            // Looked at first, so that nothing that comes after it is slept through.
            let end = *self.durable.borrow_and_update();
            let found = self.reader.changes(self.tenant, self.from, CHANGES_MAX).await?;
            let went_on = found.next > self.from;
            self.from = found.next;
            let changes: Vec<_> = found.items.into_iter().filter_map(show::change).collect();
            if !changes.is_empty() {
                return Ok((pb::WatchResponse { changes }, self));
            }
            if !went_on || self.from >= end {
                self.durable.changed().await.map_err(|_| LedgerError::Stopped)?;
            }
        }
    }
}
