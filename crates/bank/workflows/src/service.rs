//! The gRPC face of workflows: decode, call, encode.

use auth::TenantId;
use contracts::workflows::v1 as pb;
use contracts::workflows::v1::workflows_service_server::WorkflowsService;
use mesh::Context;
use tonic::{Request, Response, Status};
use uuid::Uuid;
use workflow::{Actor, Cursor, Operator};

use crate::error::CallError;
use crate::{page, wire};

const PAGE_SIZE_DEFAULT: usize = 50;

/// Serves [`Operator`].
pub(crate) struct Workflows {
    pub(crate) operator: Operator,
}

#[tonic::async_trait]
impl WorkflowsService for Workflows {
    #[tracing::instrument(skip_all, fields(rpc = "workflows.list_workflows"))]
    async fn list_workflows(
        &self,
        request: Request<pb::ListWorkflowsRequest>,
    ) -> Result<Response<pb::ListWorkflowsResponse>, Status> {
        let request = mesh::valid(request)?;
        let tenant = Context::principal()?.tenant;
        let filter = wire::filter(&request)?;
        let cursor = page::cursor(&request.page_token, &filter)?;
        let size = mesh::wire::page_size(request.page_size, PAGE_SIZE_DEFAULT);
        // One more shows whether there is another page.
        let limit = i64::try_from(size + 1).unwrap_or(i64::MAX);
        let found = self.operator.list(tenant, &filter, cursor, limit).await;
        let mut found = found.map_err(CallError::from)?;
        let has_more = found.len() > size;
        found.truncate(size);
        let last = found.last().filter(|_| has_more);
        let next = last.map(|last| Cursor { created_at: last.created_at, id: last.id });
        Ok(Response::new(pb::ListWorkflowsResponse {
            workflows: found.iter().map(wire::workflow).collect(),
            next_page_token: next.map(|next| page::token(next, &filter)).unwrap_or_default(),
        }))
    }

    #[tracing::instrument(skip_all, fields(rpc = "workflows.get_workflow"))]
    async fn get_workflow(
        &self,
        request: Request<pb::GetWorkflowRequest>,
    ) -> Result<Response<pb::GetWorkflowResponse>, Status> {
        let id = mesh::wire::id("id", &mesh::valid(request)?.id)?;
        let tenant = Context::principal()?.tenant;
        let (workflow, history) = self.operator.get(tenant, id).await.map_err(CallError::from)?;
        Ok(Response::new(pb::GetWorkflowResponse {
            workflow: Some(wire::workflow(&workflow)),
            history: history.into_iter().map(wire::entry).collect(),
        }))
    }

    #[tracing::instrument(skip_all, fields(rpc = "workflows.signal_workflow"))]
    async fn signal_workflow(
        &self,
        request: Request<pb::SignalWorkflowRequest>,
    ) -> Result<Response<pb::SignalWorkflowResponse>, Status> {
        let request = mesh::valid(request)?;
        let signal: Uuid = mesh::wire::id("signal_id", &request.signal_id)?;
        let signal = (signal, wire::payload(request.payload)?);
        let (tenant, id, actor) = act(&request.id, request.comment)?;
        let told = self.operator.signal(tenant, id, &request.name, signal, &actor).await;
        let workflow = Some(wire::workflow(&told.map_err(CallError::from)?));
        Ok(Response::new(pb::SignalWorkflowResponse { workflow }))
    }

    #[tracing::instrument(skip_all, fields(rpc = "workflows.decide_approval"))]
    async fn decide_approval(
        &self,
        request: Request<pb::DecideApprovalRequest>,
    ) -> Result<Response<pb::DecideApprovalResponse>, Status> {
        let request = mesh::valid(request)?;
        let decision = (request.step.as_str(), request.approved());
        let (tenant, id, actor) = act(&request.id, request.comment.clone())?;
        let decided = self.operator.decide(tenant, id, decision, &actor).await;
        let workflow = Some(wire::workflow(&decided.map_err(CallError::from)?));
        Ok(Response::new(pb::DecideApprovalResponse { workflow }))
    }

    #[tracing::instrument(skip_all, fields(rpc = "workflows.resume_workflow"))]
    async fn resume_workflow(
        &self,
        request: Request<pb::ResumeWorkflowRequest>,
    ) -> Result<Response<pb::ResumeWorkflowResponse>, Status> {
        let request = mesh::valid(request)?;
        let rule = "must be an action";
        let how = wire::resume(request.action())
            .ok_or(CallError::InvalidField { field: "action", rule })?;
        let (tenant, id, actor) = act(&request.id, request.comment)?;
        let resumed = self.operator.resume(tenant, id, &request.step, how, &actor).await;
        let workflow = Some(wire::workflow(&resumed.map_err(CallError::from)?));
        Ok(Response::new(pb::ResumeWorkflowResponse { workflow }))
    }

    #[tracing::instrument(skip_all, fields(rpc = "workflows.cancel_workflow"))]
    async fn cancel_workflow(
        &self,
        request: Request<pb::CancelWorkflowRequest>,
    ) -> Result<Response<pb::CancelWorkflowResponse>, Status> {
        let request = mesh::valid(request)?;
        let (tenant, id, actor) = act(&request.id, request.comment)?;
        let cancelled = self.operator.cancel(tenant, id, &actor).await;
        let workflow = Some(wire::workflow(&cancelled.map_err(CallError::from)?));
        Ok(Response::new(pb::CancelWorkflowResponse { workflow }))
    }
}

/// In whose name the call acts, on which workflow, and why.
fn act(id: &str, comment: String) -> Result<(TenantId, Uuid, Actor), Status> {
    let principal = Context::principal()?;
    let comment = wire::comment(comment)?;
    let id = mesh::wire::id("id", id)?;
    Ok((principal.tenant, id, Actor { user: principal.user, comment }))
}
