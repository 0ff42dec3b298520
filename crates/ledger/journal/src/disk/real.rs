//! A folder of this machine.

use std::any::Any;
use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tracing::warn;

use super::{Disk, File};

/// Name of the file that is locked.
const LOCK_NAME: &str = "lock";

/// How long another process may hold the lock before we give up, and how often we look.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Where in memory what is written past the page cache has to begin.
const DIRECT_ALIGNMENT: usize = 4_096;

/// A folder of this machine. Its files can be read by their owner alone.
#[derive(Clone, Debug)]
pub struct RealDisk {
    folder: PathBuf,
}

impl RealDisk {
    /// That folder, whether it exists or not.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// That folder, created with those above it if need be, so that it outlives a crash.
    pub fn create(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        create_folder(&folder)?;
        Ok(Self { folder })
    }

    fn open_with(&self, name: &str, options: &mut OpenOptions) -> io::Result<fs::File> {
        options.read(true).write(true).mode(0o600).open(self.folder.join(name))
    }
}

impl Disk for RealDisk {
    fn path(&self) -> String {
        self.folder.display().to_string()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.open_with(name, &mut OpenOptions::new())?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.open_with(name, OpenOptions::new().create_new(true))?))
    }

    /// Past the page cache, where the file system can: copying zeros there takes a processor a
    /// tenth of what the ledger takes for the transfers that will be written over them.
    fn create_zeros(&self, name: &str, bytes: u64, stop: &AtomicBool) -> io::Result<Arc<dyn File>> {
        let mut direct = OpenOptions::new();
        let opened = self.open_with(name, direct.create_new(true).custom_flags(libc::O_DIRECT));
        let file = match opened {
            // A file system in memory has no other way than the page cache.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.open_with(name, OpenOptions::new().create(true).truncate(true))?
            }
            opened => opened?,
        };
        let zeros = vec![0; super::ZEROS + DIRECT_ALIGNMENT];
        let start = zeros.as_ptr().align_offset(DIRECT_ALIGNMENT);
        super::fill(&file, &zeros[start..start + super::ZEROS], bytes, stop)?;
        file.sync_all()?;
        self.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        sync_folder(&self.folder)
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let file = self.open_with(LOCK_NAME, OpenOptions::new().create(true).truncate(false))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        // Who held it before may be about to end.
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Box::new(Lock(file))),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            }
        }
    }

    fn is_deterministic(&self) -> bool {
        false
    }
}

struct Lock(fs::File);

impl Drop for Lock {
    /// Gives the lock back at once: closing the file does not while a child of this process that
    /// has not begun its own program yet shares it.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            warn!(%error, "the journal could not be unlocked");
        }
    }
}

impl File for fs::File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < bytes.len() {
            match FileExt::read_at(self, &mut bytes[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        Self::set_len(self, bytes)
    }
}

/// Creates a folder and those above it, so that they outlive a crash.
fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(Path::new(""));
    create_folder(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(above),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    fs::File::open(folder)?.sync_all()
}
