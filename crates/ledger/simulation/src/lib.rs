//! Deterministic simulation of the ledger: random histories, each of which follows from its seed.
//!
//! Clients send batches that make sense, and batches that are wrong in every way that has a status
//! of its own; what was never answered is sent again. The ledger is joined from its parts as the
//! engine joins them, step by step on one thread, with a simulated disk that tears, shortens, loses
//! and misdirects writes, flips bits, is full, fails to sync, and crashes at any operation, also
//! while the ledger recovers. Compared with a plain model are
//!
//! - each outcome of each item, and each block byte for byte;
//! - after each start: every entry, the state of every account, the root over all entries;
//! - in between: lookups, balances as of any time and effective date, pages of history, filters, and
//!   proofs of transfers, accounts and heads.
//!
//! After a crash all that was acknowledged has to be there, and of the rest whole blocks. When the
//! disk has destroyed what was acknowledged, the ledger must not start, and names a damaged block
//! and where it is. Two losses are beyond a journal alone: of the last blocks, when the disk forgot
//! both them and that they were durable, which is noticed by whoever kept a signed head; and of
//! entries before a snapshot, which are not read at a start, but by `journal::verify`.

mod bugs;
mod checks;
mod disk;
mod generator;
mod model;
mod recovery;
mod report;
mod request;
mod simulation;
mod world;

pub use bugs::Bug;
pub use report::Report;

use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{fmt, thread};

use proof::Timestamp;

use crate::simulation::Simulation;

/// Items that a history executes, unless told otherwise.
pub const OPERATIONS: usize = 20_000;

/// When the clock of a simulation starts: 2026-01-01.
pub(crate) const START: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

/// A history in which the ledger did something wrong.
#[derive(Debug)]
pub struct Failure {
    /// Everything follows from it.
    pub seed: u64,
    /// Items that were to be executed.
    pub operations: usize,
    /// What was wrong.
    pub problem: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, operations, problem } = self;
        writeln!(formatter, "seed {seed}: {problem}")?;
        let again = format!("--first {seed} --seeds 1 --operations {operations}");
        write!(formatter, "the same again: cargo run --package simulation -- {again}")
    }
}

impl std::error::Error for Failure {}

/// Runs the history of a seed.
pub fn run(seed: u64, operations: usize, bug: Option<Bug>) -> Result<Report, Failure> {
    let history = || {
        let folder = tempfile::tempdir()?;
        let index = folder.path().join("index");
        Simulation::new(seed, bug, &index).run(operations)
    };
    let failure = |problem| Failure { seed, operations, problem };
    match panic::catch_unwind(AssertUnwindSafe(history)) {
        Ok(result) => result.map_err(|error| failure(format!("{error:#}"))),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(failure(format!("it panicked: {}", text.unwrap_or("without a text"))))
        }
    }
}

/// Runs the histories of many seeds, as many at once as there are processors, up to the first
/// failure.
pub fn run_all(seeds: Range<u64>, operations: usize) -> Result<Report, Failure> {
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Ok(Report::default()));
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end {
            return;
        }
        let report = run(seed, operations, None);
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        match (&mut *total, report) {
            (Ok(total), Ok(report)) => *total += report,
            (Ok(_), Err(failure)) => {
                next.store(seeds.end, Ordering::Relaxed);
                *total = Err(failure);
            }
            (Err(_), _) => return,
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(work);
        }
    });
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}
