//! Transfers at random.

use proof::{AccountId, ExternalId, Kind, Timestamp, Transfer, TransferId, flag};
use rand::RngExt;

use super::{
    ACCOUNTS, BALANCE_MAX, BRIM, CUSTOMER, DAM, DOLLAR_CUSTOMER, DOLLAR_DESK, DOLLARS, EXTERNALS,
    Generator, OTHER, OUTSIDE, PAIRS, REAIS, SPARES, plain, recall, remember,
};
use crate::request::{NewTransfer, Pairs};

const FLAGS: [u8; 4] = [flag::LINKED, flag::BALANCING_DEBIT, flag::BALANCING_CREDIT, flag::CHAIN];

impl Generator {
    pub(super) fn transfers(&mut self, at: usize) -> Vec<NewTransfer> {
        let size = match self.random.random_range(0..20) {
            0 => self.random.random_range(200..900),
            1..=7 => self.random.random_range(8..64),
            _ => self.random.random_range(1..8),
        };
        let mut batch = Vec::with_capacity(size);
        while batch.len() < size {
            let start = batch.len();
            self.some_transfers(at, &mut batch);
            for new in &batch[start..] {
                let is_hold = new.transfer.kind == Kind::Pending;
                let memory = &mut self.memory[at];
                let memory = if is_hold { &mut memory.holds } else { &mut memory.transfers };
                remember(memory, new.transfer.id);
            }
        }
        batch
    }

    fn some_transfers(&mut self, at: usize, batch: &mut Vec<NewTransfer>) {
        match self.random.random_range(0..60) {
            0..=3 => self.group(at, batch),
            4 => self.exchange(batch),
            5..=6 => self.drain(batch),
            7 if !batch.is_empty() => self.twice(batch),
            8 => self.odd(at, batch),
            _ => batch.push(self.transfer(at)),
        }
    }

    /// A linked group, most often of holds, for chains to settle.
    fn group(&mut self, at: usize, batch: &mut Vec<NewTransfer>) {
        let start = batch.len();
        let of_holds = self.random.random();
        for _ in 0..self.random.random_range(2..6) {
            let mut new = if of_holds { self.new_hold() } else { self.transfer(at) };
            new.transfer.flags |= flag::LINKED;
            batch.push(new);
        }
        // One in thirty groups is left open, which matters at the end of a batch.
        if !self.once_in(30) {
            batch[start..].iter_mut().last().expect("a group has items").transfer.flags &=
                !flag::LINKED;
        }
    }

    /// One currency for another, over the accounts of the desk.
    fn exchange(&mut self, batch: &mut Vec<NewTransfer>) {
        let amount = self.random.random_range(1..100);
        let mut sold = plain(self.fresh_id(), (CUSTOMER, OTHER), amount);
        sold.transfer.flags = flag::LINKED;
        let mut bought = plain(self.fresh_id(), (DOLLAR_DESK, DOLLAR_CUSTOMER), amount.div_ceil(5));
        bought.transfer.ledger = DOLLARS;
        batch.extend([sold, bought]);
    }

    /// All that a spare account has, in both directions.
    fn drain(&mut self, batch: &mut Vec<NewTransfer>) {
        let spare = self.random.random_range(SPARES);
        let balancing = |id, pair, flags| {
            let mut new = plain(id, pair, 0);
            new.transfer.flags = flags;
            new
        };
        batch.push(balancing(self.fresh_id(), (spare, OUTSIDE), flag::BALANCING_DEBIT));
        batch.push(balancing(self.fresh_id(), (OUTSIDE, spare), flag::BALANCING_CREDIT));
    }

    /// An item of the batch again, often within one group.
    fn twice(&mut self, batch: &mut Vec<NewTransfer>) {
        let first = batch.len() - 1 - self.random.random_range(0..batch.len().min(4));
        let mut copy = batch[first].clone();
        if self.random.random() {
            batch[first..].iter_mut().for_each(|new| new.transfer.flags |= flag::LINKED);
            copy.transfer.flags &= !flag::LINKED;
        }
        batch.push(copy);
    }

    /// A transfer with up to three things wrong.
    fn odd(&mut self, at: usize, batch: &mut Vec<NewTransfer>) {
        let mut new = self.transfer(at);
        for _ in 0..self.random.random_range(1..4) {
            self.spoil(at, &mut new);
        }
        batch.push(new);
    }

    fn spoil(&mut self, at: usize, new: &mut NewTransfer) {
        let any_account = AccountId::from(self.random.random_range(0..=*ACCOUNTS.end()));
        let hold = self.hold(at);
        let transfer = &mut new.transfer;
        match self.random.random_range(0..17) {
            0 => transfer.id = TransferId::default(),
            1 => transfer.id = TransferId::from(u128::MAX),
            2 => transfer.hold = hold,
            3 => transfer.hold = transfer.id,
            4 => transfer.debit = any_account,
            5 => transfer.credit = any_account,
            6 => transfer.credit = transfer.debit,
            7 => transfer.amount = 0,
            8 => transfer.amount = BALANCE_MAX + self.random.random_range(0..3),
            9 => transfer.amount = u64::MAX,
            10 => transfer.ledger = self.one_of(&[0, REAIS, DOLLARS]),
            11 => transfer.code = self.one_of(&[0, 2]),
            12 => transfer.effective_at = Timestamp::from_nanos(u64::MAX),
            13 => transfer.flags ^= self.one_of(&FLAGS),
            14 => transfer.debit = AccountId::default(),
            15 => transfer.timeout_seconds += 1,
            _ => transfer.credit = AccountId::default(),
        }
    }

