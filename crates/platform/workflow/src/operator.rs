//! What operators see and do, of the workflows of all services in their tenant.

use auth::{TenantId, UserId};
use chrono::{DateTime, Utc};
use clock::Clock;
use storage::{Database, Transaction};
use uuid::Uuid;

use crate::error::WorkflowError;
use crate::progress::Status;
use crate::row::{Entry, Event, Kind, Workflow};
use crate::start::{accept_signal, position_of, save_and_wake};
use crate::store::{self, Signal};

/// Looks at workflows and acts on them. Its database is that of the role `workflows`. Whatever is done
/// is in the history, with who did it, when and why.
#[derive(Clone)]
pub struct Operator {
    database: Database,
    clock: Clock,
}

/// Who acts, and why.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The user.
    pub user: UserId,
    /// The user's own words.
    pub comment: String,
}

/// How a workflow that stands still goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Resume {
    /// It is tried again, as often as at first.
    Retry,
    /// The step or compensation is left out, because somebody saw to it.
    Skip,
}

/// Which workflows to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only these; empty means all.
    pub statuses: Vec<Status>,
    /// Only those of this definition.
    pub definition: Option<String>,
    /// Only those of this service.
    pub owner: Option<String>,
    /// Only those started at or after this time.
    pub created_from: Option<DateTime<Utc>>,
    /// Only those started before this time.
    pub created_before: Option<DateTime<Utc>>,
}

/// Place of a workflow in a list, newest first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cursor {
    /// When it was started.
    pub created_at: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

impl Operator {
    /// The operators of one database.
    pub fn new(database: Database, clock: Clock) -> Self {
        Self { database, clock }
    }

    /// Up to `limit` workflows after `cursor`, newest first.
    pub async fn list(
        &self,
        tenant: TenantId,
        filter: &Filter,
        cursor: Option<Cursor>,
        limit: i64,
    ) -> Result<Vec<Workflow>, WorkflowError> {
        let mut txn = self.database.begin(tenant).await?;
        Ok(store::workflow_list(&mut txn, filter, cursor, limit).await?)
    }

    /// A workflow with its history, oldest first; the newest 1,000 entries of it.
    pub async fn get(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<(Workflow, Vec<Entry>), WorkflowError> {
        let mut txn = self.database.begin(tenant).await?;
        let workflow = store::workflow_fetch(&mut txn, id).await?.ok_or(WorkflowError::NotFound)?;
        let history = store::history_fetch(&mut txn, id).await?;
        Ok((workflow, history))
    }

    /// Tells a workflow what it waits for, or will; `payload` is JSON. A repeat of the same signal has
    /// no further effect.
    ///
    /// # Errors
    /// As [`Workflows::signal`](crate::Workflows::signal).
    pub async fn signal(
        &self,
        tenant: TenantId,
        id: Uuid,
        name: &str,
        (signal, payload): (Uuid, String),
        actor: &Actor,
    ) -> Result<Workflow, WorkflowError> {
        let mut txn = self.database.begin(tenant).await?;
        let entry = self.entry(Event::Signalled, name, actor);
        let signal = Signal { id: signal, payload };
        let workflow = accept_signal(&mut txn, id, name, &signal, entry).await?;
        txn.commit().await?;
        Ok(workflow)
    }

    /// Says yes or no to what a workflow asks.
    ///
    /// # Errors
    /// [`WorkflowError::NotAsked`] when it does not ask now, or was told already.
    pub async fn decide(
        &self,
        tenant: TenantId,
        id: Uuid,
        (step, approved): (&str, bool),
        actor: &Actor,
    ) -> Result<Workflow, WorkflowError> {
        let (mut txn, mut workflow) = self.lock(tenant, id).await?;
        let position = position_of(&workflow, step, Kind::Approval)?;
        let asks = workflow.status() == Status::Waiting
            && workflow.progress.position == position
            && store::signal_next(&mut txn, id, step).await?.is_none();
        if !asks {
            return Err(WorkflowError::NotAsked);
        }
        let event = if approved { Event::Approved } else { Event::Rejected };
        let entry = self.entry(event, step, actor);
        let signal = Signal { id: Uuid::now_v7(), payload: approved.to_string() };
        store::signal_insert(&mut txn, &workflow, &signal, step, entry.at).await?;
        save_and_wake(&mut txn, &mut workflow, entry.at, &[entry]).await?;
        txn.commit().await?;
        Ok(workflow)
    }

    /// Lets a workflow that stands still at `step` go on.
    ///
    /// # Errors
    /// [`WorkflowError::NotHalted`], [`WorkflowError::StepChanged`],
    /// [`WorkflowError::NotSkippable`].
    pub async fn resume(
        &self,
        tenant: TenantId,
        id: Uuid,
        step: &str,
        how: Resume,
        actor: &Actor,
    ) -> Result<Workflow, WorkflowError> {
        let (mut txn, mut workflow) = self.lock(tenant, id).await?;
        if workflow.status().is_halted() && workflow.step() != step {
            return Err(WorkflowError::StepChanged { step: workflow.step().to_owned() });
        }
        let event = match how {
            Resume::Retry => {
                workflow.progress.retry()?;
                Event::Resumed
            }
            Resume::Skip => {
                workflow.progress.skip()?;
                Event::Skipped
            }
        };
        let entry = self.entry(event, step, actor);
        save_and_wake(&mut txn, &mut workflow, entry.at, &[entry]).await?;
        txn.commit().await?;
        Ok(workflow)
    }

    /// Asks a workflow to turn back: what it did is undone, last first. A step being done is finished
    /// before. A repeat has no further effect.
    ///
    /// # Errors
    /// [`WorkflowError::TooLate`] when it has turned back for another reason, or has ended.
    pub async fn cancel(
        &self,
        tenant: TenantId,
        id: Uuid,
        actor: &Actor,
    ) -> Result<Workflow, WorkflowError> {
        let (mut txn, mut workflow) = self.lock(tenant, id).await?;
        if workflow.progress.cancelled {
            return Ok(workflow);
        }
        workflow.progress.cancel()?;
        let entry = self.entry(Event::CancelRequested, workflow.step(), actor);
        save_and_wake(&mut txn, &mut workflow, entry.at, &[entry]).await?;
        txn.commit().await?;
        Ok(workflow)
    }

    async fn lock(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<(Transaction, Workflow), WorkflowError> {
        let mut txn = self.database.begin(tenant).await?;
        let workflow = store::workflow_lock(&mut txn, id).await?.ok_or(WorkflowError::NotFound)?;
        Ok((txn, workflow))
    }

    fn entry(&self, event: Event, step: &str, actor: &Actor) -> Entry {
        let comment = actor.comment.clone();
        Entry { actor: Some(actor.user), comment, ..Entry::new(self.clock.now(), event, step) }
    }
}
