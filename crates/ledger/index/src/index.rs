//! Adding to the index, opening and closing it.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use book::Effects;
use proof::Block;

use crate::manifest::{self, Boot, Manifest};
use crate::merge::merge_in_memory;
use crate::merger::Merger;
use crate::record::{ENTRIES_MAX, Keyspace, Record, Side, effective, halves, place};
use crate::reference::{self, ReferenceHash};
use crate::run::Run;
use crate::sort::sort;
use crate::store::{End, Shared, Sizes};
use crate::view::{Runs, View};
use crate::{IndexError, Reader};

/// The index of a ledger. One thread adds to it; dropping it is safe and as good as a kill.
pub struct Index {
    shared: Arc<Shared>,
    merger: Option<JoinHandle<Result<(), IndexError>>>,
}

impl Index {
    /// Opens the index of a folder, and begins a new one when there is none that can be trusted.
    /// Add the entries from [`Self::covers`] on.
    pub fn open(folder: &Path) -> Result<Self, IndexError> {
        Self::open_with(folder, Sizes::DEFAULT, manifest::boot())
    }

    /// Opens it with other sizes, or as after another boot.
    pub(crate) fn open_with(folder: &Path, sizes: Sizes, boot: Boot) -> Result<Self, IndexError> {
        fs::create_dir_all(folder).map_err(IndexError::io(folder))?;
        let (manifest, view) = match load(folder, boot) {
            Some(loaded) => loaded,
            None => (begin(folder, boot)?, View::of_entries(0)),
        };
        remove_others(folder, &manifest)?;
        let hash = ReferenceHash { key: manifest.hash_key, mask: sizes.hash_mask };
        let shared = Arc::new(Shared::new(folder.to_path_buf(), sizes, hash, view));
        let (next_run, stored) = (manifest.next_run, manifest.covers);
        let merger = Merger { shared: shared.clone(), boot, next_run, stored, frozen: None };
        let merger = thread::Builder::new()
            .name("index-merge".to_owned())
            .spawn(move || merger.run())
            .map_err(IndexError::io(folder))?;
        Ok(Self { shared, merger: Some(merger) })
    }

    /// How many entries are indexed.
    pub fn covers(&self) -> u64 {
        self.shared.view().covers
    }

    /// Adds the entries of a block and what they did, except those added before. All blocks before
    /// it have to be durable; the block itself not yet: it is not stored before the next comes, or
    /// the index is closed. Waits while merging is far behind. After a failure it can only be opened
    /// again.
    pub fn add(&mut self, block: &Block<'_>, effects: &Effects) -> Result<(), IndexError> {
        let (covers, first, end) = (self.covers(), block.header.first, block.header.end());
        if first > covers {
            return Err(IndexError::Gap { covers, first });
        }
        if end <= covers {
            return Ok(());
        }
        debug_assert!(end <= ENTRIES_MAX);
        let numbers = covers..end;
        let mut added = effect_records(effects, &numbers);
        added[Keyspace::References as usize] =
            reference::records(&self.shared.hash, block, &numbers);
        let runs = Keyspace::ALL.into_iter().zip(added).filter(|(_, records)| !records.is_empty());
        let runs: Vec<_> =
            runs.map(|(keyspace, records)| sorted(keyspace, &numbers, records)).collect();
        let mut state = self.shared.lock_with_room(first)?;
        let frozen = state.frozen;
        self.shared.publish(&mut state, |view| {
            for run in runs {
                let run = joined(view.of(run.keyspace), run, frozen, self.shared.sizes.full)?;
                view.replace(Arc::new(run));
            }
            view.covers = end;
            Ok(())
        })
    }

    /// Reads the index while it grows.
    pub fn reader(&self) -> Reader {
        Reader::new(self.shared.clone())
    }

    /// Stores and syncs all, which is durable, so that nothing has to be added again.
    pub fn close(mut self) -> Result<(), IndexError> {
        self.end(End::Clean)
    }

