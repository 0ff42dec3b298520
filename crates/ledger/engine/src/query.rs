//! Questions, answered from the journal and the index: the book is never asked, so that reading
//! does not wait for what is being written.

mod account;
mod list;
mod prove;
mod transfer;

use book::Lookup;
use proof::{
    AccountId, AccountProof, ConsistencyProof, Entry, EntryBytes, Metadata, SignedHead, TenantId,
    Timestamp, TransferId, TransferProof,
};
use tokio::sync::watch;

use crate::checkpoint::Checkpoints;
use crate::progress::Progress;
use crate::view::{
    AccountView, AsOf, Balances, Changes, Filter, HistoryItem, Page, QueryError, TransferView,
};

/// Reads a running ledger. Sees everything that was answered before the question, and nothing
/// that a crash could take back.
#[derive(Clone)]
pub struct Reader {
    pub(crate) journal: journal::Reader,
    pub(crate) index: index::Reader,
    pub(crate) lookup: Lookup,
    pub(crate) progress: Progress,
    pub(crate) checkpoints: Checkpoints,
}

/// What a tenant has after so many entries.
struct View<'a> {
    reader: &'a Reader,
    /// How many entries there are.
    end: u64,
    /// Number of the tenant.
    tenant: u32,
}

impl Reader {
    /// The accounts of these ids, in their order. Those that do not exist are left out.
    pub async fn accounts(
        &self,
        tenant: TenantId,
        ids: Vec<AccountId>,
    ) -> Result<Vec<AccountView>, QueryError> {
        self.ask(tenant, move |view| view.accounts(&ids)).await.map(Option::unwrap_or_default)
    }

    /// The transfers of these ids, in their order. Those that do not exist are left out.
    pub async fn transfers(
        &self,
        tenant: TenantId,
        ids: Vec<TransferId>,
    ) -> Result<Vec<TransferView>, QueryError> {
        self.ask(tenant, move |view| view.transfers(&ids)).await.map(Option::unwrap_or_default)
    }

    /// Balances of an account, if the tenant has it.
    pub async fn balances(
        &self,
        tenant: TenantId,
        account: AccountId,
        as_of: AsOf,
    ) -> Result<Option<Balances>, QueryError> {
        let balances = self.ask(tenant, move |view| view.balances_of(account, as_of)).await;
        balances.map(Option::flatten)
    }

    /// What changed the balances of [`Filter::account`], if the tenant has it.
    pub async fn history(
        &self,
        tenant: TenantId,
        account: AccountId,
        filter: Filter,
    ) -> Result<Option<Page<HistoryItem>>, QueryError> {
        let page = self.ask(tenant, move |view| view.history(account, &filter)).await;
        page.map(Option::flatten)
    }

    /// Transfers that have an account, an external id or metadata in common, at least one of them.
    pub async fn find_transfers(
        &self,
        tenant: TenantId,
        filter: Filter,
    ) -> Result<Page<TransferView>, QueryError> {
        let page = self.ask(tenant, move |view| view.find_transfers(&filter)).await;
        page.map(|page| page.unwrap_or_else(Page::empty))
    }

    /// Accounts that have an external id or metadata in common, at least one of them.
    pub async fn find_accounts(
        &self,
        tenant: TenantId,
        filter: Filter,
    ) -> Result<Page<AccountView>, QueryError> {
        let page = self.ask(tenant, move |view| view.find_accounts(&filter)).await;
        page.map(|page| page.unwrap_or_else(Page::empty))
    }

    /// The entries of the tenant from number `from` on, in the order in which they were committed,
    /// up to `max` of them. There may be fewer, also none, while [`Changes::next`] goes on.
    pub async fn changes(
        &self,
        tenant: TenantId,
        from: u64,
        max: usize,
    ) -> Result<Changes, QueryError> {
        let changes = self.ask(tenant, move |view| view.changes(from, max)).await?;
        // A tenant that was never seen has no entries up to now.
        Ok(changes.unwrap_or_else(|| Changes { items: Vec::new(), next: from }))
    }

    /// How many entries are durable, now and whenever there are more. It closes with the ledger.
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.progress.watch_durable()
    }

    /// The newest durable head.
    pub fn head(&self) -> SignedHead {
        self.progress.head()
    }

    /// Proves that a transfer is in the ledger, if it is, against the present head.
    pub async fn prove_transfer(
        &self,
        tenant: TenantId,
        id: TransferId,
    ) -> Result<Option<TransferProof>, QueryError> {
        self.ask(tenant, move |view| view.prove_transfer(id)).await.map(Option::flatten)
    }

    /// Proves the state of an account, if the tenant has it, at the newest checkpoint; see
    /// [`crate::Engine::checkpoint`]. None too when there is no checkpoint, or the account is
    /// younger.
    pub async fn prove_account(
        &self,
        tenant: TenantId,
        id: AccountId,
    ) -> Result<Option<AccountProof>, QueryError> {
        self.ask(tenant, move |view| view.prove_account(id)).await.map(Option::flatten)
    }

    /// Proves that the present head goes on from the first `from` entries, if there were so many
    /// and at least one.
    pub async fn prove_consistency(
        &self,
        from: u64,
    ) -> Result<Option<ConsistencyProof>, QueryError> {
        let reader = self.clone();
        blocking(move || reader.consistency(from)).await
    }

    /// Answers for a tenant, if it was ever seen.
    async fn ask<T: Send + 'static>(
        &self,
        tenant: TenantId,
        answer: impl FnOnce(&View<'_>) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<Option<T>, QueryError> {
        let end = self.progress.durable();
        let Some(tenant) = self.lookup.tenant(tenant) else { return Ok(None) };
        let reader = self.clone();
        blocking(move || answer(&View { reader: &reader, end, tenant }).map(Some)).await
    }
}

/// Files may be slow: they are read where nobody else waits.
async fn blocking<T: Send + 'static>(
    answer: impl FnOnce() -> Result<T, QueryError> + Send + 'static,
) -> Result<T, QueryError> {
    let answered = tokio::task::spawn_blocking(answer).await;
    answered.unwrap_or_else(|error| Err(QueryError::Unreadable(error.to_string())))
}

impl View<'_> {
    /// The index, when it has the entries before that number: what is durable is about to be in it.
    fn index(&self, before: u64) -> Result<&index::Reader, QueryError> {
        let is_there = self.reader.progress.wait_indexed(before.min(self.end));
        if is_there { Ok(&self.reader.index) } else { Err(QueryError::Stopped) }
    }

    /// An entry and its metadata.
    fn entry(&self, number: u64) -> Result<(Entry, Metadata), QueryError> {
        let mut extension = Vec::new();
        let bytes = self.reader.journal.entry(number, &mut extension)?;
        decode(number, &bytes, &extension)
    }

    /// How many of the entries were created at that time or before.
    fn end_at(&self, time: Timestamp) -> Result<u64, QueryError> {
        Ok(self.reader.journal.number_at(time)?.min(self.end))
    }
}

impl<T> Page<T> {
    fn empty() -> Self {
        Self { items: Vec::new(), after: None }
    }
}

fn decode(
    number: u64,
    bytes: &EntryBytes,
    extension: &[u8],
) -> Result<(Entry, Metadata), QueryError> {
    let broken = |fault: String| QueryError::Unreadable(format!("entry {number}: {fault}"));
    let entry = Entry::decode(bytes).map_err(|fault| broken(fault.to_string()))?;
    let metadata = Metadata::decode(extension).map_err(|fault| broken(fault.to_string()))?;
    Ok((entry, metadata))
}
