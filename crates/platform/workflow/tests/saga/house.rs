//! A service with workflows, whose steps do what a test tells them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use chrono::DateTime;
use clock::Clock;
use serde::{Deserialize, Serialize};
use storage::Database;
use testkit::{TenantId, Testkit, UserId};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;
use workflow::{
    Actor, Call, Config, Definition, Entry, Event, Failure, Operator, Retry, Started, Status, Step,
    Worker, Workflow, WorkflowError, Workflows, step,
};

/// Longest wait for anything that should happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How one call ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Do {
    /// Fails before its effect.
    Fail,
    /// Fails after its effect.
    LoseAnswer,
    Refuse,
    Panic,
    /// Has its effect and never answers.
    Hang,
    /// Blocks its whole thread, then works: the process stands still.
    Stall(Duration),
}

/// What the steps know.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct State {
    pub(crate) done: Vec<String>,
    pub(crate) told: Option<u32>,
}

/// What the steps work with: effects that happen once under a key, and a script for their calls.
#[derive(Default)]
pub(crate) struct Bank(Mutex<Books>);

#[derive(Default)]
pub(crate) struct Books {
    /// `step` or `undo step`, in the order of their calls, of each workflow.
    pub(crate) calls: Vec<(Uuid, String)>,
    /// Keys of steps in effect.
    pub(crate) effects: BTreeSet<String>,
    /// Keys whose compensation was done.
    undone: BTreeSet<String>,
    /// The last state that a step was shown.
    pub(crate) seen: State,
    script: HashMap<String, VecDeque<Do>>,
}

impl Bank {
    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }

    /// Tells the next calls of a step how to end; of one workflow by `<id>/<step>`.
    pub(crate) fn script(&self, call: &str, script: &[Do]) {
        self.books().script.entry(call.into()).or_default().extend(script);
    }

    /// Calls of a workflow so far.
    pub(crate) fn calls(&self, of: Uuid) -> Vec<String> {
        let of_it = |(id, call): &(Uuid, String)| (*id == of).then(|| call.clone());
        self.books().calls.iter().filter_map(of_it).collect()
    }

    pub(crate) async fn step(
        self: Arc<Self>,
        mut state: State,
        call: Call,
    ) -> Result<State, Failure> {
        self.books().seen = state.clone();
        self.play(&call, call.step().to_owned()).await?;
        state.done.push(call.step().to_owned());
        Ok(state)
    }

    pub(crate) async fn undo(self: Arc<Self>, _: State, call: Call) -> Result<(), Failure> {
        self.play(&call, format!("undo {}", call.step())).await
    }

    async fn play(&self, call: &Call, name: String) -> Result<(), Failure> {
        let told = {
            let mut books = self.books();
            books.calls.push((call.workflow(), name.clone()));
            let own = format!("{}/{name}", call.workflow());
            let own = books.script.get_mut(&own).and_then(VecDeque::pop_front);
            own.or_else(|| books.script.get_mut(&name).and_then(VecDeque::pop_front))
        };
        match told {
            Some(Do::Fail) => return Err(Failure::again("LATER", "not now")),
            Some(Do::Refuse) => return Err(Failure::refused("NEVER", "no")),
            Some(Do::Panic) => panic!("as told"),
            Some(Do::Stall(time)) => std::thread::sleep(time),
            _ => {}
        }
        self.take_effect(call, name.starts_with("undo"))?;
        match told {
            Some(Do::LoseAnswer) => Err(Failure::again("LOST", "no answer")),
            Some(Do::Hang) => std::future::pending().await,
            _ => Ok(()),
        }
    }

    fn take_effect(&self, call: &Call, is_undo: bool) -> Result<(), Failure> {
        let mut books = self.books();
        let key = call.step_key().to_string();
        if is_undo {
            books.effects.remove(&key);
            books.undone.insert(key);
        } else if books.undone.contains(&key) {
            return Err(Failure::refused("KEY_USED", "it was undone"));
        } else {
            books.effects.insert(key);
        }
        Ok(())
    }
}

/// A step of the script, tried up to three times without much waiting.
pub(crate) fn scripted(name: &'static str) -> Step<Bank, State> {
    let retry = Retry::times(3).waiting(Duration::from_millis(1), Duration::from_millis(2));
    step(name, Bank::step).undo(Bank::undo).retry(retry)
}

