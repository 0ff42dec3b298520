//! Lives of a journal on a disk that fails: whatever was acknowledged is there after.

use std::ops::Range;
use std::sync::Arc;

use journal::{Disk, Fault, Faults, Journal, JournalError, Options, SimulatedDisk};
use proof::Hash;

use crate::support::{Ledger, SMALL, dynamic, open_with};

fn seeds() -> u64 {
    std::env::var("MALHA_FUZZ_ROUNDS").ok().and_then(|it| it.parse().ok()).unwrap_or(200)
}

/// What was done to a journal, and what has to be left of it.
struct Life {
    disk: SimulatedDisk,
    options: Options,
    /// Hashes of all blocks that may be there.
    written: Vec<Hash>,
    /// How many of them have to.
    acknowledged: usize,
    random: u64,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut life = Self {
            disk: SimulatedDisk::new(seed),
            options: SMALL,
            written: Vec::new(),
            acknowledged: 0,
            random: seed,
        };
        life.options.segment_bytes = u64::from(life.pick(2_000..20_000));
        life
    }

    fn pick(&mut self, range: Range<u32>) -> u32 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        range.start + (self.random >> 33) as u32 % (range.end - range.start)
    }

    /// Opens it, compares what is there and appends blocks, at most so many, until one fails.
    fn live(&mut self, blocks: u32) -> Result<(), JournalError> {
        let (recovered, found) = open_with(&(Arc::new(self.disk.clone()) as _), self.options)?;
        let lost = self.acknowledged.saturating_sub(found.len());
        assert!(lost <= self.silent_faults(), "{lost} blocks were lost that were acknowledged");
        assert_eq!(found, self.written[..found.len()], "other blocks than were written");
        self.acknowledged = found.len();
        self.written = found;
        let mut ledger = Ledger::after(
            if recovered.tail.sequence == 0 { proof::Tail::new([1; 16]) } else { recovered.tail },
            1,
        );
        let mut journal = recovered.journal;
        for _ in 0..blocks {
            let block = ledger.block(self.pick(1..30));
            self.written.push(block.header.hash);
            journal.append(&block.header, &block.bytes)?;
            self.acknowledged = self.written.len();
        }
        journal.close()
    }

    /// How often the disk lied. A lost last block looks as if it was never written, so each time
    /// can cost one.
    fn silent_faults(&self) -> usize {
        let silent = [None, Some(Fault::Lost), Some(Fault::Misdirected)];
        self.disk.injected().iter().filter(|it| silent.contains(&it.fault)).count()
    }

    fn restart(&mut self) {
        if self.disk.is_down() || self.pick(0..2) == 0 {
            self.disk.crash();
        } else {
            self.disk.kill();
        }
    }
}

/// L-48: crashes, torn and short writes, full disks, failing syncs.
#[test]
fn nothing_that_was_acknowledged_is_lost_whatever_fails_loudly() {
    let (mut failures, mut blocks) = (0, 0);
    for seed in 0..seeds() {
        let mut life = Life::new(seed);
        for _ in 0..10 {
            life.disk.set_faults(Faults {
                crash: 0.02,
                torn: 0.01,
                short: 0.01,
                full: 0.01,
                sync: 0.01,
                ..Faults::default()
            });
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| life.live(30)));
            match result.unwrap_or_else(|_| panic!("seed {seed}")) {
                Ok(()) => {}
                Err(JournalError::Io { .. }) => failures += 1,
                Err(error) => panic!("seed {seed}: {error}"),
            }
            life.restart();
        }
        life.disk.set_faults(Faults::default());
        life.live(3).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        blocks += life.acknowledged;
    }
    assert!(failures > 1_000 && blocks > 10_000, "{failures} failures, {blocks} blocks");
}

/// A disk that lies: what it lost is found, or it was the end that nothing can tell from a crash.
#[test]
fn what_fails_silently_is_found() {
    let mut found = 0;
    for seed in 0..seeds() {
        let mut life = Life::new(seed);
        for _ in 0..6 {
            life.disk.set_faults(Faults {
                crash: 0.01,
                lost: 0.004,
                misdirected: 0.004,
                flip: 0.05,
                ..Faults::default()
            });
            match life.live(30) {
                Ok(()) | Err(JournalError::Io { .. }) => life.restart(),
                Err(JournalError::Broken { .. }) => {
                    assert!(life.silent_faults() > 0, "seed {seed}");
                    found += 1;
                    break;
                }
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
    }
    assert!(found > 50, "{found} found");
}

/// The machine stops at each operation in turn, also while it recovers from a stop.
#[test]
fn a_crash_at_every_step_loses_nothing() {
    let mut step = 0;
    loop {
        let mut life = Life::new(step);
        let mut is_done = true;
        for stop in [step, step / 3] {
            let at = [(life.disk.operations() + stop, Fault::Crash)].into();
            life.disk.set_faults(Faults { at, ..Faults::default() });
            is_done = life.live(12).is_ok();
            life.disk.crash();
        }
        life.disk.set_faults(Faults::default());
        life.live(1).unwrap_or_else(|error| panic!("step {step}: {error}"));
        if is_done && step > 300 {
            break;
        }
        step += 1;
    }
}

#[test]
fn the_same_seed_does_the_same() {
    let run = || {
        let mut life = Life::new(9);
        for _ in 0..5 {
            life.disk.set_faults(Faults { crash: 0.05, torn: 0.05, ..Faults::default() });
            drop(life.live(20));
            life.restart();
        }
        let names = life.disk.list().unwrap();
        let contents: Vec<_> = names.iter().map(|name| life.disk.contents(name)).collect();
        (names, contents, life.disk.operations(), life.disk.injected())
    };
    assert_eq!(run(), run());
    assert!(dynamic(&SimulatedDisk::new(0)).is_deterministic());
}
