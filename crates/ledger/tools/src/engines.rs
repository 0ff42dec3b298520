//! Running the ledger for a moment.

use anyhow::Result;
use clock::Clock;
use engine::{Engine, OpenError, Options};

use crate::files::explain;

/// Opens a ledger that no other process runs.
pub(crate) fn open(options: &Options) -> Result<Engine> {
    Engine::open(options, Clock::system()).map_err(|error| match error {
        OpenError::Journal(error) => explain(error),
        error => error.into(),
    })
}
