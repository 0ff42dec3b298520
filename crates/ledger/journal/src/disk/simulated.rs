//! A disk in memory, which loses what was not synced and fails as told.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::content::{Content, Random, SECTOR_BYTES};
use super::{Disk, Fault, Faults, File, Injected};

/// A disk in memory. What happens follows from the seed, the faults and the operations alone.
///
/// Clones are the same disk.
#[derive(Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    random: Random,
    faults: Faults,
    operations: u64,
    /// How often the machine has started: what was opened before is of no use after.
    starts: u64,
    is_down: bool,
    is_locked: bool,
    files: Vec<Content>,
    names: Names,
    durable_names: Names,
    /// The names after each change since the folder was synced.
    pending_names: Vec<Names>,
    injected: Vec<Injected>,
}

type Names = BTreeMap<String, usize>;

impl SimulatedDisk {
    /// An empty disk without faults.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: Random::new(seed),
            faults: Faults::default(),
            operations: 0,
            starts: 0,
            is_down: false,
            is_locked: false,
            files: Vec::new(),
            names: Names::new(),
            durable_names: Names::new(),
            pending_names: Vec::new(),
            injected: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// From now on this goes wrong.
    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// The power fails, then the machine starts again. What was synced is there; of what was only
    /// written, each sector is there, is not, or is in part. Whoever had files open must open them
    /// again.
    pub fn crash(&self) {
        let state = &mut *self.state.lock();
        let kept = state.random.below(state.pending_names.len() + 1);
        if kept > 0 {
            state.durable_names = state.pending_names.swap_remove(kept - 1);
        }
        state.names = state.durable_names.clone();
        state.pending_names.clear();
        for place in state.names.values().copied().collect::<Vec<_>>() {
            state.files[place].crash(&mut state.random);
            state.flip_by_chance(place);
        }
        state.restart();
    }

    /// The process is killed and starts again: all that was written is there. Whoever had files
    /// open must open them again.
    pub fn kill(&self) {
        self.state.lock().restart();
    }

    /// Whether [`Fault::Crash`] has happened: everything fails until [`Self::crash`].
    pub fn is_down(&self) -> bool {
        self.state.lock().is_down
    }

    /// How many operations there were: all but reads.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// All faults that were done so far.
    pub fn injected(&self) -> Vec<Injected> {
        self.state.lock().injected.clone()
    }

    /// What a file has.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        Some(state.files[*state.names.get(name)?].current.clone())
    }

    /// Gives a file durable contents, past all faults.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let state = &mut *self.state.lock();
        let place = state.names.get(name).copied().unwrap_or_else(|| state.add(name));
        state.durable_names.insert(name.to_owned(), place);
        let file = &mut state.files[place];
        file.current = bytes.to_vec();
        file.durable = bytes.to_vec();
        file.dirty.clear();
    }

    /// Flips a bit of a file at rest; false when there is no such byte.
    pub fn flip(&self, name: &str, offset: usize, bit: u8) -> bool {
        let state = &mut *self.state.lock();
        let Some(place) = state.names.get(name).copied() else { return false };
        state.flip(place, offset, bit)
    }

    fn file(&self, place: usize, starts: u64) -> Arc<dyn File> {
        Arc::new(SimulatedFile { state: self.state.clone(), place, starts })
    }

    /// An operation on names that none but [`Fault::Crash`] and [`Fault::Full`] can befall.
    fn change_names(
        &self,
        allowed: &[Fault],
        change: impl FnOnce(&mut State) -> io::Result<()>,
    ) -> io::Result<()> {
        let state = &mut *self.state.lock();
        let fault = state.operate(state.starts, allowed)?;
        if let Some(fault) = fault {
            state.record(fault, "", 0);
        }
        if fault == Some(Fault::Full) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        change(state)?;
        let names = state.names.clone();
        state.pending_names.push(names);
        state.go_down_after(fault)
    }
}

