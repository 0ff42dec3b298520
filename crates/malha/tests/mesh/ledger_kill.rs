//! The ledger is killed at random under full load, and then every transfer is accounted for.
//!
//! `cargo xtask crash --ledger --rounds 50` runs the full length; the tests run three rounds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::TenantId;
use contracts::ledger::v1::ledger_service_client::LedgerServiceClient;
use contracts::ledger::v1::{
    CreateAccountStatus, CreateAccountsRequest, CreateTransferStatus, CreateTransfersRequest,
    LookupAccountsRequest, LookupTransfersRequest, NewAccount,
};
use futures::future::join_all;
use journal::{Disk, RealDisk, Scan};
use mesh::{Channel, Context};
use proof::{Block, ENTRY_BYTES, ExternalId, Kind, Tail, Timestamp, Transfer, TransferId, peek};
use rand::random_range;
use tokio::sync::watch;
use tonic::Status;
use uuid::Uuid;

use crate::support::{MACHINE, Malha, Site};

/// Accounts that all transfers are between.
const ACCOUNTS: usize = 1_000;

/// Transfers of a batch: as many as may be.
const BATCH: usize = 8_189;

/// Batches under way at a time.
const WORKERS: usize = 8;

/// How long a round may last before the ledger is killed, in milliseconds.
const ROUND: std::ops::Range<u64> = 20..500;

/// Snapshots come so often that some are under way when the ledger dies.
const SETTINGS: &str = "telemetry.log = 'error,malha=info'\nledger.snapshot_every = 200000";

/// Number of the ledger of all accounts.
const LEDGER: u32 = 986;

type Client = LedgerServiceClient<Channel>;

/// Transfers that were sent together.
struct Batch {
    transfers: Vec<Transfer>,
    /// When each was created, if that was answered.
    acknowledged: Option<Vec<u64>>,
}

/// Whatever instant the ledger dies, with batches on their way and in its recovery too: what it
/// acknowledged is there as it said, nothing was applied twice, and the chain verifies
/// (B-30, B-31, L-48).
#[tokio::test(flavor = "multi_thread")]
async fn no_kill_loses_or_doubles_a_transfer() {
    let rounds = std::env::var("MALHA_CRASH_ROUNDS").map_or(3, |rounds| rounds.parse().unwrap());
    let _machine = MACHINE.write().await;
    let site = Site::production(SETTINGS);
    let ledger = Malha::start(&mut site.malha(&["serve", "ledger"]));
    ledger.await_line("ready");
    let mut accounts: Vec<u128> = (0..ACCOUNTS).map(|_| Uuid::now_v7().as_u128()).collect();
    accounts.sort_unstable();
    open(&site, &accounts).await;
    let mut house =
        House { site, ledger, accounts: accounts.into(), moved: vec![[0; 2]; ACCOUNTS], sent: 0 };
    for round in 1..=rounds {
        let started = Instant::now();
        let mut batches = house.load_and_kill().await;
        house.restart();
        let acknowledged = batches.iter().filter(|batch| batch.acknowledged.is_some()).count();
        house.check_acknowledged(&batches).await;
        house.settle(&mut batches).await;
        house.check_balances().await;
        house.verify();
        println!(
            "round {round} of {rounds}: {acknowledged} of {} batches acknowledged, {:.1?}",
            batches.len(),
            started.elapsed()
        );
    }
}

/// A ledger and what has to be in it.
struct House {
    site: Site,
    ledger: Malha,
    accounts: Arc<[u128]>,
    /// Debits and credits of each account.
    moved: Vec<[u64; 2]>,
    /// Transfers so far.
    sent: usize,
}

impl House {
    /// Sends batches until the ledger dies; returns all that it may have got.
    async fn load_and_kill(&mut self) -> Vec<Batch> {
        let client = client(&self.site);
        let (stop, stopped) = watch::channel(false);
        let work = |_| {
            let (client, accounts) = (client.clone(), Arc::clone(&self.accounts));
            tokio::spawn(work(client, accounts, stopped.clone()))
        };
        let workers: Vec<_> = (0..WORKERS).map(work).collect();
        tokio::time::sleep(Duration::from_millis(random_range(ROUND))).await;
        self.ledger.kill();
        stop.send(true).unwrap();
        join_all(workers).await.into_iter().flat_map(Result::unwrap).collect()
    }

    /// Starts it again; one time in three it dies once more while it recovers.
    fn restart(&mut self) {
        if random_range(0..3) == 0 {
            self.ledger = Malha::start(&mut self.site.malha(&["serve", "ledger"]));
            std::thread::sleep(Duration::from_millis(random_range(0..300)));
            self.ledger.kill();
        }
        self.ledger = Malha::start(&mut self.site.malha(&["serve", "ledger"]));
        self.ledger.await_line("ready");
    }

    /// Every transfer that was acknowledged is found as it was acknowledged.
    async fn check_acknowledged(&self, batches: &[Batch]) {
        let mut client = client(&self.site);
        for Batch { transfers, acknowledged } in batches {
            let Some(acknowledged) = acknowledged else { continue };
            let ids = transfers.iter().map(|it| text(it.id.number())).collect();
            let found = client.lookup_transfers(LookupTransfersRequest { ids });
            let found = system(found).await.unwrap().into_inner().transfers;
            assert_eq!(found.len(), BATCH, "acknowledged transfers are not there");
            for ((found, sent), at) in found.iter().zip(transfers).zip(acknowledged) {
                assert_eq!((&found.id, found.amount), (&text(sent.id.number()), sent.amount));
                let created = found.created_at.unwrap();
                let created = created.seconds * 1_000_000_000 + i64::from(created.nanos);
                assert_eq!(created.cast_unsigned(), *at);
            }
        }
    }

