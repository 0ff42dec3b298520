//! Every transition of the table, and random walks through it.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn progress(status: Status) -> Progress {
    let trouble =
        |step: &str| Trouble { step: step.into(), reason: "WHY".into(), message: "because".into() };
    let turned = matches!(
        status,
        Status::Compensating | Status::Failed | Status::Cancelled | Status::ManualIntervention
    );
    let ended = status.is_end();
    Progress {
        status,
        steps: ["a", "b", "c"].map(str::to_owned).into(),
        position: if status == Status::Completed { 3 } else { 2 },
        attempts: 0,
        undo: if ended { vec![] } else { vec![0, 1] },
        failed: turned.then(|| trouble("c")),
        halted: status.is_halted().then(|| trouble("b")),
        cancelled: status == Status::Cancelled,
    }
}

fn rules(attempts_max: u32, has_undo: bool, otherwise: Otherwise) -> Rules {
    Rules { attempts_max, has_undo, otherwise }
}

fn again() -> Failure {
    Failure::again("LATER", "not now")
}

fn refused() -> Failure {
    Failure::refused("NEVER", "no")
}

/// Status, position and what is left to compensate.
fn at(progress: &Progress) -> (Status, usize, &[usize]) {
    (progress.status, progress.position, &progress.undo)
}

#[test]
fn a_step_that_is_done_leads_to_the_next_and_the_last_one_to_the_end() {
    for from in [Status::Running, Status::Waiting] {
        let mut now = Progress { position: 0, undo: vec![], attempts: 2, ..progress(from) };
        now.done(true);
        assert_eq!((at(&now), now.attempts), ((Status::Running, 1, &[0][..]), 0));
        now.done(false);
        assert_eq!(at(&now), (Status::Running, 2, &[0][..]), "nothing of it to compensate");
        now.done(true);
        assert_eq!(at(&now), (Status::Completed, 3, &[0, 2][..]));
        assert_eq!(now.task(), None);
    }
}

/// What each failure of a step leads to, under each rule.
#[test]
fn failures_of_a_step() {
    use Otherwise::{Compensate, Continue, Park};
    use Verdict::{GivenUp, TryAgain};
    let unreadable = || Failure::unreadable(&serde_json::from_str::<u8>("x").unwrap_err());
    let undoing = Status::Compensating;
    for (failure, attempts, rules, verdict, expected) in [
        // Tried again, whatever comes after that.
        (again(), 0, rules(3, true, Compensate), TryAgain, (Status::Running, 2, &[0, 1][..])),
        (again(), 1, rules(3, true, Park), TryAgain, (Status::Running, 2, &[0, 1])),
        // Given up: in doubt, so it is compensated too.
        (again(), 2, rules(3, true, Compensate), GivenUp, (undoing, 2, &[0, 1, 2])),
        (again(), 0, rules(1, true, Compensate), GivenUp, (undoing, 2, &[0, 1, 2])),
        (again(), 0, rules(1, false, Compensate), GivenUp, (undoing, 2, &[0, 1])),
        (again(), 0, rules(1, true, Continue), GivenUp, (Status::Completed, 3, &[0, 1, 2])),
        (again(), 0, rules(1, true, Park), GivenUp, (Status::Parked, 2, &[0, 1, 2])),
        // Refused: nothing was done.
        (refused(), 0, rules(9, true, Compensate), GivenUp, (undoing, 2, &[0, 1])),
        (refused(), 0, rules(9, true, Continue), GivenUp, (Status::Completed, 3, &[0, 1])),
        (refused(), 0, rules(9, true, Park), GivenUp, (Status::Parked, 2, &[0, 1])),
        // The state is not what the code reads: nothing is done until somebody sees to it.
        (unreadable(), 0, rules(9, true, Compensate), GivenUp, (Status::Parked, 2, &[0, 1])),
    ] {
        let mut now = Progress { attempts, ..progress(Status::Running) };
        assert_eq!(now.failed(&failure, rules), verdict, "{failure:?} {rules:?}");
        assert_eq!(at(&now), expected, "{failure:?} {rules:?}");
        let trouble = now.failed.as_ref().or(now.halted.as_ref());
        if matches!(now.status, Status::Compensating | Status::Parked) {
            assert_eq!(trouble.unwrap().step, "c");
        }
    }
}

