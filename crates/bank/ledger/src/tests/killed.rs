//! Processes that are killed while money moves.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, io, thread};

use clock::Clock;
use tokio::task::JoinSet;

use super::*;
use crate::engine::Engine;

/// Names the folder to the process that is killed.
const FOLDER: &str = "LEDGER_TEST_KILLED_FOLDER";
const ROUNDS: u32 = 20;

/// What was answered outlives `kill -9`, and nothing is made or lost by it.
#[test]
fn what_was_answered_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut answered = Vec::new();
    for round in 0..ROUNDS {
        let after = Duration::from_millis(u64::from(round) * 5);
        answered.extend(run_and_kill(folder.path(), after));
        let (state, _) = recover(folder.path()).unwrap();
        for number in &answered {
            assert!(state.transfer(tenant(0), id(*number)).is_some(), "{number} was answered");
        }
        let posted = |account| {
            let account = state.account(tenant(0), id(account));
            account.map_or((0, 0), |a| (a.balances.debits.posted, a.balances.credits.posted))
        };
        let ((debits, _), (_, credits)) = (posted(OUTSIDE), posted(OTHER));
        assert_eq!(debits, credits);
        assert!(credits >= answered.len() as u64);
    }
    assert!(answered.len() > 100, "only {} transfers in {ROUNDS} rounds", answered.len());
}

/// Ids of the transfers that a process had answers for when it was killed, so long after the
/// first one.
fn run_and_kill(folder: &Path, after: Duration) -> Vec<u128> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "tests::killed::moves_money_until_killed", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut answers = lines.filter_map(|line| line.strip_prefix("answered ")?.parse().ok());
    let first = answers.next().unwrap();
    let rest = thread::spawn(move || answers.collect::<Vec<u128>>());
    thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    [vec![first], rest.join().unwrap()].concat()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "is run by the test above, and killed"]
async fn moves_money_until_killed() {
    let folder = PathBuf::from(env::var_os(FOLDER).unwrap());
    let (state, journal) = recover(&folder).unwrap();
    let engine = Arc::new(Engine::start(state, Box::new(journal), Clock::system()).unwrap());
    engine.create_accounts(tenant(0), vec![account(OUTSIDE), account(OTHER)]).await.unwrap();
    let mut payers = JoinSet::new();
    for _ in 0..8 {
        let engine = Arc::clone(&engine);
        payers.spawn(async move {
            loop {
                let number = Uuid::now_v7().as_u128();
                let new = vec![transfer(number, OUTSIDE, OTHER, 1)];
                engine.create_transfers(tenant(0), new).await.unwrap();
                // One write, so that the line is whole or not there.
                io::stdout().write_all(format!("answered {number}\n").as_bytes()).unwrap();
            }
        });
    }
    payers.join_all().await;
}
