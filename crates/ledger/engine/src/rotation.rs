//! The file of the signing key, and how another key takes its place.
//!
//! Whenever a crash comes, the key that the journal named last is in a file:
//!
//! 1. The new key is written to `<file>.next`, durably.
//! 2. The journal names it; from then on only it can sign.
//! 3. The old key gets a second name, `<file>.<sequence>.old`: that of the last block.
//! 4. The new one is renamed to `<file>`.
//!
//! [`crate::Engine::rotate_key`] is the second step; the next start does the last two.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use proof::{SigningKey, Tail};
use tracing::info;

use crate::open::{OpenError, read_key, sync_parent, unusable};

/// Where the key has to be that [`crate::Engine::rotate_key`] is given, before it is called.
pub fn next_key_file(signing_key: &Path) -> PathBuf {
    beside(signing_key, "next")
}

/// The key that signs after `tail`: that of the file, or the next one, which then takes its place.
pub(crate) fn named_key(file: &Path, tail: &Tail) -> Result<SigningKey, OpenError> {
    let key = read_key(file)?;
    let next_file = next_key_file(file);
    let is_named = |key: &SigningKey| tail.key == Some(key.public(tail.ledger));
    if is_named(&key) || !next_file.exists() {
        return Ok(key);
    }
    let next = read_key(&next_file)?;
    if !is_named(&next) {
        return Ok(key);
    }
    let old = beside(file, &format!("{}.old", tail.sequence));
    replace(file, &next_file, &old).map_err(|error| unusable(file, error))?;
    info!(old = %old.display(), "the ledger signs with its next key");
    Ok(next)
}

fn replace(file: &Path, next: &Path, old: &Path) -> io::Result<()> {
    match fs::hard_link(file, old) {
        // It was done before a crash.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        linked => linked?,
    }
    sync_parent(file)?;
    fs::rename(next, file)?;
    sync_parent(file)
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let name = [file.as_os_str(), OsStr::new("."), OsStr::new(suffix)];
    name.into_iter().collect::<std::ffi::OsString>().into()
}