#[test]
fn a_failure_with_nothing_to_compensate_is_the_end() {
    let mut now = Progress { undo: vec![], ..progress(Status::Running) };
    now.failed(&refused(), rules(1, true, Otherwise::Compensate));
    assert_eq!((at(&now), now.task()), ((Status::Failed, 2, &[][..]), None));
}

/// K-47, K-48
#[test]
fn compensations_go_back_one_by_one_and_a_failed_one_needs_a_hand() {
    let mut now = progress(Status::Compensating);
    assert_eq!((now.task(), now.step()), (Some(Task::Undo(1)), "b"));
    now.undone();
    assert_eq!((now.task(), now.step()), (Some(Task::Undo(0)), "a"));
    assert_eq!(now.undo_failed(&again(), 2), Verdict::TryAgain);
    assert_eq!(now.status, Status::Compensating);
    assert_eq!(now.undo_failed(&again(), 2), Verdict::GivenUp);
    assert_eq!((now.status, now.task()), (Status::ManualIntervention, None));
    let (halted, failed) = (now.halted.clone().unwrap(), now.failed.clone().unwrap());
    assert_eq!((halted.step.as_str(), halted.reason.as_str()), ("a", "LATER"));
    assert_eq!((failed.step.as_str(), failed.reason.as_str()), ("c", "WHY"));

    let mut refusing = progress(Status::Compensating);
    assert_eq!(refusing.undo_failed(&refused(), 9), Verdict::GivenUp, "a refusal stays one");

    now.retry().unwrap();
    now.undone();
    assert_eq!(at(&now), (Status::Failed, 2, &[][..]));
}

/// What operators may do in each status, and where it leads.
#[test]
fn acts_of_operators() {
    type Act = fn(&mut Progress) -> Result<(), WorkflowError>;
    let acts: [(&str, Act); 3] =
        [("retry", Progress::retry), ("skip", Progress::skip), ("cancel", Progress::cancel)];
    for (status, expected) in [
        (Status::Running, [None, None, Some(Status::Running)]),
        (Status::Waiting, [None, None, Some(Status::Waiting)]),
        (Status::Compensating, [None, None, None]),
        (Status::Completed, [None, None, None]),
        (Status::Failed, [None, None, None]),
        // A repeat.
        (Status::Cancelled, [None, None, Some(Status::Cancelled)]),
        (Status::Parked, [Some(Status::Running), Some(Status::Completed), Some(Status::Running)]),
        (
            Status::ManualIntervention,
            [Some(Status::Compensating), Some(Status::Compensating), None],
        ),
    ] {
        for ((name, act), expected) in acts.into_iter().zip(expected) {
            let before = progress(status);
            let mut now = before.clone();
            let done = act(&mut now);
            assert_eq!(done.is_ok().then_some(now.status), expected, "{name} of {status:?}");
            if done.is_err() {
                assert_eq!(now, before, "a refusal changes nothing");
            }
        }
    }
}

#[test]
fn what_no_step_keeps_cannot_be_skipped() {
    for reason in [DEFINITION_UNKNOWN, DEFINITION_CHANGED, STATE_UNREADABLE] {
        let mut now = progress(Status::Running);
        now.park(Trouble { step: "c".into(), reason: reason.into(), message: String::new() });
        assert!(matches!(now.skip(), Err(WorkflowError::NotSkippable)), "{reason}");
        now.retry().unwrap();
        assert_eq!(now.status, Status::Running);
    }
}

#[test]
fn a_skipped_compensation_is_left_out_and_the_last_one_ends_it() {
    let mut now = progress(Status::ManualIntervention);
    now.skip().unwrap();
    assert_eq!(at(&now), (Status::Compensating, 2, &[0][..]));
    now.undo_failed(&refused(), 1);
    now.skip().unwrap();
    assert_eq!(at(&now), (Status::Failed, 2, &[][..]));
}

