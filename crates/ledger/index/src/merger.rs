//! The merging thread: stores what is in memory, and merges what is stored.
//!
//! A merge of many runs takes seconds. So whenever it has written a chunk it looks whether there is
//! work at a lower level, and does that first: adding never waits for more than a few of those.

use std::sync::Arc;
use std::{fs, mem};

use crate::IndexError;
use crate::manifest::{Boot, Manifest};
use crate::merge::{Merge, chunk_records};
use crate::record::Keyspace;
use crate::run::{Run, RunWriter};
use crate::store::{End, Shared, State};
use crate::view::View;

/// The merging thread.
pub(crate) struct Merger {
    pub(crate) shared: Arc<Shared>,
    pub(crate) boot: Boot,
    pub(crate) next_run: u64,
    /// How many entries have all their records in files.
    pub(crate) stored: u64,
    /// What is to be stored as soon as all of it is durable.
    pub(crate) frozen: Option<Arc<View>>,
}

impl Merger {
    /// Works until it is told to end.
    pub(crate) fn run(mut self) -> Result<(), IndexError> {
        // Adding waits when this is far behind: then there is a processor for it.
        background::give_way();
        let mut ended =
            Ended { shared: self.shared.clone(), reason: "merging panicked".to_owned() };
        let result = self.work_until_end().and_then(|end| match end {
            End::Clean => self.close(),
            End::Abandoned => Ok(()),
        });
        ended.reason = match &result {
            Ok(()) => "it was closed".to_owned(),
            Err(fault) => fault.to_string(),
        };
        result
    }

    fn work_until_end(&mut self) -> Result<End, IndexError> {
        let shared = Arc::clone(&self.shared);
        loop {
            while self.work(u8::MAX)? {}
            let mut state = shared.lock();
            if let Some(end) = state.end {
                return Ok(end);
            }
            // What was added since is seen here, because it is published under the lock.
            if self.due(u8::MAX, &mut state).is_none() {
                shared.wait(&mut state);
            }
        }
    }

    /// Does one thing of those due below a level. False when there is none, or it is time to end.
    fn work(&mut self, below: u8) -> Result<bool, IndexError> {
        if self.ends() {
            return Ok(false);
        }
        let shared = Arc::clone(&self.shared);
        let due = self.due(below, &mut shared.lock());
        match due {
            None => return Ok(false),
            Some(Due::Store) => self.store()?,
            Some(Due::Merge(keyspace, level)) => self.merge(keyspace, level)?,
        }
        Ok(true)
    }

    fn ends(&self) -> bool {
        self.shared.lock().end.is_some()
    }

    /// What is due below a level. Storing comes first, because adding may wait for it, unless
    /// levels are crowded already.
    fn due(&mut self, below: u8, state: &mut State) -> Option<Due> {
        let (view, fan) = (self.shared.view(), self.shared.sizes.fan);
        let can_store = self.can_store(&view, state);
        let merge = |fan| {
            let crowded = view.crowded(fan).filter(|(level, _)| *level < below);
            crowded.map(|(level, keyspace)| Due::Merge(keyspace, level))
        };
        merge(2 * fan).or_else(|| can_store.then_some(Due::Store)).or_else(|| merge(fan))
    }

    /// Whether there is much in memory, and all of it is durable. What is added from then on is not
    /// joined to it.
    fn can_store(&mut self, view: &Arc<View>, state: &mut State) -> bool {
        if self.frozen.is_none() && view.records_in_memory() >= self.shared.sizes.store {
            state.frozen = view.covers;
            self.frozen = Some(Arc::clone(view));
        }
        self.frozen.as_ref().is_some_and(|view| view.covers <= state.settled)
    }

    /// Stores what is frozen, one run for each keyspace.
    fn store(&mut self) -> Result<(), IndexError> {
        let Some(view) = self.frozen.take() else { return Ok(()) };
        let mut stored = Vec::new();
        for keyspace in Keyspace::ALL {
            let runs = view.of(keyspace);
            let runs = &runs[runs.partition_point(|run| run.level() > 0)..];
            if !runs.is_empty() {
                stored.extend(self.write(runs, 1)?);
            }
        }
        self.stored = view.covers;
        self.publish(&stored)
    }

    /// Merges the oldest runs of a level.
    fn merge(&mut self, keyspace: Keyspace, level: u8) -> Result<(), IndexError> {
        let view = self.shared.view();
        let runs = view.of(keyspace);
        let start = runs.partition_point(|run| run.level() > level);
        let runs = &runs[start..start + self.shared.sizes.fan];
        let Some(merged) = self.write(runs, level + 1)? else { return Ok(()) };
        self.publish(&[merged])?;
        for stored in runs.iter().filter_map(|run| run.stored()) {
            // Readers may still have it open. What stays is removed when the index is opened.
            let _ = fs::remove_file(&stored.path);
        }
        Ok(())
    }

    /// Writes runs as one. None when it was time to end before.
    fn write(&mut self, runs: &[Arc<Run>], level: u8) -> Result<Option<Arc<Run>>, IndexError> {
        let keyspace = runs[0].keyspace;
        let number = self.next_run;
        self.next_run += 1;
        let mut writer = RunWriter::create(&self.shared.folder, keyspace, number, level)?;
        let mut merge = Merge::new(runs)?;
        let mut records = Vec::with_capacity(chunk_records(keyspace));
        loop {
            records.clear();
            merge.take(chunk_records(keyspace), &mut records)?;
            if records.is_empty() {
                break;
            }
            writer.write(&records)?;
            if level > 1 {
                while self.work(level - 1)? {}
                if self.ends() {
                    writer.abandon();
                    return Ok(None);
                }
            }
        }
        let numbers = runs[0].numbers.start..runs[runs.len() - 1].numbers.end;
        Ok(Some(Arc::new(writer.finish(numbers)?)))
    }

    /// Shows runs in the place of those that they were made of.
    fn publish(&mut self, runs: &[Arc<Run>]) -> Result<(), IndexError> {
        let replace = |view: &mut View| runs.iter().for_each(|run| view.replace(run.clone()));
        // Stored runs change in this thread alone, so they are the same when all is published.
        let mut next = View::clone(&self.shared.view());
        replace(&mut next);
        self.manifest(&next, false).write(&self.shared.folder)?;
        let mut state = self.shared.lock();
        self.shared.publish(&mut state, |view| {
            replace(view);
            Ok(())
        })
    }

    /// Stores the rest, and syncs everything.
    fn close(&mut self) -> Result<(), IndexError> {
        if self.shared.view().covers > self.stored {
            self.frozen = Some(self.shared.view());
            self.store()?;
        }
        let view = self.shared.view();
        for stored in view.all().filter_map(|run| run.stored()) {
            stored.file.sync_all().map_err(IndexError::io(&stored.path))?;
        }
        self.manifest(&view, true).write(&self.shared.folder)
    }

    fn manifest(&self, view: &View, is_clean: bool) -> Manifest {
        Manifest {
            is_clean,
            covers: self.stored,
            next_run: self.next_run,
            hash_key: self.shared.hash.key,
            boot: self.boot,
            runs: view.all().filter_map(|run| run.entry()).collect(),
        }
    }
}

/// Tells those who wait for merges that there are no more, also after a panic.
struct Ended {
    shared: Arc<Shared>,
    reason: String,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.shared.lock().failure = Some(mem::take(&mut self.reason));
        self.shared.notify();
    }
}

/// Something that is due.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// There is much in memory.
    Store,
    /// There are many runs of that level.
    Merge(Keyspace, u8),
}
