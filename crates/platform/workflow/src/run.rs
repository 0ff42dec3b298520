//! One workflow, driven by the worker that has its lease.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::Clock;
use futures::FutureExt;
use mesh::Context;
use metrics::counter;
use storage::{Database, Error, Transaction};
use tokio::time::Instant;

use crate::call::Call;
use crate::failure::Failure;
use crate::program::{Outcome, Plan, Program};
use crate::progress::{
    CANCELLED, DEFINITION_CHANGED, DEFINITION_UNKNOWN, Status, Task, Trouble, Verdict,
};
use crate::row::{Entry, Event, Kind, Workflow};
use crate::store;

/// All definitions of a worker, by name and version.
pub(crate) type Programs = HashMap<(String, u32), Arc<dyn Program>>;

/// What drives workflows.
#[derive(Clone)]
pub(crate) struct Runner {
    pub(crate) database: Database,
    pub(crate) clock: Clock,
    pub(crate) lease: Duration,
    pub(crate) programs: Arc<Programs>,
}

/// A workflow that nobody else changes now.
struct Held {
    txn: Transaction,
    workflow: Workflow,
    now: DateTime<Utc>,
    had_turned: bool,
}

/// When it goes on.
enum Next {
    /// Now, under the same lease.
    Now,
    /// Then, with whoever takes it up; never without somebody's doing.
    At(Option<DateTime<Utc>>),
}

impl Runner {
    /// Drives a workflow until it ends, waits or stands still, or the lease is lost.
    pub(crate) async fn drive(&self, mut workflow: Workflow) -> Result<(), Error> {
        while let Some(next) = self.advance(&workflow).await? {
            workflow = next;
        }
        Ok(())
    }

    /// Does what is to be done, and records it. The workflow after that, if it goes on now.
    async fn advance(&self, workflow: &Workflow) -> Result<Option<Workflow>, Error> {
        let program = match self.find(workflow) {
            Ok(program) => program,
            Err(trouble) => return self.park(workflow, trouble).await,
        };
        if workflow.status() == Status::Parked {
            return self.unpark(workflow).await;
        }
        if workflow.progress.must_turn_back() {
            return self.turn_back(workflow, &*program).await;
        }
        match workflow.progress.task() {
            Some(Task::Do(position)) => match program.kind(position) {
                Kind::Step => self.step(workflow, &*program, position).await,
                Kind::Sleep => self.sleep(workflow, &*program, position).await,
                Kind::Signal | Kind::Approval => self.wait(workflow, &*program, position).await,
            },
            Some(Task::Undo(position)) => self.undo(workflow, &*program, position).await,
            None => Ok(None),
        }
    }

    /// The code that a workflow started with.
    fn find(&self, workflow: &Workflow) -> Result<Arc<dyn Program>, Trouble> {
        let Workflow { definition, version, .. } = workflow;
        let trouble =
            |reason, message| Trouble::new(workflow.step(), &Failure::refused(reason, message));
        let Some(program) = self.programs.get(&(definition.clone(), *version)) else {
            let message = format!("version {version} of {definition} is not registered");
            return Err(trouble(DEFINITION_UNKNOWN, message));
        };
        let kinds = (0..workflow.kinds.len()).map(|position| program.kind(position));
        if program.steps() == workflow.steps() && kinds.eq(workflow.kinds.iter().copied()) {
            return Ok(Arc::clone(program));
        }
        let message = format!("version {version} of {definition} had other steps when it started");
        Err(trouble(DEFINITION_CHANGED, message))
    }

    async fn step(
        &self,
        workflow: &Workflow,
        program: &dyn Program,
        position: usize,
    ) -> Result<Option<Workflow>, Error> {
        let plan = program.plan(position);
        let call = call(workflow, program, position, false);
        let run = || program.run(position, &workflow.state, call.clone());
        let Some(outcome) = self.attempt(workflow, &plan, &call, run).await else {
            return Ok(None);
        };
        let Some(mut held) = self.hold(workflow).await? else { return Ok(None) };
        let entry = Entry::new(held.now, Event::StepDone, call.step).attempt(call.attempt);
        match outcome {
            Ok(state) => {
                held.workflow.state = state;
                held.workflow.progress.done(plan.rules.has_undo);
                self.record(held, entry, Next::Now).await
            }
            Err(failure) => {
                let (event, next) = match held.workflow.progress.failed(&failure, plan.rules) {
                    Verdict::TryAgain => (Event::AttemptFailed, again(&held, &plan)),
                    Verdict::GivenUp => (Event::StepFailed, Next::Now),
                };
                let entry = Entry { event, ..entry }.because(&failure.reason, &failure.message);
                self.record(held, entry, next).await
            }
        }
    }

