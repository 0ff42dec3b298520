use tonic::{Code, Status};
use workflow::WorkflowError;

/// Why a call was refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// A field breaks a rule.
    #[error("{field}: {rule}")]
    InvalidField { field: &'static str, rule: &'static str },
    /// The page token was made for other filters, or not by us.
    #[error("the page token belongs to another listing")]
    InvalidPageToken,
    /// The workflow does not allow it, or the store failed.
    #[error("{0}")]
    Workflow(#[from] WorkflowError),
}

impl CallError {
    fn code_and_reason(&self) -> (Code, &'static str) {
        match self {
            Self::InvalidField { .. } => (Code::InvalidArgument, "INVALID_FIELD"),
            Self::InvalidPageToken => (Code::InvalidArgument, "INVALID_PAGE_TOKEN"),
            Self::Workflow(error) => error.code_and_reason(),
        }
    }
}

impl From<CallError> for Status {
    fn from(error: CallError) -> Self {
        let (code, reason) = error.code_and_reason();
        let status = mesh::error::report(code, reason, "workflows.malha", &error);
        match error {
            CallError::InvalidField { field, rule } => status.field(field, rule),
            CallError::InvalidPageToken => status.field("page_token", error.to_string()),
            CallError::Workflow(WorkflowError::StepChanged { step }) => {
                status.metadata("step", step)
            }
            CallError::Workflow(
                WorkflowError::TooLate { status: now } | WorkflowError::NotHalted { status: now },
            ) => status.metadata("status", now.as_str()),
            CallError::Workflow(_) => status,
        }
        .build()
    }
}
