//! Where keys are read from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::jwks::{Published, read_set};
use super::provider::Provider;
use super::remote::Remote;
use crate::{ConfigError, KeyError, KeySource, KeysConfig};

/// Longest key set that is read: a thousand RSA keys.
pub(super) const SET_BYTES_MAX: usize = 1024 * 1024;

/// How long keys of the mesh are good.
const MESH_LIFETIME: Duration = Duration::from_mins(10);

/// How long the content of a file is good.
const FILE_LIFETIME: Duration = Duration::from_secs(10);

/// How long an answer is good that does not say so itself.
const URL_LIFETIME: Duration = Duration::from_mins(5);

/// Bounds of what an answer says: never a read for each token, never a key for days.
const URL_LIFETIME_BOUNDS: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(1));

/// Where keys are read from.
pub(crate) enum Source {
    Given(Arc<dyn KeySource>),
    File(PathBuf),
    Url(Box<Remote>),
    Provider(Box<Provider>),
}

/// What a source holds, and for how long it is good.
pub(super) struct Fetched {
    pub(super) keys: Vec<Published>,
    pub(super) lifetime: Duration,
}

impl Source {
    /// The source of the keys of `issuer` that the settings name; `mesh` is that of the mesh.
    pub(crate) fn new(
        issuer: &str,
        config: &KeysConfig,
        mesh: Option<&Arc<dyn KeySource>>,
    ) -> Result<Self, ConfigError> {
        match config {
            KeysConfig::Mesh => mesh
                .map(|source| Self::Given(Arc::clone(source)))
                .ok_or_else(|| ConfigError::new("keys", "there is no mesh here")),
            KeysConfig::File(path) => Ok(Self::File(path.clone())),
            KeysConfig::Url(url) => Remote::new(url)
                .map(|remote| Self::Url(Box::new(remote)))
                .map_err(|error| error.within("keys.url")),
            KeysConfig::Provider(metadata) => Provider::new(issuer, metadata)
                .map(|provider| Self::Provider(Box::new(provider)))
                .map_err(|error| error.within("keys.provider")),
        }
    }

    /// Shortest time between two reads, whatever tokens ask for.
    pub(super) fn pause(&self) -> Duration {
        match self {
            Self::Given(_) | Self::File(_) => Duration::from_secs(1),
            Self::Url(_) | Self::Provider(_) => Duration::from_secs(5),
        }
    }

    pub(super) async fn read(&self) -> Result<Fetched, KeyError> {
        match self {
            Self::Given(source) => {
                let keys = source.fetch().await?.into_iter().map(Published::from).collect();
                Ok(Fetched { keys, lifetime: MESH_LIFETIME })
            }
            Self::File(path) => {
                let keys = read_set(&read_file(path).await?);
                let keys = keys.map_err(|error| KeyError(format!("{self}: {error}")))?;
                Ok(Fetched { keys, lifetime: FILE_LIFETIME })
            }
            Self::Url(remote) => fetched(remote.read().await?),
            Self::Provider(provider) => fetched(provider.read().await?),
        }
    }
}

/// What a server answered, and for how long it says that it is good.
fn fetched((document, lifetime): (Bytes, Option<Duration>)) -> Result<Fetched, KeyError> {
    let (shortest, longest) = URL_LIFETIME_BOUNDS;
    let lifetime = lifetime.unwrap_or(URL_LIFETIME).clamp(shortest, longest);
    Ok(Fetched { keys: read_set(&document)?, lifetime })
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("the mesh"),
            Self::File(path) => path.display().fmt(f),
            Self::Url(remote) => remote.uri.fmt(f),
            Self::Provider(provider) => provider.metadata.uri.fmt(f),
        }
    }
}

async fn read_file(path: &Path) -> Result<Vec<u8>, KeyError> {
    let failed = |error| KeyError(format!("{}: {error}", path.display()));
    let mut document = Vec::new();
    let file = File::open(path).await.map_err(failed)?;
    let bound = SET_BYTES_MAX as u64 + 1;
    file.take(bound).read_to_end(&mut document).await.map_err(failed)?;
    if document.len() > SET_BYTES_MAX {
        return Err(KeyError(format!("{}: longer than a key set may be", path.display())));
    }
    Ok(document)
}
