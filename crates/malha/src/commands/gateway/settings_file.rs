//! The settings file of a gateway that runs.

use std::fs::read_to_string;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway::Reloader;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::settings::StandAlone;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A file that does not change for so long is whole.
const SETTLED_AFTER: Duration = Duration::from_millis(50);

/// The file, and what was in it when it was last looked at.
pub(super) struct SettingsFile {
    path: PathBuf,
    seen: Option<String>,
    hangup: Signal,
}

impl SettingsFile {
    /// Looks at the file, to notice all that changes from here on. SIGHUP waits from here on too: it
    /// no longer ends the process.
    pub(super) fn watch(path: &Path) -> io::Result<Self> {
        let hangup = signal(SignalKind::hangup())?;
        Ok(Self { path: path.to_owned(), seen: read_to_string(path).ok(), hangup })
    }

    /// Takes the settings over whenever the file changes, and at SIGHUP.
    pub(super) async fn follow(mut self, reloader: Reloader) {
        loop {
            if self.news().await {
                take_over(&self.path, &reloader).await;
            }
        }
    }

    /// Whether there is something to take over, after a while or at a signal.
    async fn news(&mut self) -> bool {
        let is_asked = tokio::select! {
            _ = self.hangup.recv() => true,
            () = sleep(LOOK_EVERY) => false,
        };
        let text = read_to_string(&self.path).ok();
        if text == self.seen && !is_asked {
            return false;
        }
        // One that is being written is looked at again.
        sleep(SETTLED_AFTER).await;
        let is_whole = read_to_string(&self.path).ok() == text;
        if is_whole {
            self.seen = text;
        }
        is_whole
    }
}

async fn take_over(file: &Path, reloader: &Reloader) {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// K-40: a start may take a while, and the file change meanwhile.
    #[tokio::test]
    async fn what_comes_between_watching_and_following_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.toml");
        fs::write(&path, "[gateway]").unwrap();
        let mut file = SettingsFile::watch(&path).unwrap();
        assert!(!file.news().await, "nothing changed");
        fs::write(&path, "[gateway.limits]").unwrap();
        assert!(file.news().await, "the file changed");
        assert!(!file.news().await, "once is enough");

        assert!(Command::new("sh").args(["-c", "kill -HUP $PPID"]).status().unwrap().success());
        assert!(file.news().await, "somebody asked");
    }
}
