//! Random failures at random steps, over the real thing.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;
use workflow::{Definition, Status};

use crate::house::{Bank, Do, House, State, scripted};

const STEPS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn five() -> Definition<Bank, State> {
    STEPS.into_iter().fold(Definition::new("five", 1), |so_far, name| so_far.then(scripted(name)))
}

/// What is to happen to a workflow, and what must come of it.
struct Fate {
    end: Status,
    /// Steps that had or may have had their effect, in order.
    touched: Vec<&'static str>,
}

/// Writes a script for one workflow: attempts that fail, and perhaps a step that fails for good.
fn draw(bank: &Bank, id: Uuid, random: &mut StdRng) -> Fate {
    let mut touched = Vec::new();
    let mut end = Status::Completed;
    for step in STEPS {
        let script = format!("{id}/{step}");
        match random.random_range(0..20) {
            0 => {
                bank.script(&script, &[Do::Refuse]);
                end = Status::Failed;
            }
            // Three attempts are all there are.
            lost @ 1..=6 => {
                let one = if random.random() { Do::LoseAnswer } else { Do::Fail };
                bank.script(&script, &vec![one; if lost == 1 { 3 } else { 2 }]);
                touched.push(step);
                if lost == 1 {
                    end = Status::Failed;
                }
            }
            _ => touched.push(step),
        }
        if end == Status::Failed {
            break;
        }
    }
    for step in &touched {
        let lost = vec![Do::LoseAnswer; random.random_range(0..3)];
        bank.script(&format!("{id}/undo {step}"), &lost);
    }
    Fate { end, touched }
}

/// K-47: of many workflows at once, with two workers, each compensates exactly what it did or may have
/// done, last first; where one failed no effect is left, and where one is done all are there.
#[tokio::test(flavor = "multi_thread")]
async fn compensations_are_what_was_done_in_reverse() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let house = House::start().await;
    let workers = [house.work([five()]), house.work([five()])];
    let mut fates = Vec::new();
    for _ in 0..150 {
        let id = Uuid::now_v7();
        let fate = draw(&house.bank, id, &mut random);
        house.begin_as(&five(), id, &State::default()).await.unwrap();
        fates.push((id, fate));
    }
    for (id, Fate { end, touched }) in fates {
        house.until(id, end).await;
        let mut undone = house.bank.calls(id);
        undone.retain(|call| call.starts_with("undo"));
        undone.dedup();
        let in_effect = |step: &&str| {
            let key = format!("{id}/{step}");
            house.bank.books().effects.contains(&key)
        };
        let left = STEPS.iter().filter(|step| in_effect(step)).count();
        if end == Status::Completed {
            assert_eq!((undone.len(), left), (0, STEPS.len()));
        } else {
            let expected: Vec<_> =
                touched.iter().rev().map(|step| format!("undo {step}")).collect();
            assert_eq!((undone, left), (expected, 0));
        }
    }
    drop(workers);
}
