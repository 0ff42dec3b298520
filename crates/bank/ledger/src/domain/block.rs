//! What a block of the journal says.

use auth::TenantId;

use super::{NewAccount, NewTransfer, Timestamp, TransferId, TransferRefusal};

/// Changes that become durable together, in order of execution.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Block {
    /// When it began: holds whose time had passed were released first.
    pub(crate) timestamp: Timestamp,
    /// How many holds were released first. Which ones follows from the blocks before.
    pub(crate) expired: u32,
    /// What happened then.
    pub(crate) records: Vec<Record>,
}

impl Block {
    /// Whether it changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.expired == 0 && self.records.is_empty()
    }

    /// How many accounts, transfers and refusals it records.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for record in &self.records {
            match record {
                Record::Account { .. } => counts.accounts += 1,
                Record::Transfer { .. } => counts.transfers += 1,
                Record::Refusal { .. } => counts.refusals += 1,
            }
        }
        counts
    }
}

/// Records of each kind in a block.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) accounts: u32,
    pub(crate) transfers: u32,
    pub(crate) refusals: u32,
}

/// One thing that happened and that must be known after a restart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    /// An account was created.
    Account { tenant: TenantId, account: NewAccount, created_at: Timestamp },
    /// A transfer was created; all that it inherited is named.
    Transfer { tenant: TenantId, transfer: NewTransfer, created_at: Timestamp },
    /// A transfer was refused for good.
    Refusal { tenant: TenantId, id: TransferId, refusal: TransferRefusal },
}
