//! Settings of the ledger.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the ledger.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of the journal, created when missing. One process at a time may write it.
    /// Default: `data/ledger`.
    pub journal: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self { journal: PathBuf::from("data/ledger") }
    }
}
