//! All upstreams of the edge.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::{hmac, rand::SystemRandom};
use mesh::Mesh;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};
use tonic::Code;

use crate::config::{Config, ConfigError, Sticky, UpstreamConfig};
use crate::failure::{Failure, Reason};
use crate::status::UpstreamStatus;
use crate::upstream::Upstream;
use crate::worker::Worker;

/// How often the metrics are brought up to date.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

/// All upstreams of the edge. Clones are the same.
#[derive(Clone)]
pub struct Upstreams(Arc<Shared>);

pub(crate) struct Shared {
    table: ArcSwap<Table>,
    /// Those whose names a reload took out, for whom they are kept.
    left: Mutex<Vec<Arc<Upstream>>>,
    /// Those that get no new calls, while calls to them are under way.
    leaving: Mutex<Vec<Weak<Upstream>>>,
    /// Held while the table is replaced.
    replacing: Mutex<()>,
    mesh: Option<Mesh>,
    workers: usize,
    handed_out: AtomicUsize,
    key: hmac::Key,
    runtime: Handle,
}

type Table = HashMap<Arc<str>, Arc<Upstream>>;

/// Upstreams whose names a reload took out. Who began before finds them until this is dropped; then
/// they get no new calls, and those under way end in peace.
pub struct Left {
    shared: Arc<Shared>,
    upstreams: Vec<Arc<Upstream>>,
}

impl Upstreams {
    /// The upstreams of `config`, for `workers` workers. Upstreams that it does not name are members
    /// of `mesh`.
    ///
    /// # Panics
    /// Outside of a tokio runtime: names are resolved and health is checked on the one of the caller.
    pub fn new(
        config: &Config,
        mesh: Option<&Mesh>,
        workers: NonZeroUsize,
    ) -> Result<Self, ConfigError> {
        let shared = Arc::new(Shared {
            table: ArcSwap::default(),
            left: Mutex::default(),
            leaving: Mutex::default(),
            replacing: Mutex::default(),
            mesh: mesh.cloned(),
            workers: workers.get(),
            handed_out: AtomicUsize::new(0),
            key: key(config),
            runtime: Handle::current(),
        });
        tokio::spawn(keep_publishing(Arc::downgrade(&shared)));
        let upstreams = Self(shared);
        upstreams.reload(config)?;
        Ok(upstreams)
    }

    /// Takes new settings over, all or none. An upstream whose settings stayed is left as it is; the
    /// others get no new calls, and those under way end in peace; names that are no more are found
    /// as long as the caller keeps them. The key of sticky cookies stays.
    pub fn reload(&self, config: &Config) -> Result<Left, ConfigError> {
        let shared = &*self.0;
        let _one_at_a_time = shared.replacing.lock();
        let old = shared.table.load_full();
        let mut table = Table::new();
        for (name, config) in &config.upstreams {
            let same = old.get(&**name).filter(|upstream| *upstream.config == *config);
            let upstream = match same {
                Some(upstream) => Arc::clone(upstream),
                None => Arc::new(shared.make(name, config.clone())?),
            };
            table.insert(Arc::clone(&upstream.name), upstream);
        }
        let mut left = Vec::new();
        for (name, upstream) in old.iter() {
            if table.get(name).is_some_and(|stays| Arc::ptr_eq(stays, upstream)) {
                continue;
            }
            if config.upstreams.contains_key(&**name) {
                shared.drain(upstream);
            } else if *upstream.config == UpstreamConfig::default() {
                // One that nobody configured is there because it was called, and will be again.
                table.insert(Arc::clone(name), Arc::clone(upstream));
            } else {
                left.push(Arc::clone(upstream));
            }
        }
        shared.left.lock().extend(left.iter().cloned());
        shared.table.store(Arc::new(table));
        Ok(Left { shared: Arc::clone(&self.0), upstreams: left })
    }

