//! The whole mesh in one process.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::sync::RwLockReadGuard;

use super::{Edge, MACHINE, Malha, PATIENCE, Site};

/// A `malha dev` that is ready. It ends with this value, and its database too.
pub(crate) struct Dev {
    process: Malha,
    pub(crate) edge: Edge,
    pub(crate) site: Site,
    _machine: RwLockReadGuard<'static, ()>,
}

impl Dev {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts it with more settings (TOML).
    pub(crate) async fn start_with(settings: &str) -> Self {
        let machine = MACHINE.read().await;
        let site = Site::new(settings);
        Self { process: launch(&site), edge: site.edge(), site, _machine: machine }
    }

    /// Starts it again, after its end.
    pub(crate) fn start_again(&mut self) {
        self.process = launch(&self.site);
    }

    /// Ends it as an operator does.
    pub(crate) async fn stop(&mut self) {
        assert!(self.process.terminate().await.success(), "SIGTERM ends it in order");
    }

    /// Ends it where it stands.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Process id of its PostgreSQL, while that runs.
    pub(crate) fn database(&self) -> Option<u32> {
        let status = fs::read_to_string(self.site.path("postgres/data/postmaster.pid")).ok()?;
        status.lines().next()?.parse().ok()
    }
}

fn launch(site: &Site) -> Malha {
    let process = Malha::start(&mut site.malha(&["dev"]));
    process.await_line("ready");
    process
}

impl Drop for Dev {
    /// Waits for PostgreSQL, which else would still write where the folder is being removed.
    fn drop(&mut self) {
        self.process.kill();
        let end = Instant::now() + PATIENCE;
        while self.database().is_some() && Instant::now() < end {
            sleep(Duration::from_millis(20));
        }
    }
}
