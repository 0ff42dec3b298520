//! One history: clients, a ledger, its disk, and the model, which all see the same.

use std::collections::VecDeque;
use std::path::Path;

use anyhow::{Result, ensure};
use book::Outcome;
use journal::{Fault, Faults, Injected, SimulatedDisk};
use proof::{Checkpoint, Entry, Hash, Key, Timestamp, leaf_hash};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::bugs::Bug;
use crate::disk::{Place, Written};
use crate::generator::Generator;
use crate::model::{self, Answer, Model};
use crate::recovery::End;
use crate::report::Report;
use crate::request::{Batch, Items};
use crate::world::{LEDGER, World};

/// Complete blocks that wait to be written, at most.
const SEALED_MAX: usize = 3;

/// A history as it unfolds.
pub(crate) struct Simulation<'a> {
    pub(crate) generator: Generator,
    pub(crate) model: Model,
    pub(crate) disk: SimulatedDisk,
    pub(crate) report: Report,
    /// Blocks that were acknowledged.
    pub(crate) written: Vec<Written>,
    /// The newest checkpoint.
    pub(crate) checkpoint: Option<Checked>,
    pub(crate) bug: Option<Bug>,
    pub(crate) index: &'a Path,
    /// Seeds of the keys, the first one first.
    pub(crate) keys: Vec<[u8; 32]>,
    /// What goes wrong.
    pub(crate) faults: Faults,
    /// How many faults have done all that they could do.
    pub(crate) trusted: usize,
    /// How many there were at the last crash, which brings to light what the disk did not write.
    pub(crate) settled: usize,
    now: Timestamp,
    /// What was executed in the open block.
    pub(crate) asked: Vec<Asked>,
    /// The block that was to be written next when the ledger ended.
    pub(crate) attempted: Option<Waiting>,
    /// Blocks that wait to be written.
    pub(crate) waiting: VecDeque<Waiting>,
    /// Batches that a client may send again, as it was never told what became of them.
    pub(crate) unknown: VecDeque<Asked>,
}

/// A batch that was executed.
pub(crate) struct Asked {
    batch: Batch,
    answers: Vec<Answer>,
    /// Whether it turned out to be durable.
    pub(crate) is_durable: bool,
}

/// A complete block that is not durable yet.
pub(crate) struct Waiting {
    pub(crate) written: Written,
    pub(crate) asked: Vec<Asked>,
}

/// A checkpoint and the leaves that it is the root of.
pub(crate) struct Checked {
    pub(crate) checkpoint: Checkpoint,
    /// Number of its entry.
    pub(crate) number: u64,
    pub(crate) leaves: Vec<Hash>,
    pub(crate) states: Vec<proof::AccountState>,
}

impl<'a> Simulation<'a> {
    /// A history that follows from `seed` alone.
    pub(crate) fn new(seed: u64, bug: Option<Bug>, index: &'a Path) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let disk = SimulatedDisk::new(random.random());
        let keys = vec![random.random()];
        Self {
            generator: Generator::new(random),
            model: Model::default(),
            disk,
            report: Report::default(),
            written: Vec::new(),
            checkpoint: None,
            bug,
            index,
            keys,
            faults: Faults::default(),
            trusted: 0,
            settled: 0,
            now: crate::START,
            asked: Vec::new(),
            attempted: None,
            waiting: VecDeque::new(),
            unknown: VecDeque::new(),
        }
    }

    /// Lives until so many items were executed, and then once more without faults.
    pub(crate) fn run(mut self, operations: usize) -> Result<Report> {
        while self.report.operations < operations {
            self.plan_faults();
            let world = self.recover()?;
            self.live(world, operations)?;
            self.report.lives += 1;
        }
        self.disk.set_faults(Faults::default());
        self.faults = Faults::default();
        self.recover()?;
        let is_other = |injected: &&Injected| injected.fault != Some(Fault::Crash);
        self.report.faults = self.disk.injected().iter().filter(is_other).count();
        Ok(self.report)
    }

