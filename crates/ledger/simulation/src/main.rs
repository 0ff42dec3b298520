//! Simulates the ledger: `simulate --seeds 1000`.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

/// Runs random histories of the ledger, with clients, crashes and failing disks, against a model.
#[derive(Parser)]
struct Arguments {
    /// How many histories.
    #[arg(long)]
    seeds: u32,
    /// Seed of the first one.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Items that each executes.
    #[arg(long, default_value_t = simulation::OPERATIONS)]
    operations: usize,
}

fn main() -> ExitCode {
    let Arguments { seeds, first, operations } = Arguments::parse();
    let started = Instant::now();
    match simulation::run_all(first..first + u64::from(seeds), operations) {
        Ok(report) => {
            let rate = f64::from(seeds) / started.elapsed().as_secs_f64();
            println!("{seeds} seeds, {rate:.1} a second: {report}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
