//! The private cluster lives as long as its process, and no longer.
#![allow(missing_docs, clippy::unwrap_used)]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio, id};
use std::thread::sleep;
use std::time::{Duration, Instant};

use auth::TenantId;
use storage::{Database, Error, PrivateCluster};

/// Names the folder of the cluster that this test program holds as a child of itself.
const CHILD: &str = "MALHA_TEST_CLUSTER_CHILD";
const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster with the role `payments`, its pool, and the process id of its server.
async fn start(folder: &Path) -> (PrivateCluster, Database, u32) {
    let cluster = PrivateCluster::start(folder).await.unwrap();
    cluster.provision(&["payments"]).await.unwrap();
    let database = Database::open("payments", &cluster.config());
    let mut transaction = database.begin_worker().await.unwrap();
    let backend: i32 =
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *transaction).await.unwrap();
    let server = status(u32::try_from(backend).unwrap()).unwrap().parent;
    (cluster, database, server)
}

struct Status {
    parent: u32,
    group: u32,
}

/// What the kernel says of a process; nothing when it has ended.
fn status(process: u32) -> Option<Status> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let ended = fields.next()? == "Z";
    let (parent, group) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    (!ended).then_some(Status { parent, group })
}

fn await_end(process: u32) {
    let start = Instant::now();
    while status(process).is_some() {
        assert!(start.elapsed() < PATIENCE, "process {process} is still there");
        sleep(Duration::from_millis(10));
    }
}

fn signal(signal: &str, process: u32) {
    assert!(Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn data_outlive_the_cluster_and_the_server_does_not() {
    let folder = reachable_folder();
    let (cluster, database, server) = start(folder.path()).await;
    let mut transaction = database.begin_worker().await.unwrap();
    sqlx::raw_sql("CREATE TABLE kept ()").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_ne!(
        status(server).unwrap().group,
        status(id()).unwrap().group,
        "Ctrl-C must not reach it"
    );
    let socket = cluster.config().host;
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o700);

    drop(cluster);
    assert!(status(server).is_none(), "dropping waits for the server");
    assert!(!Path::new(&socket).exists());
    assert!(matches!(database.begin_worker().await, Err(Error::Unavailable(_))));

    let (_cluster, database, _) = start(folder.path()).await;
    let mut transaction = database.begin_worker().await.unwrap();
    sqlx::raw_sql("SELECT FROM kept").execute(&mut *transaction).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_stops_with_its_killed_process_and_starts_again_at_once() {
    if let Ok(folder) = env::var(CHILD) {
        return hold(Path::new(&folder)).await;
    }
    let folder = reachable_folder();
    for _ in 0..3 {
        let (mut child, server) = spawn_child(folder.path());
        child.kill().unwrap();
        child.wait().unwrap();
        // Not waiting for the server: the next round must cope with one that is still ending.
        let (_cluster, _, next) = start(folder.path()).await;
        await_end(server);
        assert!(status(next).is_some());
    }
}

/// The part of the child: holds a cluster until it is killed.
async fn hold(folder: &Path) {
    let (_cluster, _, server) = start(folder).await;
    println!("\nserver={server}");
    sleep(PATIENCE);
}

fn spawn_child(folder: &Path) -> (Child, u32) {
    let test = "a_cluster_stops_with_its_killed_process_and_starts_again_at_once";
    let mut child = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let server = lines.find_map(|line| line.strip_prefix("server=")?.parse().ok());
    (child, server.expect("the child starts a cluster"))
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_recover_by_themselves_after_a_crash_of_the_server() {
    let folder = reachable_folder();
    let (_cluster, database, _) = start(folder.path()).await;
    let mut transaction = database.begin(TenantId::DEFAULT).await.unwrap();
    let backend: i32 =
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *transaction).await.unwrap();

    // The server throws out every connection and recovers from its log.
    signal("-KILL", u32::try_from(backend).unwrap());

    let cut = sqlx::query("SELECT 1").execute(&mut *transaction).await.map_err(Error::from);
    assert!(matches!(cut, Err(Error::Unavailable(_))), "{cut:?}");
    drop(transaction);
    let start = Instant::now();
    while let Err(error) = database.begin(TenantId::DEFAULT).await {
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        assert!(start.elapsed() < PATIENCE, "it does not recover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_scratch_cluster_leaves_nothing_behind() {
    let cluster = PrivateCluster::start_scratch().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(cluster.provision(&["payments"])).unwrap();
    let folder = cluster.config().host;
    assert!(Path::new(&folder).join("data").exists());

    drop(cluster);

    assert!(!Path::new(&folder).exists());
}

/// A folder that the user `postgres` reaches too, when we are root.
fn reachable_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/tmp").unwrap()
}
