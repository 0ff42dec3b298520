//! What goes wrong, and what has to be there afterwards.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use journal::{Disk, Fault, Faults, JournalError};
use proof::{Signatures, Tail};
use rand::RngExt;
use rand::seq::IndexedRandom;
use xxhash_rust::xxh3::xxh3_64;

use crate::bugs::Bug;
use crate::disk::{Place, damaged, repair};
use crate::simulation::Simulation;
use crate::world::{OpenError, Options, World};

/// How the ledger ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// It is told to stop.
    Stop,
    /// The process is killed.
    Kill,
    /// The power fails.
    Crash,
}

impl Simulation<'_> {
    /// Chooses what goes wrong from now on.
    pub(crate) fn plan_faults(&mut self) {
        let within = self.generator.random.random_range(0..100);
        let at = self.disk.operations() + within;
        let fault = match self.generator.random.random_range(0..12) {
            0..=3 => None,
            4..=6 => Some(Fault::Crash),
            7 => Some(Fault::Torn),
            8 => Some(Fault::Short),
            9 => Some(self.generator.one_of(&[Fault::Full, Fault::Sync, Fault::Sync])),
            10 => Some(Fault::Lost),
            _ => Some(Fault::Misdirected),
        };
        let at = fault.into_iter().map(|fault| (at, fault)).collect();
        let mut faults = Faults { at, ..Faults::default() };
        if self.generator.once_in(20) {
            let used = self.disk.list().unwrap_or_default().into_iter();
            let used: usize =
                used.filter_map(|name| self.disk.contents(&name)).map(|it| it.len()).sum();
            faults.capacity = Some((used + self.generator.random.random_range(0..600_000)) as u64);
        }
        self.disk.set_faults(faults.clone());
        self.faults = faults;
    }

    /// Whether something was done that no journal can survive without loss.
    pub(crate) fn is_suspect(&self) -> bool {
        self.disk.injected()[self.trusted..]
            .iter()
            .any(|injected| matches!(injected.fault, None | Some(Fault::Lost | Fault::Misdirected)))
    }

    /// Ends the ledger.
    pub(crate) fn end(&mut self, mut world: World, mut end: End) -> Result<()> {
        if end == End::Stop && !self.finish(&mut world)? {
            end = End::Crash;
        }
        if self.disk.is_down() {
            end = End::Crash;
        }
        if end == End::Stop {
            let before = self.disk.injected().len();
            let stopped = world.stop();
            let is_planned = stopped.is_ok() || self.has_failed_since(before);
            ensure!(is_planned, "it did not stop cleanly: {stopped:?}");
        } else {
            drop(world);
        }
        self.forget_answers();
        if end == End::Crash || self.disk.is_down() {
            self.crash();
        } else {
            self.disk.kill();
        }
        if self.generator.once_in(4) {
            self.wipe_index()?;
        }
        Ok(())
    }

    /// Completes and writes what was begun. Says whether all of it could be.
    fn finish(&mut self, world: &mut World) -> Result<bool> {
        self.close(world)?;
        while !self.waiting.is_empty() {
            if !self.append(world)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Clients never hear what became of what was not acknowledged.
    fn forget_answers(&mut self) {
        self.attempted = self.waiting.pop_front();
        let lost: Vec<_> = self.waiting.drain(..).flat_map(|waiting| waiting.asked).collect();
        self.unknown.extend(lost);
        self.unknown.extend(self.asked.drain(..));
    }

    fn crash(&mut self) {
        self.disk.crash();
        self.settled = self.disk.injected().len();
        self.report.crashes += 1;
        if self.generator.once_in(4) {
            self.flip_a_bit();
        }
    }

    /// Damages what is at rest, most often a block.
    fn flip_a_bit(&mut self) {
        let names = self.disk.list().unwrap_or_default();
        let block = self.written.choose(&mut self.generator.random);
        let (name, from, length) = match block {
            Some(block) if !self.generator.random.random_ratio(1, 4) => {
                (block.place.file.clone(), block.place.offset, block.bytes.len())
            }
            _ => {
                let Some(name) = names.choose(&mut self.generator.random) else { return };
                (name.clone(), 0, self.disk.contents(name).map_or(0, |bytes| bytes.len()))
            }
        };
        if length > 0 {
            let from = usize::try_from(from).expect("segments are small");
            let offset = from + self.generator.random.random_range(0..length);
            self.disk.flip(&name, offset, self.generator.random.random_range(0..8));
        }
    }

    fn wipe_index(&self) -> Result<()> {
        fs::remove_dir_all(self.index).context("the index could not be wiped")
    }

    /// Starts the ledger again, until it starts, and checks that what was acknowledged is there.
    pub(crate) fn recover(&mut self) -> Result<World> {
        loop {
            let before = self.disk.injected().len();
            let lost = damaged(&self.disk, &self.written);
            let options = Options {
                disk: Bug::disk(self.bug, &self.disk),
                index: self.index,
                keys: &self.keys,
                // Verified now and then: it takes most of the time.
                signatures: if self.generator.once_in(8) {
                    Signatures::Check
                } else {
                    Signatures::Trust
                },
            };
            match World::open(&options) {
                // What went elsewhere must not be read before a restart finds it.
                Ok(_) if self.disk.is_down() || self.went_astray_since(before) => {
                    self.crash();
                    continue;
                }
                Ok(world) if lost.is_empty() => {
                    self.accept(&world)?;
                    return Ok(world);
                }
                Ok(world) => self.check_loss(&world, &lost)?,
                Err(_) if self.disk.is_down() => {
                    self.crash();
                    continue;
                }
                Err(error) if self.has_failed_since(before) && !is_broken(&error) => {
                    self.disk.set_faults(Faults::default());
                    self.faults = Faults::default();
                    self.disk.kill();
                    continue;
                }
                Err(error) => self.check_refusal(&error, &lost)?,
            }
            self.restore()?;
        }
    }

    /// Whether the disk may have failed since so many faults were done.
    pub(crate) fn has_failed_since(&self, injected: usize) -> bool {
        let is_full = self.faults.capacity.is_some();
        self.disk.is_down() || is_full || self.disk.injected().len() > injected
    }

    /// Whether something was written elsewhere since so many faults were done.
    pub(crate) fn went_astray_since(&self, injected: usize) -> bool {
        let injected = &self.disk.injected()[injected..];
        injected.iter().any(|injected| injected.fault == Some(Fault::Misdirected))
    }

    /// The refusal has to name a block that is damaged, and where it is.
    fn check_refusal(&mut self, error: &OpenError, lost: &[usize]) -> Result<()> {
        let OpenError::Journal(error) = error else { bail!("it did not start: {error}") };
        ensure!(self.is_suspect(), "it did not start, although the disk kept its word: {error}");
        self.check_named(error, lost)?;
        self.report.refused += 1;
        Ok(())
    }

    fn check_named(&self, error: &JournalError, lost: &[usize]) -> Result<()> {
        let JournalError::Broken { sequence, file, offset, .. } = error else {
            bail!("no damaged block was named: {error}")
        };
        let found = Place { file: file.clone(), offset: *offset };
        let after = self.written.len() as u64 + 1;
        let expected = if *sequence == after {
            // What is after the last block can be anything, when a write went astray.
            Place::after(self.written.last(), after, &self.disk)
        } else {
            let place = lost.iter().find(|place| **place as u64 + 1 == *sequence);
            let place = place.with_context(|| format!("{lost:?} are damaged, but: {error}"))?;
            self.written[*place].place.clone()
        };
        ensure!(found == expected, "the damage is at {expected:?}, but: {error}");
        Ok(())
    }

    /// A ledger may start although acknowledged blocks are damaged in two cases: when they are the
    /// last ones and look as if they had never been written, which whoever kept their head notices;
    /// and when a snapshot made it needless to read their entries.
    fn check_loss(&mut self, world: &World, lost: &[usize]) -> Result<()> {
        ensure!(self.is_suspect(), "blocks {lost:?} are damaged, although the disk kept its word");
        let kept = self.written.partition_point(|block| block.header.end() <= world.entries());
        let (skipped, cut) = lost.split_at(lost.partition_point(|place| *place < kept));
        let is_end = (kept..self.written.len()).eq(cut.iter().copied());
        ensure!(is_end, "blocks {lost:?} are damaged, and it began with {kept} blocks");
        if !cut.is_empty() {
            let floor = self.floor().unwrap_or(0);
            ensure!(floor <= kept as u64, "block {floor} was durable, and it began with {kept}");
        }
        if !skipped.is_empty() {
            let verified = journal::verify(&Bug::disk(self.bug, &self.disk), Tail::default());
            let Err(error) = verified else {
                bail!("blocks {skipped:?} are damaged, but verified")
            };
            self.check_named(&error, skipped)?;
        }
        self.report.refused += 1;
        Ok(())
    }

    /// The block that the journal itself remembers to have been durable, if it can know that.
    fn floor(&self) -> Option<u64> {
        let bytes = self.disk.contents("floor")?;
        let is_whole = xxh3_64(bytes.get(..48)?).to_le_bytes() == *bytes.get(48..56)?;
        is_whole.then(|| u64::from_le_bytes(bytes[8..16].try_into().expect("8 bytes")))
    }

    /// Brings the files back to what was acknowledged.
    fn restore(&mut self) -> Result<()> {
        self.disk.kill();
        repair(&self.disk, &self.written);
        self.unknown.extend(self.attempted.take().into_iter().flat_map(|it| it.asked));
        self.trusted = self.disk.injected().len();
        self.wipe_index()
    }

    /// What was acknowledged has to be there, and of the rest whole blocks.
    fn accept(&mut self, world: &World) -> Result<()> {
        let recovered = world.entries();
        let acknowledged = self.written.last().map_or(0, |last| last.header.end());
        if let Some(mut attempted) = self.attempted.take() {
            let is_durable = recovered == attempted.written.header.end();
            attempted.asked.iter_mut().for_each(|asked| asked.is_durable = is_durable);
            for asked in attempted.asked.into_iter().rev() {
                self.unknown.push_front(asked);
            }
            if is_durable {
                self.acknowledge(attempted.written);
            }
        }
        let expected = self.written.last().map_or(0, |last| last.header.end());
        ensure!(
            recovered == expected,
            "{acknowledged} entries were acknowledged, and {recovered} are there"
        );
        let forgotten = usize::try_from(recovered).expect("few entries");
        self.model.go_back(forgotten);
        self.checkpoint = self.checkpoint.take().filter(|it| it.number < recovered);
        self.trusted = self.trusted.max(self.settled);
        self.check_all(world)
    }
}

fn is_broken(error: &OpenError) -> bool {
    matches!(error, OpenError::Journal(JournalError::Broken { .. }))
}
