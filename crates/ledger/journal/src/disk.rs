//! Where files are: a folder of this machine, or a simulation of one that fails as told.

mod content;
mod faults;
mod real;
mod simulated;

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{JournalError, io_error};

pub use faults::{Fault, Faults, Injected};
pub use real::RealDisk;
pub use simulated::SimulatedDisk;

/// A folder of files. What is done to names is durable after [`Disk::sync_folder`].
pub trait Disk: Send + Sync {
    /// Where it is, for messages.
    fn path(&self) -> String;

    /// The names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file that exists.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Creates a file that does not exist.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Creates a file of so many zeros, durable, so that writing over them changes nothing but
    /// them. Gives up when `stop` is set.
    fn create_zeros(&self, name: &str, bytes: u64, stop: &AtomicBool) -> io::Result<Arc<dyn File>> {
        let file = self.create(name)?;
        fill(&*file, &vec![0; ZEROS], bytes, stop)?;
        file.sync()?;
        Ok(file)
    }

    /// Gives a file another name, in place of the file that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Whoever has opened it keeps it.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes durable which names there are.
    fn sync_folder(&self) -> io::Result<()>;

    /// Takes the folder for ourselves until what is returned is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another one has it and keeps it.
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>>;

    /// Whether all that happens must follow from the calls alone: no threads, no clock.
    fn is_deterministic(&self) -> bool;
}

/// A file. What is written is durable after [`File::sync`].
pub trait File: Send + Sync {
    /// Reads from there on as much as there is, at most all of `bytes`, and says how much.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` there.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes durable what was written, and the length. After an error nothing is known.
    fn sync(&self) -> io::Result<()>;

    /// How many bytes it has.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has none.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts it off there, or adds zeros up to there.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
}

/// How many zeros are written at a time.
const ZEROS: usize = 1 << 20;

/// Writes zeros up to `bytes`, as many at a time as there are in `zeros`.
fn fill(file: &dyn File, zeros: &[u8], bytes: u64, stop: &AtomicBool) -> io::Result<()> {
    for offset in (0..bytes).step_by(zeros.len()) {
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let part = usize::try_from(bytes - offset).map_or(zeros.len(), |it| it.min(zeros.len()));
        file.write_at(&zeros[..part], offset)?;
    }
    Ok(())
}

/// Takes a folder for ourselves until what is returned is dropped.
pub(crate) fn lock(disk: &dyn Disk) -> Result<Box<dyn Any + Send + Sync>, JournalError> {
    disk.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => JournalError::Locked(disk.path()),
        _ => io_error("locked")(error),
    })
}
