//! Settings of the ledger.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the ledger.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of the journal. One process at a time may write it. Default: `data/ledger`.
    pub journal: PathBuf,
    /// Whether a missing journal is created, with its folder. Set it for the first start alone: a
    /// ledger whose volume is not mounted would else start empty. Default: false.
    pub create: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { journal: PathBuf::from("data/ledger"), create: false }
    }
}
