//! Workflows over real mTLS and a real database, as operators use them.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::{Role, TenantId, UserId};
use contracts::workflows::v1::workflows_service_client::WorkflowsServiceClient;
use contracts::workflows::v1::{
    CancelWorkflowRequest, DecideApprovalRequest, GetWorkflowRequest, GetWorkflowResponse,
    HistoryEvent, ListWorkflowsRequest, ListWorkflowsResponse, ResumeAction, ResumeWorkflowRequest,
    SignalWorkflowRequest, StepKind, WorkflowStatus,
};
use mesh::{Channel, Context};
use prost_types::Value;
use prost_types::value::Kind;
use storage::Database;
use testkit::{Testkit, assert_refused};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;
use workflow::{Config, Definition, Failure, Worker, Workflows, approval, signal, step};

/// Longest wait for anything that should happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nothing that the steps need.
struct Nothing;

/// A loan that a person approves, is paid once its collateral came, and cannot be taken back.
fn lend() -> Definition<Nothing, Option<u64>> {
    Definition::new("loans.lend", 1)
        .then(step("reserve", |_, state, _| async move { Ok(state) }).undo(|_, _, _| async {
            Err(Failure::refused("RESERVE_LOCKED", "the reserve is locked"))
        }))
        .then(approval("committee"))
        .then(signal("collateral", |_, amount| Some(amount)))
}

struct Bank {
    kit: Testkit,
    loans: Database,
}

impl Bank {
    async fn start() -> Self {
        let kit = Testkit::start().await;
        let storage = kit.storage(&["loans", "workflows"]).await;
        let mesh = kit.mesh("workflows");
        let database = Database::open("workflows", &storage);
        let service = workflows::start(workflows::Config {}, &mesh, database, kit.clock());
        kit.serve(&mesh, service).await;
        let loans = Database::open("loans", &storage);
        let config = Config { poll_interval: Duration::from_millis(20), ..Config::default() };
        let worker = Worker::new(loans.clone(), kit.clock(), config).unwrap();
        tokio::spawn(worker.register(lend(), Arc::new(Nothing)).run());
        Self { kit, loans }
    }

    async fn lend(&self) -> String {
        let id = Uuid::now_v7();
        let mut txn = self.loans.begin(TenantId::DEFAULT).await.unwrap();
        let workflows = Workflows::new(self.kit.clock());
        workflows.start(&mut txn, &lend(), id, &None).await.unwrap();
        txn.commit().await.unwrap();
        id.to_string()
    }

    fn client(&self) -> WorkflowsServiceClient<Channel> {
        WorkflowsServiceClient::new(self.kit.channel("gateway", "workflows"))
    }

    fn person(&self, role: Role) -> (UserId, Context) {
        let user = UserId::random();
        (user, self.kit.user_context(user, &[role]))
    }

    fn operator(&self) -> Context {
        self.person(Role::Operator).1
    }

    async fn get(&self, context: &Context, id: &str) -> Result<GetWorkflowResponse, Status> {
        let (mut client, request) = (self.client(), GetWorkflowRequest { id: id.into() });
        let got = context.clone().scope(client.get_workflow(request)).await?;
        Ok(got.into_inner())
    }

