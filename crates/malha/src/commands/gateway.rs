//! `malha gateway`: the edge alone, in front of services that need not know Malha.

mod settings_file;

use std::path::Path;

use anyhow::Result;
use clap::Args;
use clock::Clock;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::memory;
use crate::process::signals;
use crate::settings::StandAlone;
use settings_file::SettingsFile;

/// Put REST and JSON in front of any gRPC service, without a mesh.
///
/// The file given with --config says which services (`[gateway.upstreams.NAME]`), where their
/// contracts come from (`[gateway.contracts]`) and who may call what (`[[gateway.policies]]`).
#[derive(Args, Debug)]
pub(crate) struct Gateway {
    /// Check settings, files and contracts, print the routes, and end.
    #[arg(long)]
    check: bool,
    /// Print the `OpenAPI` document, and end.
    #[arg(long, conflicts_with = "check")]
    openapi: bool,
}

impl Gateway {
    pub(crate) async fn run(&self, file: Option<&Path>) -> Result<()> {
        // Before the settings are read, so that no change is missed.
        let watched = file.map(SettingsFile::watch).transpose()?;
        let settings = StandAlone::load(file)?;
        if self.check {
            print!("{}", ::gateway::Preview::checked(&settings.gateway).await?);
            return Ok(());
        }
        if self.openapi {
            println!("{}", ::gateway::Preview::of(&settings.gateway).await?.openapi());
            return Ok(());
        }
        let _telemetry = telemetry::init(&settings.telemetry, "gateway")?;
        let stop = CancellationToken::new();
        signals::listen(stop.clone())?;
        let starting = Box::pin(::gateway::Gateway::bind(settings.gateway, None, Clock::system()));
        let Some(gateway) = stop.run_until_cancelled(starting).await.transpose()? else {
            return Ok(());
        };
        let shown = |address: Option<_>| address.map(|address| format!("{address:?}"));
        info!(http = shown(gateway.http()), https = shown(gateway.https()), "ready");
        let memory = tokio::spawn(memory::give_back());
        let following = watched.map(|file| tokio::spawn(file.follow(gateway.reloader())));
        gateway.serve(stop).await;
        memory.abort();
        following.inspect(tokio::task::JoinHandle::abort);
        info!("stopped");
        Ok(())
    }
}
