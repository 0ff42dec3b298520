//! The rules of transfers.

use proof::{AccountId, Entry, Kind, Refusal, Transfer, TransferId, flag};
use sha2::{Digest, Sha256};

use super::contract::{Status, TRANSFER};
use super::queries::extension_length;
use super::{Answer, Applying, Model, Name};
use crate::request::{NewTransfer, Pairs};

const BALANCE_MAX: i128 = i64::MAX as i128;
const BALANCING: u8 = flag::BALANCING_DEBIT | flag::BALANCING_CREDIT;

impl Model {
    pub(super) fn create_transfers(&mut self, tenant: u32, batch: &[NewTransfer]) -> Vec<Answer> {
        let is_linked = |new: &NewTransfer| new.transfer.flags & flag::LINKED != 0;
        let create = |model: &mut Self, new: &NewTransfer| model.create_transfer(tenant, new);
        self.groups(batch, is_linked, create, |model, new, status| {
            if TRANSFER.is_final(status) {
                let (status, created_at) = (TRANSFER.number(status), model.time());
                let refusal = Refusal { status, tenant, id: new.transfer.id, created_at };
                model.add(Entry::Refusal(refusal), Pairs::new());
            }
        })
    }

    fn create_transfer(&mut self, tenant: u32, new: &NewTransfer) -> Answer {
        let status = self.transfer_status(tenant, new);
        if status == "CREATED" {
            for transfer in self.transfers_of(tenant, &new.transfer) {
                self.record_transfer(transfer, new);
            }
        }
        match self.transfer(tenant, new.transfer.id) {
            Some(old) if ["CREATED", "EXISTS"].contains(&status) => {
                let is_chain = new.transfer.flags & flag::CHAIN != 0;
                let amount = if is_chain { 0 } else { old.amount };
                Answer { status, at: old.created_at, amount }
            }
            _ => Answer::refused(status),
        }
    }

    fn record_transfer(&mut self, transfer: Transfer, new: &NewTransfer) {
        let created_at = self.time();
        let effective_at = match new.transfer.effective_at.nanos() {
            0 => created_at,
            _ => new.transfer.effective_at,
        };
        let extension = extension_length(&new.metadata);
        let transfer = Transfer { created_at, effective_at, extension, ..transfer };
        self.add(Entry::Transfer(transfer), new.metadata.clone());
    }

    /// What an accepted item is recorded as: one transfer, or for a chain one for each hold.
    fn transfers_of(&self, tenant: u32, new: &Transfer) -> Vec<Transfer> {
        let new = Transfer { tenant, ..*new };
        if new.flags & flag::CHAIN == 0 {
            let amount = self.moved(&new).try_into().expect("what moves was allowed");
            return vec![self.inherit(&Transfer { amount, ..new })];
        }
        let holds = self.linked_holds(tenant, new.hold);
        let last = holds.len() - 1;
        let settle = |(place, hold): (usize, &Transfer)| {
            let id = if place == 0 { new.id } else { chained(new.id, hold.id) };
            let linked = if place == last { 0 } else { flag::LINKED };
            self.inherit(&Transfer { id, hold: hold.id, flags: new.flags | linked, ..new })
        };
        holds.into_iter().enumerate().map(settle).collect()
    }

    fn transfer_status(&self, tenant: u32, new: &NewTransfer) -> Status {
        let transfer = &Transfer { tenant, ..new.transfer };
        let mut statuses = self.what_exists(transfer, &new.metadata);
        statuses.extend(what_is_malformed(transfer));
        statuses
            .when(transfer.effective_at > self.time(), "EFFECTIVE_AT_MUST_NOT_BE_IN_THE_FUTURE");
        statuses.extend(self.what_accounts_forbid(transfer));
        if transfer.kind.settles() {
            statuses.extend(self.what_holds_forbid(transfer));
        } else if statuses.is_empty() {
            statuses.extend(self.what_balances_forbid(transfer));
        }
        TRANSFER.first(&statuses, "CREATED")
    }

