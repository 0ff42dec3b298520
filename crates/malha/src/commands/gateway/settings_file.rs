//! The settings file of a gateway that runs.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use gateway::Reloader;
use tokio::fs::read_to_string;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::settings::StandAlone;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A file that does not change for so long is whole.
const SETTLED_AFTER: Duration = Duration::from_millis(50);

/// Takes the settings over whenever the file changes, and at SIGHUP.
pub(super) fn follow(file: PathBuf, reloader: Reloader) -> io::Result<impl Future<Output = ()>> {
    let hangup = signal(SignalKind::hangup())?;
    Ok(keep_following(file, reloader, hangup))
}

async fn keep_following(file: PathBuf, reloader: Reloader, mut hangup: Signal) {
    let mut seen = read_to_string(&file).await.ok();
    loop {
        let is_asked = tokio::select! {
            _ = hangup.recv() => true,
            () = sleep(LOOK_EVERY) => false,
        };
        let text = read_to_string(&file).await.ok();
        if text == seen && !is_asked {
            continue;
        }
        // One that is being written is looked at again.
        sleep(SETTLED_AFTER).await;
        if read_to_string(&file).await.ok() == text {
            seen = text;
            take_over(&file, &reloader).await;
        }
    }
}

async fn take_over(file: &std::path::Path, reloader: &Reloader) {
    let settings = match StandAlone::load(Some(file)) {
        Ok(settings) => settings,
        Err(error) => return error!(%error, "settings not reloaded, those before stay"),
    };
    match reloader.reload(settings.gateway).await {
        Ok(fixed) if fixed.is_empty() => info!("settings reloaded"),
        Ok(fixed) => {
            let settings = fixed.join(", ");
            warn!(settings, "settings reloaded, but for those that need a restart");
        }
        Err(error) => error!(%error, "settings not reloaded, those before stay"),
    }
}
