//! A workflow is continued by the version that it started with.

use workflow::{Definition, Event, Resume, Status, WorkflowError, approval};

use crate::house::{Bank, House, State, actor, scripted};

fn first() -> Definition<Bank, State> {
    Definition::new("grow", 1).then(approval("ask")).then(scripted("old"))
}

fn second() -> Definition<Bank, State> {
    Definition::new("grow", 2).then(approval("ask")).then(scripted("new")).then(scripted("more"))
}

async fn approve(house: &House, id: uuid::Uuid) {
    house.operator.decide(house.tenant, id, ("ask", true), &actor("yes")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_run_side_by_side() {
    let house = House::start().await;
    let worker = house.work([first()]);
    let old = house.begin(&first()).await;
    house.until(old, Status::Waiting).await;
    drop(worker);
    let _worker = house.work([first(), second()]);
    let new = house.begin(&second()).await;
    house.until(new, Status::Waiting).await;

    for id in [old, new] {
        approve(&house, id).await;
        house.until(id, Status::Completed).await;
    }
    assert_eq!(house.bank.calls(old), ["old"]);
    assert_eq!(house.bank.calls(new), ["new", "more"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_whose_version_is_gone_is_parked_until_it_is_back() {
    let house = House::start().await;
    let id = house.begin(&first()).await;
    let worker = house.work([second()]);

    let workflow = house.until(id, Status::Parked).await;
    let halted = workflow.halted().unwrap();
    assert_eq!(halted.reason, "DEFINITION_UNKNOWN");
    assert_eq!(halted.message, "version 1 of grow is not registered");
    let skip = house.operator.resume(house.tenant, id, "ask", Resume::Skip, &actor("x")).await;
    assert!(matches!(skip, Err(WorkflowError::NotSkippable)));
    drop(worker);

    let _worker = house.work([second(), first()]);
    house.until(id, Status::Waiting).await;
    approve(&house, id).await;
    house.until(id, Status::Completed).await;
    assert_eq!(house.bank.calls(id), ["old"]);
    assert!(house.events(id).await.contains(&(Event::Resumed, "ask".into())));
}

/// A worker that knows the version is about; one that does not leaves the workflow to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_process_leaves_older_workflows_to_older_ones() {
    let house = House::start().await;
    let newer = house.work([second()]);
    let older = house.work([first()]);
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(house.begin(&first()).await);
    }
    for id in ids {
        house.until(id, Status::Waiting).await;
        assert!(!house.events(id).await.iter().any(|(event, _)| *event == Event::Parked));
    }
    drop((newer, older));
}

/// Other steps under the same version are a mistake that is noticed.
#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_whose_steps_were_changed_is_parked() {
    let house = House::start().await;
    let id = house.begin(&first()).await;
    let changed = Definition::new("grow", 1).then(scripted("ask")).then(scripted("old"));
    let worker = house.work([changed]);

    let workflow = house.until(id, Status::Parked).await;
    assert_eq!(workflow.halted().unwrap().reason, "DEFINITION_CHANGED");
    assert!(house.bank.calls(id).is_empty());
    drop(worker);
    let _worker = house.work([first()]);
    house.operator.resume(house.tenant, id, "ask", Resume::Retry, &actor("fixed")).await.unwrap();
    house.until(id, Status::Waiting).await;
}

/// A state that the code cannot read leaves the workflow as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_whose_state_cannot_be_read_is_parked() {
    let house = House::start().await;
    let id = uuid::Uuid::now_v7();
    let mut txn = house.database.begin(house.tenant).await.unwrap();
    let other: Definition<Bank, String> = Definition::new("grow", 1)
        .then(approval("ask"))
        .then(workflow::step("old", |_, state: String, _| async { Ok(state) }));
    let input = "secret".to_owned();
    house.workflows().start(&mut txn, &other, id, &input).await.unwrap();
    txn.commit().await.unwrap();
    let _worker = house.work([first()]);
    house.until(id, Status::Waiting).await;
    approve(&house, id).await;

    let workflow = house.until(id, Status::Parked).await;
    let halted = workflow.halted().unwrap();
    assert_eq!(halted.reason, "STATE_UNREADABLE");
    assert!(!halted.message.contains("secret"), "{}", halted.message);
}
