//! `malha`: the mesh in one binary.
//!
//! Only this crate knows all others. [`modules`] is the composition root.

mod commands;
mod describe;
mod memory;
mod modules;
mod process;
mod settings;

use std::process::ExitCode;

use clap::Parser;

use commands::Cli;

/// Small allocations come and go with every call; the system's allocator takes a tenth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match commands::run(Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes, save those that the one before already says.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| {
        if text.is_empty() {
            cause
        } else if text.ends_with(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}
