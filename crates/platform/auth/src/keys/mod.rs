//! The keys of an issuer, kept fresh.

mod jwks;
mod provider;
mod remote;
mod source;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

pub(crate) use self::jwks::Key;
use self::jwks::Published;
pub(crate) use self::source::Source;
use crate::{Algorithm, KeyError};

/// When a source that failed is read again, beside the calls.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Longest time of one read.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Tokens of unknown keys that wait for the next read; those beyond are sent away.
const WAITING_MAX: usize = 1_000;

/// What a look for a key found.
pub(crate) enum Lookup {
    Found(Arc<Key>),
    /// The source, lately asked, does not have it for that algorithm.
    Unknown,
    /// The source cannot be asked.
    Unavailable,
}

/// Several keys may have one id, as long as they are of different kinds (RFC 7517 section 4.5).
type Keys = HashMap<String, Vec<Arc<Key>>>;

/// Keys of a [`Source`] by their id.
///
/// They are read at the first token, again when a token names an unknown one (with a pause between
/// two reads), and halfway through their lifetime beside the calls. The old ones stay while the
/// source is down.
pub(crate) struct Keyring {
    source: Source,
    algorithms: Vec<Algorithm>,
    state: ArcSwap<State>,
    /// Held during a read, so that there is one at a time.
    reading: Arc<Mutex<()>>,
    waiting: Semaphore,
}

#[derive(Default)]
struct State {
    keys: Arc<Keys>,
    attempt: Option<Attempt>,
}

/// The last read.
#[derive(Clone, Copy)]
struct Attempt {
    at: Instant,
    failed: bool,
    /// Read again from here on, beside the calls.
    refresh_at: Instant,
    /// From here on nobody used the keys for so long that they are read before they are used again.
    /// A source that is down has no such time: its keys go on.
    stale_at: Option<Instant>,
}

impl Keyring {
    pub(crate) fn new(source: Source, algorithms: Vec<Algorithm>) -> Arc<Self> {
        Arc::new(Self {
            source,
            algorithms,
            state: ArcSwap::default(),
            reading: Arc::default(),
            waiting: Semaphore::new(WAITING_MAX),
        })
    }

    /// Reads the keys as the first token will, when they are in a file; changes nothing.
    pub(crate) async fn check_file(&self) -> Result<(), KeyError> {
        match self.source {
            Source::File(_) => self.read(Arc::default()).await.map(drop),
            Source::Given(_) | Source::Url(_) | Source::Provider(_) => Ok(()),
        }
    }

    /// Whether the keys at hand may be used without a read before. Has them refreshed when it is
    /// time.
    pub(crate) fn is_fresh(self: &Arc<Self>) -> bool {
        let now = Instant::now();
        let Some(attempt) = self.state.load().attempt else { return false };
        if attempt.stale_at.is_some_and(|stale_at| stale_at <= now) {
            return false;
        }
        if attempt.refresh_at <= now {
            self.refresh_aside();
        }
        true
    }

    /// The key that a token names, for the algorithm that it names.
    pub(crate) async fn find(self: &Arc<Self>, kid: &str, algorithm: Algorithm) -> Lookup {
        if self.is_fresh()
            && let Some(found) = self.state.load().find(kid, algorithm)
        {
            return found;
        }
        let last = self.state.load().attempt;
        // A key made since the last read is as good as any: its token waits for the next one.
        if let Some(attempt) = last {
            let Ok(_place) = self.waiting.try_acquire() else { return Lookup::Unavailable };
            tokio::time::sleep_until(attempt.at + self.source.pause()).await;
        }
        // In a task of its own: neither the caller's deadline nor its identity belongs to this read.
        let keyring = Arc::clone(self);
        let reread = async move {
            let alone = Arc::clone(&keyring.reading).lock_owned().await;
            // Somebody may have read while we waited.
            if keyring.state.load().is_older_than(keyring.source.pause()) {
                keyring.reread(alone).await;
            }
        };
        if tokio::spawn(reread).await.is_err() {
            return Lookup::Unavailable;
        }
        let state = self.state.load();
        match state.find(kid, algorithm) {
            Some(found) => found,
            None if state.attempt.is_none_or(|attempt| attempt.failed) => Lookup::Unavailable,
            None => Lookup::Unknown,
        }
    }

    fn refresh_aside(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if let Ok(alone) = Arc::clone(&self.reading).try_lock_owned() {
            let keyring = Arc::clone(self);
            runtime.spawn(async move { keyring.reread(alone).await });
        }
    }

    /// Reads the source. Keys that it no longer has are withdrawn.
    async fn reread(&self, _alone: OwnedMutexGuard<()>) {
        let old = Arc::clone(&self.state.load().keys);
        let read = self.read(Arc::clone(&old)).await;
        let at = Instant::now();
        let state = match read {
            Ok((keys, lifetime)) => {
                let (refresh_at, stale_at) = (at + lifetime / 2, Some(at + lifetime));
                let attempt = Attempt { at, failed: false, refresh_at, stale_at };
                State { keys: Arc::new(keys), attempt: Some(attempt) }
            }
            Err(error) => {
                tracing::warn!(%error, "keeping the verification keys at hand");
                let refresh_at = at + RETRY_AFTER;
                let attempt = Attempt { at, failed: true, refresh_at, stale_at: None };
                State { keys: Arc::clone(&old), attempt: Some(attempt) }
            }
        };
        let kept = Arc::clone(&state.keys);
        self.state.store(Arc::new(state));
        for key in old.values().flatten() {
            if !holds(&kept, key) {
                key.withdraw();
            }
        }
    }

    async fn read(&self, old: Arc<Keys>) -> Result<(Keys, Duration), KeyError> {
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.source.read()).await;
        let fetched = fetched.map_err(|_| KeyError("timed out".to_owned()))??;
        let algorithms = self.algorithms.clone();
        // A thousand keys take milliseconds to prepare, which no call is to wait for.
        let keys = spawn_blocking(move || prepare(fetched.keys, &old, &algorithms)).await;
        let keys = keys.map_err(|_| KeyError("cannot prepare the keys".to_owned()))?;
        if keys.is_empty() {
            let (source, algorithms) = (&self.source, &self.algorithms);
            return Err(KeyError(format!("{source}: no key is for {algorithms:?}")));
        }
        Ok((keys, fetched.lifetime))
    }
}

impl State {
    fn find(&self, kid: &str, algorithm: Algorithm) -> Option<Lookup> {
        let key = self.keys.get(kid)?.iter().find(|key| key.serves(algorithm));
        Some(key.map_or(Lookup::Unknown, |key| Lookup::Found(Arc::clone(key))))
    }

    fn is_older_than(&self, age: Duration) -> bool {
        self.attempt.is_none_or(|attempt| attempt.at.elapsed() >= age)
    }
}

fn holds(keys: &Keys, key: &Arc<Key>) -> bool {
    let same = |other: &Arc<Key>| Arc::ptr_eq(other, key);
    keys.get(&key.published.kid).is_some_and(|keys| keys.iter().any(same))
}

/// The published keys by their id. Those that did not change stay the same, with the tokens that
/// they vouch for.
fn prepare(published: Vec<Published>, old: &Keys, algorithms: &[Algorithm]) -> Keys {
    let mut keys = Keys::new();
    for published in published {
        let known = old.get(&published.kid).into_iter().flatten();
        let known = known.into_iter().find(|key| key.published == published);
        let key = known.map(Arc::clone).or_else(|| Key::new(published, algorithms).map(Arc::new));
        if let Some(key) = key {
            keys.entry(key.published.kid.clone()).or_default().push(key);
        }
    }
    keys
}
