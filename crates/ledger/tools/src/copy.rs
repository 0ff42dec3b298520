//! Backups, and ledgers made of them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use journal::{Copied, Disk, JournalError, RealDisk};
use proof::{Header, PublicKey, SigningKey, Tail};

use crate::files;
use crate::text::{count, entries, time};
use crate::verify::verify;

/// What the key of a ledger is called in its folder, unless the settings say otherwise.
const KEY_NAME: &str = "signing.key";

/// A copy of a ledger, verified.
#[derive(Debug)]
pub struct Copy {
    /// Where it is.
    pub folder: PathBuf,
    /// Its last block.
    pub head: Header,
    /// The key that signs the next block.
    pub key: PublicKey,
    /// How many bytes were written: those that the folder had not yet.
    pub bytes_written: u64,
    /// How many bytes after the last block were left out: it is incomplete.
    pub bytes_incomplete: u64,
}

/// Copies what the ledger in a folder has, and the copy in `to` has not yet. It may run meanwhile:
/// all that was durable before is copied. Then all of the copy is read again and verified.
///
/// The signing key is not copied: who has a backup is not to sign in the name of the ledger.
pub fn backup(folder: &Path, to: &Path) -> Result<Copy> {
    files::find(folder)?;
    copy(folder, to, journal::backup)
}

/// Copies a backup to an empty folder and verifies it there. With the file of the signing key, the
/// ledger can be started at once. `key` is a key of the ledger that the caller trusts.
pub fn restore(
    backup: &Path,
    folder: &Path,
    key: Option<&PublicKey>,
    signing_key: Option<&Path>,
) -> Result<Copy> {
    let verified = verify(backup, key, None)?;
    let in_force = verified.keys.last().map(|of| &of.key);
    let signing_key = signing_key.map(|file| read_key(file, in_force)).transpose()?;
    let copy = copy(backup, folder, journal::restore)?;
    if let Some(key) = signing_key {
        let file = folder.join(KEY_NAME);
        engine::create_key(&file, &key)
            .with_context(|| format!("the signing key cannot be written to {}", file.display()))?;
    }
    Ok(copy)
}

type Way = fn(&Arc<dyn Disk>, &Arc<dyn Disk>, Tail) -> Result<Copied, JournalError>;

/// Copies in a way, and reads the copy again.
fn copy(from: &Path, to: &Path, way: Way) -> Result<Copy> {
    let target = RealDisk::create(to)
        .with_context(|| format!("the folder {} cannot be made", to.display()))?;
    let copied = way(&files::disk(from), &(Arc::new(target) as _), Tail::default());
    let copied = copied.map_err(|error| match error {
        JournalError::Locked(folder) => {
            anyhow::anyhow!("another process writes to {folder}: a ledger, or another copy")
        }
        error => files::explain(error),
    })?;
    let again = files::read(files::find(to)?, Tail::default(), &mut |_| Ok(()))
        .context("the copy is not what was copied")?;
    let (Some(head), Some(key)) = (copied.head, copied.tail.key) else {
        bail!("the ledger has no block yet");
    };
    if again.head != head {
        bail!("the copy is not what was copied: it ends with block {}", again.head.sequence);
    }
    let Copied { bytes_written, bytes_incomplete, .. } = copied;
    Ok(Copy { folder: to.to_owned(), head, key, bytes_written, bytes_incomplete })
}

/// The signing key in a file, if it is the one that the ledger goes on with.
fn read_key(file: &Path, in_force: Option<&PublicKey>) -> Result<SigningKey> {
    let pem = fs::read_to_string(file)
        .with_context(|| format!("the signing key {} cannot be read", file.display()))?;
    let key = SigningKey::from_pem(&pem)
        .with_context(|| format!("the signing key {} cannot be used", file.display()))?;
    match in_force {
        Some(named) if key.public(named.ledger()) != *named => {
            bail!(
                "{} is not the signing key of the ledger, whose public key is {named}",
                file.display()
            )
        }
        _ => Ok(key),
    }
}

impl fmt::Display for Copy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (blocks, size) = (count(self.head.sequence, "block"), entries(self.head.end()));
        let folder = self.folder.display();
        writeln!(
            formatter,
            "{folder} has {blocks} with {size}, up to {}, all verified.",
            time(self.head.timestamp)
        )?;
        writeln!(formatter, "Written: {}.", count(self.bytes_written, "byte"))?;
        if self.bytes_incomplete > 0 {
            let left = count(self.bytes_incomplete, "byte");
            writeln!(formatter, "Left out: {left} of a block that was being written.")?;
        }
        Ok(())
    }
}
