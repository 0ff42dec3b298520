//! A workflow and its history, as they are stored.

use auth::{TenantId, UserId};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use storage::{named, one_of};
use uuid::Uuid;

use crate::progress::{Progress, Status, Trouble};

/// What a step is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// It does something.
    Step,
    /// It lets time pass.
    Sleep,
    /// It waits for a signal.
    Signal,
    /// It waits for an approval.
    Approval,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Step, Self::Sleep, Self::Signal, Self::Approval];

    /// Its name, as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "STEP",
            Self::Sleep => "SLEEP",
            Self::Signal => "SIGNAL",
            Self::Approval => "APPROVAL",
        }
    }
}

/// One workflow. Its state is its service's alone, and not shown.
#[derive(Clone, Debug)]
pub struct Workflow {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its id.
    pub id: Uuid,
    /// The service that started it and runs it.
    pub owner: String,
    /// Name of its definition.
    pub definition: String,
    /// Version of its definition.
    pub version: u32,
    /// Its steps' kinds, in their order.
    pub kinds: Vec<Kind>,
    /// Names the request that started it in logs.
    pub correlation_id: String,
    /// When the step at hand stops waiting.
    pub wait_until: Option<DateTime<Utc>>,
    /// When it is taken up next; while it is worked on, when its lease ends.
    pub due_at: Option<DateTime<Utc>>,
    /// When it was started.
    pub created_at: DateTime<Utc>,
    /// When it changed last.
    pub updated_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    pub(crate) progress: Progress,
    pub(crate) state: String,
    pub(crate) is_leased: bool,
    pub(crate) fence: i64,
    pub(crate) entries: i64,
}

impl Workflow {
    /// Where it stands.
    pub fn status(&self) -> Status {
        self.progress.status
    }

    /// Names of its steps, in their order.
    pub fn steps(&self) -> &[String] {
        &self.progress.steps
    }

    /// The step at hand or, on the way back, the one to compensate.
    pub fn step(&self) -> &str {
        self.progress.step()
    }

    /// Why it turned back.
    pub fn failed(&self) -> Option<&Trouble> {
        self.progress.failed.as_ref()
    }

    /// Why it stands still: of a compensation in `MANUAL_INTERVENTION`, which then has the original
    /// error in [`failed`](Self::failed) (K-48).
    pub fn halted(&self) -> Option<&Trouble> {
        self.progress.halted.as_ref()
    }
}

/// What happened to a workflow.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Event {
    /// It was started.
    Started,
    /// A step is done, or a wait is over.
    StepDone,
    /// An attempt at a step failed; it will be tried again.
    AttemptFailed,
    /// A step was refused or given up.
    StepFailed,
    /// It waits.
    Waiting,
    /// A signal came.
    Signalled,
    /// A signal was passed over: the step cannot read it.
    SignalUnreadable,
    /// An operator said yes.
    Approved,
    /// An operator said no.
    Rejected,
    /// A compensation is done.
    Compensated,
    /// An attempt at a compensation failed; it will be tried again.
    CompensationAttemptFailed,
    /// A compensation was refused or given up: it needs somebody's hand.
    CompensationFailed,
    /// It stands still.
    Parked,
    /// It is tried again where it stood still.
    Resumed,
    /// What it stood still at was left out.
    Skipped,
    /// Somebody asked it to turn back.
    CancelRequested,
    /// It turned back because of that.
    TurnedBack,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Started,
        Self::StepDone,
        Self::AttemptFailed,
        Self::StepFailed,
        Self::Waiting,
        Self::Signalled,
        Self::SignalUnreadable,
        Self::Approved,
        Self::Rejected,
        Self::Compensated,
        Self::CompensationAttemptFailed,
        Self::CompensationFailed,
        Self::Parked,
        Self::Resumed,
        Self::Skipped,
        Self::CancelRequested,
        Self::TurnedBack,
    ];

    /// Its name, as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "STARTED",
            Self::StepDone => "STEP_DONE",
            Self::AttemptFailed => "ATTEMPT_FAILED",
            Self::StepFailed => "STEP_FAILED",
            Self::Waiting => "WAITING",
            Self::Signalled => "SIGNALLED",
            Self::SignalUnreadable => "SIGNAL_UNREADABLE",
            Self::Approved => "APPROVED",
            Self::Rejected => "REJECTED",
            Self::Compensated => "COMPENSATED",
            Self::CompensationAttemptFailed => "COMPENSATION_ATTEMPT_FAILED",
            Self::CompensationFailed => "COMPENSATION_FAILED",
            Self::Parked => "PARKED",
            Self::Resumed => "RESUMED",
            Self::Skipped => "SKIPPED",
            Self::CancelRequested => "CANCEL_REQUESTED",
            Self::TurnedBack => "TURNED_BACK",
        }
    }
}

