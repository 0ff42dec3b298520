//! Settings of the ledger.

use std::num::NonZeroU64;
use std::path::PathBuf;

use engine::Options;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the ledger.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of the journal, its index and its snapshots. One process at a time may write it.
    /// Default: `data/ledger`.
    pub journal: PathBuf,
    /// Whether a missing journal is created, with its folder and its signing key. Set it for the
    /// first start alone: a ledger whose volume is not mounted would else start empty. Default:
    /// false.
    pub create: bool,
    /// File of the Ed25519 key that signs heads (PKCS#8 PEM). Default: `signing.key` in the folder
    /// of the journal.
    pub signing_key: Option<PathBuf>,
    /// Entries after which a snapshot is written, from which the next start goes on. Default:
    /// 8,000,000.
    pub snapshot_every: NonZeroU64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            journal: PathBuf::from("data/ledger"),
            create: false,
            signing_key: None,
            snapshot_every: NonZeroU64::new(8_000_000).unwrap_or(NonZeroU64::MIN),
        }
    }
}

impl From<Config> for Options {
    fn from(config: Config) -> Self {
        let beside = || config.journal.join("signing.key");
        Self {
            signing_key: config.signing_key.clone().unwrap_or_else(beside),
            folder: config.journal,
            create: config.create,
            snapshot_every: config.snapshot_every.get(),
        }
    }
}
