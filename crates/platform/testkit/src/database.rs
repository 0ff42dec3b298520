//! The PostgreSQL server that tests share, and a new database in it for each.

use std::env;
use std::sync::OnceLock;

use storage::{Administrator, Config, PrivateCluster};
use uuid::Uuid;

/// Names a running server by the address of its superuser. Without it each test program starts its
/// own.
const SERVER: &str = "MALHA_TEST_DATABASE";

/// One server for all tests of the program, whatever runtime they run on. It stops with the
/// process.
static SHARED: OnceLock<Server> = OnceLock::new();

struct Server {
    administrator: Administrator,
    /// Held for as long as the process lives.
    _private: Option<PrivateCluster>,
}

impl Server {
    fn start() -> Self {
        if let Ok(url) = env::var(SERVER) {
            let administrator =
                Administrator::new(&url).expect("MALHA_TEST_DATABASE is an address");
            return Self { administrator, _private: None };
        }
        let cluster = PrivateCluster::start_scratch().unwrap_or_else(|error| panic!("{error}"));
        Self { administrator: cluster.administrator(), _private: Some(cluster) }
    }
}

/// A new, empty database in which each service has its role and schema.
pub(crate) async fn provisioned(services: &[&str]) -> Config {
    let shared = tokio::task::spawn_blocking(|| SHARED.get_or_init(Server::start));
    let administrator = &shared.await.expect("the server for tests starts").administrator;
    let name = format!("test_{}", Uuid::new_v4().simple());
    administrator
        .provision(&name, services, None)
        .await
        .expect("the database for a test is created");
    administrator.config(&name)
}
