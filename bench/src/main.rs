//! Benchmarks beside named peers, on the same machine in the same run.
//!
//! Absolute numbers of a shared machine mean little; the ratio is what to quote. Started by
//! `cargo xtask bench <name>`, which builds what is measured.

mod certificates;
mod edge;
mod events;
mod gateway;
mod ledger;
mod measure;
mod mesh;
mod pgbench;
mod report;
mod wrk;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

/// What `malha` itself uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// A tenth of the accounts and transfers of the ledger: to see that it works, not to quote.
    #[arg(long)]
    quick: bool,
    /// Where the files of the service behind the gateways are.
    #[arg(long, hide = true, default_value = ".")]
    folder: PathBuf,
    #[command(flatten)]
    ledger: ledger::Choice,
    /// What the reader of the ledger reads.
    #[arg(long, hide = true, default_value = "")]
    reading: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Benchmark {
    /// Reads and transfers through the edge, beside pgbench.
    Edge,
    /// The relay on each bus and the way to consumers, beside polling row by row.
    Events,
    /// `malha gateway` beside Envoy, before the same service.
    Gateway,
    /// The service behind both.
    #[value(hide = true)]
    GatewayBackend,
    /// One that costs little.
    #[value(hide = true)]
    GatewayBareBackend,
    /// A server that is no gateway.
    #[value(hide = true)]
    GatewayFloor,
    /// Transfers, reads, memory, disk and restarts of the ledger, beside PostgreSQL.
    Ledger,
    /// Who reads from it.
    #[value(hide = true)]
    LedgerReader,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok()
        .context("another TLS provider is installed")?;
    let rows = match cli.name {
        Benchmark::Edge => edge::run(cli.seconds).await?,
        Benchmark::Events => events::run(cli.seconds, cli.quick).await?,
        Benchmark::Gateway => gateway::run(cli.seconds).await?,
        Benchmark::GatewayBackend => return gateway::serve_backend(&cli.folder).await,
        Benchmark::GatewayBareBackend => return gateway::serve_bare_backend(&cli.folder).await,
        Benchmark::GatewayFloor => {
            return tokio::task::spawn_blocking(gateway::serve_floor).await?;
        }
        Benchmark::Ledger => ledger::run(cli.seconds, cli.quick, &cli.ledger).await?,
        Benchmark::LedgerReader => return ledger::read::run(&cli.reading),
    };
    report::print(&rows, cli.json)
}