impl Disk for SimulatedDisk {
    fn path(&self) -> String {
        "a simulated disk".to_owned()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.check(state.starts)?;
        Ok(state.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let state = self.state.lock();
        state.check(state.starts)?;
        let place = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(place, state.starts))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.change_names(&[Fault::Full], |state| {
            if state.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.add(name);
            Ok(())
        })?;
        self.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change_names(&[], |state| {
            let place = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            to.clone_into(&mut state.files[place].name);
            state.names.insert(to.to_owned(), place);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change_names(&[], |state| {
            state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
            Ok(())
        })
    }

    fn sync_folder(&self) -> io::Result<()> {
        let state = &mut *self.state.lock();
        let fault = state.operate(state.starts, &[])?;
        if fault.is_none() {
            state.durable_names = state.names.clone();
            state.pending_names.clear();
        }
        state.go_down_after(fault)
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let state = &mut *self.state.lock();
        state.check(state.starts)?;
        if std::mem::replace(&mut state.is_locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock { state: self.state.clone(), starts: state.starts }))
    }

    fn is_deterministic(&self) -> bool {
        true
    }
}

struct Lock {
    state: Arc<Mutex<State>>,
    starts: u64,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let state = &mut *self.state.lock();
        if state.starts == self.starts {
            state.is_locked = false;
        }
    }
}

struct SimulatedFile {
    state: Arc<Mutex<State>>,
    place: usize,
    starts: u64,
}

impl File for SimulatedFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.state.lock();
        state.check(self.starts)?;
        let from = index(offset)?;
        let rest = state.files[self.place].current.get(from..).unwrap_or_default();
        let read = rest.len().min(bytes.len());
        bytes[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        use Fault as F;
        let state = &mut *self.state.lock();
        let fault =
            state.operate(self.starts, &[F::Torn, F::Short, F::Lost, F::Misdirected, F::Full])?;
        let at = index(offset)?;
        let bytes = state.within_capacity(self.place, bytes, at)?;
        if let Some(fault) = fault {
            let name = state.files[self.place].name.clone();
            state.record(fault, &name, offset);
        }
        let State { random, files, .. } = state;
        let file = &mut files[self.place];
        match fault {
            None | Some(F::Crash | F::Sync) => file.write(bytes, at),
            Some(F::Torn) => {
                for (part, bytes) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    if random.chance(0.5) {
                        file.write(bytes, at + part * SECTOR_BYTES);
                    }
                }
                return Err(io::Error::other("the write failed"));
            }
            Some(F::Short) => {
                file.write(&bytes[..random.below(bytes.len())], at);
                return Err(io::ErrorKind::WriteZero.into());
            }
            Some(F::Lost) => file.overwrite(bytes, at),
            Some(F::Misdirected) => {
                let sectors = file.current.len() / SECTOR_BYTES;
                file.write(bytes, random.below(sectors + 1) * SECTOR_BYTES);
            }
            Some(F::Full) => return Err(io::ErrorKind::StorageFull.into()),
        }
        state.go_down_after(fault)
    }

    fn sync(&self) -> io::Result<()> {
        let state = &mut *self.state.lock();
        let fault = state.operate(self.starts, &[Fault::Sync])?;
        if let Some(fault) = fault {
            let name = state.files[self.place].name.clone();
            state.record(fault, &name, 0);
        }
        let file = &mut state.files[self.place];
        match fault {
            None => file.sync(),
            Some(Fault::Sync) => {
                file.sync_in_part(&mut state.random);
                return Err(io::Error::other("the sync failed"));
            }
            Some(_) => {}
        }
        state.go_down_after(fault)
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.state.lock();
        state.check(self.starts)?;
        Ok(state.files[self.place].current.len() as u64)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let state = &mut *self.state.lock();
        let fault = state.operate(self.starts, &[])?;
        let file = &mut state.files[self.place];
        let before = file.current.len();
        file.current.resize(index(bytes)?, 0);
        file.touch(before, file.current.len());
        state.go_down_after(fault)
    }
}

