//! Time, signals and approvals.

use std::time::Duration;

use uuid::Uuid;
use workflow::{
    Definition, Event, Otherwise, Status, Wait, WorkflowError, approval, signal, sleep, sleep_until,
};

use crate::house::{Bank, House, State, actor, scripted};

const HOUR: Duration = Duration::from_hours(1);
/// A moment less than an hour.
const ALMOST: Duration = Duration::from_millis(60 * 60 * 1_000 - 1);

fn cleared() -> Wait<State> {
    signal("cleared", |mut state: State, amount: u32| {
        state.told = Some(amount);
        state
    })
}

fn waiting_for(wait: Wait<State>) -> Definition<Bank, State> {
    Definition::new("wait", 1).then(scripted("ask")).then(wait).then(scripted("go"))
}

/// Longer than any poll, in which nothing must happen.
async fn pass() {
    tokio::time::sleep(Duration::from_millis(150)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_ring_when_the_clock_says_so() {
    let house = House::timeless().await;
    let at = house.clock.now() + 3 * HOUR;
    let definition = || {
        Definition::new("sleep", 1)
            .then(sleep("an hour", HOUR))
            .then(scripted("wake"))
            .then(sleep_until("three hours in", move |_: &State| at))
            .then(sleep_until("past", move |_: &State| at))
            .then(scripted("end"))
    };
    let _worker = house.work([definition()]);
    let id = house.begin(&definition()).await;

    let workflow = house.until(id, Status::Waiting).await;
    assert_eq!(workflow.wait_until, Some(house.clock.now() + HOUR));
    house.clock.advance(ALMOST);
    pass().await;
    assert!(house.bank.calls(id).is_empty(), "not a moment early");
    house.clock.advance(Duration::from_millis(1));
    house.called(id, "wake", 1).await;
    house.until(id, Status::Waiting).await;
    house.clock.advance(2 * HOUR);

    house.until(id, Status::Completed).await;
    assert_eq!(house.bank.calls(id), ["wake", "end"]);
}

/// A timer is not lost with the process that set it.
#[tokio::test(flavor = "multi_thread")]
async fn a_timer_rings_for_whoever_is_there() {
    let house = House::timeless().await;
    let definition =
        || Definition::new("sleep", 1).then(sleep("hour", HOUR)).then(scripted("wake"));
    let worker = house.work([definition()]);
    let id = house.begin(&definition()).await;
    house.until(id, Status::Waiting).await;
    drop(worker);
    house.clock.advance(HOUR);

    let _other = house.work([definition()]);
    house.until(id, Status::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_taken_whether_it_comes_before_or_after_the_wait() {
    for is_early in [true, false] {
        let house = House::start().await;
        let definition = || waiting_for(cleared());
        let worker = (!is_early).then(|| house.work([definition()]));
        let id = house.begin(&definition()).await;
        if !is_early {
            house.until(id, Status::Waiting).await;
        }
        let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
        for (signal, amount) in [(first, 7), (first, 7), (second, 8)] {
            let mut txn = house.database.begin(house.tenant).await.unwrap();
            house.workflows().signal(&mut txn, id, "cleared", signal, &amount).await.unwrap();
            txn.commit().await.unwrap();
            if !is_early {
                break;
            }
        }
        let worker = worker.unwrap_or_else(|| house.work([definition()]));
        house.until(id, Status::Completed).await;
        assert_eq!(house.bank.books().seen.told, Some(7), "the first one counts");
        drop(worker);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_nobody_can_take_is_refused_or_passed_over() {
    let house = House::start().await;
    let definition = || waiting_for(cleared());
    let _worker = house.work([definition()]);
    let id = house.begin(&definition()).await;
    house.until(id, Status::Waiting).await;
    let tell = async |name: &str, payload: &str| {
        let signal = (Uuid::now_v7(), payload.to_owned());
        house.operator.signal(house.tenant, id, name, signal, &actor("told by phone")).await
    };

    for name in ["other", "ask"] {
        assert!(matches!(tell(name, "1").await, Err(WorkflowError::NoSuchStep { .. })), "{name}");
    }
    tell("cleared", "\"seven\"").await.unwrap();
    tell("cleared", "7").await.unwrap();
    house.until(id, Status::Completed).await;
    assert_eq!(house.bank.books().seen.told, Some(7));
    let events = house.events(id).await;
    assert!(events.contains(&(Event::SignalUnreadable, "cleared".into())));
    assert!(matches!(tell("cleared", "8").await, Err(WorkflowError::TooLate { .. })));
}

/// T-34: a person says yes, or no, once it is asked.
#[tokio::test(flavor = "multi_thread")]
async fn an_approval_waits_for_a_person() {
    for (approved, end) in [(true, Status::Completed), (false, Status::Failed)] {
        let house = House::start().await;
        let definition = || waiting_for(approval("limit"));
        let id = house.begin(&definition()).await;
        let decide = async |step: &str, approved| {
            house.operator.decide(house.tenant, id, (step, approved), &actor("limit is fine")).await
        };
        assert!(matches!(decide("limit", true).await, Err(WorkflowError::NotAsked)), "not yet");
        let worker = house.work([definition()]);
        house.until(id, Status::Waiting).await;
        drop(worker);

        assert!(matches!(decide("ask", true).await, Err(WorkflowError::NoSuchStep { .. })));
        decide("limit", approved).await.unwrap();
        let twice = decide("limit", !approved).await;
        assert!(matches!(twice, Err(WorkflowError::NotAsked)), "told already");
        let _worker = house.work([definition()]);
        let workflow = house.until(id, end).await;

        let last = if approved { "go" } else { "undo ask" };
        assert_eq!(house.bank.calls(id).last().unwrap(), last);
        let rejected = workflow.failed().map(|failed| failed.reason.as_str());
        assert_eq!(rejected, (!approved).then_some("APPROVAL_REJECTED"));
    }
}

/// T-34: what happens when nobody answers in time is the author's to say.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_does_what_was_said() {
    for (otherwise, end, last) in [
        (Otherwise::Compensate, Status::Failed, "undo ask"),
        (Otherwise::Continue, Status::Completed, "go"),
        (Otherwise::Park, Status::Parked, "ask"),
    ] {
        let house = House::timeless().await;
        let definition = || waiting_for(cleared().within(HOUR, otherwise));
        let _worker = house.work([definition()]);
        let id = house.begin(&definition()).await;
        house.until(id, Status::Waiting).await;
        house.clock.advance(ALMOST);
        pass().await;
        assert_eq!(house.get(id).await.0.status(), Status::Waiting);

        house.clock.advance(Duration::from_millis(1));
        let workflow = house.until(id, end).await;
        assert_eq!(house.bank.calls(id).last().unwrap(), last);
        let trouble = workflow.failed().or(workflow.halted());
        let reason = trouble.map(|trouble| trouble.reason.as_str());
        let is_told = otherwise != Otherwise::Continue;
        assert_eq!(reason, is_told.then_some("DEADLINE_PASSED"));
    }
}
