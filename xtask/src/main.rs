//! Developer commands: `cargo xtask <command>`.
//!
//! Light on dependencies, because the first `cargo xtask dev` on a fresh machine builds it.

mod fuzz;
mod install;
mod promises;
mod run;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::run::{cargo, malha};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Malha")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing, build, and run the whole mesh.
    Dev {
        /// Arguments of `malha dev`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Install what the tests need, then run all of them.
    Test,
    /// Check formatting, lints and contracts.
    Check,
    /// Kill every process of the mesh at random under load, and count the money.
    Crash {
        /// Rounds, of 10,000 transfers each through the whole mesh.
        #[arg(long, default_value_t = 20)]
        rounds: u32,
        /// Kill the ledger alone, under batches as fast as it takes them.
        #[arg(long)]
        ledger: bool,
        /// Kill producers, relays, consumers and the broker of events, and count the effects.
        #[arg(long, conflicts_with = "ledger")]
        events: bool,
        /// The bus of events: `postgres`, `nats` or `kafka`; without it, each of them.
        #[arg(long, requires = "events")]
        bus: Option<String>,
    },
    /// Run `malha gateway` under clients and services that misbehave, and look for what it leaves.
    Soak {
        /// Seconds of load.
        #[arg(long, default_value_t = 120)]
        seconds: u64,
    },
    /// Run random histories of the ledger, with crashes and failing disks, against its model.
    Simulate {
        /// How many.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// Seed of the first one.
        #[arg(long, default_value_t = 0)]
        first: u64,
    },
    /// Fuzz what the gateway reads: JSON, messages, paths, headers.
    Fuzz(fuzz::Fuzz),
    /// Run a benchmark beside its peer: `edge`, `events`, `gateway`, `ledger`.
    Bench {
        /// Which one.
        name: String,
        /// Print one JSON object per figure.
        #[arg(long)]
        json: bool,
        /// Less of it: to see that it works, not to quote.
        #[arg(long)]
        quick: bool,
    },
    /// List the numbered promises with the tests that name them.
    Promises {
        /// Only those that no test names yet.
        #[arg(long)]
        open: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Dev { arguments } => {
            install::postgresql()?;
            malha(["dev"].into_iter().chain(arguments.iter().map(String::as_str)))
        }
        Command::Test => {
            check()?;
            install::postgresql()?;
            install::redis()?;
            install::aiosmtpd()?;
            install::nats()?;
            install::openssl()?;
            install::standard_webhooks()?;
            cargo(["test", "--workspace", "--features", "events/kafka"])?;
            openapi()?;
            fuzz::Fuzz::briefly().run()
        }
        Command::Check => check(),
        Command::Crash { rounds, events: true, bus, .. } => {
            install::postgresql()?;
            install::nats()?;
            install::openssl()?;
            crash_events(rounds, bus.as_deref())
        }
        Command::Crash { rounds, ledger, .. } => {
            install::postgresql()?;
            crash(rounds, ledger)
        }
        Command::Soak { seconds } => soak(seconds),
        Command::Simulate { seeds, first } => {
            let (seeds, first) = (seeds.to_string(), first.to_string());
            let command = ["run", "--release", "--quiet", "--package", "simulation", "--"];
            cargo(command.into_iter().chain(["--seeds", &seeds, "--first", &first]))
        }
        Command::Fuzz(fuzz) => fuzz.run(),
        Command::Bench { name, json, quick } => {
            install::postgresql()?;
            install::wrk()?;
            if name == "gateway" {
                install::h2load()?;
                install::envoy()?;
            }
            let mut arguments = vec!["run", "--release", "--quiet", "--package", "bench"];
            if name == "events" {
                install::nats()?;
                install::openssl()?;
                arguments.extend(["--features", "kafka"]);
            } else {
                cargo(["build", "--release", "--package", "malha"])?;
            }
            arguments.extend(["--", name.as_str()]);
            arguments.extend(json.then_some("--json"));
            arguments.extend(quick.then_some("--quick"));
            cargo(arguments)
        }
        Command::Promises { open } => promises::list(open),
    }
}

fn check() -> Result<()> {
    let buf = install::buf()?;
    cargo(["fmt", "--all", "--check"])?;
    run::run(&buf, ["lint"])?;
    run::run(&buf, ["format", "--path", "proto/malha", "--diff", "--exit-code"])?;
    if run::succeeds("git", ["rev-parse", "--quiet", "--verify", "HEAD~1:proto"]) {
        run::run(&buf, ["breaking", "--against", ".git#ref=HEAD~1"])?;
    }
    cargo(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])
}

/// Has a public validator read the `OpenAPI` document of the contracts.
fn openapi() -> Result<()> {
    let validator = install::openapi_spec_validator()?;
    let document = run::root().join("target/openapi.json");
    let arguments = ["run", "--quiet", "--package", "malha", "--", "gateway", "--openapi"];
    std::fs::create_dir_all(run::root().join("target"))?;
    std::fs::write(&document, run::output("cargo", arguments)?)?;
    run::run(validator, [&document])
}

fn crash_events(rounds: u32, bus: Option<&str>) -> Result<()> {
    let rounds = rounds.to_string();
    let mut environment = vec![("MALHA_CRASH_ROUNDS", rounds.as_str())];
    environment.extend(bus.map(|bus| ("MALHA_CRASH_BUS", bus)));
    let arguments = ["test", "--package", "events", "--features", "kafka", "--test", "crash"];
    let arguments = arguments.into_iter().chain(["--", "--nocapture", "--test-threads", "1"]);
    run::run_with("cargo", arguments, &environment)
}

fn crash(rounds: u32, ledger: bool) -> Result<()> {
    // The full load of the ledger is that of an optimised one.
    let (profile, tests) = if ledger { ("release", "ledger_kill::") } else { ("test", "crash::") };
    mesh_tests(profile, tests, ("MALHA_CRASH_ROUNDS", &rounds.to_string()))
}

fn soak(seconds: u64) -> Result<()> {
    mesh_tests("release", "soak::", ("MALHA_SOAK_SECONDS", &seconds.to_string()))
}

/// Runs tests of the real program, with a variable that makes them longer.
fn mesh_tests(profile: &str, tests: &str, variable: (&str, &str)) -> Result<()> {
    let command = ["test", "--profile", profile, "--package", "malha", "--test", "mesh"];
    run::run_with("cargo", command.into_iter().chain(["--", tests, "--nocapture"]), &[variable])
}
