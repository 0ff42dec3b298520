//! The ledger said again, as plainly as possible: a list of what happened, and everything else
//! worked out from it each time.

use auth::TenantId;
use contracts::ledger::v1::{CreateAccountStatus as A, CreateTransferStatus as T};

use crate::domain::{
    AccountId, BalanceLimit, Id, NewAccount, NewTransfer, TransferId, TransferKind,
};

/// A status and, for what was or is created, when.
pub(super) type Answer = (i32, Option<u64>);

const CREATED: i32 = T::Created as i32;
const FAILED: Answer = (T::LinkedEventFailed as i32, None);
const OPEN: Answer = (T::LinkedEventChainOpen as i32, None);

/// What the contract calls final.
const FINAL: [T; 9] = [
    T::DebitAccountNotFound,
    T::CreditAccountNotFound,
    T::PendingTransferNotFound,
    T::PendingTransferAlreadyPosted,
    T::PendingTransferAlreadyVoided,
    T::PendingTransferExpired,
    T::OverflowsBalance,
    T::ExceedsCredits,
    T::ExceedsDebits,
];

const BALANCE_MAX: i128 = i64::MAX as i128;

/// Something that changed balances.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) tenant: TenantId,
    /// The transfer, with what it inherited; for a hold that ended, the hold.
    pub(super) transfer: NewTransfer,
    pub(super) ended: bool,
    pub(super) at: u64,
}

/// Everything that happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) accounts: Vec<(TenantId, NewAccount, u64)>,
    pub(super) events: Vec<Event>,
    pub(super) failed: Vec<(TenantId, TransferId)>,
    time: u64,
}

impl Model {
    /// Begins a block.
    pub(super) fn begin(&mut self, now: u64) {
        self.time = now.max(self.time + 1);
        let now = self.time;
        let mut due: Vec<_> = self
            .events
            .iter()
            .filter(|event| !event.ended && event.transfer.timeout_seconds > 0)
            .map(|event| {
                let timeout = u64::from(event.transfer.timeout_seconds) * 1_000_000_000;
                (event.at + timeout, event.at, event.clone())
            })
            .filter(|(ends, _, event)| {
                *ends <= now && self.is_open(event.tenant, event.transfer.id)
            })
            .collect();
        due.sort_by_key(|(ends, created, _)| (*ends, *created));
        for (_, _, event) in due {
            self.time += 1;
            self.events.push(Event { ended: true, at: self.time, ..event });
        }
    }

    fn is_open(&self, tenant: TenantId, hold: TransferId) -> bool {
        !self.events.iter().any(|event| {
            event.tenant == tenant
                && ((event.ended && event.transfer.id == hold) || event.transfer.pending_id == hold)
        })
    }

    pub(super) fn account(&self, tenant: TenantId, id: AccountId) -> Option<&NewAccount> {
        let found = self.accounts.iter().find(|(of, new, _)| (*of, new.id) == (tenant, id));
        found.map(|(_, new, _)| new)
    }

    pub(super) fn transfer(&self, tenant: TenantId, id: TransferId) -> Option<&Event> {
        let mut created = self.events.iter().filter(|event| !event.ended);
        created.find(|event| event.tenant == tenant && event.transfer.id == id)
    }

    /// Debits pending and posted, credits pending and posted, after the first `events`.
    pub(super) fn balances(&self, tenant: TenantId, id: AccountId, events: usize) -> [i128; 4] {
        let mut balances = [0; 4];
        for event in self.events[..events].iter().filter(|event| event.tenant == tenant) {
            let (pending, posted) = self.effect(event);
            let transfer = &event.transfer;
            for (account, side) in [(transfer.debit_account_id, 0), (transfer.credit_account_id, 2)]
            {
                if account == id {
                    balances[side] += pending;
                    balances[side + 1] += posted;
                }
            }
        }
        balances
    }

    /// What an event adds to pending and to posted.
    fn effect(&self, event: &Event) -> (i128, i128) {
        let amount = i128::from(event.transfer.amount);
        let held = || {
            let hold = self.transfer(event.tenant, event.transfer.pending_id).unwrap();
            i128::from(hold.transfer.amount)
        };
        match event.transfer.kind {
            TransferKind::Pending if event.ended => (-amount, 0),
            TransferKind::Pending => (amount, 0),
            TransferKind::Plain => (0, amount),
            TransferKind::PostPending => (-held(), amount),
            TransferKind::VoidPending => (-held(), 0),
        }
    }

