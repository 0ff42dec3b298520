//! How far a workflow is, and where it goes from there: the rules, without I/O or time.

use crate::definition::Otherwise;
use crate::error::WorkflowError;
use crate::failure::{Failure, FailureKind};

#[cfg(test)]
mod tests;

/// Reason of a workflow that turned back because somebody said so.
pub(crate) const CANCELLED: &str = "CANCELLED";
/// Reasons of a workflow that stands still because its code is not there.
pub(crate) const DEFINITION_UNKNOWN: &str = "DEFINITION_UNKNOWN";
pub(crate) const DEFINITION_CHANGED: &str = "DEFINITION_CHANGED";
pub(crate) const STATE_UNREADABLE: &str = "STATE_UNREADABLE";

/// Where a workflow stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Status {
    /// A step is being done, or will be tried again.
    Running,
    /// For a time, a signal or an approval.
    Waiting,
    /// What was done is being undone.
    Compensating,
    /// The end: all steps are done.
    Completed,
    /// The end: a step failed, and what was done is undone.
    Failed,
    /// The end: somebody cancelled it, and what was done is undone.
    Cancelled,
    /// It stands still: its version is not there, or a step that must not be undone was given up.
    Parked,
    /// It stands still: a compensation was given up (K-48).
    ManualIntervention,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Running,
        Self::Waiting,
        Self::Compensating,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Parked,
        Self::ManualIntervention,
    ];

    /// Its name, as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Waiting => "WAITING",
            Self::Compensating => "COMPENSATING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Parked => "PARKED",
            Self::ManualIntervention => "MANUAL_INTERVENTION",
        }
    }

    /// Whether nothing happens any more.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Whether nothing happens until somebody comes.
    pub(crate) fn is_halted(self) -> bool {
        matches!(self, Self::Parked | Self::ManualIntervention)
    }
}

/// What went wrong, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trouble {
    /// Name of the step.
    pub step: String,
    /// A stable reason.
    pub reason: String,
    /// A sentence for operators.
    pub message: String,
}

impl Trouble {
    pub(crate) fn new(step: &str, failure: &Failure) -> Self {
        Self {
            step: step.to_owned(),
            reason: failure.reason.clone(),
            message: failure.message.clone(),
        }
    }
}

/// How far a workflow is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Progress {
    pub(crate) status: Status,
    /// Names of all steps.
    pub(crate) steps: Vec<String>,
    /// The step at hand, or at which it turned back.
    pub(crate) position: usize,
    /// Attempts at what is at hand that brought no answer.
    pub(crate) attempts: u32,
    /// Steps to compensate: those that were done, or may have been, the last one at the end.
    pub(crate) undo: Vec<usize>,
    /// Why it turned back. It never goes forward again.
    pub(crate) failed: Option<Trouble>,
    /// Why it stands still.
    pub(crate) halted: Option<Trouble>,
    /// Somebody wants it to turn back.
    pub(crate) cancelled: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Task {
    Do(usize),
    Undo(usize),
}

/// How an attempt that failed is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) attempts_max: u32,
    pub(crate) has_undo: bool,
    pub(crate) otherwise: Otherwise,
}

/// What became of a failed attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    TryAgain,
    GivenUp,
}

impl Progress {
    /// What is to be done; nothing at the end, and while it stands still.
    pub(crate) fn task(&self) -> Option<Task> {
        match self.status {
            Status::Running | Status::Waiting => Some(Task::Do(self.position)),
            Status::Compensating => self.undo.last().copied().map(Task::Undo),
            _ => None,
        }
    }

    /// Name of the step at hand or, on the way back, of the one to compensate; the last one at the
    /// end.
    pub(crate) fn step(&self) -> &str {
        let last = self.steps.len().saturating_sub(1);
        let turned = self.failed.as_ref().and(self.undo.last().copied());
        self.steps.get(turned.unwrap_or(self.position).min(last)).map_or("", String::as_str)
    }

    /// Whether somebody wants it to turn back, and it has not yet.
    pub(crate) fn must_turn_back(&self) -> bool {
        self.cancelled && matches!(self.status, Status::Running | Status::Waiting)
    }

    /// The step at hand is done.
    pub(crate) fn done(&mut self, has_undo: bool) {
        if has_undo {
            self.may_be_done();
        }
        self.advance();
    }

    /// The step at hand has to wait.
    pub(crate) fn wait(&mut self) {
        self.status = Status::Waiting;
    }

