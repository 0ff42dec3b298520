//! Questions, answered from the journal and the index: the book is never asked, so that reading
//! does not wait for what is being written.

mod account;
mod list;
mod prove;
mod transfer;

use std::cell::Cell;

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

/// Most things that are looked up where the question arrives: half a millisecond's work.
const SHORT_ITEMS: usize = 100;

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
    /// How many entries would have to be indexed, if so many are not.
    awaits: Cell<u64>,
}

impl Reader {
    /// The accounts of these ids, in their order. Those that do not exist are left out.
    pub async fn accounts(
        &self,
        tenant: TenantId,
        ids: Vec<AccountId>,
    ) -> Result<Vec<AccountView>, QueryError> {
        let (is_short, answer) =
            (ids.len() <= SHORT_ITEMS, move |view: &View<'_>| view.accounts(&ids));
        self.ask(tenant, is_short, answer).await.map(Option::unwrap_or_default)
    }

    /// The transfers of these ids, in their order. Those that do not exist are left out.
    pub async fn transfers(
        &self,
        tenant: TenantId,
        ids: Vec<TransferId>,
    ) -> Result<Vec<TransferView>, QueryError> {
        let (is_short, answer) =
            (ids.len() <= SHORT_ITEMS, move |view: &View<'_>| view.transfers(&ids));
        self.ask(tenant, is_short, answer).await.map(Option::unwrap_or_default)
    }

    /// Balances of an account, if the tenant has it.
    pub async fn balances(
        &self,
        tenant: TenantId,
        account: AccountId,
        as_of: AsOf,
    ) -> Result<Option<Balances>, QueryError> {
        let balances = self.ask(tenant, true, move |view| view.balances_of(account, as_of)).await;
        balances.map(Option::flatten)
    }

    /// What changed the balances of [`Filter::account`], if the tenant has it.
    pub async fn history(
        &self,
        tenant: TenantId,
        account: AccountId,
        filter: Filter,
    ) -> Result<Option<Page<HistoryItem>>, QueryError> {
        // Metadata may be found only far away.
        let is_short = filter.size <= SHORT_ITEMS && filter.metadata.is_empty();
        let page = self.ask(tenant, is_short, move |view| view.history(account, &filter)).await;
        page.map(Option::flatten)
    }

    /// Transfers that have an account, an external id or metadata in common, at least one of them.
    pub async fn find_transfers(
        &self,
        tenant: TenantId,
        filter: Filter,
    ) -> Result<Page<TransferView>, QueryError> {
        let page = self.ask(tenant, false, move |view| view.find_transfers(&filter)).await;
        page.map(|page| page.unwrap_or_else(Page::empty))
    }

    /// Accounts that have an external id or metadata in common, at least one of them.
    pub async fn find_accounts(
        &self,
        tenant: TenantId,
        filter: Filter,
    ) -> Result<Page<AccountView>, QueryError> {
        let page = self.ask(tenant, false, move |view| view.find_accounts(&filter)).await;
        page.map(|page| page.unwrap_or_else(Page::empty))
    }

    /// The entries of the tenant from number `from` on, in the order in which they were committed:
    /// `max` of them, or all that there are. There may be fewer, also none, while [`Changes::next`]
    /// goes on, where a million entries are all of other tenants.
    pub async fn changes(
        &self,
        tenant: TenantId,
        from: u64,
        max: usize,
    ) -> Result<Changes, QueryError> {
        let changes = self.ask(tenant, false, move |view| view.changes(from, max)).await?;
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
        self.ask(tenant, false, move |view| view.prove_transfer(id)).await.map(Option::flatten)
    }

    /// Proves the state of an account, if the tenant has it, at the newest checkpoint; see
    /// [`crate::Engine::checkpoint`]. None too when there is no checkpoint, or the account is
    /// younger.
    pub async fn prove_account(
        &self,
        tenant: TenantId,
        id: AccountId,
    ) -> Result<Option<AccountProof>, QueryError> {
        self.ask(tenant, false, move |view| view.prove_account(id)).await.map(Option::flatten)
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

    /// Answers for a tenant, if it was ever seen. A short answer is given by the thread that asks: to
    /// hand it to another one would take longer.
    async fn ask<T: Send + 'static>(
        &self,
        tenant: TenantId,
        is_short: bool,
        answer: impl Fn(&View<'_>) -> Result<T, QueryError> + Clone + Send + 'static,
    ) -> Result<Option<T>, QueryError> {
        let end = self.progress.durable();
        let Some(tenant) = self.lookup.tenant(tenant) else { return Ok(None) };
        loop {
            let attempt = if is_short {
                self.attempt(end, tenant, &answer)
            } else {
                let (reader, answer) = (self.clone(), answer.clone());
                blocking(move || reader.attempt(end, tenant, answer)).await
            };
            match attempt? {
                Attempt::Answered(answered) => return Ok(Some(answered)),
                Attempt::Awaits(entries) => {
                    if !self.progress.await_indexed(entries).await {
                        return Err(QueryError::Stopped);
                    }
                }
            }
        }
    }

    /// Answers, unless the index has not all that it takes: what is durable is about to be in it.
    fn attempt<T>(
        &self,
        end: u64,
        tenant: u32,
        answer: impl Fn(&View<'_>) -> Result<T, QueryError>,
    ) -> Result<Attempt<T>, QueryError> {
        let view = View { reader: self, end, tenant, awaits: Cell::new(0) };
        let answered = answer(&view);
        match view.awaits.get() {
            0 => answered.map(Attempt::Answered),
            entries => Ok(Attempt::Awaits(entries)),
        }
    }
}

/// What came of a question.
enum Attempt<T> {
    Answered(T),
    /// It is to be asked again when so many entries are indexed.
    Awaits(u64),
}

/// Files may be slow: much of them is read where nobody else waits.
async fn blocking<T: Send + 'static>(
    answer: impl FnOnce() -> Result<T, QueryError> + Send + 'static,
) -> Result<T, QueryError> {
    let answered = tokio::task::spawn_blocking(answer).await;
    answered.unwrap_or_else(|error| Err(QueryError::Unreadable(error.to_string())))
}

impl View<'_> {
    /// The index, when it has the entries before that number. If not, the question is asked again,
    /// whatever it makes of the error.
    fn index(&self, before: u64) -> Result<&index::Reader, QueryError> {
        let before = before.min(self.end);
        if self.reader.progress.indexed() >= before {
            return Ok(&self.reader.index);
        }
        self.awaits.set(before);
        Err(QueryError::Stopped)
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
