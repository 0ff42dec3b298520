//! Benchmarks beside named peers, on the same machine in the same run.
//!
//! Absolute numbers of a shared machine mean little; the ratio is what to quote. Started by
//! `cargo xtask bench <name>`, which builds what is measured.

mod edge;
mod mesh;
mod pgbench;
mod report;
mod wrk;

use anyhow::Result;
use clap::{Parser, ValueEnum};

#[derive(Parser)]
#[command(about = "Benchmarks of Malha beside named peers")]
struct Cli {
    /// What to measure.
    name: Benchmark,
    /// Print one JSON object per figure.
    #[arg(long)]
    json: bool,
    /// Seconds of load per figure.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Benchmark {
    /// Reads and transfers through the edge, beside pgbench.
    Edge,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let rows = match cli.name {
        Benchmark::Edge => edge::run(cli.seconds).await?,
    };
    report::print(&rows, cli.json)
}
