//! A workflow starts with the change that asks for it.

use testkit::TenantId;
use uuid::Uuid;
use workflow::{Definition, Started, Status, WorkflowError};

use crate::house::{Bank, House, State, scripted};

fn definition() -> Definition<Bank, State> {
    Definition::new("greet", 1).then(scripted("greet"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rolled_back_never_started() {
    let house = House::start().await;
    let _worker = house.work([definition()]);
    let id = Uuid::now_v7();
    let mut txn = house.database.begin(house.tenant).await.unwrap();
    let input = State::default();
    house.workflows().start(&mut txn, &definition(), id, &input).await.unwrap();
    txn.rollback().await.unwrap();

    let missing = house.operator.get(house.tenant, id).await;
    assert!(matches!(missing, Err(WorkflowError::NotFound)));
    let started = house.begin_as(&definition(), id, &input).await.unwrap();
    assert_eq!(started, Started::New);
    house.until(id, Status::Completed).await;
    assert_eq!(house.bank.calls(id), ["greet"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_starts_one_workflow_in_its_tenant() {
    let mut house = House::start().await;
    let (id, input) = (Uuid::now_v7(), State::default());
    let started = house.begin_as(&definition(), id, &input).await.unwrap();
    let again = house.begin_as(&definition(), id, &input).await.unwrap();
    assert_eq!((started, again), (Started::New, Started::Before));

    let newer = Definition::new("greet", 2).then(scripted("greet"));
    assert_eq!(house.begin_as(&newer, id, &input).await.unwrap(), Started::Before);
    let other = Definition::new("other", 1).then(scripted("greet"));
    let of_another = house.begin_as(&other, id, &input).await;
    assert!(matches!(of_another, Err(WorkflowError::IdTaken)));
    let input = State { told: Some(1), ..State::default() };
    let with_another_input = house.begin_as(&definition(), id, &input).await;
    assert!(matches!(with_another_input, Err(WorkflowError::IdTaken)));
    house.tenant = TenantId::from(Uuid::now_v7());
    assert_eq!(house.begin_as(&definition(), id, &input).await.unwrap(), Started::New);
}

/// Another service neither sees a workflow nor can take its id.
#[tokio::test(flavor = "multi_thread")]
async fn services_do_not_see_each_others_workflows() {
    let mut house = House::start().await;
    let id = house.begin(&definition()).await;
    house.database = storage::Database::open("payments", &house.storage);

    let taken = house.begin_as(&definition(), id, &State::default()).await;
    assert!(matches!(taken, Err(WorkflowError::IdTaken)));
    let mut txn = house.database.begin(house.tenant).await.unwrap();
    let told = house.workflows().signal(&mut txn, id, "x", Uuid::now_v7(), &1).await;
    assert!(matches!(told, Err(WorkflowError::NotFound)));
    let _worker = house.work([definition()]);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(house.bank.calls(id).is_empty());
}

#[test]
#[should_panic(expected = "two steps named")]
fn two_steps_of_one_name_are_a_mistake() {
    let _ = Definition::new("x", 1).then(scripted("a")).then(scripted("a"));
}
