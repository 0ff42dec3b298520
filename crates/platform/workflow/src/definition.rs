//! A saga as its author tells it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;

use crate::call::Call;
use crate::failure::Failure;
use crate::retry::Retry;
use crate::row::Kind;

/// Attempts take no longer, unless a step says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A saga: what happens step by step, over state `S`, with the help of `W`, whatever the steps need.
///
/// Once a version is in use its steps do not change: a workflow that was started with other steps than
/// its version has now is parked. Their functions may; another order, name or meaning of the state is
/// another version, and the old one stays registered until no workflow is on it any more.
pub struct Definition<W, S> {
    pub(crate) name: &'static str,
    pub(crate) version: u32,
    pub(crate) stages: Vec<Stage<W, S>>,
}

/// What happens when a step is given up, or a wait has lasted too long.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Otherwise {
    /// What was done before is undone, last first. The default.
    #[default]
    Compensate,
    /// The workflow goes on without it.
    Continue,
    /// The workflow stands still until an operator lets it try again, skip the step or turn back: for
    /// what must not be undone any more.
    Park,
}

impl<W, S> Definition<W, S> {
    /// A saga without steps.
    ///
    /// # Panics
    /// When the version is zero.
    pub fn new(name: &'static str, version: u32) -> Self {
        assert!(version > 0, "versions of {name} count from 1");
        Self { name, version, stages: Vec::new() }
    }

    /// Adds what happens next.
    ///
    /// # Panics
    /// When an earlier step has the same name.
    pub fn then(mut self, stage: impl Into<Stage<W, S>>) -> Self {
        let stage = stage.into();
        let is_new = self.stages.iter().all(|earlier| earlier.name != stage.name);
        assert!(is_new, "{} has two steps named {}", self.name, stage.name);
        self.stages.push(stage);
        self
    }

    pub(crate) fn steps(&self) -> Vec<&'static str> {
        self.stages.iter().map(|stage| stage.name).collect()
    }

    pub(crate) fn kinds(&self) -> Vec<Kind> {
        self.stages.iter().map(|stage| stage.action.kind()).collect()
    }
}

type Run<W, S, T> =
    Arc<dyn Fn(Arc<W>, S, Call) -> BoxFuture<'static, Result<T, Failure>> + Send + Sync>;
type WakeAt<S> = Box<dyn Fn(&S, DateTime<Utc>) -> DateTime<Utc> + Send + Sync>;
type Take<S> = Box<dyn Fn(S, &str) -> Result<S, serde_json::Error> + Send + Sync>;

/// One step of a definition, of whatever kind.
pub struct Stage<W, S> {
    pub(crate) name: &'static str,
    pub(crate) action: Action<W, S>,
    pub(crate) otherwise: Otherwise,
}

pub(crate) enum Action<W, S> {
    Step { run: Run<W, S, S>, undo: Option<Run<W, S, ()>>, retry: Retry, timeout: Duration },
    Sleep(WakeAt<S>),
    Signal { take: Take<S>, within: Option<Duration> },
    Approval { within: Option<Duration> },
}

impl<W, S> Action<W, S> {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Step { .. } => Kind::Step,
            Self::Sleep(_) => Kind::Sleep,
            Self::Signal { .. } => Kind::Signal,
            Self::Approval { .. } => Kind::Approval,
        }
    }
}

/// A step that does something.
pub struct Step<W, S> {
    name: &'static str,
    run: Run<W, S, S>,
    undo: Option<Run<W, S, ()>>,
    retry: Retry,
    timeout: Duration,
    otherwise: Otherwise,
}