/// Settings under which tests are quick.
pub(crate) fn quick() -> Config {
    Config {
        lease: Duration::from_millis(600),
        poll_interval: Duration::from_millis(20),
        park_after: Duration::from_millis(200),
        ..Config::default()
    }
}

/// A service over a database of its own.
pub(crate) struct House {
    pub(crate) bank: Arc<Bank>,
    pub(crate) clock: Clock,
    pub(crate) storage: storage::Config,
    pub(crate) database: Database,
    pub(crate) operator: Operator,
    pub(crate) tenant: TenantId,
    _kit: Testkit,
}

impl House {
    pub(crate) async fn start() -> Self {
        Self::start_as("cards", Clock::system()).await
    }

    /// A service of another name, to tell its metrics from those of other tests.
    pub(crate) async fn of(service: &str) -> Self {
        Self::start_as(service, Clock::system()).await
    }

    /// Its time stands until the test moves it.
    pub(crate) async fn timeless() -> Self {
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        Self::start_as("cards", Clock::manual(start)).await
    }

    async fn start_as(service: &str, clock: Clock) -> Self {
        let kit = Testkit::start_at(clock.clone()).await;
        let storage = kit.storage(&[service, "payments"]).await;
        let operators = Database::open("workflows", &storage);
        Self {
            bank: Arc::default(),
            database: Database::open(service, &storage),
            operator: Operator::new(operators, clock.clone()),
            tenant: TenantId::DEFAULT,
            clock,
            storage,
            _kit: kit,
        }
    }

    pub(crate) fn worker(&self) -> Worker {
        self.worker_with(quick())
    }

    pub(crate) fn worker_with(&self, config: Config) -> Worker {
        Worker::new(self.database.clone(), self.clock.clone(), config).unwrap()
    }

    /// A worker at work on these definitions, until the test drops it.
    pub(crate) fn work(
        &self,
        definitions: impl IntoIterator<Item = Definition<Bank, State>>,
    ) -> AbortOnDropHandle<()> {
        let add = |worker: Worker, definition| worker.register(definition, Arc::clone(&self.bank));
        let worker = definitions.into_iter().fold(self.worker(), add);
        AbortOnDropHandle::new(tokio::spawn(worker.run()))
    }

    pub(crate) fn workflows(&self) -> Workflows {
        Workflows::new(self.clock.clone())
    }

    /// Starts a workflow in a transaction of its own.
    pub(crate) async fn begin(&self, definition: &Definition<Bank, State>) -> Uuid {
        let id = Uuid::now_v7();
        let started = self.begin_as(definition, id, &State::default()).await.unwrap();
        assert_eq!(started, Started::New);
        id
    }

    pub(crate) async fn begin_as(
        &self,
        definition: &Definition<Bank, State>,
        id: Uuid,
        input: &State,
    ) -> Result<Started, WorkflowError> {
        let mut txn = self.database.begin(self.tenant).await.unwrap();
        let started = self.workflows().start(&mut txn, definition, id, input).await?;
        txn.commit().await.unwrap();
        Ok(started)
    }

    pub(crate) async fn get(&self, id: Uuid) -> (Workflow, Vec<Entry>) {
        self.operator.get(self.tenant, id).await.unwrap()
    }

    /// Waits until the workflow stands there.
    pub(crate) async fn until(&self, id: Uuid, status: Status) -> Workflow {
        let end = Instant::now() + PATIENCE;
        loop {
            let (workflow, history) = self.get(id).await;
            if workflow.status() == status {
                return workflow;
            }
            let told = format!("{status:?} in vain: {workflow:?} {history:?}");
            assert!(Instant::now() < end, "{told}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until a call of the workflow was made so often.
    pub(crate) async fn called(&self, id: Uuid, call: &str, times: usize) {
        let end = Instant::now() + PATIENCE;
        while self.bank.calls(id).iter().filter(|made| *made == call).count() < times {
            assert!(Instant::now() < end, "{call} in vain: {:?}", self.bank.calls(id));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What happened, each with its step.
    pub(crate) async fn events(&self, id: Uuid) -> Vec<(Event, String)> {
        let (_, history) = self.get(id).await;
        history.into_iter().map(|entry| (entry.event, entry.step)).collect()
    }
}

/// Somebody who acts.
pub(crate) fn actor(comment: &str) -> Actor {
    Actor { user: UserId::random(), comment: comment.into() }
}
