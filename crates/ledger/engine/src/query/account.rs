//! Accounts and their balances.

use proof::{Account, AccountId, AccountState, Entry, Metadata};

use super::View;
use crate::view::{AccountView, AsOf, Balances, QueryError};

/// An account where it was created.
pub(super) struct Found {
    pub(super) row: u32,
    pub(super) number: u64,
    pub(super) account: Account,
    pub(super) metadata: Metadata,
}

impl View<'_> {
    /// Accounts by id; those that do not exist are left out.
    pub(super) fn accounts(&self, ids: &[AccountId]) -> Result<Vec<AccountView>, QueryError> {
        let mut accounts = Vec::with_capacity(ids.len());
        for &id in ids {
            if let Some(found) = self.account(id)? {
                accounts.push(self.account_now(found)?);
            }
        }
        Ok(accounts)
    }

    /// Where an account was created.
    pub(super) fn account(&self, id: AccountId) -> Result<Option<Found>, QueryError> {
        for (row, number) in self.reader.lookup.accounts(self.tenant, id) {
            if number >= self.end {
                continue;
            }
            if let (Entry::Account(account), metadata) = self.entry(number)?
                && (account.tenant, account.id) == (self.tenant, id)
            {
                return Ok(Some(Found { row, number, account, metadata }));
            }
        }
        Ok(None)
    }

    /// An account as it is.
    pub(super) fn account_now(&self, found: Found) -> Result<AccountView, QueryError> {
        let Found { row, number, account, metadata } = found;
        let balances = self.balances_before(row, self.end)?;
        let amended = self.index(self.end)?.amended(row, self.end)?;
        let is_closed = amended.is_some_and(|amended| amended.is_closed);
        let overdraft = amended.map_or(account.overdraft, |amended| amended.overdraft);
        Ok(AccountView { row, number, account, metadata, balances, is_closed, overdraft })
    }

    /// Balances of an account as of a time, if the tenant has it.
    pub(super) fn balances_of(
        &self,
        id: AccountId,
        as_of: AsOf,
    ) -> Result<Option<Balances>, QueryError> {
        let Some(Found { row, .. }) = self.account(id)? else { return Ok(None) };
        let balances = match as_of {
            AsOf::Now => self.balances_before(row, self.end)?,
            AsOf::Created(time) => self.balances_before(row, self.end_at(time)?)?,
            AsOf::Effective(time) => {
                let created = self.end_at(time)?;
                let index = self.index(self.end)?;
                let posted = |side| index.effective_posted(row, side, created, time, self.end);
                Balances {
                    debits_posted: posted(index::Side::Debit)?,
                    credits_posted: posted(index::Side::Credit)?,
                    ..Balances::default()
                }
            }
        };
        Ok(Some(balances))
    }

    fn balances_before(&self, row: u32, before: u64) -> Result<Balances, QueryError> {
        Ok(self.index(before)?.balances(row, before)?.into())
    }

    /// The state of the account of a row after the first `entries`, of whatever tenant.
    pub(super) fn state(&self, row: u32, entries: u64) -> Result<AccountState, QueryError> {
        let number = self.reader.lookup.created_by(row);
        let number = number.ok_or_else(|| QueryError::Unreadable(format!("no account {row}")))?;
        let (Entry::Account(account), _) = self.entry(number)? else {
            return Err(QueryError::Unreadable(format!("entry {number} is no account")));
        };
        let balances = self.balances_before(row, entries)?;
        let amended = self.index(entries)?.amended(row, entries)?;
        Ok(AccountState {
            tenant: account.tenant,
            id: account.id,
            ledger: account.ledger,
            code: account.code,
            limit: account.limit,
            is_closed: amended.is_some_and(|amended| amended.is_closed),
            overdraft: amended.map_or(account.overdraft, |amended| amended.overdraft),
            debits_pending: balances.debits_pending,
            debits_posted: balances.debits_posted,
            credits_pending: balances.credits_pending,
            credits_posted: balances.credits_posted,
        })
    }
}

impl From<index::Balances> for Balances {
    fn from(index::Balances { debits, credits }: index::Balances) -> Self {
        Self {
            debits_pending: debits.pending,
            debits_posted: debits.posted,
            credits_pending: credits.pending,
            credits_posted: credits.posted,
        }
    }
}