/// Does something: `run` takes the state and gives it back changed.
///
/// It may be called more than once, under the same [`Call::key`], and must then have no further effect.
/// An error leaves the state as it was.
pub fn step<W, S, R, F>(name: &'static str, run: R) -> Step<W, S>
where
    R: Fn(Arc<W>, S, Call) -> F + Send + Sync + 'static,
    F: Future<Output = Result<S, Failure>> + Send + 'static,
{
    let run: Run<W, S, S> = Arc::new(move |world, state, call| Box::pin(run(world, state, call)));
    let (retry, timeout, otherwise) = (Retry::default(), TIMEOUT, Otherwise::default());
    Step { name, run, undo: None, retry, timeout, otherwise }
}

impl<W, S> Step<W, S> {
    /// What undoes it. It sees the state as it was last.
    ///
    /// Its step may not have happened, when that was given up without an answer: then there is nothing
    /// to undo, which is success, and [`Call::step_key`] must be good for nothing any more. Like a step
    /// it may be called more than once, and is tried as often; when it is given up or refused, the
    /// workflow needs somebody's hand.
    pub fn undo<U, F>(mut self, undo: U) -> Self
    where
        U: Fn(Arc<W>, S, Call) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.undo = Some(Arc::new(move |world, state, call| Box::pin(undo(world, state, call))));
        self
    }

    /// How often it is tried.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Ends an attempt that takes longer; it counts as one without an answer. Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What happens when it is given up or refused.
    pub fn otherwise(mut self, otherwise: Otherwise) -> Self {
        self.otherwise = otherwise;
        self
    }
}

impl<W, S> From<Step<W, S>> for Stage<W, S> {
    fn from(step: Step<W, S>) -> Self {
        let Step { name, run, undo, retry, timeout, otherwise } = step;
        Self { name, action: Action::Step { run, undo, retry, timeout }, otherwise }
    }
}

/// A step that lets time pass.
pub struct Pause<S> {
    name: &'static str,
    wake_at: WakeAt<S>,
}

/// Lets a time pass.
pub fn sleep<S>(name: &'static str, duration: Duration) -> Pause<S> {
    Pause { name, wake_at: Box::new(move |_, now| now + duration) }
}

/// Waits until a time that the state knows. One that has passed is over at once.
pub fn sleep_until<S>(
    name: &'static str,
    at: impl Fn(&S) -> DateTime<Utc> + Send + Sync + 'static,
) -> Pause<S> {
    Pause { name, wake_at: Box::new(move |state, _| at(state)) }
}

impl<W, S> From<Pause<S>> for Stage<W, S> {
    fn from(Pause { name, wake_at }: Pause<S>) -> Self {
        Self { name, action: Action::Sleep(wake_at), otherwise: Otherwise::default() }
    }
}

/// A step that waits for somebody.
pub struct Wait<S> {
    name: &'static str,
    take: Option<Take<S>>,
    within: Option<Duration>,
    otherwise: Otherwise,
}

/// Waits for a signal of this name, and takes what it says into the state. One that came earlier is
/// kept for this step; of several the first one counts. A signal that is no `P` is passed over.
pub fn signal<S, P: DeserializeOwned>(
    name: &'static str,
    take: impl Fn(S, P) -> S + Send + Sync + 'static,
) -> Wait<S> {
    let take: Take<S> =
        Box::new(move |state, payload| Ok(take(state, serde_json::from_str(payload)?)));
    Wait { name, take: Some(take), within: None, otherwise: Otherwise::default() }
}

/// Waits for an operator's yes. A no is a failure with the reason `APPROVAL_REJECTED`: what was done is
/// undone. Only what is being asked for can be decided, not what will be.
pub fn approval<S>(name: &'static str) -> Wait<S> {
    Wait { name, take: None, within: None, otherwise: Otherwise::default() }
}

impl<S> Wait<S> {
    /// Waits no longer than that, then does `otherwise`; the reason is `DEADLINE_PASSED`.
    pub fn within(mut self, duration: Duration, otherwise: Otherwise) -> Self {
        (self.within, self.otherwise) = (Some(duration), otherwise);
        self
    }
}

impl<W, S> From<Wait<S>> for Stage<W, S> {
    fn from(Wait { name, take, within, otherwise }: Wait<S>) -> Self {
        let action = match take {
            Some(take) => Action::Signal { take, within },
            None => Action::Approval { within },
        };
        Self { name, action, otherwise }
    }
}
