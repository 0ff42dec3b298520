//! What operators do.

use std::time::Duration;

use uuid::Uuid;
use workflow::{Cursor, Definition, Event, Filter, Resume, Status, WorkflowError, approval, sleep};

use crate::house::{Bank, Do, House, State, actor, scripted};

fn definition() -> Definition<Bank, State> {
    Definition::new("turn", 1)
        .then(scripted("first"))
        .then(scripted("second").timeout(Duration::from_millis(400)))
        .then(approval("ask"))
        .then(scripted("third"))
}

/// A cancelled workflow finishes the step at hand, goes no further, and undoes what it did.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_workflow_turns_back_after_the_step_at_hand() {
    let house = House::start().await;
    house.bank.script("second", &[Do::Hang]);
    let _worker = house.work([definition()]);
    let id = house.begin(&definition()).await;
    house.called(id, "second", 1).await;

    let sorry = actor("the customer called");
    house.operator.cancel(house.tenant, id, &sorry).await.unwrap();
    house.operator.cancel(house.tenant, id, &sorry).await.unwrap();
    let workflow = house.until(id, Status::Cancelled).await;

    // It was in doubt.
    let calls = ["first", "second", "undo second", "undo first"];
    assert_eq!(house.bank.calls(id), calls);
    let (_, history) = house.get(id).await;
    let requests: Vec<_> =
        history.iter().filter(|entry| entry.event == Event::CancelRequested).collect();
    assert_eq!(requests.len(), 1, "a repeat is none");
    assert_eq!(requests[0].actor, Some(sorry.user));
    assert_eq!(requests[0].comment, "the customer called");
    let repeat = house.operator.cancel(house.tenant, id, &sorry).await.unwrap();
    assert_eq!(repeat.updated_at, workflow.updated_at);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_workflow_turns_back_at_once() {
    let house = House::start().await;
    let _worker = house.work([definition()]);
    let id = house.begin(&definition()).await;
    house.until(id, Status::Waiting).await;

    house.operator.cancel(house.tenant, id, &actor("no")).await.unwrap();
    let workflow = house.until(id, Status::Cancelled).await;

    assert_eq!(house.bank.calls(id)[2..], ["undo second", "undo first"]);
    assert_eq!(workflow.failed().unwrap().reason, "CANCELLED");
    assert!(house.events(id).await.contains(&(Event::TurnedBack, "ask".into())));
    assert!(workflow.wait_until.is_none() && workflow.due_at.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_or_turned_back_cannot_be_cancelled() {
    let house = House::start().await;
    house.bank.script("second", &[Do::Refuse]);
    house.bank.script("undo first", &[Do::Refuse]);
    let _worker = house.work([definition()]);
    let id = house.begin(&definition()).await;
    house.until(id, Status::ManualIntervention).await;
    let who = actor("x");
    let (operator, tenant) = (&house.operator, house.tenant);

    let refused = operator.cancel(tenant, id, &who).await;
    assert!(matches!(refused, Err(WorkflowError::TooLate { .. })));
    let elsewhere = operator.resume(tenant, id, "second", Resume::Skip, &who).await;
    assert!(matches!(elsewhere, Err(WorkflowError::StepChanged { step }) if step == "first"));
    operator.resume(tenant, id, "first", Resume::Retry, &who).await.unwrap();
    house.until(id, Status::Failed).await;
    let refused = operator.cancel(tenant, id, &who).await;
    assert!(matches!(refused, Err(WorkflowError::TooLate { .. })));
    let refused = operator.resume(tenant, id, "first", Resume::Retry, &who).await;
    assert!(matches!(refused, Err(WorkflowError::NotHalted { .. })));
}

/// A double click skips one compensation, not two.
#[tokio::test(flavor = "multi_thread")]
async fn two_operators_at_once_skip_one_compensation() {
    let house = House::start().await;
    house.bank.script("undo second", &[Do::Refuse]);
    house.bank.script("undo first", &[Do::Refuse]);
    let worker = house.work([definition()]);
    let id = house.begin(&definition()).await;
    house.until(id, Status::Waiting).await;
    house.operator.decide(house.tenant, id, ("ask", false), &actor("no")).await.unwrap();
    house.until(id, Status::ManualIntervention).await;
    drop(worker);

    let skip = || async {
        house.operator.resume(house.tenant, id, "second", Resume::Skip, &actor("done")).await
    };
    let (one, other) = tokio::join!(skip(), skip());
    assert_eq!(usize::from(one.is_ok()) + usize::from(other.is_ok()), 1);
    let _worker = house.work([definition()]);
    let workflow = house.until(id, Status::ManualIntervention).await;
    assert_eq!(workflow.step(), "first");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_go_on_where_they_stopped() {
    let house = House::timeless().await;
    let sleeper = || Definition::new("sleep", 1).then(sleep("hour", Duration::from_hours(1)));
    let other = || Definition::new("other", 1).then(scripted("one"));
    let _worker = house.work([sleeper(), other()]);
    let mut sleepers = Vec::new();
    for _ in 0..5 {
        sleepers.push(house.begin(&sleeper()).await);
        house.clock.advance(Duration::from_secs(1));
    }
    let done = house.begin(&other()).await;
    house.until(done, Status::Completed).await;
    for id in &sleepers {
        house.until(*id, Status::Waiting).await;
    }
    let list = async |filter: &Filter, cursor, limit| -> Vec<Uuid> {
        let found = house.operator.list(house.tenant, filter, cursor, limit).await.unwrap();
        found.into_iter().map(|workflow| workflow.id).collect()
    };
    let newest_first: Vec<_> = sleepers.iter().rev().copied().collect();

    let waiting = Filter { statuses: vec![Status::Waiting], ..Filter::default() };
    let of_one = Filter { definition: Some("sleep".into()), ..Filter::default() };
    for filter in [waiting, of_one] {
        assert_eq!(list(&filter, None, 10).await, newest_first);
        assert_eq!(list(&filter, None, 2).await, newest_first[..2]);
        let (second, _) = house.get(newest_first[1]).await;
        let cursor = Cursor { created_at: second.created_at, id: second.id };
        assert_eq!(list(&filter, Some(cursor), 10).await, newest_first[2..]);
    }
    let elsewhere = Filter { owner: Some("payments".into()), ..Filter::default() };
    assert!(list(&elsewhere, None, 10).await.is_empty());
    let (third, _) = house.get(sleepers[2]).await;
    let from = Filter { created_from: Some(third.created_at), ..Filter::default() };
    assert_eq!(list(&from, None, 10).await.len(), 4);
    let before = Filter { created_before: Some(third.created_at), ..Filter::default() };
    assert_eq!(list(&before, None, 10).await.len(), 2);
}
