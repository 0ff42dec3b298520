//! Workers are killed at every boundary of every step: a real process, by SIGKILL.
//!
//! The test starts itself again as that process (`worker_process`), which tells where it is and waits
//! there for its end.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::Clock;
use serde::{Deserialize, Serialize};
use storage::Database;
use testkit::{TenantId, Testkit};
use uuid::Uuid;
use workflow::{
    Call, Config, Definition, Failure, Operator, Status, Worker, Workflow, Workflows, step,
};

/// Variables that tell the process what it is.
const STORAGE: &str = "KILL_TEST_STORAGE";
const HALT_AT: &str = "KILL_TEST_HALT_AT";

/// Longest wait for anything that should happen.
const PATIENCE: Duration = Duration::from_secs(30);

const STEPS: [&str; 4] =
    ["reserve_balance", "create_virtual_card", "record_transaction", "send_confirmation"];

/// Each key's effect happens once; each call is noted.
const TABLES: &str = "
    CREATE TABLE effects (key text PRIMARY KEY);
    CREATE TABLE tally (name text PRIMARY KEY, times integer NOT NULL);
    CREATE TABLE calls (sequence bigint GENERATED ALWAYS AS IDENTITY, name text NOT NULL);";

#[derive(Deserialize, Serialize)]
struct Order {
    /// The last step is refused.
    is_refused: bool,
}

/// What the steps work with, and where their process is to halt.
struct Bank {
    database: Database,
    halt_at: Option<String>,
}

impl Bank {
    async fn step(self: Arc<Self>, order: Order, call: Call) -> Result<Order, Failure> {
        if order.is_refused && call.step() == STEPS[3] {
            return Err(Failure::refused("NO_ADDRESS", "nobody to tell"));
        }
        self.take_effect(call.step().to_owned(), call).await?;
        Ok(order)
    }

    async fn undo(self: Arc<Self>, _: Order, call: Call) -> Result<(), Failure> {
        self.take_effect(format!("undo {}", call.step()), call).await
    }

    async fn take_effect(&self, name: String, call: Call) -> Result<(), Failure> {
        let mut connection = self.database.connection().await?;
        let note = sqlx::query("INSERT INTO calls (name) VALUES ($1)").bind(&name);
        note.execute(&mut *connection).await?;
        self.halt(&format!("before {name}")).await;
        sqlx::query(
            "WITH new AS (INSERT INTO effects VALUES ($1) ON CONFLICT DO NOTHING RETURNING key)
             INSERT INTO tally SELECT $2, 1 FROM new
             ON CONFLICT (name) DO UPDATE SET times = tally.times + 1",
        )
        .bind(call.key().as_str())
        .bind(&name)
        .execute(&mut *connection)
        .await?;
        self.halt(&format!("after {name}")).await;
        Ok(())
    }

    /// Tells that it is here, and stays.
    async fn halt(&self, at: &str) {
        if self.halt_at.as_deref() == Some(at) {
            println!("halted {at}");
            std::future::pending::<()>().await;
        }
    }
}

fn issue_card() -> Definition<Bank, Order> {
    let all = Definition::new("cards.issue", 1);
    let undoable = STEPS[..3].iter();
    let all = undoable.fold(all, |all, name| all.then(step(name, Bank::step).undo(Bank::undo)));
    all.then(step(STEPS[3], Bank::step))
}

/// Not a test: the process that is killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the others"]
async fn worker_process() {
    let storage = serde_json::from_str(&std::env::var(STORAGE).unwrap()).unwrap();
    let database = Database::open("cards", &storage);
    let bank = Bank { database: database.clone(), halt_at: std::env::var(HALT_AT).ok() };
    let config = Config {
        lease: Duration::from_millis(300),
        poll_interval: Duration::from_millis(20),
        ..Config::default()
    };
    Worker::new(database, Clock::system(), config)
        .unwrap()
        .register(issue_card(), Arc::new(bank))
        .run()
        .await;
}

/// A process that ends with this value.
struct Process(Child);

