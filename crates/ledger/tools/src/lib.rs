//! What can be done with a ledger by its files: verify it, prove from it, copy it, read it all,
//! fill it with the past, replace its key. `malha ledger` is its command line.
//!
//! Verifying, proving, exporting and copying lock nothing and change nothing, so that they work
//! beside a running ledger and on a backup alike. Importing and replacing the key need a ledger
//! that no process runs.

mod answer;
mod check;
mod copy;
mod engines;
mod export;
mod files;
mod import;
mod prove;
mod rotate;
mod text;
mod verify;

pub use check::check;
pub use copy::{Copy, backup, restore};
pub use export::{Exported, Format, Range, export};
pub use files::KeyFrom;
pub use import::{Counts, Imported, import};
pub use prove::{prove_account, prove_consistency, prove_keys, prove_transfer};
pub use rotate::{Rotated, rotate_key};
pub use verify::{Keys, Verified, keys, verify};