    /// Works until something ends it.
    fn live(&mut self, mut world: World, operations: usize) -> Result<()> {
        let steps = self.generator.random.random_range(1..120);
        for _ in 0..steps {
            if !self.step(&mut world)? {
                let end = self.generator.one_of(&[End::Kill, End::Crash]);
                return self.end(world, end);
            }
            if self.report.operations >= operations {
                break;
            }
        }
        let end = self.generator.one_of(&[End::Stop, End::Kill, End::Crash, End::Crash]);
        self.end(world, end)
    }

    /// Does one thing. Says whether the ledger still works.
    fn step(&mut self, world: &mut World) -> Result<bool> {
        match self.generator.random.random_range(0..100) {
            0..=44 => self.execute_next(world)?,
            45..=62 => self.close(world)?,
            63..=89 => return self.append(world),
            90..=94 => self.check_some(world)?,
            95..=96 => self.take_checkpoint(world)?,
            97 => self.rotate_key(world),
            _ => self.pass_time(),
        }
        if self.waiting.len() > SEALED_MAX { self.append(world) } else { Ok(true) }
    }

    /// Most often forwards.
    fn pass_time(&mut self) {
        let nanos = self.now.nanos();
        self.now = Timestamp::from_nanos(match self.generator.random.random_range(0..10) {
            0 => nanos - 1_000_000_000,
            1..=3 => nanos + 2_500_000_000,
            _ => nanos + 400_000_000,
        });
        self.generator.now = self.now;
    }

    /// Begins a block, unless one is open.
    fn begin(&mut self, world: &mut World) {
        if world.begin(self.now) {
            self.model.begin(self.now);
        }
        if world.entries() == 0 {
            self.name_key(world, self.keys[0]);
        }
    }

    fn name_key(&mut self, world: &mut World, seed: [u8; 32]) {
        world.name_key(&seed);
        let public = proof::SigningKey::from_seed(&seed).public(LEDGER).bytes();
        self.model.record(|created_at| Entry::Key(Key { public, created_at }));
    }

    fn execute_next(&mut self, world: &mut World) -> Result<()> {
        self.begin(world);
        if let Some(asked) = self.unknown.pop_front() {
            // Some clients never ask again.
            if !self.generator.once_in(4) {
                return self.execute_again(world, asked);
            }
        }
        let batch = if self.model.facts().len() < 8 { self.generator.first() } else { Vec::new() };
        if batch.is_empty() {
            let batch = self.generator.batch();
            return self.execute(world, batch).map(drop);
        }
        batch.into_iter().try_for_each(|batch| self.execute(world, batch).map(drop))
    }

    /// Executes a batch in the book and in the model.
    fn execute(&mut self, world: &mut World, batch: Batch) -> Result<Vec<Answer>> {
        self.report.operations += batch.len();
        let outcomes = world.execute(&Bug::batch(self.bug, batch.clone()))?;
        let answers = self.model.execute(&batch);
        ensure!(
            outcomes.len() == answers.len(),
            "{} outcomes of {} items",
            outcomes.len(),
            batch.len()
        );
        let statuses = statuses(&batch);
        for (place, (outcome, answer)) in outcomes.iter().zip(&answers).enumerate() {
            let Outcome { status, at, amount } = *outcome;
            let given = Answer { status: statuses.name(status), at, amount };
            ensure!(
                given == *answer,
                "{} gave {given:?}, but the model says {answer:?}",
                batch.shown(place)
            );
            self.report.count(&batch, answer.status);
        }
        self.asked.push(Asked { batch, answers: answers.clone(), is_durable: false });
        Ok(answers)
    }

