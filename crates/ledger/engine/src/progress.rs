//! How far the ledger has come: what is durable, what is indexed, whether it still runs.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex, RwLock};
use proof::{Header, PublicKey, SignedHead};
use tokio::sync::watch;

/// Shared by the threads, which write it, and the readers.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
    durable: watch::Sender<u64>,
    indexed: watch::Sender<u64>,
    failure: watch::Sender<Option<String>>,
    /// The last durable block, and the key that signed it.
    head: RwLock<(Header, PublicKey)>,
}

#[derive(Debug)]
struct State {
    durable: u64,
    stopped: bool,
}

impl Progress {
    /// All up to the block of this header is durable and indexed.
    pub(crate) fn new(head: Header, key: PublicKey) -> Self {
        let (durable, indexed) = (head.end(), head.end());
        Self(Arc::new(Inner {
            state: Mutex::new(State { durable, stopped: false }),
            changed: Condvar::new(),
            durable: watch::Sender::new(durable),
            indexed: watch::Sender::new(indexed),
            failure: watch::Sender::new(None),
            head: RwLock::new((head, key)),
        }))
    }

    /// How many entries are durable.
    pub(crate) fn durable(&self) -> u64 {
        *self.0.durable.borrow()
    }

    /// Tells how many entries are durable, now and whenever there are more.
    pub(crate) fn watch_durable(&self) -> watch::Receiver<u64> {
        self.0.durable.subscribe()
    }

    /// The last durable block, as it was signed.
    pub(crate) fn head(&self) -> SignedHead {
        let (header, key) = &*self.0.head.read();
        header.signed_head(key)
    }

    /// The block of this header is durable, and was signed with this key.
    pub(crate) fn set_durable(&self, header: &Header, key: &PublicKey) {
        let entries = header.end();
        *self.0.head.write() = (header.clone(), key.clone());
        self.0.state.lock().durable = entries;
        self.0.changed.notify_all();
        self.0.durable.send_replace(entries);
    }

    /// How many entries are indexed.
    pub(crate) fn indexed(&self) -> u64 {
        *self.0.indexed.borrow()
    }

    /// So many entries are indexed.
    pub(crate) fn set_indexed(&self, entries: u64) {
        self.0.indexed.send_replace(entries);
    }

    /// Waits until the entry of that number is durable. False when it never will be.
    pub(crate) fn wait_durable(&self, number: u64) -> bool {
        let mut state = self.0.state.lock();
        while state.durable <= number && !state.stopped {
            self.0.changed.wait(&mut state);
        }
        state.durable > number
    }

    /// Waits until so many entries are indexed. False when they never will be.
    pub(crate) async fn await_indexed(&self, entries: u64) -> bool {
        let (mut indexed, mut failure) = (self.0.indexed.subscribe(), self.0.failure.subscribe());
        tokio::select! {
            biased;
            reached = indexed.wait_for(|indexed| *indexed >= entries) => reached.is_ok(),
            _ = failure.wait_for(Option::is_some) => false,
        }
    }

    /// The ledger runs no more; the first reason is kept.
    pub(crate) fn stop(&self, reason: &str) {
        self.0.state.lock().stopped = true;
        self.0.changed.notify_all();
        self.0.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert_with(|| reason.to_owned());
            is_first
        });
    }

    /// Why it runs no more, if so.
    pub(crate) fn failure(&self) -> Option<String> {
        self.0.failure.borrow().clone()
    }

    /// Waits until it runs no more, and says why.
    pub(crate) fn stopped(&self) -> impl Future<Output = String> + Send + use<> {
        let mut failure = self.0.failure.subscribe();
        async move {
            let failed = failure.wait_for(Option::is_some).await;
            failed.ok().and_then(|reason| reason.clone()).unwrap_or_default()
        }
    }
}
