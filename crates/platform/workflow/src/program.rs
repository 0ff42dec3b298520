//! A definition with what its steps work with, its state as text: what a worker runs.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::Call;
use crate::definition::{Action, Definition, Stage};
use crate::failure::Failure;
use crate::progress::Rules;
use crate::retry::Retry;
use crate::row::Kind;

/// A definition bound to its world. Positions are those of its steps.
pub(crate) trait Program: Send + Sync {
    fn name(&self) -> &'static str;
    fn version(&self) -> u32;
    fn steps(&self) -> Vec<&'static str>;
    fn kind(&self, position: usize) -> Kind;
    fn plan(&self, position: usize) -> Plan;

    /// Calls the step; its new state.
    fn run(&self, position: usize, state: &str, call: Call) -> Outcome<String>;

    /// Calls the compensation.
    fn undo(&self, position: usize, state: &str, call: Call) -> Outcome<()>;

    /// When a sleep that begins now is over.
    fn wake_at(
        &self,
        position: usize,
        state: &str,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, Failure>;

    /// Takes a signal into the state; `None` when it cannot be read.
    fn take(&self, position: usize, state: &str, payload: &str) -> Result<Option<String>, Failure>;
}

pub(crate) type Outcome<T> = BoxFuture<'static, Result<T, Failure>>;

/// How a step is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rules: Rules,
    pub(crate) retry: Retry,
    pub(crate) timeout: Duration,
    /// Longest wait.
    pub(crate) within: Option<Duration>,
}

pub(crate) struct Bound<W, S> {
    definition: Definition<W, S>,
    world: Arc<W>,
}

impl<W, S> Bound<W, S> {
    /// # Panics
    /// When there are no steps.
    pub(crate) fn new(definition: Definition<W, S>, world: Arc<W>) -> Self {
        assert!(!definition.stages.is_empty(), "{} has no steps", definition.name);
        Self { definition, world }
    }

    fn stage(&self, position: usize) -> &Stage<W, S> {
        &self.definition.stages[position]
    }

    /// The answer to a call that the step at `position` does not know: a worker that asks by
    /// [`Program::kind`] never gets it.
    fn is_another(&self, position: usize) -> Failure {
        let message = format!("`{}` is no such step", self.stage(position).name);
        Failure::refused("STEP_OF_ANOTHER_KIND", message)
    }
}

impl<W, S> Program for Bound<W, S>
where
    W: Send + Sync + 'static,
    S: Serialize + DeserializeOwned + Send + 'static,
{
    fn name(&self) -> &'static str {
        self.definition.name
    }

    fn version(&self) -> u32 {
        self.definition.version
    }

    fn steps(&self) -> Vec<&'static str> {
        self.definition.steps()
    }

    fn kind(&self, position: usize) -> Kind {
        self.stage(position).action.kind()
    }

    fn plan(&self, position: usize) -> Plan {
        let Stage { action, otherwise, .. } = self.stage(position);
        let (has_undo, retry, timeout, within) = match action {
            Action::Step { undo, retry, timeout, .. } => (undo.is_some(), *retry, *timeout, None),
            Action::Signal { within, .. } | Action::Approval { within } => {
                (false, Retry::times(1), Duration::MAX, *within)
            }
            Action::Sleep(_) => (false, Retry::times(1), Duration::MAX, None),
        };
        let rules = Rules { attempts_max: retry.attempts_max(), has_undo, otherwise: *otherwise };
        Plan { rules, retry, timeout, within }
    }

    fn run(&self, position: usize, state: &str, call: Call) -> Outcome<String> {
        let Action::Step { run, .. } = &self.stage(position).action else {
            return Box::pin(ready(Err(self.is_another(position))));
        };
        let (run, world) = (Arc::clone(run), Arc::clone(&self.world));
        let state = read(state);
        Box::pin(async move { write(&run(world, state?, call).await?) })
    }

    fn undo(&self, position: usize, state: &str, call: Call) -> Outcome<()> {
        let Action::Step { undo: Some(undo), .. } = &self.stage(position).action else {
            return Box::pin(ready(Err(self.is_another(position))));
        };
        let (undo, world) = (Arc::clone(undo), Arc::clone(&self.world));
        let state = read(state);
        Box::pin(async move { undo(world, state?, call).await })
    }

    fn wake_at(
        &self,
        position: usize,
        state: &str,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, Failure> {
        match &self.stage(position).action {
            Action::Sleep(wake_at) => Ok(wake_at(&read(state)?, now)),
            _ => Err(self.is_another(position)),
        }
    }

    fn take(&self, position: usize, state: &str, payload: &str) -> Result<Option<String>, Failure> {
        let Action::Signal { take, .. } = &self.stage(position).action else {
            return Err(self.is_another(position));
        };
        take(read(state)?, payload).ok().map(|state| write(&state)).transpose()
    }
}

/// The state as it is stored.
pub(crate) fn write<S: Serialize>(state: &S) -> Result<String, Failure> {
    serde_json::to_string(state).map_err(|error| {
        Failure::again("STATE_UNWRITABLE", format!("the new state cannot be written: {error}"))
    })
}

fn read<S: DeserializeOwned>(state: &str) -> Result<S, Failure> {
    serde_json::from_str(state).map_err(|error| Failure::unreadable(&error))
}