    async fn until(&self, id: &str, step: &str, status: WorkflowStatus) -> GetWorkflowResponse {
        let (operator, end) = (self.operator(), Instant::now() + PATIENCE);
        loop {
            let got = self.get(&operator, id).await.unwrap();
            let workflow = got.workflow.as_ref().unwrap();
            if (workflow.step.as_str(), workflow.status()) == (step, status) {
                return got;
            }
            assert!(Instant::now() < end, "{step} {status:?} in vain: {got:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn decide(&self, context: &Context, id: &str, approved: bool) -> Result<(), Status> {
        let request = DecideApprovalRequest {
            id: id.into(),
            step: "committee".into(),
            approved: Some(approved),
            comment: "minutes of Monday".into(),
        };
        context.clone().scope(self.client().decide_approval(request)).await.map(drop)
    }

    async fn resume(
        &self,
        context: &Context,
        id: &str,
        step: &str,
        action: ResumeAction,
    ) -> Result<(), Status> {
        let request = ResumeWorkflowRequest {
            id: id.into(),
            step: step.into(),
            action: action.into(),
            comment: "ticket 7".into(),
        };
        context.clone().scope(self.client().resume_workflow(request)).await.map(drop)
    }

    async fn list(
        &self,
        context: &Context,
        request: ListWorkflowsRequest,
    ) -> Result<ListWorkflowsResponse, Status> {
        let listed = context.clone().scope(self.client().list_workflows(request)).await?;
        Ok(listed.into_inner())
    }
}

/// T-34: approved by a person, told by another system, done; and every act is on record.
#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_approved_and_told_what_it_waits_for() {
    let bank = Bank::start().await;
    let id = bank.lend().await;
    let waiting = bank.until(&id, "committee", WorkflowStatus::Waiting).await.workflow.unwrap();
    let steps: Vec<_> =
        waiting.steps.iter().map(|step| (step.name.as_str(), step.kind())).collect();
    assert_eq!(
        steps,
        [
            ("reserve", StepKind::Step),
            ("committee", StepKind::Approval),
            ("collateral", StepKind::Signal),
        ]
    );
    assert_eq!((waiting.service.as_str(), waiting.version), ("loans", 1));

    let (chair, context) = bank.person(Role::Operator);
    bank.decide(&context, &id, true).await.unwrap();
    let told_already = bank.decide(&context, &id, false).await;
    assert_refused(told_already, Code::FailedPrecondition, "APPROVAL_NOT_ASKED");
    bank.until(&id, "collateral", WorkflowStatus::Waiting).await;
    let payload = Some(Value { kind: Some(Kind::NumberValue(7.0)) });
    let request = SignalWorkflowRequest {
        id: id.clone(),
        name: "collateral".into(),
        signal_id: Uuid::now_v7().to_string(),
        payload,
        comment: String::new(),
    };
    for _ in 0..2 {
        let told = context.clone().scope(bank.client().signal_workflow(request.clone())).await;
        told.unwrap();
    }

    let done = bank.until(&id, "collateral", WorkflowStatus::Completed).await;
    let approved = done.history.iter().find(|entry| entry.event() == HistoryEvent::Approved);
    let approved = approved.unwrap();
    assert_eq!(approved.actor_id, chair.to_string());
    assert_eq!(approved.comment, "minutes of Monday");
    let late = SignalWorkflowRequest { signal_id: Uuid::now_v7().to_string(), ..request };
    let late = context.clone().scope(bank.client().signal_workflow(late)).await;
    assert_refused(late, Code::FailedPrecondition, "TOO_LATE");
}

/// K-48: what needs somebody's hand shows both errors, and is resumed step by step.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_compensation_is_seen_and_skipped() {
    let bank = Bank::start().await;
    let (id, operator) = (bank.lend().await, bank.operator());
    bank.until(&id, "committee", WorkflowStatus::Waiting).await;
    bank.decide(&operator, &id, false).await.unwrap();

    let halted = bank.until(&id, "reserve", WorkflowStatus::ManualIntervention).await;
    let workflow = halted.workflow.unwrap();
    let (halt, failure) = (workflow.halt.unwrap(), workflow.failure.unwrap());
    assert_eq!((halt.step.as_str(), halt.reason.as_str()), ("reserve", "RESERVE_LOCKED"));
    assert_eq!(halt.message, "the reserve is locked");
    assert_eq!(
        (failure.step.as_str(), failure.reason.as_str()),
        ("committee", "APPROVAL_REJECTED")
    );
    let elsewhere = bank.resume(&operator, &id, "committee", ResumeAction::Skip).await;
    let at = elsewhere.as_ref().unwrap_err().get_details_error_info().unwrap().metadata;
    assert_eq!(at["step"], "reserve");
    assert_refused(elsewhere, Code::FailedPrecondition, "STEP_CHANGED");
    bank.resume(&operator, &id, "reserve", ResumeAction::Skip).await.unwrap();

    bank.until(&id, "committee", WorkflowStatus::Failed).await;
    let again = bank.resume(&operator, &id, "reserve", ResumeAction::Retry).await;
    assert_refused(again, Code::FailedPrecondition, "WORKFLOW_NOT_HALTED");
    let request = CancelWorkflowRequest { id, comment: "too late".into() };
    let cancelled = operator.scope(bank.client().cancel_workflow(request)).await;
    assert_refused(cancelled, Code::FailedPrecondition, "TOO_LATE");
}

