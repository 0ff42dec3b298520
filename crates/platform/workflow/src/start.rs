//! How a service starts a workflow, and tells it something, in a transaction of its own.

use chrono::{DateTime, Utc};
use clock::Clock;
use mesh::Context;
use serde::Serialize;
use sha2::{Digest, Sha256};
use storage::Transaction;
use uuid::Uuid;

use crate::definition::Definition;
use crate::error::WorkflowError;
use crate::progress::Status;
use crate::row::{Entry, Event, Kind, Workflow};
use crate::store::{self, New, Signal};

/// Starts workflows and tells them what happened. The transaction is the caller's: what it says takes
/// place with the rest of it, or not at all.
#[derive(Clone, Debug)]
pub struct Workflows {
    clock: Clock,
}

/// What became of a start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Started {
    /// It starts with the commit.
    New,
    /// It was started before.
    Before,
}

impl Workflows {
    /// By this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock }
    }

    /// Starts a workflow under an id of the caller's choice, unique in its tenant. A repeat with the
    /// same input starts nothing, whatever version it names.
    ///
    /// # Errors
    /// [`WorkflowError::IdTaken`] when the id belongs to another definition, input or service.
    pub async fn start<W, S: Serialize>(
        &self,
        txn: &mut Transaction,
        definition: &Definition<W, S>,
        id: Uuid,
        input: &S,
    ) -> Result<Started, WorkflowError> {
        let state = serde_json::to_string(input).map_err(WorkflowError::Unwritable)?;
        let hash = Sha256::digest(&state);
        let new = New {
            id,
            definition: definition.name,
            version: definition.version,
            steps: definition.steps(),
            kinds: definition.kinds().into_iter().map(Kind::as_str).collect(),
            state: &state,
            input_hash: &hash,
            correlation_id: &correlation_id(),
            now: self.clock.now(),
        };
        if store::workflow_insert(txn, &new).await? {
            return Ok(Started::New);
        }
        let before = store::input_fetch(txn, id).await?;
        let is_same =
            before.is_some_and(|(name, input)| name == definition.name && input == hash.as_slice());
        if is_same { Ok(Started::Before) } else { Err(WorkflowError::IdTaken) }
    }

    /// Tells a workflow of this service something it waits for, or will. `signal` is an id of the
    /// caller's choice: a repeat has no further effect.
    ///
    /// # Errors
    /// [`WorkflowError::NotFound`]; [`WorkflowError::NoSuchStep`] when no step takes a signal of this
    /// name; [`WorkflowError::TooLate`] when that step is past.
    pub async fn signal<P: Serialize>(
        &self,
        txn: &mut Transaction,
        workflow: Uuid,
        name: &str,
        signal: Uuid,
        payload: &P,
    ) -> Result<(), WorkflowError> {
        let payload = serde_json::to_string(payload).map_err(WorkflowError::Unwritable)?;
        let signal = Signal { id: signal, payload };
        let entry = Entry::new(self.clock.now(), Event::Signalled, name);
        accept_signal(txn, workflow, name, &signal, entry).await?;
        Ok(())
    }
}

/// That of the request being served, so that a log tells the whole story.
fn correlation_id() -> String {
    Context::current()
        .map_or_else(|_| Uuid::now_v7().to_string(), |context| context.correlation_id.to_string())
}

/// Keeps a signal for its step, and lets the workflow look if it waits. Its workflow after that.
pub(crate) async fn accept_signal(
    txn: &mut Transaction,
    id: Uuid,
    name: &str,
    signal: &Signal,
    entry: Entry,
) -> Result<Workflow, WorkflowError> {
    let mut workflow = store::workflow_lock(txn, id).await?.ok_or(WorkflowError::NotFound)?;
    if store::signal_exists(txn, id, signal.id).await? {
        return Ok(workflow);
    }
    let position = position_of(&workflow, name, Kind::Signal)?;
    let progress = &workflow.progress;
    let status = progress.status;
    if progress.failed.is_some() || status.is_end() || position < progress.position {
        return Err(WorkflowError::TooLate { status });
    }
    let now = entry.at;
    store::signal_insert(txn, &workflow, signal, name, now).await?;
    if status == Status::Waiting {
        save_and_wake(txn, &mut workflow, now, &[entry]).await?;
    } else {
        store::workflow_save(txn, &mut workflow, now, &[entry]).await?;
    }
    Ok(workflow)
}

/// Writes what somebody did from outside, and lets a worker take it up now.
pub(crate) async fn save_and_wake(
    txn: &mut Transaction,
    workflow: &mut Workflow,
    now: DateTime<Utc>,
    entries: &[Entry],
) -> Result<(), WorkflowError> {
    // Whoever has the lease sees the change when it records its own.
    let is_idle = !workflow.is_leased && workflow.progress.task().is_some();
    if is_idle {
        workflow.due_at = Some(now);
    }
    store::workflow_save(txn, workflow, now, entries).await?;
    if is_idle {
        store::workers_wake(txn, &workflow.owner).await?;
    }
    Ok(())
}

/// Place of the step of this name and kind.
pub(crate) fn position_of(
    workflow: &Workflow,
    name: &str,
    kind: Kind,
) -> Result<usize, WorkflowError> {
    let mut steps = workflow.steps().iter().zip(&workflow.kinds);
    let what = if kind == Kind::Approval { "approval" } else { "signal" };
    steps
        .position(|(step, of_kind)| step == name && *of_kind == kind)
        .ok_or_else(|| WorkflowError::NoSuchStep { what, name: name.to_owned() })
}
