//! `malha workflow`

use std::fmt::Write as _;
use std::time::SystemTime;

use anyhow::Result;
use auth::TenantId;
use clap::{Args, Subcommand};
use contracts::workflows::v1 as pb;
use contracts::workflows::v1::workflows_service_client::WorkflowsServiceClient;
use mesh::{Channel, Context};
use tonic::{Response, Status};
use uuid::Uuid;

use crate::commands::engineer;
use crate::settings::Settings;

/// What stands before the values of the contract's enums.
const STATUS: &str = "WORKFLOW_STATUS_";
const EVENT: &str = "HISTORY_EVENT_";

/// Workflows that are asked for at once.
const PAGE_SIZE: i32 = 100;

/// Look at workflows, and let those go on that stand still.
#[derive(Args, Debug)]
pub(crate) struct Workflow {
    /// Access token of the person who asks: staff to look, an operator or administrator to act.
    #[arg(long, env = "MALHA_TOKEN", hide_env_values = true, global = true, default_value = "")]
    token: String,
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// List workflows, newest first.
    List(List),
    /// Print a workflow and what happened to it.
    Show {
        /// Its id.
        id: Uuid,
    },
    /// Let a workflow go on that is PARKED or in `MANUAL_INTERVENTION`.
    Resume(Resume),
    /// Ask a workflow to turn back: what it did is undone, last first.
    Cancel {
        /// Its id.
        id: Uuid,
        /// Why; it is kept in the history.
        #[arg(long)]
        comment: String,
    },
}

#[derive(Args, Debug)]
struct List {
    /// Only this status, such as `manual_intervention`; may be repeated.
    #[arg(long, value_parser = status)]
    status: Vec<pb::WorkflowStatus>,
    /// Only those of this definition.
    #[arg(long, default_value = "")]
    definition: String,
    /// Only those of this service.
    #[arg(long, default_value = "")]
    service: String,
    /// Workflows at most.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

#[derive(Args, Debug)]
struct Resume {
    /// Its id.
    id: Uuid,
    /// The step at which it stands still, as `show` prints it.
    #[arg(long)]
    step: String,
    /// Leave the step or compensation out, because somebody saw to it; else it is tried again.
    #[arg(long)]
    skip: bool,
    /// Why; it is kept in the history.
    #[arg(long)]
    comment: String,
}

type Client = WorkflowsServiceClient<Channel>;

impl Workflow {
    pub(crate) async fn run(self, settings: &Settings) -> Result<()> {
        let mesh = engineer::join(settings)?;
        let client = WorkflowsServiceClient::new(mesh.channel("workflows"));
        let token = Some(self.token.into()).filter(|token: &std::sync::Arc<str>| !token.is_empty());
        let context = Context { token, ..Context::system(TenantId::DEFAULT) };
        let printed = context.scope(self.act.run(client)).await;
        let text = printed.map_err(|status| engineer::refusal(settings, "workflows", &status))?;
        print!("{text}");
        Ok(())
    }
}

impl Act {
    async fn run(self, mut client: Client) -> Result<String, Status> {
        match self {
            Self::List(list) => list.run(client).await,
            Self::Show { id } => {
                let request = pb::GetWorkflowRequest { id: id.to_string() };
                Ok(shown(&client.get_workflow(request).await?.into_inner()))
            }
            Self::Resume(Resume { id, step, skip, comment }) => {
                let action =
                    if skip { pb::ResumeAction::Skip } else { pb::ResumeAction::Retry }.into();
                let request =
                    pb::ResumeWorkflowRequest { id: id.to_string(), step, action, comment };
                let resumed = client.resume_workflow(request).await.map(Response::into_inner)?;
                Ok(line(&resumed.workflow.unwrap_or_default()))
            }
            Self::Cancel { id, comment } => {
                let request = pb::CancelWorkflowRequest { id: id.to_string(), comment };
                let cancelled = client.cancel_workflow(request).await.map(Response::into_inner)?;
                Ok(line(&cancelled.workflow.unwrap_or_default()))
            }
        }
    }
}

impl List {
    async fn run(self, mut client: Client) -> Result<String, Status> {
        let mut request = pb::ListWorkflowsRequest {
            status: self.status.into_iter().map(Into::into).collect(),
            definition: self.definition,
            service: self.service,
            page_size: PAGE_SIZE,
            ..Default::default()
        };
        let (mut text, mut left) = (String::new(), self.limit);
        loop {
            let page = client.list_workflows(request.clone()).await?.into_inner();
            text.extend(page.workflows.iter().take(left).map(line));
            left = left.saturating_sub(page.workflows.len());
            request.page_token = page.next_page_token;
            if left == 0 || request.page_token.is_empty() {
                return Ok(text);
            }
        }
    }
}

/// Reads a status as the contract names it, in any case.
fn status(text: &str) -> Result<pb::WorkflowStatus, String> {
    let name = text.to_uppercase().replace('-', "_");
    pb::WorkflowStatus::from_str_name(&format!("{STATUS}{name}"))
        .filter(|status| *status != pb::WorkflowStatus::Unspecified)
        .ok_or_else(|| "there is no such status".to_owned())
}

/// One workflow in one line.
fn line(workflow: &pb::Workflow) -> String {
    let status = name(workflow.status().as_str_name(), STATUS);
    let (definition, version) = (&workflow.definition, workflow.version);
    let (id, step, created) = (&workflow.id, &workflow.step, time(workflow.created_at));
    format!("{id}  {created}  {status:<19}  {definition} v{version}  {step}\n")
}

fn shown(got: &pb::GetWorkflowResponse) -> String {
    let workflow = got.workflow.clone().unwrap_or_default();
    let mut text = line(&workflow);
    for (what, trouble) in [("turned back", &workflow.failure), ("stands still", &workflow.halt)] {
        if let Some(pb::Trouble { step, reason, message }) = trouble {
            let _ = writeln!(text, "{what} at {step}: {reason}: {message}");
        }
    }
    for entry in &got.history {
        let event = name(entry.event().as_str_name(), EVENT);
        let _ = write!(text, "{}  {event:<27}  {}", time(entry.at), entry.step);
        if entry.attempt > 0 {
            let _ = write!(text, "  attempt {}", entry.attempt);
        }
        if !entry.reason.is_empty() {
            let _ = write!(text, "  {}: {}", entry.reason, entry.message);
        }
        if !entry.actor_id.is_empty() {
            let _ = write!(text, "  by {}: {}", entry.actor_id, entry.comment);
        }
        text.push('\n');
    }
    text
}

fn name<'a>(value: &'a str, prefix: &str) -> &'a str {
    value.strip_prefix(prefix).unwrap_or(value)
}

fn time(at: Option<prost_types::Timestamp>) -> String {
    let at = at.and_then(|at| SystemTime::try_from(at).ok());
    at.map(|at| humantime::format_rfc3339_millis(at).to_string()).unwrap_or_default()
}
