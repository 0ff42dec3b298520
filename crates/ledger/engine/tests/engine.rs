//! A ledger as the service sees it: on a real disk, with all its threads.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use book::{NewAccounts, Transfers};
use clock::Clock;
use engine::{AsOf, Balances, Engine, Filter, HoldState, OpenError, Options, Order};
use proof::{
    Account, AccountId, Amendment, Entry, ExternalId, Kind, Metadata, PublicKey, SigningKey,
    TenantId, Timestamp, Transfer, TransferId,
};

const CREATED: u16 = 1;

struct Ledger {
    folder: tempfile::TempDir,
    options: Options,
}

impl Ledger {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            folder: folder.path().join("ledger"),
            create: true,
            signing_key: folder.path().join("ledger").join("signing.key"),
            snapshot_every: 100,
        };
        Self { folder, options }
    }

    fn open(&self) -> Engine {
        Engine::open(&self.options, Clock::system()).unwrap()
    }

    fn key_file(&self) -> PathBuf {
        self.folder.path().join("ledger").join("signing.key")
    }
}

fn tenant() -> TenantId {
    TenantId::from(1)
}

fn account(number: u128) -> Account {
    Account {
        limit: 0,
        code: 1,
        ledger: 986,
        tenant: 0,
        extension: 0,
        id: AccountId::from(number),
        overdraft: 0,
        created_at: Timestamp::default(),
        external_id: ExternalId::default(),
    }
}

fn transfer(number: u128, amount: u64) -> Transfer {
    Transfer {
        kind: Kind::Plain,
        flags: 0,
        code: 7,
        ledger: 986,
        tenant: 0,
        extension: 0,
        id: TransferId::from(number),
        debit: AccountId::from(1),
        credit: AccountId::from(2),
        amount,
        created_at: Timestamp::default(),
        effective_at: Timestamp::default(),
        hold: TransferId::default(),
        timeout_seconds: 0,
        external_id: ExternalId::default(),
    }
}

async fn open_accounts(engine: &Engine) {
    let mut accounts = NewAccounts::default();
    accounts.push(account(1), &Metadata::default(), false);
    accounts.push(account(2), &Metadata::default(), false);
    let outcomes = engine.create_accounts(tenant(), accounts).await.unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.status == CREATED));
}

async fn create(engine: &Engine, transfers: &[Transfer]) -> Vec<book::Outcome> {
    let mut batch = Transfers::default();
    for transfer in transfers {
        batch.push(*transfer, &Metadata::default());
    }
    engine.create_transfers(tenant(), batch).await.unwrap()
}

async fn posted(engine: &Engine, number: u128, as_of: AsOf) -> (u64, u64) {
    let balances = engine.reader().balances(tenant(), AccountId::from(number), as_of).await;
    let Balances { debits_posted, credits_posted, .. } = balances.unwrap().unwrap();
    (debits_posted, credits_posted)
}

fn all(size: usize) -> Filter {
    Filter {
        account: None,
        external_id: None,
        metadata: Vec::new(),
        from: None,
        to: None,
        order: Order::OldestFirst,
        after: None,
        size,
    }
}

/// What was answered is seen by every question after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_what_was_answered_before() {
    let ledger = Ledger::new();
    let engine = ledger.open();
    open_accounts(&engine).await;
    for number in 1..=200 {
        let outcomes = create(&engine, &[transfer(number, 1)]).await;
        assert_eq!(outcomes[0].status, CREATED);
        let total = u64::try_from(number).unwrap();
        assert_eq!(posted(&engine, 2, AsOf::Now).await, (0, total));
        assert_eq!(posted(&engine, 2, AsOf::Created(outcomes[0].at)).await, (0, total));
    }
}