    pub(super) fn kind(&mut self) -> Kind {
        match self.random.random_range(0..20) {
            0..=9 => Kind::Plain,
            10..=13 => Kind::Pending,
            14..=17 => Kind::PostPending,
            _ => Kind::VoidPending,
        }
    }

    fn transfer(&mut self, at: usize) -> NewTransfer {
        match self.kind() {
            Kind::Pending => self.new_hold(),
            kind @ (Kind::PostPending | Kind::VoidPending) => self.settlement(at, kind),
            _ => self.movement(at),
        }
    }

    fn movement(&mut self, at: usize) -> NewTransfer {
        let id = match recall(&self.memory[at].transfers, &mut self.random) {
            Some(known) if self.once_in(40) => known,
            _ => self.fresh_id(),
        };
        let pair = match self.random.random_range(0..12) {
            0 => (self.random.random_range(SPARES), self.one_of(&[OUTSIDE, CUSTOMER])),
            1..=2 => (self.one_of(&[OUTSIDE, CUSTOMER]), self.random.random_range(SPARES)),
            3 => (self.random.random_range(ACCOUNTS), self.random.random_range(ACCOUNTS)),
            _ => self.one_of(&PAIRS),
        };
        let amount = self.random.random_range(1..200);
        let mut new = plain(id, pair, amount);
        if self.once_in(80) {
            let near = BALANCE_MAX - self.random.random_range(0..3_000);
            new = plain(id, self.one_of(&[(BRIM, DAM), (DAM, BRIM)]), near);
        }
        if self.once_in(12) {
            new.transfer.flags |= self.one_of(&[flag::BALANCING_DEBIT, flag::BALANCING_CREDIT]);
        }
        self.describe(&mut new);
        new
    }

    fn new_hold(&mut self) -> NewTransfer {
        let pair = self.one_of(&PAIRS);
        let amount = self.random.random_range(1..120);
        let mut new = plain(self.fresh_id(), pair, amount);
        new.transfer.kind = Kind::Pending;
        new.transfer.timeout_seconds = self.one_of(&[0, 0, 1, 2, 5]);
        if self.once_in(12) {
            new.transfer.flags |= self.one_of(&[flag::BALANCING_DEBIT, flag::BALANCING_CREDIT]);
        }
        self.describe(&mut new);
        new
    }

    fn settlement(&mut self, at: usize, kind: Kind) -> NewTransfer {
        let hold = self.hold(at);
        let mut new = plain(self.fresh_id(), (0, 0), 0);
        new.transfer = Transfer { kind, hold, ledger: 0, code: 0, ..new.transfer };
        if self.once_in(4) {
            new.transfer.flags |= flag::CHAIN;
        } else if self.once_in(5) {
            new.transfer.amount = self.random.random_range(1..150);
        }
        if self.once_in(30) {
            self.spoil(at, &mut new);
        }
        self.describe(&mut new);
        new
    }

    /// A hold to settle, or what is mistaken for one.
    pub(super) fn hold(&mut self, at: usize) -> TransferId {
        let memory = &self.memory[at];
        let known = match self.random.random_range(0..30) {
            0 => None,
            1 => recall(&memory.transfers, &mut self.random),
            _ => recall(&memory.holds, &mut self.random),
        };
        known.unwrap_or_else(|| self.fresh_id())
    }

    /// What says nothing about how money moves, but when it counts.
    fn describe(&mut self, new: &mut NewTransfer) {
        if self.once_in(10) {
            new.transfer.external_id = ExternalId::from(self.random.random_range(EXTERNALS));
        }
        if self.once_in(10) {
            let nanos = match self.random.random_range(0..3) {
                0 => self.random.random_range(1..self.now.nanos()),
                _ => self.now.nanos() - self.random.random_range(0..60_000_000_000),
            };
            new.transfer.effective_at = Timestamp::from_nanos(nanos);
        }
        new.metadata = self.metadata();
    }

    /// None, mostly.
    pub(super) fn metadata(&mut self) -> Pairs {
        let mut pairs = Pairs::new();
        if self.once_in(6) {
            pairs.push(self.pair());
            if self.random.random() {
                pairs.push(("order".into(), self.random.random_range(0..200).to_string()));
            }
        }
        pairs
    }

    /// One pair of metadata that is in use.
    pub(crate) fn pair(&mut self) -> (String, String) {
        let value = self.one_of(&["app", "branch", "web", ""]);
        ("channel".into(), value.into())
    }

    pub(super) fn fresh_id(&mut self) -> TransferId {
        TransferId::from(self.random.random::<u128>())
    }
}
