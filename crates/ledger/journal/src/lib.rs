//! The journal: every block of a ledger, durable, in order, in files of a folder.
//!
//! # Files
//!
//! | name | what it has |
//! |---|---|
//! | `<sequence>.segment` | blocks from that sequence on (20 digits), one after the other from byte 0 on, see [`proof::Header`]; what is after the last one is zeros |
//! | `spare` | zeros: the next segment, prepared before it is needed |
//! | `floor` | which block was surely durable, see below |
//! | `<entries>.snapshot` | a state after so many entries (20 digits), see [`Snapshots`] |
//! | `torn-<sequence>` | what was cut off the end when that block was not written whole; `-2` and so on when it was again |
//! | `lock` | nothing: locked by who writes the journal |
//!
//! Zeros are written ahead, because a sync of bytes written over zeros takes half the time of one
//! that also has to make a longer file durable. A block is never in two segments.
//!
//! The floor is 56 bytes at the beginning of its file. It is written after each sync but not
//! synced itself, so it may be behind, but never ahead. Integers are little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic, `MALHAFLR` |
//! | 8 | 8 | sequence of the block |
//! | 16 | 32 | its hash |
//! | 48 | 8 | XXH3-64 of the bytes 0 to 47 |
//!
//! # What a crash leaves
//!
//! A block is written by one call and synced before the next one begins, so only the last one can
//! be incomplete. What is found after the last good block is therefore cut off if it can be such a
//! block: it is above the floor, no longer than a block, and no block is after it. Nobody was
//! answered for it; its bytes are kept in `torn-<sequence>`. Whatever else is wrong is refused with
//! its place, and nothing is changed.

mod append;
mod backup;
mod disk;
mod error;
mod floor;
mod mark;
mod reader;
mod recovery;
mod scan;
mod segments;
mod snapshots;
mod torn;
mod verify;
mod walk;

pub use append::{FileJournal, Journal};
pub use backup::{Copied, backup, restore, verify};
pub use disk::{Disk, Fault, Faults, File, Injected, RealDisk, SimulatedDisk};
pub use error::{JournalError, ReadError};
pub use reader::{Entries, Reader};
pub use recovery::{Opened, Options, Recovered};
pub use scan::Scan;
pub use snapshots::{Snapshot, Snapshots};