    fn what_exists(&self, new: &Transfer, metadata: &Pairs) -> Vec<Status> {
        let mut statuses = Vec::new();
        let has_failed = self.fact(Name::Refusal(new.tenant, new.id)).is_some();
        statuses.when(has_failed, "ID_ALREADY_FAILED");
        let Some(fact) = self.fact(Name::Transfer(new.tenant, new.id)) else { return statuses };
        let Entry::Transfer(old) = &fact.entry else { unreachable!("the name is a transfer's") };
        let is_chain = old.flags & new.flags & flag::CHAIN != 0;
        let is_same_hold = if is_chain {
            let group = self.linked_group(new.tenant, old.hold);
            group.iter().any(|transfer| transfer.id == new.hold)
        } else {
            old.hold == new.hold
        };
        // What a settlement leaves out is its hold's, and the same again when that is.
        let is_settled_so = new.kind == old.kind && is_same_hold;
        let asked =
            if is_settled_so { self.inherit(&Transfer { hold: old.hold, ..*new }) } else { *new };
        let balances = old.flags & BALANCING != 0;
        let is_same_amount = match asked.amount {
            0 if balances => true,
            most if balances => old.amount <= most,
            amount => old.amount == amount,
        };
        let is_same_date = match new.effective_at.nanos() {
            0 => old.effective_at == old.created_at,
            _ => old.effective_at == new.effective_at,
        };
        statuses.push("EXISTS");
        statuses.when(old.kind != new.kind, "EXISTS_WITH_DIFFERENT_KIND");
        let other_flags = (old.flags ^ new.flags) & !flag::LINKED;
        statuses.when(other_flags != 0, "EXISTS_WITH_DIFFERENT_FLAGS");
        statuses.when(!is_same_hold, "EXISTS_WITH_DIFFERENT_PENDING_ID");
        let (timeout, other_timeout) = (old.timeout_seconds, new.timeout_seconds);
        statuses.when(timeout != other_timeout, "EXISTS_WITH_DIFFERENT_TIMEOUT");
        statuses.when(old.debit != asked.debit, "EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID");
        statuses.when(old.credit != asked.credit, "EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID");
        statuses.when(!is_same_amount, "EXISTS_WITH_DIFFERENT_AMOUNT");
        statuses.when(old.external_id != new.external_id, "EXISTS_WITH_DIFFERENT_EXTERNAL_ID");
        statuses.when(old.ledger != asked.ledger, "EXISTS_WITH_DIFFERENT_LEDGER");
        statuses.when(old.code != asked.code, "EXISTS_WITH_DIFFERENT_CODE");
        statuses.when(!is_same_date, "EXISTS_WITH_DIFFERENT_EFFECTIVE_AT");
        statuses.when(fact.metadata != *metadata, "EXISTS_WITH_DIFFERENT_METADATA");
        statuses
    }

    fn what_accounts_forbid(&self, new: &Transfer) -> Vec<Status> {
        let mut statuses = Vec::new();
        let mut ledgers = Vec::new();
        for (id, missing, closed) in [
            (new.debit, "DEBIT_ACCOUNT_NOT_FOUND", "DEBIT_ACCOUNT_CLOSED"),
            (new.credit, "CREDIT_ACCOUNT_NOT_FOUND", "CREDIT_ACCOUNT_CLOSED"),
        ] {
            match self.account(new.tenant, id) {
                Some(account) => {
                    ledgers.push(account.ledger);
                    statuses.when(self.standing(new.tenant, id).is_closed, closed);
                }
                None => statuses.when(id != AccountId::default(), missing),
            }
        }
        let is_other = ledgers.iter().any(|ledger| new.ledger != 0 && *ledger != new.ledger);
        statuses.when(is_other, "TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS");
        ledgers.dedup();
        statuses.when(ledgers.len() == 2, "ACCOUNTS_MUST_HAVE_THE_SAME_LEDGER");
        statuses
    }

    fn what_holds_forbid(&self, new: &Transfer) -> Vec<Status> {
        let Some(named) = self.transfer(new.tenant, new.hold) else {
            return vec!["PENDING_TRANSFER_NOT_FOUND"];
        };
        if named.kind != Kind::Pending {
            return vec!["PENDING_TRANSFER_NOT_PENDING"];
        }
        if new.flags & flag::CHAIN == 0 {
            return self.what_a_hold_forbids(new, named);
        }
        // The hold that is named comes before the others of its group; then the first counts.
        let holds = [named].into_iter().chain(self.linked_holds(new.tenant, new.hold));
        let mut each = holds.map(|hold| self.what_a_hold_forbids(new, hold));
        each.find(|statuses| !statuses.is_empty()).unwrap_or_default()
    }

