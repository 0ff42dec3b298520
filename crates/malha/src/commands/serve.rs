//! `malha serve`

use anyhow::Result;
use clap::Args;

use crate::process::Process;
use crate::settings::Settings;
use crate::{modules, process};

/// Run services, in production or by hand.
///
/// Start order does not matter: a service whose neighbours or database are away waits for them.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Services to run in this process, such as `payments ledger`; `gateway`; or `all`.
    #[arg(required = true)]
    services: Vec<String>,
}

impl Serve {
    pub(crate) async fn run(self, settings: Settings) -> Result<()> {
        let modules = modules::select(&self.services)?;
        let name = match modules.as_slice() {
            [only] => only.name,
            _ => "malha",
        };
        let _telemetry = telemetry::init(&settings.telemetry, name)?;
        let process = Process::new(settings, modules)?;
        process.run(process::say_nothing).await
    }
}
