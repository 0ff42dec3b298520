//! A runtime for each core, with a thread that drives it.

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use tokio::runtime::{Builder, Handle};

/// Runtimes among which connections are spread.
pub(super) struct Cores(Vec<Core>);

#[derive(Clone)]
struct Core {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

/// A connection's place on a core.
pub(super) struct Place(Core);

impl Cores {
    /// The runtime of the caller alone.
    pub(super) fn current() -> Self {
        Self(vec![Core::of(Handle::current())])
    }

    /// One runtime for each core of the machine. All services of the process share them, and they
    /// last as long as it does.
    pub(super) fn all() -> io::Result<Self> {
        static ALL: OnceLock<Vec<Core>> = OnceLock::new();
        if let Some(cores) = ALL.get() {
            return Ok(Self(cores.clone()));
        }
        let count = thread::available_parallelism()?.get();
        let cores = (0..count).map(start).collect::<io::Result<_>>()?;
        Ok(Self(ALL.get_or_init(|| cores).clone()))
    }

    /// A place on the core with the fewest connections.
    pub(super) fn place(&self) -> Place {
        let busy = |core: &&Core| core.connections.load(Ordering::Relaxed);
        #[expect(clippy::expect_used, reason = "both constructors give at least one")]
        let core = self.0.iter().min_by_key(busy).expect("there is a core");
        core.connections.fetch_add(1, Ordering::Relaxed);
        Place(core.clone())
    }
}

impl Core {
    fn of(runtime: Handle) -> Self {
        Self { runtime, connections: Arc::default() }
    }
}

impl Place {
    pub(super) fn runtime(&self) -> Handle {
        self.0.runtime.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn start(number: usize) -> io::Result<Core> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let core = Core::of(runtime.handle().clone());
    let work = move || runtime.block_on(pending::<()>());
    thread::Builder::new().name(format!("mesh-{number}")).spawn(work)?;
    Ok(core)
}