    async fn undo(
        &self,
        workflow: &Workflow,
        program: &dyn Program,
        position: usize,
    ) -> Result<Option<Workflow>, Error> {
        let plan = program.plan(position);
        let call = call(workflow, program, position, true);
        let run = || program.undo(position, &workflow.state, call.clone());
        let Some(outcome) = self.attempt(workflow, &plan, &call, run).await else {
            return Ok(None);
        };
        let Some(mut held) = self.hold(workflow).await? else { return Ok(None) };
        let (event, next, failure) = match outcome {
            Ok(()) => {
                held.workflow.progress.undone();
                (Event::Compensated, Next::Now, None)
            }
            Err(failure) => {
                let attempts_max = plan.rules.attempts_max;
                match held.workflow.progress.undo_failed(&failure, attempts_max) {
                    Verdict::TryAgain => {
                        (Event::CompensationAttemptFailed, again(&held, &plan), Some(failure))
                    }
                    Verdict::GivenUp => (Event::CompensationFailed, Next::Now, Some(failure)),
                }
            }
        };
        let mut entry = Entry::new(held.now, event, call.step).attempt(call.attempt);
        if let Some(failure) = failure {
            entry = entry.because(&failure.reason, &failure.message);
        }
        self.record(held, entry, next).await
    }

    async fn sleep(
        &self,
        workflow: &Workflow,
        program: &dyn Program,
        position: usize,
    ) -> Result<Option<Workflow>, Error> {
        let Some(mut held) = self.hold(workflow).await? else { return Ok(None) };
        let step = workflow.step();
        let wake_at = match held.workflow.wait_until {
            Some(wake_at) => Ok(wake_at),
            None => program.wake_at(position, &workflow.state, held.now),
        };
        match wake_at {
            Ok(wake_at) if wake_at <= held.now => {
                held.workflow.wait_until = None;
                held.workflow.progress.done(false);
                let entry = Entry::new(held.now, Event::StepDone, step);
                self.record(held, entry, Next::Now).await
            }
            Ok(wake_at) => {
                held.workflow.wait_until = Some(wake_at);
                self.begin_waiting(held, step).await
            }
            Err(failure) => self.give_up(held, &failure, &program.plan(position)).await,
        }
    }

    async fn wait(
        &self,
        workflow: &Workflow,
        program: &dyn Program,
        position: usize,
    ) -> Result<Option<Workflow>, Error> {
        let Some(mut held) = self.hold(workflow).await? else { return Ok(None) };
        let (step, plan) = (workflow.step(), program.plan(position));
        if let Some(signal) = store::signal_next(&mut held.txn, workflow.id, step).await? {
            store::signal_take(&mut held.txn, workflow.id, signal.id, held.now).await?;
            return self.told(held, program, position, &signal.payload).await;
        }
        if held.workflow.wait_until.is_some_and(|until| until <= held.now) {
            let failure = Failure::refused("DEADLINE_PASSED", "nobody answered in time");
            return self.give_up(held, &failure, &plan).await;
        }
        if held.workflow.status() != Status::Waiting && held.workflow.wait_until.is_none() {
            held.workflow.wait_until = plan.within.map(|within| held.now + within);
        }
        self.begin_waiting(held, step).await
    }

