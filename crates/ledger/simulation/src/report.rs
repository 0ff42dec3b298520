//! What happened in a history, counted.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

use crate::model::{ACCOUNT, AMENDMENT, Status, TRANSFER};
use crate::request::{Batch, Items};

/// What happened in one history or in many.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Items that were executed.
    pub operations: usize,
    /// Batches that were sent again after a crash.
    pub again: usize,
    /// Blocks that were acknowledged.
    pub blocks: usize,
    /// How often the ledger was started and ended.
    pub lives: usize,
    /// How often it ended with a crash of the machine.
    pub crashes: usize,
    /// Faults that were injected, crashes not among them.
    pub faults: usize,
    /// Damages that were found and named.
    pub refused: usize,
    /// Questions about the past that were compared.
    pub questions: usize,
    /// How often each status was answered, by what it is a status of.
    pub statuses: BTreeMap<(&'static str, Status), usize>,
}

impl Report {
    /// Statuses of the contract that were never answered, and what they are statuses of.
    pub fn unanswered(&self) -> Vec<(&'static str, Status)> {
        let kinds = [("account", &*ACCOUNT), ("amendment", &*AMENDMENT), ("transfer", &*TRANSFER)];
        let all = kinds.into_iter().flat_map(|(kind, all)| all.names().map(move |it| (kind, it)));
        all.filter(|status| !self.statuses.contains_key(status)).collect()
    }

    pub(crate) fn count(&mut self, batch: &Batch, status: Status) {
        let kind = match batch.items {
            Items::Accounts(_) => "account",
            Items::Amendments(_) => "amendment",
            Items::Transfers(_) => "transfer",
        };
        *self.statuses.entry((kind, status)).or_default() += 1;
    }
}

impl AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.operations += other.operations;
        self.again += other.again;
        self.blocks += other.blocks;
        self.lives += other.lives;
        self.crashes += other.crashes;
        self.faults += other.faults;
        self.refused += other.refused;
        self.questions += other.questions;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operations, again, blocks, lives, crashes, faults, refused, questions, .. } =
            self;
        write!(
            formatter,
            "{operations} operations in {blocks} blocks, {lives} starts, {crashes} crashes, \
             {faults} other faults, {refused} damages refused, {again} batches sent again, \
             {questions} questions"
        )
    }
}
