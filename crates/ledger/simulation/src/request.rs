//! What clients ask for.

use proof::{Account, Amendment, TenantId, Transfer};

/// Metadata as a client gives it: keys and values, ascending by key.
pub(crate) type Pairs = Vec<(String, String)>;

/// An account to create: what does not depend on when.
#[derive(Clone, Debug)]
pub(crate) struct NewAccount {
    /// With neither tenant nor time.
    pub(crate) account: Account,
    /// Whether it is accepted only together with the next one.
    pub(crate) is_linked: bool,
    /// Its metadata.
    pub(crate) metadata: Pairs,
}

/// A transfer to create.
#[derive(Clone, Debug)]
pub(crate) struct NewTransfer {
    /// With neither tenant nor time.
    pub(crate) transfer: Transfer,
    /// Its metadata.
    pub(crate) metadata: Pairs,
}

/// One call of a client.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// On whose behalf.
    pub(crate) tenant: TenantId,
    /// What is asked.
    pub(crate) items: Items,
}

/// What a batch consists of.
#[derive(Clone, Debug)]
pub(crate) enum Items {
    /// Accounts to create.
    Accounts(Vec<NewAccount>),
    /// Accounts to change, with neither tenant nor time.
    Amendments(Vec<Amendment>),
    /// Transfers to create.
    Transfers(Vec<NewTransfer>),
}

impl Batch {
    /// How many items it has.
    pub(crate) fn len(&self) -> usize {
        match &self.items {
            Items::Accounts(items) => items.len(),
            Items::Amendments(items) => items.len(),
            Items::Transfers(items) => items.len(),
        }
    }

    /// One of its items, to be read.
    pub(crate) fn shown(&self, place: usize) -> String {
        let item: &dyn std::fmt::Debug = match &self.items {
            Items::Accounts(items) => &items[place],
            Items::Amendments(items) => &items[place],
            Items::Transfers(items) => &items[place],
        };
        format!("item {place} of {} of {:?}, {item:?},", self.len(), self.tenant)
    }
}