    /// Goes on with what a signal or an operator said.
    async fn told(
        &self,
        mut held: Held,
        program: &dyn Program,
        position: usize,
        payload: &str,
    ) -> Result<Option<Workflow>, Error> {
        let workflow = &mut held.workflow;
        let taken = match program.kind(position) {
            Kind::Approval if payload == "true" => Ok(Some(workflow.state.clone())),
            Kind::Approval => {
                let failure = Failure::refused("APPROVAL_REJECTED", "an operator said no");
                let entry = Entry::new(held.now, Event::StepFailed, workflow.step());
                workflow.progress.turn_back(Trouble::new(workflow.step(), &failure));
                let entry = entry.because(&failure.reason, &failure.message);
                return self.record(held, entry, Next::Now).await;
            }
            _ => program.take(position, &workflow.state, payload),
        };
        let step = workflow.step().to_owned();
        match taken {
            Ok(Some(state)) => {
                (workflow.state, workflow.wait_until) = (state, None);
                workflow.progress.done(false);
                let entry = Entry::new(held.now, Event::StepDone, &step);
                self.record(held, entry, Next::Now).await
            }
            Ok(None) => {
                let entry = Entry::new(held.now, Event::SignalUnreadable, &step);
                self.record(held, entry, Next::Now).await
            }
            Err(failure) => self.give_up(held, &failure, &program.plan(position)).await,
        }
    }

    /// A wait is over without success.
    async fn give_up(
        &self,
        mut held: Held,
        failure: &Failure,
        plan: &Plan,
    ) -> Result<Option<Workflow>, Error> {
        let entry = Entry::new(held.now, Event::StepFailed, held.workflow.step());
        held.workflow.wait_until = None;
        held.workflow.progress.failed(failure, plan.rules);
        self.record(held, entry.because(&failure.reason, &failure.message), Next::Now).await
    }

    async fn begin_waiting(&self, mut held: Held, step: &str) -> Result<Option<Workflow>, Error> {
        let is_new = held.workflow.status() != Status::Waiting;
        held.workflow.progress.wait();
        let entry = is_new.then(|| Entry::new(held.now, Event::Waiting, step));
        let next = Next::At(held.workflow.wait_until);
        self.record(held, entry, next).await
    }

    async fn turn_back(
        &self,
        workflow: &Workflow,
        program: &dyn Program,
    ) -> Result<Option<Workflow>, Error> {
        let Some(mut held) = self.hold(workflow).await? else { return Ok(None) };
        let plan = program.plan(held.workflow.progress.position);
        held.workflow.progress.turn_back_as_told(plan.rules.has_undo);
        self.record(held, None, Next::Now).await
    }

    async fn park(&self, workflow: &Workflow, trouble: Trouble) -> Result<Option<Workflow>, Error> {
        let Some(mut held) = self.hold(workflow).await? else { return Ok(None) };
        let Trouble { step, reason, message } = &trouble;
        tracing::error!(workflow = %workflow.id, reason, message, "a workflow is parked");
        let entry = Entry::new(held.now, Event::Parked, step).because(reason, message);
        held.workflow.progress.park(trouble);
        self.record(held, entry, Next::Now).await
    }

    /// Its version is there now.
    async fn unpark(&self, workflow: &Workflow) -> Result<Option<Workflow>, Error> {
        let Some(mut held) = self.hold(workflow).await? else { return Ok(None) };
        let entry = Entry::new(held.now, Event::Resumed, workflow.step());
        // It is parked, so it can be.
        let _ = held.workflow.progress.retry();
        self.record(held, entry, Next::Now).await
    }