    /// An attempt at the step at hand failed.
    pub(crate) fn failed(&mut self, failure: &Failure, rules: Rules) -> Verdict {
        let trouble = Trouble::new(self.step(), failure);
        match failure.kind {
            FailureKind::Unreadable => {
                self.park(trouble);
                return Verdict::GivenUp;
            }
            FailureKind::Again => {
                self.attempts += 1;
                if self.attempts < rules.attempts_max && !self.cancelled {
                    self.status = Status::Running;
                    return Verdict::TryAgain;
                }
                if rules.has_undo {
                    self.may_be_done();
                }
            }
            FailureKind::Refused => {}
        }
        self.attempts = 0;
        match rules.otherwise {
            Otherwise::Compensate => self.turn_back(trouble),
            _ if self.cancelled => self.turn_back(trouble),
            Otherwise::Continue => self.advance(),
            Otherwise::Park => self.park(trouble),
        }
        Verdict::GivenUp
    }

    /// What is done is undone, because `trouble` came.
    pub(crate) fn turn_back(&mut self, trouble: Trouble) {
        self.failed = Some(trouble);
        self.attempts = 0;
        self.status = Status::Compensating;
        self.end_when_undone();
    }

    /// Somebody's wish to turn back is done. What was begun at the step at hand is in doubt.
    pub(crate) fn turn_back_as_told(&mut self, has_undo: bool) {
        if self.attempts > 0 && has_undo {
            self.may_be_done();
        }
        let message = "an operator cancelled it";
        self.turn_back(Trouble::new(self.step(), &Failure::refused(CANCELLED, message)));
    }

    /// The compensation at hand is done.
    pub(crate) fn undone(&mut self) {
        self.undo.pop();
        self.attempts = 0;
        self.end_when_undone();
    }

    /// An attempt at the compensation at hand failed.
    pub(crate) fn undo_failed(&mut self, failure: &Failure, attempts_max: u32) -> Verdict {
        let trouble = Trouble::new(self.step(), failure);
        if failure.kind == FailureKind::Unreadable {
            self.park(trouble);
            return Verdict::GivenUp;
        }
        self.attempts += 1;
        if failure.kind == FailureKind::Again && self.attempts < attempts_max {
            return Verdict::TryAgain;
        }
        self.attempts = 0;
        self.status = Status::ManualIntervention;
        self.halted = Some(trouble);
        Verdict::GivenUp
    }

    /// It stands still.
    pub(crate) fn park(&mut self, trouble: Trouble) {
        self.status = Status::Parked;
        self.halted = Some(trouble);
    }

    /// It is tried again where it stands still.
    ///
    /// # Errors
    /// `NotHalted`.
    pub(crate) fn retry(&mut self) -> Result<(), WorkflowError> {
        if !self.status.is_halted() {
            return Err(WorkflowError::NotHalted { status: self.status });
        }
        self.halted = None;
        let turned = self.failed.is_some();
        self.status = if turned { Status::Compensating } else { Status::Running };
        Ok(())
    }

    /// What it stands still at is left out: somebody saw to it, or it is not wanted.
    ///
    /// # Errors
    /// `NotHalted`; `NotSkippable` when it is not a step that keeps it.
    pub(crate) fn skip(&mut self) -> Result<(), WorkflowError> {
        let reason = self.halted.as_ref().map(|halted| halted.reason.as_str());
        if let Some(DEFINITION_UNKNOWN | DEFINITION_CHANGED | STATE_UNREADABLE) = reason {
            return Err(WorkflowError::NotSkippable);
        }
        self.retry()?;
        if self.status == Status::Compensating {
            self.undone();
        } else {
            self.advance();
        }
        Ok(())
    }

    /// Asks it to turn back. A repeat changes nothing.
    ///
    /// # Errors
    /// `TooLate` when it has turned back already or has ended.
    pub(crate) fn cancel(&mut self) -> Result<(), WorkflowError> {
        if self.cancelled {
            return Ok(());
        }
        if self.failed.is_some() || self.status.is_end() {
            return Err(WorkflowError::TooLate { status: self.status });
        }
        self.cancelled = true;
        if self.status == Status::Parked {
            self.retry()?;
        }
        Ok(())
    }

    /// The step at hand has or may have had its effect.
    fn may_be_done(&mut self) {
        if self.undo.last() != Some(&self.position) {
            self.undo.push(self.position);
        }
    }

    fn advance(&mut self) {
        self.attempts = 0;
        if self.cancelled {
            return self.turn_back_as_told(false);
        }
        self.position += 1;
        let is_end = self.position == self.steps.len();
        self.status = if is_end { Status::Completed } else { Status::Running };
    }

    fn end_when_undone(&mut self) {
        if self.undo.is_empty() {
            self.status = if self.cancelled { Status::Cancelled } else { Status::Failed };
        } else {
            self.status = Status::Compensating;
        }
    }
}
