//! The two threads: what is answered, and when.

use std::fs;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::DateTime;
use clock::Clock;
use tokio::time::timeout;

use super::*;
use crate::domain::Account;
use crate::engine::Engine;
use crate::error::LedgerError;
use crate::journal::{Journal, JournalError, Replayed};

/// A journal in memory that writes a block each time it is told to, or fails.
struct Gate {
    turns: Receiver<Result<(), JournalError>>,
    blocks: Arc<Mutex<Vec<Block>>>,
}

impl Journal for Gate {
    fn replay(
        &mut self,
        _: &mut dyn FnMut(&Block) -> Result<(), String>,
    ) -> Result<Replayed, JournalError> {
        Ok(Replayed::default())
    }

    fn append(&mut self, block: &Block) -> Result<(), JournalError> {
        self.turns.recv().unwrap_or(Err(JournalError::Closed))?;
        self.blocks.lock().unwrap().push(block.clone());
        Ok(())
    }
}

struct Gated {
    engine: Arc<Engine>,
    turns: Sender<Result<(), JournalError>>,
    blocks: Arc<Mutex<Vec<Block>>>,
}

fn gated() -> Gated {
    let (turns, gate) = channel();
    let blocks = Arc::new(Mutex::new(Vec::new()));
    let journal = Gate { turns: gate, blocks: Arc::clone(&blocks) };
    let state = Bench::new().state;
    let engine = Arc::new(Engine::start(state, Box::new(journal), clock()).unwrap());
    Gated { engine, turns, blocks }
}

fn clock() -> Clock {
    Clock::manual(DateTime::from_timestamp(1_000, 0).unwrap())
}

async fn pay(engine: &Engine, number: u128) -> Result<Outcome<TransferRefusal>, LedgerError> {
    let new = vec![transfer(number, OUTSIDE, OTHER, 1)];
    engine.create_transfers(tenant(0), new).await.map(|outcomes| outcomes[0])
}

async fn find(engine: &Engine, number: u128) -> Result<Account, LedgerError> {
    engine.read(1, move |state| state.account(tenant(0), id(number)).unwrap().clone()).await
}

const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn nothing_is_answered_or_seen_before_it_is_durable() {
    let Gated { engine, turns, .. } = gated();
    let (payer, reader) = (Arc::clone(&engine), Arc::clone(&engine));
    let mut paid = tokio::spawn(async move { pay(&payer, 1).await });
    assert!(timeout(SOON, &mut paid).await.is_err(), "the block is not written yet");
    let mut read = tokio::spawn(async move { find(&reader, OTHER).await });
    assert!(timeout(SOON, &mut read).await.is_err(), "it would see what is not durable");

    turns.send(Ok(())).unwrap();

    assert!(matches!(paid.await.unwrap().unwrap(), Outcome::Created(_)));
    assert_eq!(read.await.unwrap().unwrap().balances.credits.posted, 1);
    // An idle ledger answers at once.
    let read = timeout(LONG, find(&engine, OTHER)).await.unwrap().unwrap();
    assert_eq!(read.balances.credits.posted, 1);
}

#[tokio::test]
async fn calls_that_come_while_a_block_is_written_share_the_next_ones() {
    let Gated { engine, turns, blocks } = gated();
    let calls: Vec<_> = (1..=100)
        .map(|number| {
            let engine = Arc::clone(&engine);
            tokio::spawn(async move { pay(&engine, number).await })
        })
        .collect();
    tokio::time::sleep(SOON).await;
    for _ in 0..calls.len() {
        turns.send(Ok(())).unwrap();
    }
    for call in calls {
        assert!(matches!(call.await.unwrap().unwrap(), Outcome::Created(_)));
    }
    let sizes: Vec<_> = blocks.lock().unwrap().iter().map(|block| block.records.len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 100);
    assert!(sizes.len() < 50, "{sizes:?}");
}