impl Process {
    fn start(storage: &storage::Config, halt_at: Option<&str>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "worker_process", "--ignored", "--nocapture"]);
        command.env(STORAGE, serde_json::to_string(storage).unwrap()).stdout(Stdio::piped());
        if let Some(point) = halt_at {
            command.env(HALT_AT, point);
        }
        Self(command.spawn().unwrap())
    }

    /// Waits until it is there, and kills it.
    async fn kill_at(mut self, point: &str) {
        let wanted = format!("halted {point}");
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        let reading = tokio::task::spawn_blocking(move || {
            lines.map_while(Result::ok).any(|line| line.ends_with(&wanted))
        });
        let halted = tokio::time::timeout(PATIENCE, reading).await;
        assert!(halted.expect("in time").unwrap(), "it comes to {point}");
        self.0.kill().unwrap();
        assert_eq!(self.0.wait().unwrap().signal(), Some(9));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One workflow whose worker is killed, and what came of it.
struct Killed {
    workflow: Workflow,
    calls: Vec<String>,
    tally: Vec<(String, i32)>,
}

async fn kill_at(kit: &Testkit, point: &str, is_refused: bool) -> Killed {
    let storage = kit.storage(&["cards"]).await;
    let database = Database::open("cards", &storage);
    let mut connection = database.connection().await.unwrap();
    sqlx::raw_sql(TABLES).execute(&mut *connection).await.unwrap();
    let (id, tenant) = (Uuid::now_v7(), TenantId::DEFAULT);
    let mut txn = database.begin(tenant).await.unwrap();
    let workflows = Workflows::new(Clock::system());
    workflows.start(&mut txn, &issue_card(), id, &Order { is_refused }).await.unwrap();
    txn.commit().await.unwrap();

    Process::start(&storage, Some(point)).kill_at(point).await;
    let _next = Process::start(&storage, None);
    let operator = Operator::new(Database::open("workflows", &storage), Clock::system());
    let end = Instant::now() + PATIENCE;
    let workflow = loop {
        let (workflow, _) = operator.get(tenant, id).await.unwrap();
        if workflow.status().is_end() {
            break workflow;
        }
        assert!(Instant::now() < end, "{point}: {workflow:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let calls = sqlx::query_scalar("SELECT name FROM calls ORDER BY sequence");
    let calls = calls.fetch_all(&mut *connection).await.unwrap();
    let tally = sqlx::query_as("SELECT name, times FROM tally");
    let tally = tally.fetch_all(&mut *connection).await.unwrap();
    Killed { workflow, calls, tally }
}

/// Goes on at the very step where the process died, and every effect happens once.
async fn assert_resumed(kit: &Testkit, name: &str, story: &[String], is_refused: bool) {
    for side in ["before", "after"] {
        let point = format!("{side} {name}");
        let Killed { workflow, calls, tally } = kill_at(kit, &point, is_refused).await;

        let expected_end = if is_refused { Status::Failed } else { Status::Completed };
        assert_eq!(workflow.status(), expected_end, "{point}");
        let again = |call: &String| vec![call.clone(); if call == name { 2 } else { 1 }];
        let expected: Vec<_> = story.iter().flat_map(again).collect();
        assert_eq!(calls, expected, "{point}: this step again, and no other");
        assert_eq!(tally.len(), story.len(), "{point}");
        assert!(tally.iter().all(|(_, times)| *times == 1), "{point}: {tally:?}");
    }
}

/// K-46, B-42, T-43: killed before and after the effect of each step.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_a_step_is_followed_at_that_step() {
    let kit = Testkit::start().await;
    let story = STEPS.map(str::to_owned);
    for name in STEPS {
        assert_resumed(&kit, name, &story, false).await;
    }
}

/// K-47: killed before and after the effect of each compensation.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_a_compensation_is_followed_at_that_compensation() {
    let kit = Testkit::start().await;
    let undone = STEPS[..3].iter().rev().map(|step| format!("undo {step}"));
    let undone: Vec<_> = undone.collect();
    let done = STEPS[..3].iter().map(|&step| step.to_owned());
    let story: Vec<_> = done.chain(undone.iter().cloned()).collect();
    for name in &undone {
        assert_resumed(&kit, name, &story, true).await;
    }
}