    /// Sends every batch again: what was acknowledged exists since then, what was not is there now.
    async fn settle(&mut self, batches: &mut [Batch]) {
        let mut client = client(&self.site);
        for Batch { transfers, acknowledged } in batches {
            let results = send(&mut client, transfers).await.unwrap();
            if let Some(acknowledged) = acknowledged {
                let exists = CreateTransferStatus::Exists;
                assert!(results.iter().all(|&(status, _)| status == exists), "applied twice");
                assert!(results.iter().map(|(_, at)| at).eq(&*acknowledged));
            }
            for transfer in &*transfers {
                for (account, side) in [(transfer.debit, 0), (transfer.credit, 1)] {
                    let place = self.accounts.binary_search(&account.number()).unwrap();
                    self.moved[place][side] += transfer.amount;
                }
            }
            self.sent += transfers.len();
        }
    }

    /// The balances are what was sent, all of it once.
    async fn check_balances(&self) {
        let mut client = client(&self.site);
        let ids = self.accounts.iter().copied().map(text).collect();
        let found = client.lookup_accounts(LookupAccountsRequest { ids });
        let found = system(found).await.unwrap().into_inner().accounts;
        let found: Vec<_> = found.iter().map(|it| [it.debits_posted, it.credits_posted]).collect();
        assert_eq!(found, self.moved);
    }

    /// The chain verifies from its files alone, and has every transfer once. There may be any number
    /// of checkpoints: a snapshot that did not come to its end is begun again.
    fn verify(&self) {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(self.site.path("ledger")));
        let (mut transfers, mut accounts, mut others) = (0, 0, 0);
        let mut count = |block: &Block<'_>| {
            for (entry, _) in block.iter() {
                match peek::kind(entry).unwrap() {
                    Kind::Plain => transfers += 1,
                    Kind::Account => accounts += 1,
                    Kind::Checkpoint => {}
                    _ => others += 1,
                }
            }
            Ok(())
        };
        let scan = Scan::open(&disk).unwrap();
        scan.run(Tail::default(), &mut |_, _, _| (), &mut count).unwrap();
        // The others are the key and the tenant.
        assert_eq!((transfers, accounts, others), (self.sent, self.accounts.len(), 2));
    }
}

/// Opens accounts that may be overdrawn.
async fn open(site: &Site, ids: &[u128]) {
    let account =
        |&id| NewAccount { id: text(id), ledger: LEDGER, code: 1, ..NewAccount::default() };
    let request = CreateAccountsRequest { accounts: ids.iter().map(account).collect() };
    let opened = system(client(site).create_accounts(request)).await.unwrap().into_inner();
    assert!(opened.results.iter().all(|it| it.status() == CreateAccountStatus::Created));
}

/// Sends batches until the ledger is dead, and remembers what it answered.
async fn work(
    mut client: Client,
    accounts: Arc<[u128]>,
    stopped: watch::Receiver<bool>,
) -> Vec<Batch> {
    let mut batches = Vec::new();
    while !*stopped.borrow() {
        let transfers: Vec<_> = (0..BATCH).map(|_| transfer(&accounts)).collect();
        let results = send(&mut client, &transfers).await;
        let acknowledged = results.map(|results| results.iter().map(|&(_, at)| at).collect());
        batches.push(Batch { transfers, acknowledged: acknowledged.ok() });
    }
    batches
}

/// Sends a batch: the status of each transfer, and when it was created. None may be refused.
async fn send(
    client: &mut Client,
    transfers: &[Transfer],
) -> Result<Vec<(CreateTransferStatus, u64)>, Status> {
    let mut packed = vec![0; transfers.len() * ENTRY_BYTES];
    for (entry, transfer) in packed.as_chunks_mut().0.iter_mut().zip(transfers) {
        transfer.encode(entry);
    }
    let request =
        CreateTransfersRequest { packed: packed.into(), ..CreateTransfersRequest::default() };
    let answer = system(client.create_transfers(request)).await?.into_inner();
    let (results, _) = answer.packed_results.as_chunks::<18>();
    assert_eq!(results.len(), transfers.len());
    Ok(results.iter().map(read).collect())
}

/// Status and time of one of `packed_results`.
fn read(result: &[u8; 18]) -> (CreateTransferStatus, u64) {
    let status = u16::from_le_bytes(result[..2].try_into().unwrap());
    let status = CreateTransferStatus::try_from(i32::from(status)).unwrap();
    assert!(matches!(status, CreateTransferStatus::Created | CreateTransferStatus::Exists));
    (status, u64::from_le_bytes(result[2..10].try_into().unwrap()))
}

/// A new transfer between two of the accounts.
fn transfer(accounts: &[u128]) -> Transfer {
    let debit = random_range(0..accounts.len());
    let credit = (debit + random_range(1..accounts.len())) % accounts.len();
    Transfer {
        kind: Kind::Plain,
        flags: 0,
        code: 1,
        ledger: LEDGER,
        tenant: 0,
        extension: 0,
        id: Uuid::now_v7().as_u128().into(),
        debit: accounts[debit].into(),
        credit: accounts[credit].into(),
        amount: random_range(1..1_000),
        created_at: Timestamp::default(),
        effective_at: Timestamp::default(),
        hold: TransferId::default(),
        timeout_seconds: 0,
        external_id: ExternalId::default(),
    }
}

/// A new connection, which has not seen the ledger die.
fn client(site: &Site) -> Client {
    LedgerServiceClient::new(site.join("payments").channel("ledger"))
}

async fn system<T>(call: impl Future<Output = T>) -> T {
    Context::system(TenantId::DEFAULT).scope(call).await
}

fn text(id: u128) -> String {
    Uuid::from_u128(id).to_string()
}
