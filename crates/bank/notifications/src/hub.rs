//! Who waits for news, and hears them from every process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use auth::{TenantId, UserId};
use parking_lot::Mutex;
use storage::Database;
use tokio::sync::watch;

use crate::store::CHANGES;

/// Wait before PostgreSQL is listened to again.
const DELAY: Duration = Duration::from_millis(500);

type Reader = (TenantId, UserId);

/// The open streams of this process, and its dispatchers.
#[derive(Default)]
pub(crate) struct Hub {
    readers: Mutex<HashMap<Reader, watch::Sender<()>>>,
    any: watch::Sender<()>,
}

/// The news of one user, for one stream.
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    reader: Reader,
    news: watch::Receiver<()>,
}

impl Hub {
    /// Subscribes to what changes for `user` from now on.
    pub(crate) fn subscribe(self: &Arc<Self>, tenant: TenantId, user: UserId) -> Subscription {
        let reader = (tenant, user);
        let news = self.readers.lock().entry(reader).or_default().subscribe();
        Subscription { hub: Arc::clone(self), reader, news }
    }

    /// Whatever changes for anybody.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.any.subscribe()
    }

    /// Hears from PostgreSQL what any process did, for ever. What happened while nobody listened is
    /// made up for: then everybody is woken.
    pub(crate) async fn listen(self: Arc<Self>, database: Database) {
        loop {
            match database.listen(CHANGES).await {
                Ok(mut listener) => {
                    self.wake_all();
                    while let Ok(Some(told)) = listener.try_recv().await {
                        self.wake(told.payload());
                    }
                    tracing::warn!("the connection that tells of news is lost");
                }
                Err(error) => tracing::warn!(%error, "nobody can tell of news"),
            }
            tokio::time::sleep(DELAY).await;
        }
    }

    /// Wakes who waits for the user of `payload`: its tenant, a space, its id.
    fn wake(&self, payload: &str) {
        self.any.send_replace(());
        let reader = payload.split_once(' ').and_then(|(tenant, user)| {
            Some((tenant.parse::<TenantId>().ok()?, user.parse::<UserId>().ok()?))
        });
        if let Some(news) = reader.and_then(|reader| self.readers.lock().get(&reader).cloned()) {
            news.send_replace(());
        }
    }

    fn wake_all(&self) {
        self.any.send_replace(());
        self.readers.lock().values().for_each(|news| {
            news.send_replace(());
        });
    }
}

impl Subscription {
    /// What comes after now is news.
    pub(crate) fn catch_up(&mut self) {
        self.news.mark_unchanged();
    }

    /// Waits for news since the last [`catch_up`](Self::catch_up).
    pub(crate) async fn news(&mut self) {
        // The hub holds the sender for as long as somebody subscribes.
        let _ = self.news.changed().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut readers = self.hub.readers.lock();
        if readers.get(&self.reader).is_some_and(|news| news.receiver_count() <= 1) {
            readers.remove(&self.reader);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn news_reach_whom_they_are_for_and_nothing_is_left_behind() {
        let hub = Arc::new(Hub::default());
        let (tenant, ana, bob) = (TenantId::DEFAULT, UserId::random(), UserId::random());
        let mut first = hub.subscribe(tenant, ana);
        let mut second = hub.subscribe(tenant, ana);
        let mut other = hub.subscribe(tenant, bob);
        hub.wake(&format!("{tenant} {ana}"));
        first.news().await;
        second.news().await;
        assert!(!other.news.has_changed().unwrap());

        hub.wake_all();
        other.news().await;
        // What is no payload of ours wakes nobody.
        other.catch_up();
        for payload in ["", "x y", "x"] {
            hub.wake(payload);
        }
        assert!(!other.news.has_changed().unwrap());

        drop(first);
        assert_eq!(hub.readers.lock().len(), 2);
        drop((second, other));
        assert_eq!(hub.readers.lock().len(), 0);
    }
}