    /// Creates accounts.
    pub(super) fn create_accounts(
        &mut self,
        tenant: TenantId,
        batch: &[NewAccount],
    ) -> Vec<Answer> {
        let linked: Vec<_> = batch.iter().map(|new| new.linked).collect();
        self.groups(&linked, A::Exists as i32, |model, index| {
            let new = &batch[index];
            let status = model.account_status(tenant, new);
            if status == A::Created {
                model.time += 1;
                model.accounts.push((tenant, new.clone(), model.time));
            }
            let mut accounts = model.accounts.iter();
            let found = accounts.find(|(of, old, _)| (*of, old.id) == (tenant, new.id));
            (status as i32, found.map(|(_, _, at)| *at))
        })
    }

    /// Creates transfers.
    pub(super) fn create_transfers(
        &mut self,
        tenant: TenantId,
        batch: &[NewTransfer],
    ) -> Vec<Answer> {
        let linked: Vec<_> = batch.iter().map(|new| new.linked).collect();
        self.groups(&linked, T::Exists as i32, |model, index| {
            let new = &batch[index];
            let status = model.transfer_status(tenant, new);
            if status == T::Created {
                model.time += 1;
                let transfer = model.inherit(tenant, new);
                let at = model.time;
                model.events.push(Event { tenant, transfer, ended: false, at });
            }
            if FINAL.contains(&status) {
                model.failed.push((tenant, new.id));
            }
            (status as i32, model.transfer(tenant, new.id).map(|event| event.at))
        })
    }

    /// Runs a batch group by group; one that is not accepted is as if it had never been, but for
    /// the time that passed and the id that failed.
    fn groups(
        &mut self,
        linked: &[bool],
        exists: i32,
        mut create: impl FnMut(&mut Self, usize) -> Answer,
    ) -> Vec<Answer> {
        let mut answers = Vec::new();
        while answers.len() < linked.len() {
            let start = answers.len();
            let length = linked[start..].iter().position(|linked| !linked).map(|last| last + 1);
            let end = length.map_or(linked.len(), |length| start + length);
            let before = self.clone();
            let mut group = Vec::new();
            for index in start..end {
                let is_open = length.is_none() && index + 1 == end;
                let answer = if is_open { OPEN } else { create(self, index) };
                group.push(answer);
                if ![CREATED, exists].contains(&answer.0) {
                    group.fill(FAILED);
                    group[index - start] = (answer.0, None);
                    group.resize(end - start, FAILED);
                    self.go_back(&before);
                    break;
                }
            }
            let is = |status| move |answer: &Answer| answer.0 == status;
            if group.iter().any(is(CREATED)) && group.iter().any(is(exists)) {
                self.go_back(&before);
                let is_new = |answer: &&mut Answer| answer.1 > Some(before.time);
                group.iter_mut().filter(is_new).for_each(|answer| *answer = FAILED);
            }
            answers.extend(group);
        }
        answers
    }

    fn go_back(&mut self, before: &Self) {
        let Self { accounts, events, .. } = before.clone();
        (self.accounts, self.events) = (accounts, events);
    }

    /// Every status that applies, in any order; the least of them is the answer.
    fn account_status(&self, tenant: TenantId, new: &NewAccount) -> A {
        let mut statuses = Vec::new();
        let old = self.account(tenant, new.id);
        statuses.when(new.code == 0, A::CodeMustNotBeZero);
        statuses.when(new.ledger == 0, A::LedgerMustNotBeZero);
        statuses.when(new.id.as_uuid().as_u128() == 0, A::IdMustNotBeZero);
        statuses.when(new.id.as_uuid().as_u128() == u128::MAX, A::IdMustNotBeMax);
        if let Some(old) = old {
            statuses.when(true, A::Exists);
            statuses.when(old.code != new.code, A::ExistsWithDifferentCode);
            statuses.when(old.ledger != new.ledger, A::ExistsWithDifferentLedger);
            statuses.when(old.external_id != new.external_id, A::ExistsWithDifferentExternalId);
            statuses.when(old.limit != new.limit, A::ExistsWithDifferentLimit);
        }
        least(statuses, A::Created)
    }