#[tokio::test]
async fn a_journal_that_fails_stops_the_ledger_for_good() {
    let Gated { engine, turns, blocks } = gated();
    assert_eq!(engine.health(), Ok(()));
    let mut stopped = tokio::spawn(engine.stopped());
    assert!(timeout(SOON, &mut stopped).await.is_err(), "it runs");
    let waiting: Vec<_> = (1..=20)
        .map(|number| {
            let engine = Arc::clone(&engine);
            tokio::spawn(async move { pay(&engine, number).await })
        })
        .collect();
    let source = std::io::Error::other("no space left on device");
    turns.send(Err(JournalError::Io { doing: "synced", source })).unwrap();
    // A second try would succeed: there must be none.
    for _ in 0..20 {
        drop(turns.send(Ok(())));
    }

    for call in waiting {
        let answer = timeout(LONG, call).await.unwrap().unwrap();
        assert_eq!(answer, Err(LedgerError::Stopped));
    }
    assert_eq!(timeout(LONG, pay(&engine, 99)).await.unwrap(), Err(LedgerError::Stopped));
    assert_eq!(timeout(LONG, find(&engine, OTHER)).await.unwrap(), Err(LedgerError::Stopped));
    let health = engine.health().unwrap_err();
    assert!(health.contains("no space left"), "{health}");
    assert_eq!(timeout(LONG, stopped).await.unwrap().unwrap(), health);
    assert!(blocks.lock().unwrap().is_empty());
}

/// A fault of the program ends the ledger as a fault of the disk does.
#[tokio::test]
async fn a_call_that_panics_stops_the_ledger() {
    let Gated { engine, .. } = gated();
    let stopped = engine.stopped();

    let answer = engine.read(1, |_| panic!("a fault of the program")).await;

    assert_eq!(answer, Err::<(), _>(LedgerError::Stopped));
    assert_eq!(timeout(LONG, stopped).await.unwrap(), "the ledger has stopped");
    assert_eq!(engine.health().unwrap_err(), "the ledger has stopped");
}

#[tokio::test]
async fn a_dropped_engine_finishes_what_waits() {
    let Gated { engine, turns, blocks } = gated();
    let last = Arc::clone(&engine);
    let paid = tokio::spawn(async move { pay(&last, 1).await });
    tokio::time::sleep(SOON).await;
    paid.abort();
    drop(paid.await);
    turns.send(Ok(())).unwrap();
    drop(engine);
    assert_eq!(blocks.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_idle_ledger_releases_holds_whose_time_has_passed() {
    let folder = tempfile::tempdir().unwrap();
    let (_, journal) = recover(folder.path()).unwrap();
    let clock = clock();
    let engine = Engine::start(State::default(), Box::new(journal), clock.clone()).unwrap();
    let accounts = vec![account(OUTSIDE), account(OTHER)];
    engine.create_accounts(tenant(0), accounts).await.unwrap();
    engine.create_transfers(tenant(0), vec![brief_hold(1, 10, 30)]).await.unwrap();
    let length = || fs::metadata(folder.path().join("ledger.journal")).unwrap().len();
    let before = length();

    clock.advance(Duration::from_secs(31));
    // Nobody calls.
    timeout(LONG, async {
        while length() == before {
            tokio::time::sleep(SOON).await;
        }
    })
    .await
    .unwrap();

    assert_eq!(find(&engine, OTHER).await.unwrap().balances.credits.pending, 0);
    drop(engine);
    let (state, _) = recover(folder.path()).unwrap();
    let hold = state.transfer(tenant(0), id(1)).unwrap();
    assert_eq!(hold.hold, Some(crate::domain::HoldState::Expired));
}

/// Not a test but a figure: `cargo test -p ledger --release -- --ignored --nocapture figure`.
#[tokio::test]
#[ignore = "prints how fast the engine is"]
async fn figure_of_transfers_a_second_in_batches() {
    const BATCH: u128 = 8_189;
    const BATCHES: u128 = 100;
    let folder = tempfile::tempdir().unwrap();
    let (_, journal) = recover(folder.path()).unwrap();
    let engine =
        Arc::new(Engine::start(State::default(), Box::new(journal), Clock::system()).unwrap());
    engine.create_accounts(tenant(0), (1..=BATCH).map(account).collect()).await.unwrap();

    let started = std::time::Instant::now();
    let batches = (1..=BATCHES).map(|batch| {
        let engine = Arc::clone(&engine);
        let new =
            move |item| transfer(batch * BATCH + item, item + 1, 1 + (item * 7 + 1) % BATCH, 1);
        let batch: Vec<_> = (0..BATCH).map(new).collect();
        tokio::spawn(async move { engine.create_transfers(tenant(0), batch).await })
    });
    let batches: Vec<_> = batches.collect();
    for batch in batches {
        batch.await.unwrap().unwrap();
    }
    let rate = BATCH * BATCHES * 1_000 / started.elapsed().as_millis();
    println!("{rate} transfers a second");
}
