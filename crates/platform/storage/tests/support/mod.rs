//! One cluster per test program, a database of its own per test.
#![allow(clippy::unwrap_used)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use auth::TenantId;
use storage::{Administrator, Config, PrivateCluster};
use uuid::Uuid;

static CLUSTER: OnceLock<PrivateCluster> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The superuser of the cluster, and the configuration of a new database in which the services are
/// provisioned.
pub(crate) async fn provisioned(services: &[&str]) -> (Administrator, Config) {
    let start = || CLUSTER.get_or_init(|| PrivateCluster::start_scratch().unwrap()).administrator();
    let administrator = tokio::task::spawn_blocking(start).await.unwrap();
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    administrator.provision(&name, services, None).await.unwrap();
    let config = administrator.config(&name);
    (administrator, config)
}

pub(crate) fn tenant() -> TenantId {
    TenantId::from(Uuid::new_v4())
}
