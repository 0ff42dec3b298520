//! The verification keys in use, kept fresh.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jsonwebtoken::DecodingKey;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::{Jwk, KeyError, KeySource};

/// Shortest time between two reads of the source, whatever tokens ask for.
const REFETCH_AFTER: Duration = Duration::from_secs(1);

/// Age at which keys that still verify are read again, beside the calls.
const REFRESH_AFTER: Duration = Duration::from_mins(5);

/// Longest time of one read.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

type Keys = HashMap<String, DecodingKey>;

/// What a look for a key found.
pub(crate) enum Lookup {
    Found(DecodingKey),
    /// The source, lately asked, does not have it.
    Unknown,
    /// The source cannot be asked.
    Unavailable,
}

/// Keys of a [`KeySource`] by their id. Keeps the old ones while the source is down.
pub(crate) struct Keyring {
    source: Arc<dyn KeySource>,
    state: ArcSwap<State>,
    /// Held during a read, so that there is one at a time.
    fetching: Mutex<()>,
    /// Called when the set of keys changed.
    changed: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    keys: Arc<Keys>,
    attempted: Option<Instant>,
    failed: bool,
}

impl Keyring {
    pub(crate) fn new(
        source: Arc<dyn KeySource>,
        changed: impl Fn() + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            source,
            state: ArcSwap::default(),
            fetching: Mutex::new(()),
            changed: Box::new(changed),
        })
    }

    pub(crate) async fn find(self: &Arc<Self>, kid: &str) -> Lookup {
        let state = self.state.load_full();
        if let Some(key) = state.keys.get(kid) {
            if state.is_older_than(REFRESH_AFTER) {
                self.refresh_aside();
            }
            return Lookup::Found(key.clone());
        }
        // A key made since the last read is as good as any: its token waits for the next one.
        if let Some(attempted) = state.attempted {
            tokio::time::sleep_until(attempted + REFETCH_AFTER).await;
        }
        // In a task of its own: neither the caller's deadline nor its identity belongs to this read.
        let keyring = Arc::clone(self);
        let refetch = tokio::spawn(async move { keyring.refetch(REFETCH_AFTER).await });
        if refetch.await.is_err() {
            return Lookup::Unavailable;
        }
        let state = self.state.load();
        match state.keys.get(kid) {
            Some(key) => Lookup::Found(key.clone()),
            None if state.failed => Lookup::Unavailable,
            None => Lookup::Unknown,
        }
    }

    fn refresh_aside(self: &Arc<Self>) {
        if self.fetching.try_lock().is_ok() {
            let keyring = Arc::clone(self);
            tokio::spawn(async move { keyring.refetch(REFRESH_AFTER).await });
        }
    }

    /// Reads the source unless somebody did within `age`, possibly while we waited.
    async fn refetch(&self, age: Duration) {
        let _one_at_a_time = self.fetching.lock().await;
        let old = self.state.load_full();
        if !old.is_older_than(age) {
            return;
        }
        let fetched = self.fetch().await;
        let failed = fetched.is_err();
        let keys = fetched.map_or_else(
            |error| {
                tracing::warn!(%error, "keeping the verification keys at hand");
                Arc::clone(&old.keys)
            },
            Arc::new,
        );
        let same = keys.len() == old.keys.len() && keys.keys().all(|k| old.keys.contains_key(k));
        self.state.store(Arc::new(State { keys, attempted: Some(Instant::now()), failed }));
        if !same {
            (self.changed)();
        }
    }

    async fn fetch(&self) -> Result<Keys, KeyError> {
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.source.fetch()).await;
        let jwks = fetched.map_err(|_| KeyError("timed out".to_owned()))??;
        let keys: Keys =
            jwks.iter().filter(|jwk| jwk.is_rs256()).filter_map(decoding_key).collect();
        if keys.is_empty() {
            return Err(KeyError("the source has no usable key".to_owned()));
        }
        Ok(keys)
    }
}

impl State {
    fn is_older_than(&self, age: Duration) -> bool {
        self.attempted.is_none_or(|at| at.elapsed() >= age)
    }
}

fn decoding_key(jwk: &Jwk) -> Option<(String, DecodingKey)> {
    let key = DecodingKey::from_rsa_components(&jwk.n, &jwk.e).ok()?;
    Some((jwk.kid.clone(), key))
}
