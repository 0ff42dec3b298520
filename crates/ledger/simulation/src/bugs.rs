//! Bugs that can be planted, to show that the simulation finds them. All of them wrap parts of the
//! ledger from outside: what is shipped has no switch for any.

use std::any::Any;
use std::io;
use std::sync::Arc;

use journal::{Disk, File, SimulatedDisk};

use crate::request::{Batch, Items};

/// A mistake that somebody could make.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bug {
    /// The journal does not wait for the disk.
    SkippedSync,
    /// Recovery cuts off one byte more than the torn block.
    CutOneByteTooMany,
    /// No account is limited as it was asked to be.
    ForgottenLimit,
}

impl Bug {
    /// The disk as a ledger with this bug uses it.
    pub(crate) fn disk(bug: Option<Self>, disk: &SimulatedDisk) -> Arc<dyn Disk> {
        match bug {
            Some(bug @ (Self::SkippedSync | Self::CutOneByteTooMany)) => {
                Arc::new(BuggyDisk { disk: disk.clone(), bug })
            }
            _ => Arc::new(disk.clone()),
        }
    }

    /// A batch as a ledger with this bug understands it.
    pub(crate) fn batch(bug: Option<Self>, mut batch: Batch) -> Batch {
        if let (Some(Self::ForgottenLimit), Items::Accounts(items)) = (bug, &mut batch.items) {
            for new in items {
                (new.account.limit, new.account.overdraft) = (0, 0);
            }
        }
        batch
    }
}

struct BuggyDisk {
    disk: SimulatedDisk,
    bug: Bug,
}

impl BuggyDisk {
    fn wrap(&self, name: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        let is_segment = name.ends_with(".segment");
        Arc::new(BuggyFile { file, bug: self.bug, is_segment })
    }
}

impl Disk for BuggyDisk {
    fn path(&self) -> String {
        self.disk.path()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.disk.open(name).map(|file| self.wrap(name, file))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.disk.create(name).map(|file| self.wrap(name, file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.disk.sync_folder()
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.disk.lock()
    }

    fn is_deterministic(&self) -> bool {
        self.disk.is_deterministic()
    }
}

struct BuggyFile {
    file: Arc<dyn File>,
    bug: Bug,
    is_segment: bool,
}

impl File for BuggyFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // Nothing but the cut of a torn block writes zeros into a segment.
        let is_cut = self.is_segment && bytes.iter().all(|byte| *byte == 0);
        if self.bug == Bug::CutOneByteTooMany && is_cut && offset > 0 {
            return self.file.write_at(&[bytes, &[0]].concat(), offset - 1);
        }
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        if self.bug == Bug::SkippedSync { Ok(()) } else { self.file.sync() }
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
}
