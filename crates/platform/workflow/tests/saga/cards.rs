//! K-46: a virtual card is issued. Reserve the balance (accounts), create the card (cards), record the
//! transaction (ledger), send the confirmation (notifications).

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use workflow::{Definition, Event, Resume, Retry, Status, step};

use crate::house::{Bank, Do, House, PATIENCE, State, actor, scripted};

fn issue_card() -> Definition<Bank, State> {
    let quickly = Retry::times(3).waiting(Duration::from_millis(1), Duration::from_millis(2));
    Definition::new("cards.issue", 1)
        .then(step("reserve_balance", Bank::step).undo(Bank::undo).retry(quickly))
        .then(step("create_virtual_card", Bank::step).undo(Bank::undo).retry(quickly))
        .then(step("record_transaction", Bank::step).undo(Bank::undo).retry(quickly))
        .then(step("send_confirmation", Bank::step).retry(quickly))
}

/// K-46
#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_issued_step_by_step() {
    let house = House::start().await;
    let _worker = house.work([issue_card()]);

    let id = house.begin(&issue_card()).await;
    let workflow = house.until(id, Status::Completed).await;

    let steps =
        ["reserve_balance", "create_virtual_card", "record_transaction", "send_confirmation"];
    assert_eq!(house.bank.calls(id), steps);
    assert_eq!(house.bank.books().seen.done, steps[..3], "each sees what those before it did");
    let done = steps.map(|step| (Event::StepDone, step.to_owned()));
    assert_eq!(house.events(id).await[1..], done);
    assert!(workflow.ended_at.is_some() && workflow.failed().is_none());
}

/// K-47: the card is refused, so the balance is released.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_card_releases_the_balance() {
    let house = House::start().await;
    house.bank.script("create_virtual_card", &[Do::Refuse]);
    let _worker = house.work([issue_card()]);

    let id = house.begin(&issue_card()).await;
    let workflow = house.until(id, Status::Failed).await;

    let calls = ["reserve_balance", "create_virtual_card", "undo reserve_balance"];
    assert_eq!(house.bank.calls(id), calls);
    assert!(house.bank.books().effects.is_empty());
    let failed = workflow.failed().unwrap();
    assert_eq!((failed.step.as_str(), failed.reason.as_str()), ("create_virtual_card", "NEVER"));
}

/// K-47: compensations run in reverse order.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_failure_undoes_all_in_reverse_order() {
    let house = House::start().await;
    house.bank.script("send_confirmation", &[Do::Refuse]);
    house.bank.script("undo create_virtual_card", &[Do::Fail, Do::LoseAnswer]);
    let _worker = house.work([issue_card()]);

    let id = house.begin(&issue_card()).await;
    house.until(id, Status::Failed).await;

    let undone = [
        "undo record_transaction",
        "undo create_virtual_card",
        "undo create_virtual_card",
        "undo create_virtual_card",
        "undo reserve_balance",
    ];
    assert_eq!(house.bank.calls(id)[4..], undone);
    assert!(house.bank.books().effects.is_empty());
}

/// A step whose answer never came may have had its effect: it is compensated too.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_in_doubt_is_undone_with_the_others() {
    let house = House::start().await;
    house.bank.script("create_virtual_card", &[Do::Panic, Do::LoseAnswer, Do::Fail]);
    let _worker = house.work([issue_card()]);

    let id = house.begin(&issue_card()).await;
    house.until(id, Status::Failed).await;

    assert_eq!(house.bank.calls(id)[4..], ["undo create_virtual_card", "undo reserve_balance"]);
    assert!(house.bank.books().effects.is_empty(), "the card that nobody heard of is gone");
    let (_, history) = house.get(id).await;
    let attempts: Vec<_> = history[2..5]
        .iter()
        .map(|entry| (entry.event, entry.attempt, entry.reason.as_str()))
        .collect();
    assert_eq!(
        attempts,
        [
            (Event::AttemptFailed, 1, "STEP_PANICKED"),
            (Event::AttemptFailed, 2, "LOST"),
            (Event::StepFailed, 3, "LATER"),
        ]
    );
}

