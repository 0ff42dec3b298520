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
    /// Those that a reload took out, while calls to them are under way.
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
    /// others get no new calls, and those under way end in peace. The key of sticky cookies stays.
    pub fn reload(&self, config: &Config) -> Result<(), ConfigError> {
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
        let mut leaving = shared.leaving.lock();
        leaving.retain(|upstream| upstream.strong_count() > 0);
        for (name, upstream) in old.iter() {
            let stays = table.get(name).is_some_and(|stays| Arc::ptr_eq(stays, upstream));
            // One that nobody configured is there because it was called, and will be again.
            if !stays
                && !config.upstreams.contains_key(&**name)
                && *upstream.config == UpstreamConfig::default()
            {
                table.insert(Arc::clone(name), Arc::clone(upstream));
            } else if !stays {
                upstream.balance.drain();
                leaving.push(Arc::downgrade(upstream));
            }
        }
        shared.table.store(Arc::new(table));
        Ok(())
    }

    /// The worker of one core. Its connections live on the runtime that it is used on: ask for one
    /// per runtime, as many as there are workers.
    pub fn worker(&self) -> Worker {
        let number = self.0.handed_out.fetch_add(1, Ordering::Relaxed) % self.0.workers;
        Worker::new(Arc::clone(&self.0), number)
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
        let made = self.make(name, UpstreamConfig::default()).map_err(|error| {
            Failure::own(Code::Unavailable, Reason::Unknown, error.to_string()).unsent()
        })?;
        let made = Arc::new(made);
        let mut table = (*old).clone();
        table.insert(Arc::clone(&made.name), Arc::clone(&made));
        self.table.store(Arc::new(table));
        Ok(made)
    }

    fn make(&self, name: &str, config: UpstreamConfig) -> Result<Upstream, ConfigError> {
        let _entered = self.runtime.enter();
        Upstream::new(name, config, self.mesh.as_ref(), self.workers, self.key.clone())
            .map_err(|reason| ConfigError { upstream: name.to_owned(), reason })
    }

    fn statuses(&self, publish: bool) -> Vec<UpstreamStatus> {
        let leaving: Vec<_> = self.leaving.lock().iter().filter_map(Weak::upgrade).collect();
        let table = self.table.load();
        let mut statuses: Vec<_> =
            table.values().chain(&leaving).map(|upstream| upstream.status(publish)).collect();
        statuses.sort_by(|one, other| one.name.cmp(&other.name));
        statuses
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
