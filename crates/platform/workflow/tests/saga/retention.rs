//! What ended long ago goes; whatever may go on stays.

use std::time::{Duration, Instant};

use storage::Database;
use workflow::{Definition, Otherwise, Status, WorkflowError, signal};

use crate::house::{Bank, Do, House, PATIENCE, State, scripted};

const DAY: Duration = Duration::from_hours(24);

fn plain() -> Definition<Bank, State> {
    Definition::new("plain", 1).then(scripted("one")).then(scripted("two"))
}

fn asking() -> Definition<Bank, State> {
    let told = signal("told", |state: State, (): ()| state);
    Definition::new("asking", 1).then(told).then(scripted("end").otherwise(Otherwise::Park))
}

async fn count(house: &House, what: &'static str) -> i64 {
    let operators = Database::open("workflows", &house.storage);
    let mut txn = operators.begin(house.tenant).await.unwrap();
    sqlx::query_scalar(what).fetch_one(&mut *txn).await.unwrap()
}

async fn tell(house: &House, id: uuid::Uuid) {
    let mut txn = house.database.begin(house.tenant).await.unwrap();
    let signal = uuid::Uuid::now_v7();
    house.workflows().signal(&mut txn, id, "told", signal, &()).await.unwrap();
    txn.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_long_ago_is_deleted_with_its_history_and_signals() {
    let house = House::timeless().await;
    let worker = house.work([plain(), asking()]);
    let done = house.begin(&asking()).await;
    tell(&house, done).await;
    house.until(done, Status::Completed).await;
    // None of these has ended, however long it stands.
    let waiting = house.begin(&asking()).await;
    house.until(waiting, Status::Waiting).await;
    house.bank.script("end", &[Do::Refuse]);
    let parked = house.begin(&asking()).await;
    tell(&house, parked).await;
    house.until(parked, Status::Parked).await;
    house.bank.script("two", &[Do::Refuse]);
    house.bank.script("undo one", &[Do::Refuse]);
    let stuck = house.begin(&plain()).await;
    house.until(stuck, Status::ManualIntervention).await;
    drop(worker);
    house.clock.advance(89 * DAY);
    let worker = house.work([plain()]);
    let recent = house.begin(&plain()).await;
    house.until(recent, Status::Completed).await;
    drop(worker);

    // Housekeeping begins with a worker, also one that knows none of them.
    house.clock.advance(2 * DAY);
    let _worker = house.work([]);
    let end = Instant::now() + PATIENCE;
    while house.operator.get(house.tenant, done).await.is_ok() {
        assert!(Instant::now() < end, "what ended long ago is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(matches!(house.operator.get(house.tenant, done).await, Err(WorkflowError::NotFound)));
    for (id, status) in [
        (waiting, Status::Waiting),
        (parked, Status::Parked),
        (stuck, Status::ManualIntervention),
        (recent, Status::Completed),
    ] {
        let (workflow, history) = house.get(id).await;
        assert_eq!(workflow.status(), status);
        assert!(!history.is_empty());
    }
    assert_eq!(
        count(&house, "SELECT count(*) FROM workflow.signals").await,
        1,
        "that of the parked one"
    );
    let orphans = "SELECT count(*) FROM workflow.history WHERE workflow_id NOT IN (SELECT id FROM workflow.workflows)";
    assert_eq!(count(&house, orphans).await, 0);
}
