//! The change stream.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Most streams of a user at a time, and of all callers of a tenant that come for no user.
const STREAMS_MAX: usize = 64;

/// Who watches: a tenant's user, if there is one.
type Watcher = (TenantId, Option<String>);

/// Counts the streams of those who watch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<Watcher, usize>>>);

/// One of the streams of a watcher, as long as this is kept.
#[derive(Debug)]
pub(crate) struct Counted {
    streams: Streams,
    watcher: Watcher,
}

impl Streams {
    /// Counts one more, unless there are too many.
    pub(crate) fn count(
        &self,
        tenant: TenantId,
        user: Option<String>,
    ) -> Result<Counted, LedgerError> {
        let watcher = (tenant, user);
        let mut counts = self.counts();
        let count = counts.entry(watcher.clone()).or_default();
        if *count >= STREAMS_MAX {
            return Err(LedgerError::TooManyStreams { max: STREAMS_MAX });
        }
        *count += 1;
        Ok(Counted { streams: self.clone(), watcher })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Watcher, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.streams.counts();
        if let Entry::Occupied(mut count) = counts.entry(self.watcher.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Streams what happens to a tenant from entry `from` on, until `stop`.
///
/// Nothing is read ahead: the next message is made when the connection has taken the last one. So
/// a slow reader costs no memory but that of its connection's window.
pub(crate) fn changes(
    reader: Reader,
    counted: Counted,
    from: u64,
    stop: CancellationToken,
) -> impl Stream<Item = Result<pb::WatchResponse, Status>> + Send {
    let durable = reader.durable();
    try_unfold(Place { reader, counted, from, durable }, move |place| {
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
    counted: Counted,
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
            let found = self.reader.changes(self.counted.watcher.0, self.from, CHANGES_MAX).await?;
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
