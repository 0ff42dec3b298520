//! Why something that was asked of a workflow was not done.

use tonic::Code;

use crate::progress::Status;

/// Why something that was asked of a workflow was refused or failed. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowError {
    /// There is no such workflow.
    #[error("there is no such workflow")]
    NotFound,
    /// Another workflow was started under the id: of another definition, or with another state.
    #[error("another workflow has this id")]
    IdTaken,
    /// The workflow has no step of this name that takes this.
    #[error("the workflow has no such {what} named `{name}`")]
    NoSuchStep {
        /// What it should be: a signal, an approval.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The workflow does not ask for this decision now, or it was made already.
    #[error("the workflow does not wait for this approval")]
    NotAsked,
    /// It goes on by itself.
    #[error("the workflow does not stand still: it is {}", .status.as_str())]
    NotHalted {
        /// Where it stands.
        status: Status,
    },
    /// It stands still for its code or its state, not at a step.
    #[error("no step keeps the workflow, so none can be skipped")]
    NotSkippable,
    /// It stands at another step than the caller believes.
    #[error("the workflow stands at `{step}`")]
    StepChanged {
        /// Where it stands.
        step: String,
    },
    /// It is past the point where this could be done.
    #[error("it is too late: the workflow is {}", .status.as_str())]
    TooLate {
        /// Where it stands.
        status: Status,
    },
    /// The state or the payload cannot be written as JSON.
    #[error("the value cannot be written as JSON")]
    Unwritable(#[source] serde_json::Error),
    /// The database failed.
    #[error("the workflow store failed")]
    Store(#[from] storage::Error),
}

impl WorkflowError {
    /// How a service tells its caller of it: a gRPC code and a stable reason.
    pub fn code_and_reason(&self) -> (Code, &'static str) {
        match self {
            Self::NotFound => (Code::NotFound, "WORKFLOW_NOT_FOUND"),
            Self::IdTaken => (Code::AlreadyExists, "WORKFLOW_ID_TAKEN"),
            Self::NoSuchStep { .. } => (Code::InvalidArgument, "NO_SUCH_STEP"),
            Self::NotAsked => (Code::FailedPrecondition, "APPROVAL_NOT_ASKED"),
            Self::NotHalted { .. } => (Code::FailedPrecondition, "WORKFLOW_NOT_HALTED"),
            Self::NotSkippable => (Code::FailedPrecondition, "STEP_NOT_SKIPPABLE"),
            Self::StepChanged { .. } => (Code::FailedPrecondition, "STEP_CHANGED"),
            Self::TooLate { .. } => (Code::FailedPrecondition, "TOO_LATE"),
            Self::Unwritable(_) => (Code::Internal, "STATE_UNWRITABLE"),
            Self::Store(error) => error.code_and_reason(),
        }
    }
}

impl From<sqlx::Error> for WorkflowError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