    /// The worker of one core. Its connections live on the runtime that it is used on: ask for one
    /// per runtime, as many as there are workers.
    pub fn worker(&self) -> Worker {
        let number = self.0.handed_out.fetch_add(1, Ordering::Relaxed) % self.0.workers;
        Worker::new(Arc::clone(&self.0), number)
    }

    /// Whether names that no settings have may be those of members of a mesh.
    pub fn has_mesh(&self) -> bool {
        self.0.mesh.is_some()
    }

    /// The cookie of `upstream`, if it is a sticky one.
    pub fn sticky(&self, upstream: &str) -> Option<Sticky> {
        self.0.table.load().get(upstream)?.config.sticky.clone()
    }

    /// What is seen of every upstream, by name.
    pub fn status(&self) -> Vec<UpstreamStatus> {
        self.0.statuses(false)
    }
}

impl Shared {
    /// The upstream of that name; a member of the mesh that is called for the first time is added.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Upstream>, Failure> {
        if let Some(upstream) = self.table.load().get(name) {
            return Ok(Arc::clone(upstream));
        }
        let _one_at_a_time = self.replacing.lock();
        let old = self.table.load_full();
        if let Some(upstream) = old.get(name) {
            return Ok(Arc::clone(upstream));
        }
        let made = match self.make(name, UpstreamConfig::default()) {
            Ok(made) => Arc::new(made),
            Err(error) => {
                let unknown = Failure::own(Code::Unavailable, Reason::Unknown, error.to_string());
                return self.find_left(name).ok_or_else(|| unknown.unsent());
            }
        };
        let mut table = (*old).clone();
        table.insert(Arc::clone(&made.name), Arc::clone(&made));
        self.table.store(Arc::new(table));
        Ok(made)
    }

    fn find_left(&self, name: &str) -> Option<Arc<Upstream>> {
        self.left.lock().iter().rev().find(|left| &*left.name == name).cloned()
    }

    /// Gives it no new calls.
    fn drain(&self, upstream: &Arc<Upstream>) {
        upstream.balance.drain();
        let mut leaving = self.leaving.lock();
        leaving.retain(|upstream| upstream.strong_count() > 0);
        leaving.push(Arc::downgrade(upstream));
    }

    fn make(&self, name: &str, config: UpstreamConfig) -> Result<Upstream, ConfigError> {
        let _entered = self.runtime.enter();
        Upstream::new(name, config, self.mesh.as_ref(), self.workers, self.key.clone())
            .map_err(|reason| ConfigError { upstream: name.to_owned(), reason })
    }

    fn statuses(&self, publish: bool) -> Vec<UpstreamStatus> {
        let mut others = self.left.lock().clone();
        others.extend(self.leaving.lock().iter().filter_map(Weak::upgrade));
        let table = self.table.load();
        let mut statuses: Vec<_> =
            table.values().chain(&others).map(|upstream| upstream.status(publish)).collect();
        statuses.sort_by(|one, other| one.name.cmp(&other.name));
        statuses
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        let is_own =
            |other: &Arc<Upstream>| self.upstreams.iter().any(|own| Arc::ptr_eq(own, other));
        self.shared.left.lock().retain(|left| !is_own(left));
        self.upstreams.iter().for_each(|upstream| self.shared.drain(upstream));
    }
}

async fn keep_publishing(shared: Weak<Shared>) {
    let mut ticks = interval(PUBLISH_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        shared.statuses(true);
    }
}

fn key(config: &Config) -> hmac::Key {
    let algorithm = hmac::HMAC_SHA256;
    match &config.sticky_key {
        Some(secret) => hmac::Key::new(algorithm, secret.as_bytes()),
        None =>
        {
            #[expect(clippy::expect_used, reason = "without randomness no TLS works either")]
            hmac::Key::generate(algorithm, &SystemRandom::new()).expect("the system has randomness")
        }
    }
}

impl std::fmt::Debug for Upstreams {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Upstreams").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Left {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.upstreams.iter().map(|upstream| &upstream.name);
        formatter.debug_set().entries(names).finish()
    }
}
