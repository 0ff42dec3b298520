//! Measures how fast the index absorbs transfers, and answers.
//!
//! `cargo run --release -p index --example absorb [millions of transfers] [accounts] [folder]`

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures are printed with a few digits"
)]

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};
use std::{env, fs, io, iter, thread};

use book::{Effects, Posting};
use index::{Direction, Index, Reader, Side};
use proof::{Block, ENTRY_BYTES, Header, Kind, Timestamp, Transfer, TransferId};

const BATCH: u64 = 8_189;

/// A block and what it did.
type Made = (Header, Vec<u8>, Effects);

type Fault = Box<dyn std::error::Error>;

fn main() -> Result<(), Fault> {
    let mut arguments = env::args().skip(1);
    let millions: u64 = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let rows: u32 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let folder = arguments.next().map_or_else(|| env::temp_dir().join("absorb"), PathBuf::from);
    let transfers = millions * 1_000_000 / BATCH * BATCH;
    let (send, blocks) = sync_channel(4);
    thread::spawn(move || {
        let mut maker = Maker::new(rows);
        (0..transfers / BATCH).all(|_| send.send(maker.block()).is_ok())
    });
    let first = blocks.recv()?;
    let others = anonymous_mb()?;
    let mut index = Index::open(&folder)?;
    absorb(&mut index, iter::once(first).chain(&blocks), transfers)?;
    println!("memory      {:.1} MB", anonymous_mb()? - others);
    let bytes = folder_bytes(&folder)?;
    println!("disk        {:.1} bytes a transfer", bytes as f64 / transfers as f64);
    ask(&index.reader(), rows)?;
    let start = Instant::now();
    index.close()?;
    println!("close       {:.2} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let index = Index::open(&folder)?;
    println!("open        {:.3} s, {} entries", start.elapsed().as_secs_f64(), index.covers());
    drop(index);
    Ok(fs::remove_dir_all(folder)?)
}

/// Adds all blocks.
fn absorb(
    index: &mut Index,
    blocks: impl Iterator<Item = Made>,
    transfers: u64,
) -> Result<(), Fault> {
    let (start, mut slowest) = (Instant::now(), Duration::ZERO);
    let before = cpu("self")?;
    for (header, payload, effects) in blocks {
        let start = Instant::now();
        index.add(&Block::new(header, &payload)?, &effects)?;
        slowest = slowest.max(start.elapsed());
    }
    let wall = start.elapsed().as_secs_f64();
    let adding = cpu("self")?.saturating_sub(before).as_secs_f64();
    // What is merged still counts as well.
    let mut merging = cpu("index-merge")?;
    loop {
        thread::sleep(Duration::from_millis(50));
        let now = cpu("index-merge")?;
        if now.saturating_sub(merging) < Duration::from_millis(1) {
            break;
        }
        merging = now;
    }
    let merging = merging.as_secs_f64();
    let each = |seconds: f64| seconds * 1e6 / transfers as f64;
    println!("absorbed    {:.2} M transfers/s", transfers as f64 / wall / 1e6);
    println!("slowest add {:.1} ms", slowest.as_secs_f64() * 1e3);
    println!("CPU         {:.3} µs adding, {:.3} µs merging", each(adding), each(merging));
    println!("sustained   {:.2} M transfers/s", 1.0 / each(adding.max(merging)));
    Ok(())
}

/// Asks random accounts.
fn ask(reader: &Reader, rows: u32) -> Result<(), Fault> {
    let (before, mut random) = (reader.covers(), Random(7));
    let mut balances = Vec::new();
    let mut pages = Vec::new();
    for _ in 0..20_000 {
        let row = random.below(rows);
        let start = Instant::now();
        reader.balance(row, Side::Credit, before)?;
        balances.push(start.elapsed());
        let start = Instant::now();
        let page: Vec<_> =
            reader.history(row, 0..before, Direction::Descending)?.take(100).collect();
        pages.push(start.elapsed());
        page.into_iter().collect::<Result<Vec<_>, _>>()?;
    }
    for (name, mut times) in [("balance", balances), ("page of 100", pages)] {
        times.sort_unstable();
        let at = |part: f64| times[(times.len() as f64 * part) as usize].as_secs_f64() * 1e6;
        println!("{name:11} p50 {:.0} µs, p99 {:.0} µs", at(0.5), at(0.99));
    }
    Ok(())
}

/// Makes transfers between random accounts.
struct Maker {
    random: Random,
    posted: Vec<[u64; 2]>,
    next: u64,
}

impl Maker {
    fn new(rows: u32) -> Self {
        Self { random: Random(1), posted: vec![[0; 2]; rows as usize], next: 0 }
    }

    fn block(&mut self) -> Made {
        let first = self.next;
        let mut payload = vec![0; BATCH as usize * ENTRY_BYTES];
        let mut effects = Effects::default();
        effects.postings.reserve(2 * BATCH as usize);
        let rows = self.posted.len() as u32;
        for entry in payload.as_chunks_mut::<ENTRY_BYTES>().0 {
            transfer(self.next).encode(entry);
            let debit = self.random.below(rows);
            let credit = (debit + 1 + self.random.below(rows - 1)) % rows;
            for (side, row) in [(0, debit), (1, credit)] {
                let posted = &mut self.posted[row as usize][side as usize];
                *posted += 1;
                let key = u64::from(row) << 37 | side << 36 | self.next;
                effects.postings.push(Posting { key, posted: *posted, pending: 0 });
            }
            self.next += 1;
        }
        (header(first), payload, effects)
    }
}

fn transfer(number: u64) -> Transfer {
    Transfer {
        kind: Kind::Plain,
        flags: 0,
        code: 1,
        ledger: 1,
        tenant: 1,
        extension: 0,
        id: TransferId::from(u128::from(number) + 1),
        debit: 1.into(),
        credit: 2.into(),
        amount: 1,
        created_at: Timestamp::from_nanos(number + 1),
        effective_at: Timestamp::from_nanos(number + 1),
        hold: 0.into(),
        timeout_seconds: 0,
        external_id: 0.into(),
    }
}

fn header(first: u64) -> Header {
    Header {
        sequence: first / BATCH + 1,
        timestamp: Timestamp::from_nanos(first + 1),
        first,
        entries: BATCH as u32,
        extended: 0,
        heap: 0,
        ledger: [0; 16],
        previous: [0; 32],
        root: [0; 32],
        checksum: 0,
        hash: [0; 32],
        signature: [0; 64],
    }
}

/// A xorshift generator.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * u64::from(end)) >> 32) as u32
    }
}

/// Time on a CPU of this thread, or of the one of that name.
fn cpu(thread: &str) -> Result<Duration, Fault> {
    let mut path = PathBuf::from("/proc/thread-self");
    if thread != "self" {
        for task in fs::read_dir("/proc/self/task")? {
            let task = task?.path();
            if fs::read_to_string(task.join("comm"))?.trim() == thread {
                path = task;
            }
        }
    }
    let stat = fs::read_to_string(path.join("schedstat"))?;
    Ok(Duration::from_nanos(stat.split(' ').next().unwrap_or_default().parse()?))
}

/// Memory of this process that is not of files.
fn anonymous_mb() -> Result<f64, Fault> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kb: f64 = line.unwrap_or_default().trim().trim_end_matches(" kB").parse()?;
    Ok(kb / 1e3)
}

fn folder_bytes(folder: &Path) -> io::Result<u64> {
    fs::read_dir(folder)?.map(|file| Ok(file?.metadata()?.len())).sum()
}
