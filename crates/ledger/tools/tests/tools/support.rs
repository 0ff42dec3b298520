//! Ledgers to work on.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use book::{NewAccounts, Outcome, Transfers};
use clock::Clock;
use engine::{Engine, Options};
use proof::{
    Account, AccountId, ExternalId, Header, Kind, Metadata, PublicKey, TenantId, Timestamp,
    Transfer, TransferId,
};

pub(crate) const TENANT: u128 = 0x7e_0001;

/// A ledger in a folder of its own.
pub(crate) struct Ledger {
    pub(crate) home: tempfile::TempDir,
    pub(crate) options: Options,
}

impl Ledger {
    /// An empty ledger, stopped.
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("ledger");
        let signing_key = folder.join("signing.key");
        let options = Options { folder, create: true, signing_key, snapshot_every: 1_000_000 };
        drop(Engine::open(&options, Clock::system()).unwrap());
        Self { home, options: Options { create: false, ..options } }
    }

    /// A ledger with accounts 1 to 3 and transfers 1 to `transfers` from 1 to 2, every fifth noted,
    /// a block each.
    pub(crate) async fn with_transfers(transfers: u128) -> Self {
        let ledger = Self::new();
        let engine = ledger.open();
        let outcomes = create_accounts(&engine, 1..=3).await;
        assert!(outcomes.iter().all(Outcome::is_created));
        for number in 1..=transfers {
            assert!(create(&engine, transfer(number)).await.is_created());
        }
        drop(engine);
        ledger
    }

    pub(crate) fn open(&self) -> Engine {
        Engine::open(&self.options, Clock::system()).unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.options.folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file beside the ledger.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The key that the ledger began with.
    pub(crate) fn first_key(&self) -> PublicKey {
        tools::keys(self.folder()).unwrap().0[0].key.clone()
    }

    /// Flips a bit of the first segment.
    pub(crate) fn flip(&self, offset: u64) {
        let path = segment(self.folder());
        let file = fs::File::options().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    }
}

/// The first segment of a journal.
pub(crate) fn segment(folder: &Path) -> PathBuf {
    folder.join("00000000000000000001.segment")
}

/// Where each block of the first segment begins, and where the last one ends.
pub(crate) fn places(folder: &Path) -> Vec<u64> {
    let bytes = fs::read(segment(folder)).unwrap();
    let (mut at, mut places) = (0, vec![0]);
    while let Some(header) = bytes[at..].first_chunk().and_then(|it| Header::decode(it).ok()) {
        at += proof::HEADER_BYTES + header.payload_bytes();
        places.push(at as u64);
    }
    places
}

pub(crate) fn tenant() -> TenantId {
    TENANT.into()
}

pub(crate) async fn create_accounts(
    engine: &Engine,
    numbers: impl IntoIterator<Item = u128>,
) -> Vec<Outcome> {
    let mut accounts = NewAccounts::default();
    for number in numbers {
        accounts.push(account(number), &Metadata::default(), false);
    }
    engine.create_accounts(tenant(), accounts).await.unwrap()
}

/// Creates one with metadata if its number is a multiple of five.
pub(crate) async fn create(engine: &Engine, transfer: Transfer) -> Outcome {
    let noted = transfer.id.number().is_multiple_of(5);
    let metadata = Metadata::new(noted.then_some(("note", "a \"quoted\", text"))).unwrap();
    let mut transfers = Transfers::default();
    transfers.push(transfer, &metadata);
    engine.create_transfers(tenant(), transfers).await.unwrap()[0]
}

/// An account without a limit but the third one.
pub(crate) fn account(number: u128) -> Account {
    Account {
        limit: u8::from(number == 3),
        code: 10,
        ledger: 986,
        tenant: 0,
        extension: 0,
        id: number.into(),
        overdraft: 0,
        created_at: Timestamp::default(),
        external_id: ExternalId::default(),
    }
}

/// From account 1 to account 2.
pub(crate) fn transfer(number: u128) -> Transfer {
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
        amount: 100,
        created_at: Timestamp::default(),
        effective_at: Timestamp::default(),
        hold: TransferId::default(),
        timeout_seconds: 0,
        external_id: ExternalId::default(),
    }
}
