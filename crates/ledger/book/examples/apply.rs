//! How fast the book applies, replays, saves and loads transfers, and how much memory it takes.
//!
//! `cargo run --release -p book --example apply [-- ACCOUNTS TRANSFERS]`
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::cast_possible_truncation)]

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use book::{Block, Book, NewAccounts, Outcome, Past, PastError, Transfers};
use proof::{
    Account, AccountId, ENTRY_BYTES, Entry, EntryBytes, ExternalId, Kind, Metadata, TenantId,
    Timestamp, Transfer, TransferId,
};

const BATCH: usize = 8_189;

/// No id is used twice here, so whatever is looked up is another.
#[derive(Default)]
struct Nothing(Cell<u64>);

impl Past for Nothing {
    fn entry(&self, _: u64, _: &mut Vec<u8>) -> Result<EntryBytes, PastError> {
        self.0.set(self.0.get() + 1);
        Ok([0; ENTRY_BYTES])
    }
}

/// Numbers that look random, always the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn id(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }
}

struct Run {
    book: Book,
    past: Nothing,
    tenant: TenantId,
    now: u64,
    random: Random,
    accounts: Vec<AccountId>,
    /// Times of batches that were full.
    times: Vec<Duration>,
}

impl Run {
    fn begin(&mut self) -> Block {
        self.now += 1_000_000;
        self.book.begin(Timestamp::from_nanos(self.now))
    }

    fn open(&mut self, count: usize) -> Duration {
        let mut time = Duration::ZERO;
        while self.accounts.len() < count {
            let mut batch = NewAccounts::default();
            for _ in 0..BATCH.min(count - self.accounts.len()) {
                let id = AccountId::from(self.random.id());
                self.accounts.push(id);
                batch.push(account(id), &Metadata::default(), false);
            }
            let mut block = self.begin();
            let (mut outcomes, start) = (Vec::new(), Instant::now());
            self.book
                .create_accounts(&mut block, self.tenant, &batch, &self.past, &mut outcomes)
                .unwrap();
            time += start.elapsed();
            assert!(outcomes.iter().all(Outcome::is_created));
        }
        time
    }

    fn transfer(&mut self, kind: Kind) -> Transfer {
        let count = self.accounts.len() as u64;
        let debit = self.random.next() % count;
        let credit = (debit + 1 + self.random.next() % (count - 1)) % count;
        let accounts = [debit, credit].map(|row| self.accounts[row as usize]);
        plain(TransferId::from(self.random.id()), kind, accounts)
    }

    /// Runs a batch, and returns its block and the time it took.
    fn batch(&mut self, batch: &Transfers) -> (Block, Duration) {
        let mut block = self.begin();
        let (mut outcomes, start) = (Vec::new(), Instant::now());
        self.book
            .create_transfers(&mut block, self.tenant, batch, &self.past, &mut outcomes)
            .unwrap();
        let time = start.elapsed();
        if batch.len() == BATCH {
            self.times.push(time);
        }
        assert!(outcomes.iter().all(Outcome::is_created));
        (block, time)
    }

    /// Runs so many transfers, and tells each block.
    fn transfers(&mut self, count: usize, kind: Kind, mut on_block: impl FnMut(Block)) -> Duration {
        let (mut time, mut done) = (Duration::ZERO, 0);
        while done < count {
            let mut batch = Transfers::default();
            for _ in 0..BATCH.min(count - done) {
                let transfer = self.transfer(kind);
                batch.push(transfer, &Metadata::default());
            }
            done += batch.len();
            let (block, taken) = self.batch(&batch);
            on_block(block);
            time += taken;
        }
        time
    }

    /// Posts these holds in a random order.
    fn post(&mut self, mut holds: Vec<TransferId>) -> Duration {
        let mut time = Duration::ZERO;
        for place in (1..holds.len()).rev() {
            holds.swap(place, (self.random.next() % (place as u64 + 1)) as usize);
        }
        for holds in holds.chunks(BATCH) {
            let mut batch = Transfers::default();
            for hold in holds {
                let id = TransferId::from(self.random.id());
                let none = [AccountId::default(); 2];
                let post = plain(id, Kind::PostPending, none);
                let post = Transfer { hold: *hold, amount: 0, ledger: 0, code: 0, ..post };
                batch.push(post, &Metadata::default());
            }
            time += self.batch(&batch).1;
        }
        time
    }
}