/// Staff look, operators and administrators act, customers do neither, and nobody sees another tenant.
#[tokio::test(flavor = "multi_thread")]
async fn roles_and_tenants_decide_who_may_do_what() {
    let bank = Bank::start().await;
    let id = bank.lend().await;
    bank.until(&id, "committee", WorkflowStatus::Waiting).await;
    let request = || CancelWorkflowRequest { id: id.clone(), comment: "no".into() };
    for role in [Role::Customer, Role::Viewer, Role::Analyst] {
        let (_, context) = bank.person(role);
        let seen = bank.get(&context, &id).await;
        if role == Role::Customer {
            assert_refused(seen, Code::PermissionDenied, "ROLE_MISSING");
        } else {
            seen.unwrap();
        }
        let acted = context.scope(bank.client().cancel_workflow(request())).await;
        assert_refused(acted, Code::PermissionDenied, "ROLE_MISSING");
    }
    let mut claims = bank.kit.claims(UserId::random(), &[Role::Admin]);
    claims.tenant = TenantId::from(Uuid::now_v7());
    let stranger = bank.kit.context(&claims);
    assert_refused(bank.get(&stranger, &id).await, Code::NotFound, "WORKFLOW_NOT_FOUND");
    let acted = stranger.clone().scope(bank.client().cancel_workflow(request())).await;
    assert_refused(acted, Code::NotFound, "WORKFLOW_NOT_FOUND");
    let listed = bank.list(&stranger, ListWorkflowsRequest::default()).await.unwrap();
    assert!(listed.workflows.is_empty());

    // An administrator turns it back; its only compensation needs a hand.
    let (_, admin) = bank.person(Role::Admin);
    admin.scope(bank.client().cancel_workflow(request())).await.unwrap();
    bank.until(&id, "reserve", WorkflowStatus::ManualIntervention).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_page_by_page_under_their_own_filters() {
    let bank = Bank::start().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, bank.lend().await);
    }
    for id in &ids {
        bank.until(id, "committee", WorkflowStatus::Waiting).await;
    }
    let (operator, mut found, mut token) = (bank.operator(), Vec::new(), String::new());
    let page = |page_token: &str, status: WorkflowStatus| ListWorkflowsRequest {
        status: vec![status.into()],
        definition: "loans.lend".into(),
        service: "loans".into(),
        page_size: 2,
        page_token: page_token.into(),
        ..Default::default()
    };
    loop {
        let request = page(&token, WorkflowStatus::Waiting);
        let listed = bank.list(&operator, request).await.unwrap();
        assert!(listed.workflows.len() <= 2);
        found.extend(listed.workflows.into_iter().map(|workflow| workflow.id));
        if listed.next_page_token.is_empty() {
            break;
        }
        let other = page(&listed.next_page_token, WorkflowStatus::Failed);
        let misused = bank.list(&operator, other).await;
        assert_refused(misused, Code::InvalidArgument, "INVALID_PAGE_TOKEN");
        token = listed.next_page_token;
    }
    assert_eq!(found, ids);
    let failed = bank.list(&operator, page("", WorkflowStatus::Failed)).await.unwrap();
    assert!(failed.workflows.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_rule_is_refused_by_its_field() {
    let bank = Bank::start().await;
    let (id, operator) = (bank.lend().await, bank.operator());
    let resume =
        |id: &str, step: &str, action: ResumeAction, comment: &str| ResumeWorkflowRequest {
            id: id.into(),
            step: step.into(),
            action: action.into(),
            comment: comment.into(),
        };
    for (request, field) in [
        (resume("me", "reserve", ResumeAction::Retry, "x"), "id"),
        (resume(&id, "", ResumeAction::Retry, "x"), "step"),
        (resume(&id, "reserve", ResumeAction::Unspecified, "x"), "action"),
        (resume(&id, "reserve", ResumeAction::Retry, ""), "comment"),
        (resume(&id, "reserve", ResumeAction::Retry, "\0"), "comment"),
    ] {
        let refused = operator.clone().scope(bank.client().resume_workflow(request)).await;
        let status = refused.as_ref().unwrap_err();
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field);
        assert_refused(refused, Code::InvalidArgument, "INVALID_FIELD");
    }
    let undecided = DecideApprovalRequest {
        id: id.clone(),
        step: "committee".into(),
        approved: None,
        comment: "hm".into(),
    };
    let refused = operator.clone().scope(bank.client().decide_approval(undecided)).await;
    assert_refused(refused, Code::InvalidArgument, "INVALID_FIELD");
    let nobody = bank.get(&operator, &Uuid::now_v7().to_string()).await;
    assert_refused(nobody, Code::NotFound, "WORKFLOW_NOT_FOUND");
    let unknown = SignalWorkflowRequest {
        id,
        name: "weather".into(),
        signal_id: Uuid::now_v7().to_string(),
        payload: None,
        comment: String::new(),
    };
    let refused = operator.scope(bank.client().signal_workflow(unknown)).await;
    assert_refused(refused, Code::InvalidArgument, "NO_SUCH_STEP");
}
