//! The command line.

mod certs;
mod config;
mod database;
mod dev;
mod engineer;
mod events;
mod gateway;
mod keys;
mod ledger;
mod serve;
mod token;
mod workflow;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::settings::Settings;

/// Malha: a bank as a mesh of gRPC services.
///
/// Settings come from defaults, then the file given with --config, then variables such as
/// `MALHA_STORAGE__HOST` for `storage.host`. `malha config` prints them all.
#[derive(Debug, Parser)]
#[command(name = "malha", version)]
pub(crate) struct Cli {
    /// Settings file (TOML).
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine, for development: certificates, database, services, gateway.
    Dev(dev::Dev),
    /// Run services, in production or by hand.
    Serve(serve::Serve),
    /// Put REST and JSON in front of any gRPC service, without a mesh.
    Gateway(gateway::Gateway),
    /// Make and look at the certificates of the mesh.
    #[command(subcommand)]
    Certs(certs::Certs),
    /// Print the effective settings, each with its documentation.
    Config(config::Config),
    /// Print an access token for development.
    Token(token::Token),
    /// Manage the keys that sign access tokens.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Prepare the database.
    #[command(subcommand)]
    Database(database::Database),
    /// Look at events that were given up, and have events taken up again.
    #[command(subcommand)]
    Events(events::Events),
    /// Verify, prove, copy, export and fill a ledger by its files.
    #[command(subcommand)]
    Ledger(Box<ledger::Ledger>),
    /// Look at workflows, and let those go on that stand still.
    Workflow(workflow::Workflow),
}

/// Runs one command and says what the process ends with.
pub(crate) async fn run(cli: Cli) -> Result<ExitCode> {
    let file = cli.config.as_deref();
    match cli.command {
        Command::Dev(dev) => dev.run(file).await,
        Command::Serve(serve) => serve.run(Settings::load("", file)?).await,
        Command::Gateway(gateway) => gateway.run(file).await,
        Command::Certs(certs) => certs.run(&Settings::load("", file)?),
        Command::Config(config) => config.run(file),
        Command::Token(token) => token.run(&Settings::load("", file)?).await,
        Command::Keys(keys) => keys.run(&Settings::load("", file)?).await,
        Command::Database(database) => database.run(&Settings::load("", file)?).await,
        Command::Events(events) => events.run(&Settings::load("", file)?).await,
        Command::Workflow(workflow) => workflow.run(&Settings::load("", file)?).await,
        Command::Ledger(ledger) => return ledger.run().await,
    }?;
    Ok(ExitCode::SUCCESS)
}
