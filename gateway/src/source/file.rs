//! Contracts in a descriptor set.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use tokio::time::sleep;

use super::{ContractError, pool_of};
use crate::site::Contract;

/// A file that does not change for so long is whole.
const SETTLED_AFTER: Duration = Duration::from_millis(50);

/// A file of an encoded `FileDescriptorSet`.
pub(crate) struct DescriptorFile {
    path: PathBuf,
    /// Time and length of the file as it was last decoded.
    seen: Option<(SystemTime, u64)>,
}

impl DescriptorFile {
    /// A file that is not read yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    /// The contracts, when the file is not the one that was last read. One that is being written
    /// is waited for: half of a set may well decode.
    pub(super) async fn changed(&mut self) -> Result<Option<Contract>, ContractError> {
        let failed = |source| ContractError::File { path: self.path.clone(), source };
        loop {
            let stamp = self.stamp().map_err(failed)?;
            if self.seen == Some(stamp) {
                return Ok(None);
            }
            sleep(SETTLED_AFTER).await;
            let set = fs::read(&self.path).map_err(failed)?;
            if self.stamp().map_err(failed)? == stamp {
                let contract = Contract { pool: pool_of(&set)?, offers: BTreeMap::new() };
                self.seen = Some(stamp);
                return Ok(Some(contract));
            }
        }
    }

    fn stamp(&self) -> io::Result<(SystemTime, u64)> {
        let metadata = fs::metadata(&self.path)?;
        Ok((metadata.modified()?, metadata.len()))
    }
}