/// A cancelled workflow goes no step further, whatever the step at hand brings.
#[test]
fn a_wish_to_turn_back_is_done_once_the_step_at_hand_is_over() {
    let rules = rules(9, true, Otherwise::Continue);
    let cancelled = || Progress { cancelled: true, ..progress(Status::Running) };

    let mut done = cancelled();
    done.done(true);
    assert_eq!(at(&done), (Status::Compensating, 2, &[0, 1, 2][..]));
    let mut failed = cancelled();
    assert_eq!(failed.failed(&again(), rules), Verdict::GivenUp, "it is not tried again");
    assert_eq!(at(&failed), (Status::Compensating, 2, &[0, 1, 2][..]));
    let mut refused_ = cancelled();
    refused_.failed(&refused(), rules);
    assert_eq!(at(&refused_), (Status::Compensating, 2, &[0, 1][..]));

    // Between attempts: what was begun is in doubt.
    for (attempts, undo) in [(0, &[0, 1][..]), (1, &[0, 1, 2])] {
        let mut idle = Progress { attempts, ..cancelled() };
        assert!(idle.must_turn_back());
        idle.turn_back_as_told(true);
        assert_eq!(at(&idle), (Status::Compensating, 2, undo));
        while idle.task().is_some() {
            idle.undone();
        }
        assert_eq!(idle.status, Status::Cancelled);
    }
}

/// What one attempt brings.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Done,
    /// Nothing is known: it had its effect or not.
    Lost {
        has_effect: bool,
    },
    Refused,
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        6 => Just(Answer::Done),
        2 => any::<bool>().prop_map(|has_effect| Answer::Lost { has_effect }),
        1 => Just(Answer::Refused),
    ]
}

fn plan() -> impl Strategy<Value = Rules> {
    let otherwise = prop_oneof![4 => Just(Otherwise::Compensate), 1 => Just(Otherwise::Continue), 1 => Just(Otherwise::Park)];
    (1_u32..4, any::<bool>(), otherwise).prop_map(|(attempts_max, has_undo, otherwise)| Rules {
        attempts_max,
        has_undo,
        otherwise,
    })
}

proptest! {
    /// K-47: whatever fails wherever, what is compensated is exactly what was done or is in doubt,
    /// last first, each once; and where it ends Failed or Cancelled no effect is left.
    #[test]
    fn compensations_are_what_was_done_in_reverse(
        plans in prop::collection::vec(plan(), 1..7),
        mut answers in prop::collection::vec(answer(), 200),
        cancel_at in prop::option::of(0_usize..20),
        retries in any::<bool>(),
    ) {
        let steps: Vec<_> = (0..plans.len()).map(|step| step.to_string()).collect();
        let mut now = Progress { steps, position: 0, undo: vec![], ..progress(Status::Running) };
        let mut touched: Vec<usize> = Vec::new();
        let mut in_effect = vec![false; plans.len()];
        let mut undone = Vec::new();
        for turn in 0..400 {
            if cancel_at == Some(turn) {
                let _ = now.cancel();
            }
            if now.must_turn_back() {
                now.turn_back_as_told(plans[now.position].has_undo);
                continue;
            }
            if now.status.is_halted() {
                if retries { now.retry().unwrap() } else { now.skip().unwrap() }
                continue;
            }
            match now.task() {
                None => break,
                Some(Task::Do(step)) => {
                    prop_assert!(undone.is_empty(), "it never goes forward again");
                    let rules = plans[step];
                    match answers.pop().unwrap_or(Answer::Done) {
                        Answer::Done => { in_effect[step] = true; touched.push(step); now.done(rules.has_undo); }
                        Answer::Lost { has_effect } => {
                            in_effect[step] |= has_effect;
                            touched.push(step);
                            now.failed(&again(), rules);
                        }
                        // Under one key there is one outcome.
                        Answer::Refused if in_effect[step] || touched.contains(&step) => { in_effect[step] = true; now.done(rules.has_undo); }
                        Answer::Refused => { now.failed(&refused(), rules); }
                    }
                }
                Some(Task::Undo(step)) => {
                    let failing = matches!(answers.pop(), Some(Answer::Lost { .. }));
                    if failing {
                        now.undo_failed(&again(), plans[step].attempts_max);
                    } else {
                        in_effect[step] = false;
                        undone.push(step);
                        now.undone();
                    }
                }
            }
        }
        prop_assert!(now.status.is_end(), "it ends: {now:?}");
        if now.status == Status::Completed {
            prop_assert!(undone.is_empty());
        } else if retries {
            touched.dedup();
            let expected: Vec<_> = touched.into_iter().filter(|step| plans[*step].has_undo).rev().collect();
            prop_assert_eq!(undone, expected);
            let left = (0..plans.len()).filter(|step| plans[*step].has_undo && in_effect[*step]);
            prop_assert_eq!(left.count(), 0);
        }
    }
}