    /// What is sent again gives the same result, and happens once.
    fn execute_again(&mut self, world: &mut World, asked: Asked) -> Result<()> {
        let Asked { batch, answers: before, is_durable } = asked;
        let answers = self.execute(world, batch.clone())?;
        let is_amendment = matches!(batch.items, Items::Amendments(_));
        if is_durable && !is_amendment {
            for (before, after) in before.iter().zip(answers) {
                let same = (before.at, before.amount) == (after.at, after.amount);
                let is_known = before.status != "CREATED" || (after.status == "EXISTS" && same);
                ensure!(is_known, "{before:?} became {after:?} when it was sent again");
            }
        }
        self.report.again += 1;
        Ok(())
    }

    /// Completes the open block.
    pub(crate) fn close(&mut self, world: &mut World) -> Result<()> {
        let save = self.generator.once_in(8);
        let Some(sealed) = world.close(save) else { return Ok(()) };
        let header = &sealed.header;
        let written = Written {
            header: header.clone(),
            bytes: sealed.block.bytes.clone(),
            key: sealed.key.clone(),
            place: Place::default(),
        };
        ensure!(
            header.end() == self.model.facts().len() as u64,
            "block {} ends after {} entries, the model has {}",
            header.sequence,
            header.end(),
            self.model.facts().len()
        );
        self.check_block(&written)?;
        self.waiting.push_back(Waiting { written, asked: std::mem::take(&mut self.asked) });
        Ok(())
    }

    /// Makes the next complete block durable. Says whether the ledger still works.
    pub(crate) fn append(&mut self, world: &mut World) -> Result<bool> {
        let before = self.disk.injected().len();
        match world.append() {
            Ok(None) => {}
            Ok(Some(sealed)) => {
                let waiting = self.waiting.pop_front().expect("it waited");
                ensure!(
                    waiting.written.header == sealed.header,
                    "blocks were written out of order"
                );
                self.acknowledge(waiting.written);
            }
            Err(error) => {
                ensure!(self.has_failed_since(before), "a block was not written: {error}");
                return Ok(false);
            }
        }
        // What went elsewhere must not be read before a restart finds it.
        Ok(!self.disk.is_down() && !self.went_astray_since(before))
    }

    /// A block is known to be durable.
    pub(crate) fn acknowledge(&mut self, block: Written) {
        let place = Place::after(self.written.last(), block.header.sequence, &self.disk);
        self.written.push(Written { place, ..block });
        self.report.blocks += 1;
    }

    fn rotate_key(&mut self, world: &mut World) {
        self.begin(world);
        let seed = self.generator.random.random();
        self.keys.push(seed);
        self.name_key(world, seed);
    }

    /// Hashes the state of all accounts, and records it.
    fn take_checkpoint(&mut self, world: &mut World) -> Result<()> {
        self.begin(world);
        let snapshot = world.snapshot();
        let entries = snapshot.entries();
        let states: Vec<_> = snapshot.states().collect();
        ensure!(states == self.model.states(), "the accounts are other than the model's");
        let leaves: Vec<_> = states.iter().map(|state| leaf_hash(&state.leaf(), &[])).collect();
        let mut tree = proof::Tree::default();
        tree.push(&leaves, &mut |_, _, _| ());
        let root = tree.root();
        ensure!(root == self.model.states_root(), "the root over all accounts is wrong");
        let number = self.model.facts().len() as u64;
        let mut checkpoint =
            Checkpoint { entries, accounts: tree.size(), root, created_at: Timestamp::default() };
        world.record_checkpoint(&checkpoint);
        self.model.record(|created_at| {
            checkpoint.created_at = created_at;
            Entry::Checkpoint(checkpoint)
        });
        self.checkpoint = Some(Checked { checkpoint, number, leaves, states });
        Ok(())
    }
}

/// The statuses that the items of a batch may have.
pub(crate) fn statuses(batch: &Batch) -> &'static model::Statuses {
    match batch.items {
        Items::Accounts(_) => &model::ACCOUNT,
        Items::Amendments(_) => &model::AMENDMENT,
        Items::Transfers(_) => &model::TRANSFER,
    }
}
