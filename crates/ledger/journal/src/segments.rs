//! The files that have the blocks, and the one that is prepared to be the next.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use parking_lot::RwLock;
use tracing::warn;

use crate::disk::{Disk, File};

/// Most segments that are kept open.
const OPEN_MAX: usize = 256;

/// Name of the file that is prepared to be the next segment.
const SPARE_NAME: &str = "spare";

const SUFFIX: &str = ".segment";

/// The name of the segment that begins with that block.
pub(crate) fn name_of(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// The sequences that the segments of a folder begin with, ascending.
pub(crate) fn list(disk: &dyn Disk) -> io::Result<Vec<u64>> {
    let names = disk.list()?;
    let mut firsts: Vec<_> = names
        .iter()
        .filter_map(|name| name.strip_suffix(SUFFIX))
        .filter(|digits| digits.len() == 20)
        .filter_map(|digits| digits.parse().ok())
        .collect();
    firsts.sort_unstable();
    Ok(firsts)
}

/// All segments, of which those that are read are open.
pub(crate) struct Segments {
    pub(crate) disk: Arc<dyn Disk>,
    slots: RwLock<Slots>,
}

#[derive(Default)]
struct Slots {
    slots: Vec<(u64, Option<Arc<dyn File>>)>,
    /// Which ones are open, in the order in which they were opened.
    open: VecDeque<usize>,
}

impl Segments {
    pub(crate) fn new(disk: Arc<dyn Disk>, firsts: &[u64]) -> Self {
        let slots = firsts.iter().map(|first| (*first, None)).collect();
        Self { disk, slots: RwLock::new(Slots { slots, open: VecDeque::new() }) }
    }

    /// The sequence that the segment in that place begins with, unless there is none.
    pub(crate) fn first(&self, place: usize) -> Option<u64> {
        self.slots.read().slots.get(place).map(|(first, _)| *first)
    }

    /// The name of the segment in that place.
    pub(crate) fn name(&self, place: usize) -> String {
        self.first(place).map(name_of).unwrap_or_default()
    }

    pub(crate) fn count(&self) -> usize {
        self.slots.read().slots.len()
    }

    /// The segment in that place.
    pub(crate) fn file(&self, place: usize) -> io::Result<Arc<dyn File>> {
        let (first, file) = {
            let slots = self.slots.read();
            slots.slots.get(place).cloned().ok_or(io::ErrorKind::NotFound)?
        };
        if let Some(file) = file {
            return Ok(file);
        }
        let file = self.disk.open(&name_of(first))?;
        self.slots.write().keep(place, file.clone());
        Ok(file)
    }

    /// Adds the next segment.
    pub(crate) fn push(&self, first: u64, file: Arc<dyn File>) {
        let mut slots = self.slots.write();
        slots.slots.push((first, None));
        let place = slots.slots.len() - 1;
        slots.keep(place, file);
    }
}

impl Slots {
    fn keep(&mut self, place: usize, file: Arc<dyn File>) {
        if self.slots[place].1.replace(file).is_some() {
            return;
        }
        self.open.push_back(place);
        if self.open.len() > OPEN_MAX
            && let Some(oldest) = self.open.pop_front()
        {
            self.slots[oldest].1 = None;
        }
    }
}

/// The next segment, which is filled with zeros before it is needed.
#[derive(Default)]
pub(crate) struct Spare {
    state: State,
    /// Tells the thread to give up.
    stop: Arc<AtomicBool>,
}

#[derive(Default)]
enum State {
    #[default]
    None,
    Preparing(JoinHandle<io::Result<Arc<dyn File>>>),
    Ready(Arc<dyn File>),
}

impl Spare {
    /// Begins to prepare one, unless that was done.
    pub(crate) fn prepare(&mut self, disk: &Arc<dyn Disk>, bytes: u64) {
        if !matches!(self.state, State::None) {
            return;
        }
        let (disk, stop) = (disk.clone(), self.stop.clone());
        if disk.is_deterministic() {
            self.state = State::of(zeroed(&*disk, bytes, &stop));
            return;
        }
        let thread = thread::Builder::new().name("journal-spare".to_owned());
        let prepare = move || {
            background::give_way();
            zeroed(&*disk, bytes, &stop)
        };
        match thread.spawn(prepare) {
            Ok(thread) => self.state = State::Preparing(thread),
            Err(error) => warn!(%error, "the next segment could not be prepared"),
        }
    }

    /// Whether one is ready.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.state {
            State::None => false,
            State::Preparing(thread) => thread.is_finished(),
            State::Ready(_) => true,
        }
    }

    /// Makes the file the segment of that name, if it is ready.
    pub(crate) fn take(
        &mut self,
        disk: &dyn Disk,
        name: &str,
    ) -> io::Result<Option<Arc<dyn File>>> {
        self.state = match std::mem::take(&mut self.state) {
            State::Preparing(thread) if thread.is_finished() => {
                State::of(thread.join().unwrap_or_else(|_| Err(io::Error::other("it panicked"))))
            }
            state => state,
        };
        match std::mem::take(&mut self.state) {
            State::Ready(file) => disk.rename(SPARE_NAME, name).map(|()| Some(file)),
            state => {
                self.state = state;
                Ok(None)
            }
        }
    }
}

impl State {
    fn of(prepared: io::Result<Arc<dyn File>>) -> Self {
        prepared.map_or_else(
            |error| {
                // The writer does without, or meets the same error.
                warn!(%error, "the next segment could not be prepared");
                Self::None
            },
            Self::Ready,
        )
    }
}

impl Drop for Spare {
    /// Waits for the thread: nothing is to be written once the journal is closed.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let State::Preparing(thread) = std::mem::take(&mut self.state) {
            drop(thread.join());
        }
    }
}

/// Removes what an earlier run prepared.
pub(crate) fn remove_spare(disk: &dyn Disk) -> io::Result<()> {
    match disk.remove(SPARE_NAME) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A new file of so many zeros, durable, so that writing over them need not change the file system.
fn zeroed(disk: &dyn Disk, bytes: u64, stop: &AtomicBool) -> io::Result<Arc<dyn File>> {
    remove_spare(disk)?;
    let filled = disk.create_zeros(SPARE_NAME, bytes, stop);
    if filled.is_err() {
        // It would keep others from what is left of a full disk.
        remove_spare(disk)?;
    }
    filled
}