/// K-48: a failed compensation needs somebody's hand; it names the step, the error of the compensation
/// and the original error, and shows in a metric.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_compensation_waits_for_an_operator() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let house = House::of("issuing").await;
    house.bank.script("record_transaction", &[Do::Refuse]);
    house.bank.script("undo create_virtual_card", &[Do::Refuse, Do::Fail, Do::Fail, Do::Fail]);
    let _worker = house.work([issue_card()]);

    let id = house.begin(&issue_card()).await;
    let workflow = house.until(id, Status::ManualIntervention).await;

    let (halted, failed) = (workflow.halted().unwrap(), workflow.failed().unwrap());
    assert_eq!((halted.step.as_str(), halted.reason.as_str()), ("create_virtual_card", "NEVER"));
    assert_eq!((failed.step.as_str(), failed.reason.as_str()), ("record_transaction", "NEVER"));
    let alert = "malha_workflow_manual_intervention{service=\"issuing\"} 1";
    let shown = async {
        while !metrics.render().contains(alert) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, shown).await.expect("the metric shows it");

    // Tried again it fails again; then somebody deletes the card by hand.
    let (tenant, step) = (house.tenant, "create_virtual_card");
    let again = actor("the card service is back");
    house.operator.resume(tenant, id, step, Resume::Retry, &again).await.unwrap();
    house.called(id, "undo create_virtual_card", 4).await;
    house.until(id, Status::ManualIntervention).await;
    let by_hand = actor("deleted by hand, ticket 7");
    house.operator.resume(tenant, id, step, Resume::Skip, &by_hand).await.unwrap();

    house.until(id, Status::Failed).await;
    assert_eq!(house.bank.calls(id).last().unwrap(), "undo reserve_balance");
    let (_, history) = house.get(id).await;
    let skipped = history.iter().find(|entry| entry.event == Event::Skipped).unwrap();
    assert_eq!(skipped.actor, Some(by_hand.user));
    assert_eq!(skipped.comment, "deleted by hand, ticket 7");
}

/// What must not be undone any more is left to an operator; what is not needed is left out.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_says_what_its_failure_means() {
    use workflow::Otherwise::{Continue, Park};
    let house = House::start().await;
    let definition = || {
        Definition::new("cards.ship", 1)
            .then(scripted("print").otherwise(Park))
            .then(scripted("send_confirmation").otherwise(Continue))
            .then(scripted("close"))
    };
    house.bank.script("print", &[Do::Refuse]);
    house.bank.script("send_confirmation", &[Do::Refuse]);
    let _worker = house.work([definition()]);

    let id = house.begin(&definition()).await;
    let workflow = house.until(id, Status::Parked).await;
    assert_eq!(workflow.halted().unwrap().step, "print");
    let paper = actor("there is paper again");
    house.operator.resume(house.tenant, id, "print", Resume::Retry, &paper).await.unwrap();

    house.until(id, Status::Completed).await;
    assert_eq!(house.bank.calls(id), ["print", "print", "send_confirmation", "close"]);
}

/// Calls that a step makes carry its key and the story's correlation id.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_runs_in_the_context_of_its_workflow() {
    async fn look(
        _: Arc<Bank>,
        mut state: State,
        call: workflow::Call,
    ) -> Result<State, workflow::Failure> {
        let context = mesh::Context::current()?;
        assert_eq!(context.idempotency_key.unwrap().as_ref(), call.key().as_str());
        assert_eq!(context.tenant, call.tenant());
        state.done.push(context.correlation_id.to_string());
        Ok(state)
    }
    let house = House::start().await;
    let definition = || Definition::new("look", 1).then(step("look", look)).then(scripted("see"));
    let _worker = house.work([definition()]);
    let request = mesh::Context::system(house.tenant);

    let id = request.clone().scope(house.begin(&definition())).await;
    house.until(id, Status::Completed).await;

    assert_eq!(house.bank.books().seen.done, [request.correlation_id.to_string()]);
}