    fn transfer_status(&self, tenant: TenantId, new: &NewTransfer) -> T {
        let mut statuses = self.what_exists(tenant, new);
        statuses.extend(what_is_malformed(new));
        statuses.extend(self.what_accounts_forbid(tenant, new));
        if settles(new) {
            statuses.extend(self.what_the_hold_forbids(tenant, new));
        } else if statuses.is_empty() {
            statuses.extend(self.what_balances_forbid(tenant, new));
        }
        least(statuses, T::Created)
    }

    fn what_exists(&self, tenant: TenantId, new: &NewTransfer) -> Vec<T> {
        let mut statuses = Vec::new();
        statuses.when(self.failed.contains(&(tenant, new.id)), T::IdAlreadyFailed);
        if let Some(Event { transfer: old, .. }) = self.transfer(tenant, new.id) {
            let new = if new.kind == old.kind && new.pending_id == old.pending_id {
                self.inherit(tenant, new)
            } else {
                new.clone()
            };
            statuses.when(true, T::Exists);
            statuses.when(old.code != new.code, T::ExistsWithDifferentCode);
            statuses.when(old.ledger != new.ledger, T::ExistsWithDifferentLedger);
            statuses.when(old.external_id != new.external_id, T::ExistsWithDifferentExternalId);
            statuses.when(old.amount != new.amount, T::ExistsWithDifferentAmount);
            let (debit, credit) = (old.debit_account_id, old.credit_account_id);
            statuses.when(credit != new.credit_account_id, T::ExistsWithDifferentCreditAccountId);
            statuses.when(debit != new.debit_account_id, T::ExistsWithDifferentDebitAccountId);
            statuses
                .when(old.timeout_seconds != new.timeout_seconds, T::ExistsWithDifferentTimeout);
            statuses.when(old.pending_id != new.pending_id, T::ExistsWithDifferentPendingId);
            statuses.when(old.kind != new.kind, T::ExistsWithDifferentKind);
        }
        statuses
    }

    fn what_accounts_forbid(&self, tenant: TenantId, new: &NewTransfer) -> Vec<T> {
        let mut statuses = Vec::new();
        let mut ledgers = Vec::new();
        for (id, missing) in [
            (new.debit_account_id, T::DebitAccountNotFound),
            (new.credit_account_id, T::CreditAccountNotFound),
        ] {
            match self.account(tenant, id) {
                Some(account) => ledgers.push(account.ledger),
                None if id != AccountId::default() => statuses.push(missing),
                None => {}
            }
        }
        if ledgers.iter().any(|ledger| new.ledger != 0 && *ledger != new.ledger) {
            statuses.push(T::TransferMustHaveTheSameLedgerAsAccounts);
        }
        ledgers.dedup();
        if ledgers.len() == 2 {
            statuses.push(T::AccountsMustHaveTheSameLedger);
        }
        statuses
    }

    fn what_the_hold_forbids(&self, tenant: TenantId, new: &NewTransfer) -> Vec<T> {
        let Some(Event { transfer: hold, .. }) = self.transfer(tenant, new.pending_id) else {
            return vec![T::PendingTransferNotFound];
        };
        let mut statuses = Vec::new();
        for event in self.events.iter().filter(|event| event.tenant == tenant) {
            let settled = event.transfer.pending_id == hold.id;
            let kind = event.transfer.kind;
            statuses.when(event.ended && event.transfer.id == hold.id, T::PendingTransferExpired);
            statuses.when(
                settled && kind == TransferKind::PostPending,
                T::PendingTransferAlreadyPosted,
            );
            statuses.when(
                settled && kind == TransferKind::VoidPending,
                T::PendingTransferAlreadyVoided,
            );
        }
        let new = self.inherit(tenant, new);
        statuses.when(
            new.kind == TransferKind::VoidPending && new.amount < hold.amount,
            T::PendingTransferHasDifferentAmount,
        );
        statuses.when(new.amount > hold.amount, T::ExceedsPendingTransferAmount);
        statuses.when(new.code != hold.code, T::PendingTransferHasDifferentCode);
        statuses.when(new.ledger != hold.ledger, T::PendingTransferHasDifferentLedger);
        statuses.when(
            new.credit_account_id != hold.credit_account_id,
            T::PendingTransferHasDifferentCreditAccountId,
        );
        statuses.when(
            new.debit_account_id != hold.debit_account_id,
            T::PendingTransferHasDifferentDebitAccountId,
        );
        statuses.when(hold.kind != TransferKind::Pending, T::PendingTransferNotPending);
        statuses
    }

