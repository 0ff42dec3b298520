//! One row per account, in the order of their creation.

use proof::AccountId;

/// Greatest balance of a side, holds included, in minor units.
pub(crate) const BALANCE_MAX: u64 = i64::MAX as u64;

/// One side of an account, in minor units.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Side {
    /// On hold.
    pub(crate) pending: u64,
    /// For good.
    pub(crate) posted: u64,
}

impl Side {
    /// What counts against a limit. It never passes [`BALANCE_MAX`], so nothing here overflows.
    pub(crate) const fn total(self) -> u64 {
        self.pending + self.posted
    }

    /// Whether `amount` more would pass the greatest balance.
    pub(crate) const fn overflows_with(self, amount: u64) -> bool {
        amount > BALANCE_MAX - self.total()
    }

    pub(crate) fn apply(&mut self, change: Change) {
        self.pending = self.pending - change.released + change.held;
        self.posted += change.posted;
        debug_assert!(self.total() <= BALANCE_MAX, "checks precede every change");
    }
}

/// What a transfer does to one side of each of its accounts, in minor units.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Change {
    pub(crate) released: u64,
    pub(crate) held: u64,
    pub(crate) posted: u64,
}

/// Which balance an account may not overdraw.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Limit {
    /// Neither.
    #[default]
    None,
    /// Debits, holds included, stay within posted credits.
    DebitsWithinCredits,
    /// Credits, holds included, stay within posted debits.
    CreditsWithinDebits,
}

impl Limit {
    /// The limit of that number. The format of entries knows no others.
    pub(crate) const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::None,
            1 => Self::DebitsWithinCredits,
            _ => Self::CreditsWithinDebits,
        }
    }
}

/// An account: one line of the processor's cache.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(align(64))]
pub(crate) struct Row {
    pub(crate) id: AccountId,
    pub(crate) debits: Side,
    pub(crate) credits: Side,
    pub(crate) tenant: u32,
    pub(crate) ledger: u32,
    pub(crate) code: u16,
    pub(crate) limit: Limit,
    pub(crate) is_closed: bool,
    /// Whether it may pass its limit; how far stands elsewhere.
    pub(crate) has_overdraft: bool,
}

const _: () = assert!(size_of::<Row>() == 64);

impl Row {
    /// What may still be debited until posted credits and overdraft are used up.
    pub(crate) fn debits_available(&self, overdraft: u64) -> u64 {
        let overdraft = if self.limit == Limit::DebitsWithinCredits { overdraft } else { 0 };
        self.credits.posted.saturating_add(overdraft).saturating_sub(self.debits.total())
    }

    /// What may still be credited until posted debits and overdraft are used up.
    pub(crate) fn credits_available(&self, overdraft: u64) -> u64 {
        let overdraft = if self.limit == Limit::CreditsWithinDebits { overdraft } else { 0 };
        self.debits.posted.saturating_add(overdraft).saturating_sub(self.credits.total())
    }

    /// By how much it passes its limit: what it uses of its overdraft.
    pub(crate) fn overdraft_used(&self) -> u64 {
        match self.limit {
            Limit::None => 0,
            Limit::DebitsWithinCredits => self.debits.total().saturating_sub(self.credits.posted),
            Limit::CreditsWithinDebits => self.credits.total().saturating_sub(self.debits.posted),
        }
    }
}
