//! `malha config`

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::commands::dev;
use crate::describe::describe;
use crate::settings::Settings;

/// Print the effective settings, each with its documentation.
#[derive(Args, Debug)]
pub(crate) struct Config {
    /// Print those of `malha dev`.
    #[arg(long)]
    dev: bool,
    /// Folder of `malha dev`.
    #[arg(long, default_value = dev::HOME, requires = "dev")]
    home: PathBuf,
}

impl Config {
    pub(crate) fn run(self, file: Option<&Path>) -> Result<()> {
        let overrides = if self.dev { dev::overrides(&self.home) } else { String::new() };
        print!("{}", describe(&Settings::load(&overrides, file)?)?);
        Ok(())
    }
}