    /// One attempt: `None` when the lease was lost meanwhile.
    async fn attempt<T>(
        &self,
        workflow: &Workflow,
        plan: &Plan,
        call: &Call,
        run: impl FnOnce() -> Outcome<T>,
    ) -> Option<Result<T, Failure>> {
        if workflow.progress.attempts >= plan.rules.attempts_max {
            let message = "the process that began the last attempt is gone";
            return Some(Err(Failure::again("OUTCOME_UNKNOWN", message)));
        }
        let context = Context {
            correlation_id: workflow.correlation_id.as_str().into(),
            deadline: Some(Instant::now() + plan.timeout),
            idempotency_key: Some(call.key().as_str().into()),
            ..Context::system(workflow.tenant)
        };
        // The step starts from the stored state each time, so nothing half-changed is seen.
        let run = AssertUnwindSafe(context.scope(run())).catch_unwind();
        let run = async {
            match tokio::time::timeout(plan.timeout, run).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err(Failure::again("STEP_PANICKED", "the step panicked")),
                Err(_) => Err(Failure::again("STEP_TIMED_OUT", "the step took too long")),
            }
        };
        let outcome = tokio::select! {
            biased;
            outcome = run => Some(outcome),
            () = self.keep_lease(workflow) => None,
        };
        count(workflow, call, outcome.as_ref().map(Result::is_ok));
        outcome
    }

    /// Keeps the lease; ends when it is lost.
    async fn keep_lease(&self, workflow: &Workflow) {
        let mut renewed_at = Instant::now();
        loop {
            tokio::time::sleep(self.lease / 3).await;
            match self.renew(workflow).await {
                Ok(true) => renewed_at = Instant::now(),
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(?error, workflow = %workflow.id, "a lease was not renewed");
                    if renewed_at.elapsed() >= self.lease {
                        return;
                    }
                }
            }
        }
    }

    async fn renew(&self, workflow: &Workflow) -> Result<bool, Error> {
        let mut txn = self.database.begin(workflow.tenant).await?;
        let until = self.clock.now() + self.lease;
        let renewed = store::lease_renew(&mut txn, workflow.id, workflow.fence, until).await?;
        txn.commit().await?;
        Ok(renewed)
    }

    /// Locks the workflow, if the lease is still ours.
    async fn hold(&self, workflow: &Workflow) -> Result<Option<Held>, Error> {
        let mut txn = self.database.begin(workflow.tenant).await?;
        let locked = store::workflow_lock(&mut txn, workflow.id).await?;
        let ours = locked.filter(|locked| locked.fence == workflow.fence && locked.is_leased);
        let Some(workflow) = ours else {
            tracing::warn!(workflow = %workflow.id, "another worker has taken a workflow over");
            counter!("malha_workflow_leases_lost_total").increment(1);
            return Ok(None);
        };
        let had_turned = workflow.failed().is_some();
        Ok(Some(Held { txn, workflow, now: self.clock.now(), had_turned }))
    }

    /// Writes what changed, with what happened.
    async fn record(
        &self,
        held: Held,
        entry: impl Into<Option<Entry>>,
        next: Next,
    ) -> Result<Option<Workflow>, Error> {
        let Held { mut txn, mut workflow, now, had_turned } = held;
        let mut entries: Vec<_> = entry.into().into_iter().collect();
        if let Some(failed) = workflow.failed()
            && failed.reason == CANCELLED
            && !had_turned
        {
            entries.push(Entry::new(now, Event::TurnedBack, &failed.step));
        }
        let is_going = workflow.progress.task().is_some();
        (workflow.is_leased, workflow.due_at) = match next {
            Next::Now if is_going => (true, Some(now + self.lease)),
            Next::Now => (false, None),
            Next::At(at) => (false, at),
        };
        if workflow.failed().is_some() {
            workflow.wait_until = None;
        }
        store::workflow_save(&mut txn, &mut workflow, now, &entries).await?;
        txn.commit().await?;
        if workflow.status() == Status::ManualIntervention {
            alert(&workflow);
        }
        Ok(workflow.is_leased.then_some(workflow))
    }
}

/// K-48: somebody must see to it.
fn alert(workflow: &Workflow) {
    let Some((halted, failed)) = workflow.halted().zip(workflow.failed()) else { return };
    tracing::error!(
        workflow = %workflow.id,
        definition = workflow.definition,
        step = halted.step,
        compensationError = %format_args!("{}: {}", halted.reason, halted.message),
        originalError = %format_args!("{} at {}: {}", failed.reason, failed.step, failed.message),
        "a workflow needs manual intervention"
    );
}

fn call(workflow: &Workflow, program: &dyn Program, position: usize, is_undo: bool) -> Call {
    Call {
        tenant: workflow.tenant,
        workflow: workflow.id,
        step: program.steps()[position],
        is_undo,
        attempt: workflow.progress.attempts + 1,
    }
}

/// After the wait that the attempts so far ask for.
fn again(held: &Held, plan: &Plan) -> Next {
    Next::At(Some(held.now + plan.retry.delay_after(held.workflow.progress.attempts)))
}

fn count(workflow: &Workflow, call: &Call, is_done: Option<bool>) {
    let outcome = match is_done {
        Some(true) => "done",
        Some(false) => "failed",
        None => "lost",
    };
    counter!(
        "malha_workflow_attempts_total",
        "definition" => workflow.definition.clone(),
        "step" => call.step,
        "kind" => if call.is_undo { "compensation" } else { "step" },
        "outcome" => outcome
    )
    .increment(1);
}