/// Small blocks go a shorter way than large ones: all the same they are one chain, in which
/// everybody's own transfers stand in the order of their answers.
#[tokio::test(flavor = "multi_thread")]
async fn small_and_large_blocks_follow_each_other() {
    let ledger = Ledger::new();
    let engine = Arc::new(ledger.open());
    open_accounts(&engine).await;
    let callers = [1, 1, 2_000, 1, 700].into_iter().zip(1_u128..).map(|(size, caller)| {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            let mut last = Timestamp::default();
            for batch in 0..20 {
                let numbers = (0..size).map(|item| (caller << 64) + batch * size + item);
                let batch: Vec<_> = numbers.map(|number| transfer(number, 1)).collect();
                let outcomes = create(&engine, &batch).await;
                assert!(outcomes.iter().all(|outcome| outcome.status == CREATED));
                assert!(outcomes[0].at > last, "a later call has a later time");
                last = outcomes.last().unwrap().at;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let total = 20 * (3 + 2_000 + 700);
    assert_eq!(posted(&engine, 1, AsOf::Now).await, (total, 0));
    drop(engine);

    // It opens only if every block follows the one before it.
    let engine = ledger.open();
    assert_eq!(posted(&engine, 1, AsOf::Now).await, (total, 0));
}

/// A caller needs no runtime to be answered.
#[test]
fn a_caller_outside_of_any_runtime_is_answered() {
    let ledger = Ledger::new();
    let engine = ledger.open();
    futures::executor::block_on(open_accounts(&engine));
    let outcomes = futures::executor::block_on(create(&engine, &[transfer(1, 1)]));
    assert_eq!(outcomes[0].status, CREATED);
}

/// B-30: what happened stays, whether the ledger was stopped or killed.
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_stop_and_after_a_kill() {
    let ledger = Ledger::new();
    let mut number = 0;
    for kill in [false, true, false, true, true] {
        let engine = ledger.open();
        if number == 0 {
            open_accounts(&engine).await;
        }
        assert_eq!(posted(&engine, 1, AsOf::Now).await, (number, 0));
        for _ in 0..150 {
            number += 1;
            let id = u128::from(number);
            assert_eq!(create(&engine, &[transfer(id, 1)]).await[0].status, CREATED);
        }
        if kill {
            kill_copy(&ledger, engine);
        }
    }
    let engine = ledger.open();
    assert_eq!(posted(&engine, 1, AsOf::Now).await, (number, 0));
    let page = engine.reader().history(tenant(), AccountId::from(1), all(1_000)).await;
    assert_eq!(page.unwrap().unwrap().items.len() as u64, number);
}

/// An index that knows more than the journal has entries that never were.
/// The copy of the book is made between blocks; what is left of it when the ledger stops is made
/// then, and saved.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_under_way_is_finished_when_the_ledger_stops() {
    const BATCH: u128 = 8_189;
    let mut ledger = Ledger::new();
    // The third batch makes it due, and has copied no more than a part of it.
    ledger.options.snapshot_every = 20_000;
    let engine = ledger.open();
    let batch = |number: u128| {
        let mut accounts = NewAccounts::default();
        for id in number * BATCH + 1..=(number + 1) * BATCH {
            accounts.push(account(id), &Metadata::default(), false);
        }
        engine.create_accounts(tenant(), accounts)
    };
    batch(0).await.unwrap();
    batch(1).await.unwrap();
    let last = batch(2);
    tokio::select! {
        biased;
        _ = last => panic!("it cannot be durable at once"),
        () = std::future::ready(()) => {}
    }
    // Waits in the queue right behind the batch.
    drop(engine);

    // The accounts, their tenant and the key of the ledger.
    let expected = format!("{:020}.snapshot", 3 * BATCH + 2);
    let names = fs::read_dir(&ledger.options.folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let snapshots: Vec<_> = names.filter(|name| name.contains(".snapshot")).collect();
    assert_eq!(snapshots, [expected]);
    let accounts = vec![AccountId::from(3 * BATCH)];
    assert_eq!(ledger.open().reader().accounts(tenant(), accounts).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_ahead_of_the_journal_is_built_again() {
    let ledger = Ledger::new();
    let engine = ledger.open();
    open_accounts(&engine).await;
    let short = ledger.folder.path().join("short");
    copy_folder(&ledger.options.folder, &short);
    for number in 1..=10 {
        create(&engine, &[transfer(number, 1)]).await;
    }
    drop(engine);
    fs::remove_dir_all(short.join("index")).unwrap();
    fs::rename(ledger.options.folder.join("index"), short.join("index")).unwrap();
    fs::remove_dir_all(&ledger.options.folder).unwrap();
    fs::rename(short, &ledger.options.folder).unwrap();

    let engine = ledger.open();

    assert_eq!(posted(&engine, 1, AsOf::Now).await, (0, 0));
    create(&engine, &[transfer(11, 5)]).await;
    assert_eq!(posted(&engine, 1, AsOf::Now).await, (5, 0));
}

/// Puts the files in place as they were before the engine could close them.
fn kill_copy(ledger: &Ledger, engine: Engine) {
    let copy = ledger.folder.path().join("copy");
    copy_folder(&ledger.options.folder, &copy);
    drop(engine);
    fs::remove_dir_all(&ledger.options.folder).unwrap();
    fs::rename(copy, &ledger.options.folder).unwrap();
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else if fs::copy(entry.path(), target).is_err() {
            // Files that are being replaced vanish: as they would for whoever starts after a kill.
        }
    }
}

/// B-29, L-80: transfers, accounts and heads are proved with nothing but the public key, also
/// after the key was changed.
#[tokio::test(flavor = "multi_thread")]
async fn proofs_hold_with_the_public_key_alone() {
    let ledger = Ledger::new();
    let engine = ledger.open();
    open_accounts(&engine).await;
    for number in 1..=50 {
        create(&engine, &[transfer(number, 1)]).await;
    }
    let reader = engine.reader();
    let before = reader.head();
    let id = before.head.ledger;
    let pem = fs::read_to_string(ledger.key_file()).unwrap();
    let key: PublicKey = SigningKey::from_pem(&pem).unwrap().public(id);
    before.verify(&key).unwrap();

    let proof = reader.prove_transfer(tenant(), TransferId::from(17)).await.unwrap().unwrap();
    proof.verify(&key).unwrap();
    assert_eq!(proof.transfer.amount, 1);
    assert!(reader.prove_account(tenant(), AccountId::from(2)).await.unwrap().is_none());
    engine.checkpoint().await.unwrap();
    let proof = reader.prove_account(tenant(), AccountId::from(2)).await.unwrap().unwrap();
    proof.verify(&key).unwrap();
    assert_eq!(proof.state.credits_posted, 50);
    let entries = reader.head().head.size;
    engine.checkpoint().await.unwrap();
    assert_eq!(reader.head().head.size, entries, "nothing has happened since");

    let next = SigningKey::from_seed(&[7; 32]);
    let next_key = next.public(id);
    engine.rotate_key(next).await.unwrap();
    create(&engine, &[transfer(60, 1)]).await;
    let proof = reader.prove_consistency(before.head.size).await.unwrap().unwrap();
    proof.verify(&before.head, &next_key).unwrap();
    assert!(proof.verify(&before.head, &key).is_err(), "the old key signs no more");
    drop((reader, engine));

    let refused = Engine::open(&ledger.options, Clock::system()).err();
    assert!(matches!(refused, Some(OpenError::Key { .. })), "the old key is refused");
    fs::write(ledger.key_file(), SigningKey::from_seed(&[7; 32]).to_pem().as_bytes()).unwrap();
    let engine = ledger.open();
    engine.reader().head().verify(&next_key).unwrap();
}

/// A head can be verified also when the ledger was stopped right after its key was changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_right_after_the_key_was_changed_verifies_after_a_start() {
    let ledger = Ledger::new();
    let engine = ledger.open();
    let id = engine.reader().head().head.ledger;
    engine.rotate_key(SigningKey::from_seed(&[7; 32])).await.unwrap();
    drop(engine);
    fs::write(ledger.key_file(), SigningKey::from_seed(&[7; 32]).to_pem().as_bytes()).unwrap();

    let head = ledger.open().reader().head();

    head.verify(&SigningKey::from_seed(&[7; 32]).public(id)).unwrap();
}

/// Holds, their ends, and lists by reference.
#[tokio::test(flavor = "multi_thread")]
async fn lists_find_what_was_asked_for() {
    let ledger = Ledger::new();
    let engine = ledger.open();
    open_accounts(&engine).await;
    let metadata = |value: &str| Metadata::new([("order", value)]).unwrap();
    let mut batch = Transfers::default();
    for number in 1..=10 {
        let hold = Transfer { kind: Kind::Pending, ..transfer(number, 5) };
        batch.push(hold, &metadata(if number % 2 == 0 { "even" } else { "odd" }));
    }
    engine.create_transfers(tenant(), batch).await.unwrap();
    let settle = |number: u128, kind| Transfer {
        kind,
        hold: TransferId::from(number),
        debit: AccountId::default(),
        credit: AccountId::default(),
        ledger: 0,
        code: 0,
        external_id: ExternalId::from(77),
        ..transfer(100 + number, 0)
    };
    create(&engine, &[settle(2, Kind::PostPending), settle(3, Kind::VoidPending)]).await;

    let reader = engine.reader();
    let ids = [1, 2, 3].map(TransferId::from).to_vec();
    let states = reader.transfers(tenant(), ids).await.unwrap();
    let states: Vec<_> = states.iter().map(|view| view.hold.unwrap()).collect();
    assert_eq!(states, [HoldState::Open, HoldState::Posted, HoldState::Voided]);

    let even = |after| Filter {
        account: Some(AccountId::from(1)),
        metadata: vec![("order".to_owned(), "even".to_owned())],
        order: Order::NewestFirst,
        after,
        ..all(3)
    };
    let first = reader.find_transfers(tenant(), even(None)).await.unwrap();
    let second = reader.find_transfers(tenant(), even(first.after)).await.unwrap();
    let ids: Vec<_> = first.items.iter().chain(&second.items).map(|it| it.transfer.id).collect();
    assert_eq!(ids, [10, 8, 6, 4, 2].map(TransferId::from));
    assert_eq!(second.after, None);
    let external = Filter { external_id: Some(ExternalId::from(77)), ..all(10) };
    let found = reader.find_transfers(tenant(), external).await.unwrap();
    assert_eq!(found.items.len(), 2);
    let none = reader.find_transfers(TenantId::from(2), even(None)).await.unwrap();
    assert!(none.items.is_empty(), "another tenant sees nothing");
}

/// L-48, B-31: every entry of a tenant is told once, in the order in which it was committed.
#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_in_order_from_any_number() {
    let ledger = Ledger::new();
    let engine = Arc::new(ledger.open());
    open_accounts(&engine).await;
    for number in 1..=20 {
        create(&engine, &[transfer(number, 1)]).await;
    }
    let amendment = Amendment {
        tenant: 0,
        account: AccountId::from(2),
        is_closed: true,
        overdraft: 0,
        created_at: Timestamp::default(),
    };
    engine.amend_accounts(tenant(), vec![amendment]).await.unwrap();
    let reader = engine.reader();
    let mut numbers = Vec::new();
    let mut from = 0;
    loop {
        let changes = reader.changes(tenant(), from, 7).await.unwrap();
        if changes.next == from {
            break;
        }
        from = changes.next;
        assert!(numbers.len().is_multiple_of(7), "the page before was not full, but not the last");
        numbers.extend(changes.items.iter().map(|change| change.number));
        for change in &changes.items {
            assert!(!matches!(change.entry, Entry::Key(_)), "nobody's entries are not told");
        }
    }
    assert!(numbers.is_sorted());
    // Two accounts, twenty transfers. The account has a balance: it stays open.
    assert_eq!(numbers.len(), 22);
}
