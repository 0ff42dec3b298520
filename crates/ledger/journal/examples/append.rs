//! Prints how fast blocks become durable in a folder: `append [folder]`, by default a new one under
//! the folder for temporary files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use journal::{FileJournal, Journal, Options, RealDisk, Recovered};
use proof::{ENTRIES_MAX, ENTRY_BYTES, TransferId};
use proof::{Entry, HEADER_BYTES, Key, Parts, Refusal, Sealer, SigningKey, Tail, Timestamp};

/// How long blocks of each size are appended.
const DURATION: Duration = Duration::from_secs(3);

/// How many entries are read at random.
const READS: u32 = 100_000;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let temporary = || std::env::temp_dir().join(format!("append-{}", std::process::id()));
    let folder = std::env::args().nth(1).map_or_else(temporary, PathBuf::from);
    let key = SigningKey::from_seed(&[1; 32]);
    let mut journal = open(&folder)?.journal;
    let mut sealer = Sealer::new(Tail::new([1; 16]), key)?;
    for (name, entries) in [("1 MB", 8_470), ("30 KB", 252), ("400 B", 1)] {
        let mut taken = Vec::new();
        let started = Instant::now();
        while started.elapsed() < DURATION {
            let (header, bytes) = block(&mut sealer, entries);
            let began = Instant::now();
            journal.append(&header, &bytes)?;
            taken.push(began.elapsed());
        }
        report(name, &mut taken);
    }
    let reader = journal.reader();
    let (mut extension, mut number, mut taken) = (Vec::new(), 1u64, Vec::new());
    for _ in 0..READS {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let began = Instant::now();
        reader.entry((number >> 16) % reader.durable(), &mut extension)?;
        taken.push(began.elapsed());
    }
    report("read", &mut taken);
    journal.close()?;
    let began = Instant::now();
    let tail = open(&folder)?.tail;
    let (entries, seconds) = (tail.entries(), began.elapsed().as_secs_f64());
    println!("replay: {entries} entries of {} blocks in {seconds:.2} s", tail.sequence);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

fn open(folder: &std::path::Path) -> Fallible<Recovered> {
    let disk = Arc::new(RealDisk::create(folder)?);
    let opened = FileJournal::open(disk, Options { create: true, ..Options::default() })?;
    Ok(opened.replay(Tail::default(), &mut |_, _, _| (), &mut |_| Ok(()))?)
}

/// The next block: a key if it is the first of all, then refusals, which are as long as any entry.
fn block(sealer: &mut Sealer, entries: u32) -> (proof::Header, Vec<u8>) {
    let (first, mut created_at) = (sealer.tail().entries(), sealer.tail().last.next());
    let timestamp = created_at;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + ENTRIES_MAX * ENTRY_BYTES);
    bytes.resize(HEADER_BYTES, 0);
    for number in first..first + u64::from(entries) {
        let entry = if number == 0 {
            let public = SigningKey::from_seed(&[1; 32]).public([1; 16]).bytes();
            Entry::Key(Key { public, created_at })
        } else {
            let id = TransferId::from(u128::from(number));
            Entry::Refusal(Refusal { status: 1, tenant: 1, id, created_at })
        };
        bytes.extend_from_slice(&entry.encode());
        created_at = created_at.next();
    }
    let parts = Parts { entries, ..Parts::default() };
    let header =
        sealer.seal(Timestamp::from_nanos(timestamp.nanos()), &mut bytes, parts, &mut |_, _, _| ());
    (header, bytes)
}

fn report(name: &str, taken: &mut [Duration]) {
    taken.sort_unstable();
    let total: Duration = taken.iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let rate = taken.len() as f64 / total.as_secs_f64();
    let [p50, p99] = [50, 99].map(|part| taken[taken.len() * part / 100]);
    println!("{name:>6}: {rate:.0}/s, p50 {p50:.2?}, p99 {p99:.2?}");
}