    /// Lets it happen and looks at what came of it.
    fn what_balances_forbid(&self, tenant: TenantId, new: &NewTransfer) -> Vec<T> {
        let mut after = self.clone();
        after.events.push(Event { tenant, transfer: new.clone(), ended: false, at: 0 });
        let mut statuses = Vec::new();
        for (id, limit, exceeds) in [
            (new.debit_account_id, BalanceLimit::DebitsWithinCredits, T::ExceedsCredits),
            (new.credit_account_id, BalanceLimit::CreditsWithinDebits, T::ExceedsDebits),
        ] {
            let [debits_pending, debits, credits_pending, credits] =
                after.balances(tenant, id, after.events.len());
            let (all_debits, all_credits) = (debits_pending + debits, credits_pending + credits);
            if all_debits.max(all_credits) > BALANCE_MAX {
                statuses.push(T::OverflowsBalance);
            }
            let is_limited = self.account(tenant, id).is_some_and(|account| account.limit == limit);
            let is_covered = match limit {
                BalanceLimit::None => true,
                BalanceLimit::DebitsWithinCredits => all_debits <= credits,
                BalanceLimit::CreditsWithinDebits => all_credits <= debits,
            };
            if is_limited && !is_covered {
                statuses.push(exceeds);
            }
        }
        statuses
    }

    /// What a post or void does not name is its hold's.
    fn inherit(&self, tenant: TenantId, new: &NewTransfer) -> NewTransfer {
        let mut new = new.clone();
        if let (true, Some(hold)) = (settles(&new), self.transfer(tenant, new.pending_id)) {
            let hold = &hold.transfer;
            let or = |own: u64, inherited: u64| if own == 0 { inherited } else { own };
            new.amount = or(new.amount, hold.amount);
            new.ledger = or(new.ledger.into(), hold.ledger.into()).try_into().unwrap();
            new.code = or(new.code.into(), hold.code.into()).try_into().unwrap();
            if new.debit_account_id == AccountId::default() {
                new.debit_account_id = hold.debit_account_id;
            }
            if new.credit_account_id == AccountId::default() {
                new.credit_account_id = hold.credit_account_id;
            }
        }
        new
    }
}

fn what_is_malformed(new: &NewTransfer) -> Vec<T> {
    let mut statuses = Vec::new();
    let number = new.id.as_uuid().as_u128();
    let (debit, credit) = (new.debit_account_id, new.credit_account_id);
    let names_hold = new.pending_id != TransferId::default();
    statuses.when(number == 0, T::IdMustNotBeZero);
    statuses.when(number == u128::MAX, T::IdMustNotBeMax);
    statuses.when(debit == credit && debit != AccountId::default(), T::AccountsMustBeDifferent);
    let is_hold = new.kind == TransferKind::Pending;
    statuses.when(!is_hold && new.timeout_seconds > 0, T::TimeoutReservedForPending);
    if settles(new) {
        statuses.when(!names_hold, T::PendingIdMustNotBeEmpty);
        statuses.when(new.pending_id == new.id, T::PendingIdMustBeDifferent);
    } else {
        statuses.when(names_hold, T::PendingIdMustBeEmpty);
        statuses.when(debit == AccountId::default(), T::DebitAccountIdMustNotBeZero);
        statuses.when(credit == AccountId::default(), T::CreditAccountIdMustNotBeZero);
        statuses.when(new.amount == 0, T::AmountMustNotBeZero);
        statuses.when(new.ledger == 0, T::LedgerMustNotBeZero);
        statuses.when(new.code == 0, T::CodeMustNotBeZero);
    }
    statuses
}

fn settles(new: &NewTransfer) -> bool {
    new.kind == TransferKind::PostPending || new.kind == TransferKind::VoidPending
}

/// The status that comes first in the contract.
fn least<S: Copy + Into<i32>>(refusals: Vec<S>, created: S) -> S {
    refusals.into_iter().min_by_key(|status| (*status).into()).unwrap_or(created)
}

/// Statuses that apply, in any order.
trait Applying<S> {
    fn when(&mut self, applies: bool, status: S);
}

impl<S> Applying<S> for Vec<S> {
    fn when(&mut self, applies: bool, status: S) {
        if applies {
            self.push(status);
        }
    }
}
