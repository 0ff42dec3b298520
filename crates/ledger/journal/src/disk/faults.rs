//! What a simulated disk does wrong, and when.

use std::collections::BTreeMap;

/// One thing that a disk can do wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The machine stops during the operation, which is done in part.
    Crash,
    /// Some sectors of a write reach the file, others do not, and it fails.
    Torn,
    /// The first bytes of a write reach the file, and it fails.
    Short,
    /// A write succeeds and can be read, but never reaches the disk: a crash brings back what was
    /// there before.
    Lost,
    /// A write succeeds, but elsewhere in the file.
    Misdirected,
    /// A write or a new file fails: the disk is full.
    Full,
    /// A sync fails. What it should have made durable may be or not, and no later sync tries again.
    Sync,
}

/// What goes wrong: by chance, each field a probability per operation that it can befall, or at an
/// exact operation. Operations are all but reads, counted from 0.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Of [`Fault::Crash`], at any operation.
    pub crash: f64,
    /// Of [`Fault::Torn`], at a write.
    pub torn: f64,
    /// Of [`Fault::Short`], at a write.
    pub short: f64,
    /// Of [`Fault::Lost`], at a write.
    pub lost: f64,
    /// Of [`Fault::Misdirected`], at a write.
    pub misdirected: f64,
    /// Of [`Fault::Full`], at a write or a new file.
    pub full: f64,
    /// Of [`Fault::Sync`], at the sync of a file.
    pub sync: f64,
    /// That a crash flips a bit of what was durable, for each file.
    pub flip: f64,
    /// What happens at which operation, where it can befall it.
    pub at: BTreeMap<u64, Fault>,
    /// How many bytes all files may have together, if that is limited.
    pub capacity: Option<u64>,
}

/// A fault that was done to a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Injected {
    /// The operation; a bit flips between two, and the later one is named.
    pub operation: u64,
    /// The fault; none for a flipped bit.
    pub fault: Option<Fault>,
    /// The file, by the name that it had then.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
}
