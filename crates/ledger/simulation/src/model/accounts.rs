//! The rules of accounts.

use proof::{Account, AccountId, Amendment, Entry};

use super::contract::{ACCOUNT, AMENDMENT, Status};
use super::queries::extension_length;
use super::{Answer, Applying, Model, Name};
use crate::request::{NewAccount, Pairs};

/// What can be changed of an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Standing {
    /// Whether it is closed.
    pub(crate) is_closed: bool,
    /// By how much it may pass its limit.
    pub(crate) overdraft: u64,
}

impl Model {
    pub(super) fn create_accounts(&mut self, tenant: u32, batch: &[NewAccount]) -> Vec<Answer> {
        let create = |model: &mut Self, new: &NewAccount| model.create_account(tenant, new);
        self.groups(batch, |new| new.is_linked, create, |_, _, _| {})
    }

    fn create_account(&mut self, tenant: u32, new: &NewAccount) -> Answer {
        let status = self.account_status(tenant, new);
        if status == "CREATED" {
            let account = Account {
                tenant,
                created_at: self.time(),
                extension: extension_length(&new.metadata),
                ..new.account
            };
            self.add(Entry::Account(account), new.metadata.clone());
        }
        match self.account(tenant, new.account.id) {
            Some(old) if ["CREATED", "EXISTS"].contains(&status) => {
                Answer { status, at: old.created_at, amount: 0 }
            }
            _ => Answer::refused(status),
        }
    }

    fn account_status(&self, tenant: u32, new: &NewAccount) -> Status {
        let mut statuses = Vec::new();
        let account = &new.account;
        statuses.when(account.code == 0, "CODE_MUST_NOT_BE_ZERO");
        statuses.when(account.ledger == 0, "LEDGER_MUST_NOT_BE_ZERO");
        statuses.when(account.id.is_none(), "ID_MUST_NOT_BE_ZERO");
        statuses.when(account.id.is_max(), "ID_MUST_NOT_BE_MAX");
        statuses.when(account.overdraft > 0 && account.limit == 0, "OVERDRAFT_NEEDS_LIMIT");
        if let Some(fact) = self.fact(Name::Account(tenant, account.id)) {
            let Entry::Account(old) = &fact.entry else { unreachable!("the name is an account's") };
            statuses.push("EXISTS");
            statuses.when(old.code != account.code, "EXISTS_WITH_DIFFERENT_CODE");
            statuses.when(old.ledger != account.ledger, "EXISTS_WITH_DIFFERENT_LEDGER");
            statuses.when(old.limit != account.limit, "EXISTS_WITH_DIFFERENT_LIMIT");
            statuses.when(old.overdraft != account.overdraft, "EXISTS_WITH_DIFFERENT_OVERDRAFT");
            let (external, other) = (old.external_id, account.external_id);
            statuses.when(external != other, "EXISTS_WITH_DIFFERENT_EXTERNAL_ID");
            statuses.when(fact.metadata != new.metadata, "EXISTS_WITH_DIFFERENT_METADATA");
        }
        ACCOUNT.first(&statuses, "CREATED")
    }

    pub(super) fn amend_accounts(&mut self, tenant: u32, batch: &[Amendment]) -> Vec<Answer> {
        batch.iter().map(|new| self.amend_account(tenant, new)).collect()
    }

    fn amend_account(&mut self, tenant: u32, new: &Amendment) -> Answer {
        let status = AMENDMENT.first(&self.what_forbids(tenant, new), "UPDATED");
        let asked = Standing { is_closed: new.is_closed, overdraft: new.overdraft };
        if status != "UPDATED" || self.standing(tenant, new.account) == asked {
            return Answer::refused(status);
        }
        let at = self.time();
        let amendment = Amendment { tenant, created_at: at, ..*new };
        self.add(Entry::Amendment(amendment), Pairs::new());
        Answer { status, at, amount: 0 }
    }

    fn what_forbids(&self, tenant: u32, new: &Amendment) -> Vec<Status> {
        let Some(account) = self.account(tenant, new.account) else {
            return vec!["ACCOUNT_NOT_FOUND"];
        };
        let mut statuses = Vec::new();
        statuses.when(new.overdraft > 0 && account.limit == 0, "OVERDRAFT_NEEDS_LIMIT");
        let [debits_pending, debits, credits_pending, credits] = self.balances(tenant, new.account);
        let used = match account.limit {
            1 => debits_pending + debits - credits,
            2 => credits_pending + credits - debits,
            _ => 0,
        };
        statuses.when(used > i128::from(new.overdraft), "OVERDRAFT_BELOW_USED");
        if new.is_closed {
            statuses.when(debits_pending + credits_pending > 0, "ACCOUNT_HAS_HOLDS");
            statuses.when(debits != credits, "BALANCE_MUST_BE_ZERO");
        }
        statuses
    }

    pub(super) fn account(&self, tenant: u32, id: AccountId) -> Option<&Account> {
        match &self.fact(Name::Account(tenant, id))?.entry {
            Entry::Account(account) => Some(account),
            _ => unreachable!("the name is an account's"),
        }
    }

    /// What was last said about an account.
    ///
    /// # Panics
    /// When it does not exist.
    pub(crate) fn standing(&self, tenant: u32, id: AccountId) -> Standing {
        let last = self.amendments.get(&(tenant, id)).and_then(|places| places.last());
        if let Some(Entry::Amendment(last)) = last.map(|place| &self.facts[*place].entry) {
            return Standing { is_closed: last.is_closed, overdraft: last.overdraft };
        }
        let account = self.account(tenant, id).expect("the account exists");
        Standing { is_closed: false, overdraft: account.overdraft }
    }
}