/// One line of a history.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When.
    pub at: DateTime<Utc>,
    /// What happened.
    pub event: Event,
    /// At which step.
    pub step: String,
    /// Which attempt at it, from 1; 0 for what has no attempts.
    pub attempt: u32,
    /// Why, a stable reason; empty for what went well.
    pub reason: String,
    /// Why, a sentence; empty for what went well.
    pub message: String,
    /// Who did it, if a person did.
    pub actor: Option<UserId>,
    /// What the person said.
    pub comment: String,
}

impl Entry {
    pub(crate) fn new(at: DateTime<Utc>, event: Event, step: &str) -> Self {
        Self {
            at,
            event,
            step: step.to_owned(),
            attempt: 0,
            reason: String::new(),
            message: String::new(),
            actor: None,
            comment: String::new(),
        }
    }

    pub(crate) fn attempt(self, attempt: u32) -> Self {
        Self { attempt, ..self }
    }

    pub(crate) fn because(self, reason: &str, message: &str) -> Self {
        Self { reason: reason.to_owned(), message: message.to_owned(), ..self }
    }
}

impl<'r> FromRow<'r, PgRow> for Workflow {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        let kinds: Vec<String> = row.try_get("kinds")?;
        let kinds = kinds.iter().map(|kind| one_of("kinds", kind, &Kind::ALL, Kind::as_str));
        Ok(Self {
            tenant: TenantId::from(row.try_get::<Uuid, _>("tenant_id")?),
            id: row.try_get("id")?,
            owner: row.try_get("owner")?,
            definition: row.try_get("definition")?,
            version: number(row, "version")?,
            kinds: kinds.collect::<Result<_, _>>()?,
            correlation_id: row.try_get("correlation_id")?,
            wait_until: row.try_get("wait_until")?,
            due_at: row.try_get("due_at")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            ended_at: row.try_get("ended_at")?,
            progress: progress(row)?,
            state: row.try_get("state")?,
            is_leased: row.try_get("is_leased")?,
            fence: row.try_get("fence")?,
            entries: row.try_get("entries")?,
        })
    }
}

fn progress(row: &PgRow) -> Result<Progress, sqlx::Error> {
    let undo: Vec<i32> = row.try_get("undo")?;
    let undo = undo.into_iter().map(|position| usize::try_from(position).map_err(decode));
    Ok(Progress {
        status: named(row, "status", &Status::ALL, Status::as_str)?,
        steps: row.try_get("steps")?,
        position: number(row, "position")?,
        attempts: number(row, "attempts")?,
        undo: undo.collect::<Result<_, _>>()?,
        failed: trouble(row, ["failed_step", "failed_reason", "failed_message"])?,
        halted: trouble(row, ["halted_step", "halted_reason", "halted_message"])?,
        cancelled: row.try_get("cancelled")?,
    })
}

fn trouble(row: &PgRow, columns: [&str; 3]) -> Result<Option<Trouble>, sqlx::Error> {
    let [step, reason, message] = columns.map(|column| row.try_get::<Option<String>, _>(column));
    let (step, reason, message) = (step?, reason?, message?.unwrap_or_default());
    Ok(step.zip(reason).map(|(step, reason)| Trouble { step, reason, message }))
}

impl<'r> FromRow<'r, PgRow> for Entry {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            at: row.try_get("at")?,
            event: named(row, "event", &Event::ALL, Event::as_str)?,
            step: row.try_get("step")?,
            attempt: number(row, "attempt")?,
            reason: row.try_get("reason")?,
            message: row.try_get("message")?,
            actor: row.try_get::<Option<Uuid>, _>("actor_id")?.map(UserId::from),
            comment: row.try_get("comment")?,
        })
    }
}

/// A count that is never negative.
fn number<T: TryFrom<i32>>(row: &PgRow, column: &str) -> Result<T, sqlx::Error> {
    let number: i32 = row.try_get(column)?;
    T::try_from(number).map_err(|_| decode(format!("{column} is negative")))
}

fn decode(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}