fn account(id: AccountId) -> Account {
    Account {
        limit: 0,
        code: 1,
        ledger: 986,
        tenant: 0,
        extension: 0,
        id,
        overdraft: 0,
        created_at: Timestamp::default(),
        external_id: ExternalId::default(),
    }
}

fn plain(id: TransferId, kind: Kind, [debit, credit]: [AccountId; 2]) -> Transfer {
    Transfer {
        kind,
        flags: 0,
        code: 1,
        ledger: 986,
        tenant: 0,
        extension: 0,
        id,
        debit,
        credit,
        amount: 1,
        created_at: Timestamp::default(),
        effective_at: Timestamp::default(),
        hold: TransferId::default(),
        timeout_seconds: if kind == Kind::Pending { 600 } else { 0 },
        external_id: ExternalId::default(),
    }
}

/// Bytes of memory that are in use.
fn memory() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

impl Run {
    /// What batches took since the last time that this was asked.
    fn batches(&mut self) -> String {
        let mut times = std::mem::take(&mut self.times);
        times.sort_unstable();
        let [fastest, median, slowest] = [0, times.len() / 2, times.len() - 1].map(|at| times[at]);
        format!("batches: fastest {fastest:?}, median {median:?}, slowest {slowest:?}")
    }
}

fn each(time: Duration, count: usize) -> String {
    let nanos = time.as_nanos() as f64 / count as f64;
    format!("{nanos:6.1} ns each, {:.2} M/s", 1e3 / nanos)
}

fn replayed(book: &mut Book, mut block: Block, past: &dyn Past) -> Duration {
    let (timestamp, first) = (block.timestamp, block.first);
    let parts = block.finish();
    let header = proof::Header {
        sequence: 1,
        timestamp,
        first,
        entries: parts.entries,
        extended: parts.extended,
        heap: parts.heap,
        ledger: [0; 16],
        previous: [0; 32],
        root: [0; 32],
        checksum: 0,
        hash: [0; 32],
        signature: [0; 64],
    };
    let block = proof::Block::new(header, &block.bytes[proof::HEADER_BYTES..]).unwrap();
    let start = Instant::now();
    book.replay(&block, past).unwrap();
    start.elapsed()
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().unwrap());
    let accounts = arguments.next().unwrap_or(1_000_000);
    let transfers = arguments.next().unwrap_or(10_000_000);
    let mut run = Run {
        book: Book::default(),
        past: Nothing::default(),
        tenant: TenantId::from(1),
        now: 0,
        random: Random(42),
        accounts: Vec::new(),
        times: Vec::new(),
    };
    println!("accounts   {}", each(run.open(accounts), accounts));
    let ids = run.accounts.len() * size_of::<AccountId>();
    let time = run.transfers(transfers, Kind::Plain, drop);
    println!("plain      {}, {}", each(time, transfers), run.batches());
    println!(
        "memory     {} MB, ids that are this program's own not counted",
        (memory() - ids) >> 20
    );
    println!("wrong candidates {}", run.past.0.get());

    let start = Instant::now();
    let snapshot = run.book.snapshot();
    println!("snapshot   {:?}", start.elapsed());
    let (mut file, start) = (Vec::new(), Instant::now());
    snapshot.write(&mut file).unwrap();
    println!("written    {:?}, {} MB", start.elapsed(), file.len() >> 20);
    let start = Instant::now();
    let mut copy = Book::read(io::Cursor::new(&file)).unwrap();
    println!("read       {:?}", start.elapsed());
    drop(file);

    let (count, mut time) = (1_000_000.min(transfers), Duration::ZERO);
    let past = Nothing::default();
    run.transfers(count, Kind::Plain, |block| time += replayed(&mut copy, block, &past));
    println!("replay     {}", each(time, count));
    drop(copy);

    let mut holds = Vec::new();
    run.times.clear();
    let time = run.transfers(count, Kind::Pending, |block| {
        for entry in block.entries() {
            let Entry::Transfer(hold) = Entry::decode(entry).unwrap() else { continue };
            holds.push(hold.id);
        }
    });
    println!("holds      {}, {}", each(time, count), run.batches());
    println!("posts      {}, {}", each(run.post(holds), count), run.batches());
}