    fn end(&mut self, end: End) -> Result<(), IndexError> {
        let Some(merger) = self.merger.take() else { return Ok(()) };
        self.shared.lock().end = Some(end);
        self.shared.notify();
        merger.join().unwrap_or_else(|_| Err(IndexError::Stopped("merging panicked".to_owned())))
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        // What it could not store is added again when the index is opened.
        let _ = self.end(End::Abandoned);
    }
}

/// Records of the effects of some entries, for each keyspace, not sorted.
fn effect_records(effects: &Effects, numbers: &Range<u64>) -> [Vec<Record>; Keyspace::ALL.len()] {
    let mut records: [Vec<Record>; Keyspace::ALL.len()] = Default::default();
    let postings = effects.postings.iter().map(|it| [it.key, it.posted, it.pending]);
    records[Keyspace::Postings as usize] =
        postings.filter(|record| numbers.contains(&(record[0] & ENTRIES_MAX))).collect();
    for it in effects.backdated.iter().filter(|it| numbers.contains(&it.number)) {
        let side = if it.side == 0 { Side::Debit } else { Side::Credit };
        let [upper, lower] = halves(effective(it.row, side, it.effective_at, it.number));
        records[Keyspace::Effective as usize].push([upper, lower, it.amount]);
        let by_number = place(it.row, side, it.number);
        records[Keyspace::Backdated as usize].push([by_number, it.amount, 0]);
    }
    for it in effects.amendments.iter().filter(|it| numbers.contains(&it.number)) {
        let at = place(it.row, Side::Debit, it.number);
        records[Keyspace::Amendments as usize].push([at, it.overdraft, u64::from(it.is_closed)]);
    }
    records
}

/// A run in memory of records in the order of the numbers of their entries.
fn sorted(keyspace: Keyspace, numbers: &Range<u64>, mut records: Vec<Record>) -> Run {
    sort(keyspace, &mut records);
    keyspace.sum_up(None, &mut records);
    Run::memory(keyspace, numbers.clone(), records)
}

/// The run merged with those in memory before it that are not much larger, so that few blocks and
/// many small ones alike leave few runs: each that is not full is twice as long as the next.
fn joined(runs: &Runs, run: Run, frozen: u64, full: usize) -> Result<Run, IndexError> {
    let mut parts = vec![Arc::new(run)];
    let mut len = parts[0].len;
    for before in runs.iter().rev() {
        let is_open = before.level() == 0 && before.numbers.start >= frozen && before.len < full;
        if !is_open || before.len > 2 * len {
            break;
        }
        len += before.len;
        parts.insert(0, before.clone());
    }
    match <[_; 1]>::try_from(parts) {
        Ok([run]) => Ok(Arc::into_inner(run).expect("no view has it yet")),
        Err(parts) => merge_in_memory(&parts),
    }
}

/// The index of a folder, when it can be trusted.
fn load(folder: &Path, boot: Boot) -> Option<(Manifest, View)> {
    let manifest = Manifest::read(folder, boot)?;
    let mut view = View::of_entries(manifest.covers);
    for entry in &manifest.runs {
        view.replace(Arc::new(Run::open(folder, entry)?));
    }
    Some((manifest, view))
}

/// Begins a new index.
fn begin(folder: &Path, boot: Boot) -> Result<Manifest, IndexError> {
    Manifest::remove(folder)?;
    let (hash_key, runs) = (rand::random(), Vec::new());
    Ok(Manifest { is_clean: false, covers: 0, next_run: 0, hash_key, boot, runs })
}

/// Removes runs that the manifest does not list.
fn remove_others(folder: &Path, manifest: &Manifest) -> Result<(), IndexError> {
    let listed: Vec<_> =
        manifest.runs.iter().map(|run| crate::run::path(folder, run.number)).collect();
    for file in fs::read_dir(folder).map_err(IndexError::io(folder))? {
        let path = file.map_err(IndexError::io(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "run") && !listed.contains(&path) {
            fs::remove_file(&path).map_err(IndexError::io(&path))?;
        }
    }
    Ok(())
}