    fn what_a_hold_forbids(&self, new: &Transfer, hold: &Transfer) -> Vec<Status> {
        let mut statuses = Vec::new();
        match self.end_of(hold).map(|end| &end.entry) {
            None => {}
            Some(Entry::Expiry(_)) => statuses.push("PENDING_TRANSFER_EXPIRED"),
            Some(Entry::Transfer(Transfer { kind: Kind::PostPending, .. })) => {
                statuses.push("PENDING_TRANSFER_ALREADY_POSTED");
            }
            Some(_) => statuses.push("PENDING_TRANSFER_ALREADY_VOIDED"),
        }
        let new = self.inherit(&Transfer { hold: hold.id, ..*new });
        let is_less = new.kind == Kind::VoidPending && new.amount < hold.amount;
        statuses.when(is_less, "PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT");
        statuses.when(new.amount > hold.amount, "EXCEEDS_PENDING_TRANSFER_AMOUNT");
        statuses.when(new.code != hold.code, "PENDING_TRANSFER_HAS_DIFFERENT_CODE");
        statuses.when(new.ledger != hold.ledger, "PENDING_TRANSFER_HAS_DIFFERENT_LEDGER");
        let (debit, credit) = (hold.debit, hold.credit);
        statuses.when(new.credit != credit, "PENDING_TRANSFER_HAS_DIFFERENT_CREDIT_ACCOUNT_ID");
        statuses.when(new.debit != debit, "PENDING_TRANSFER_HAS_DIFFERENT_DEBIT_ACCOUNT_ID");
        statuses
    }

    /// Lets it happen and looks at what came of it. When it balances, it may shrink to what is
    /// allowed, but not to nothing.
    fn what_balances_forbid(&self, new: &Transfer) -> Vec<Status> {
        let mut statuses = Vec::new();
        let amount = self.moved(new);
        let [debits_pending, debits, ..] = self.balances(new.tenant, new.debit);
        let [.., credits_pending, credits] = self.balances(new.tenant, new.credit);
        let most = (debits_pending + debits).max(credits_pending + credits);
        statuses.when(most + amount > BALANCE_MAX, "OVERFLOWS_BALANCE");
        for (id, limit, balancing, room, exceeds) in [
            (new.debit, 1, flag::BALANCING_DEBIT, self.room_to_debit(new), "EXCEEDS_CREDITS"),
            (new.credit, 2, flag::BALANCING_CREDIT, self.room_to_credit(new), "EXCEEDS_DEBITS"),
        ] {
            let is_limited = self.account(new.tenant, id).is_some_and(|it| it.limit == limit);
            statuses.when(is_limited && amount > room, exceeds);
            statuses.when(new.flags & balancing != 0 && room <= 0, exceeds);
        }
        statuses
    }
}

/// Id of the entry of a chain that settles this hold, unless it is the first.
fn chained(item: TransferId, hold: TransferId) -> TransferId {
    let hash = Sha256::new_with_prefix("malha chain").chain_update(item.bytes());
    let hash = hash.chain_update(hold.bytes()).finalize();
    TransferId::from_bytes(hash[..16].try_into().expect("16 bytes"))
}

fn what_is_malformed(new: &Transfer) -> Vec<Status> {
    let mut statuses = Vec::new();
    let none = AccountId::default();
    statuses.when(new.id.is_none(), "ID_MUST_NOT_BE_ZERO");
    statuses.when(new.id.is_max(), "ID_MUST_NOT_BE_MAX");
    statuses.when(new.debit == new.credit && new.debit != none, "ACCOUNTS_MUST_BE_DIFFERENT");
    let is_hold = new.kind == Kind::Pending;
    statuses.when(!is_hold && new.timeout_seconds > 0, "TIMEOUT_RESERVED_FOR_PENDING");
    if new.kind.settles() {
        statuses.when(new.flags & BALANCING != 0, "BALANCING_RESERVED_FOR_MOVEMENTS");
        statuses.when(new.hold.is_none(), "PENDING_ID_MUST_NOT_BE_EMPTY");
        statuses.when(new.hold == new.id, "PENDING_ID_MUST_BE_DIFFERENT");
        let names_more = new.amount != 0 || new.debit != none || new.credit != none;
        let is_chain = new.flags & flag::CHAIN != 0;
        statuses.when(is_chain && names_more, "CHAIN_MUST_NOT_NAME_AMOUNT_OR_ACCOUNTS");
    } else {
        statuses.when(new.flags & flag::CHAIN != 0, "CHAIN_RESERVED_FOR_SETTLEMENTS");
        statuses.when(!new.hold.is_none(), "PENDING_ID_MUST_BE_EMPTY");
        statuses.when(new.debit == none, "DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO");
        statuses.when(new.credit == none, "CREDIT_ACCOUNT_ID_MUST_NOT_BE_ZERO");
        let balances = new.flags & BALANCING != 0;
        statuses.when(new.amount == 0 && !balances, "AMOUNT_MUST_NOT_BE_ZERO");
        statuses.when(new.ledger == 0, "LEDGER_MUST_NOT_BE_ZERO");
        statuses.when(new.code == 0, "CODE_MUST_NOT_BE_ZERO");
    }
    statuses
}