impl State {
    fn check(&self, starts: u64) -> io::Result<()> {
        if self.is_down || self.starts != starts {
            return Err(io::Error::other("the machine has stopped"));
        }
        Ok(())
    }

    /// Counts an operation and says which of the faults that can befall it does.
    fn operate(&mut self, starts: u64, allowed: &[Fault]) -> io::Result<Option<Fault>> {
        self.check(starts)?;
        let operation = self.operations;
        self.operations += 1;
        if let Some(fault) = self.faults.at.get(&operation)
            && (*fault == Fault::Crash || allowed.contains(fault))
        {
            return Ok(Some(*fault));
        }
        let faults = &self.faults;
        let chances = [
            (Fault::Crash, faults.crash),
            (Fault::Torn, faults.torn),
            (Fault::Short, faults.short),
            (Fault::Lost, faults.lost),
            (Fault::Misdirected, faults.misdirected),
            (Fault::Full, faults.full),
            (Fault::Sync, faults.sync),
        ];
        let possible = chances
            .into_iter()
            .filter(|(fault, _)| *fault == Fault::Crash || allowed.contains(fault));
        for (fault, probability) in possible {
            if probability > 0.0 && self.random.chance(probability) {
                return Ok(Some(fault));
            }
        }
        Ok(None)
    }

    fn go_down_after(&mut self, fault: Option<Fault>) -> io::Result<()> {
        if fault == Some(Fault::Crash) {
            self.is_down = true;
        }
        self.check(self.starts)
    }

    fn record(&mut self, fault: Fault, file: &str, offset: u64) {
        let (operation, file) = (self.operations - 1, file.to_owned());
        self.injected.push(Injected { operation, fault: Some(fault), file, offset });
    }

    fn restart(&mut self) {
        self.starts += 1;
        self.is_down = false;
        self.is_locked = false;
    }

    /// Adds an empty file.
    fn add(&mut self, name: &str) -> usize {
        self.files.push(Content { name: name.to_owned(), ..Content::default() });
        self.names.insert(name.to_owned(), self.files.len() - 1);
        self.files.len() - 1
    }

    /// Writes what still fits and fails, unless all does.
    fn within_capacity<'a>(
        &mut self,
        place: usize,
        bytes: &'a [u8],
        at: usize,
    ) -> io::Result<&'a [u8]> {
        let Some(capacity) = self.faults.capacity else { return Ok(bytes) };
        let used: usize = self.names.values().map(|place| self.files[*place].current.len()).sum();
        let file = &mut self.files[place];
        let free = usize::try_from(capacity).unwrap_or(usize::MAX).saturating_sub(used);
        let fits = (file.current.len() + free).saturating_sub(at);
        if fits >= bytes.len() {
            return Ok(bytes);
        }
        file.write(&bytes[..fits], at);
        Err(io::ErrorKind::StorageFull.into())
    }

    #[expect(clippy::cast_possible_truncation, reason = "a bit of a byte")]
    fn flip_by_chance(&mut self, place: usize) {
        let length = self.files[place].current.len();
        if length > 0 && self.faults.flip > 0.0 && self.random.chance(self.faults.flip) {
            let (offset, bit) = (self.random.below(length), self.random.below(8) as u8);
            self.flip(place, offset, bit);
        }
    }

    fn flip(&mut self, place: usize, offset: usize, bit: u8) -> bool {
        let file = &mut self.files[place];
        let (Some(current), Some(durable)) =
            (file.current.get_mut(offset), file.durable.get_mut(offset))
        else {
            return false;
        };
        *current ^= 1 << bit;
        *durable = *current;
        let (file, offset) = (file.name.clone(), offset as u64);
        self.injected.push(Injected { operation: self.operations, fault: None, file, offset });
        true
    }
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}
