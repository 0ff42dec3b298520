//! Verifying a whole ledger.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use proof::{Block, HEADER_BYTES, Header, Kind, PublicKey, SignedHead, Tail, peek};

use crate::files::{self, Files, KeyFrom};
use crate::text::{count, entries, grouped, time};

/// What was found out about a ledger that is in order.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Blocks.
    pub blocks: u64,
    /// Entries in them.
    pub entries: u64,
    /// How many of the entries are transfers.
    pub transfers: u64,
    /// How many of the entries are accounts.
    pub accounts: u64,
    /// The newest head.
    pub head: SignedHead,
    /// All keys in the order in which they signed.
    pub keys: Vec<KeyFrom>,
    /// Whether one of the keys was known before.
    pub is_key_known: bool,
    /// The head that was known before: the ledger goes on from it.
    pub known_head: Option<SignedHead>,
    /// Bytes after the last block, which is incomplete.
    pub bytes_incomplete: u64,
    /// Bytes of all blocks.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

/// Verifies every block of the ledger in a folder: checksums, chain, roots, signatures, keys.
///
/// `key` is a key of the ledger that the caller trusts, of any time; without it, the one that the
/// first block names is believed. `known` is a head that the caller kept: the ledger has to go on
/// from it.
pub fn verify(
    folder: &Path,
    key: Option<&PublicKey>,
    known: Option<&SignedHead>,
) -> Result<Verified> {
    let started = Instant::now();
    let expected = key.map(|key| Tail::new(key.ledger())).unwrap_or_default();
    let (mut transfers, mut accounts, mut bytes) = (0, 0, 0);
    let mut seen = None;
    let files = files::read(files::find(folder)?, expected, &mut |block| {
        let (more_transfers, more_accounts) = counted(block);
        transfers += more_transfers;
        accounts += more_accounts;
        bytes += (HEADER_BYTES + block.header.payload_bytes()) as u64;
        if known.is_some_and(|known| known.head.sequence == block.header.sequence) {
            seen = Some(block.header.clone());
        }
        Ok(())
    })?;
    if let Some(key) = key {
        check_key(&files, key)?;
    }
    if let Some(known) = known {
        check_head(&files, known, seen.as_ref())?;
    }
    Ok(Verified {
        blocks: files.head.sequence,
        entries: files.head.end(),
        transfers,
        accounts,
        head: files.signed_head()?,
        keys: files.keys,
        is_key_known: key.is_some(),
        known_head: known.copied(),
        bytes_incomplete: files.copied.bytes_incomplete,
        bytes,
        took: started.elapsed(),
    })
}

/// How many transfers and accounts a block has.
fn counted(block: &Block<'_>) -> (u64, u64) {
    let kinds = block.entries.iter().filter_map(peek::kind);
    kinds.fold((0, 0), |(transfers, accounts), kind| {
        (transfers + u64::from(kind.is_transfer()), accounts + u64::from(kind == Kind::Account))
    })
}

/// A key vouches for all blocks before the last one that it signed, as each head is over all of
/// them, and through the keys that follow it for those after.
fn check_key(files: &Files, key: &PublicKey) -> Result<()> {
    let signs_from = files.keys.iter().find(|of| of.key == *key).map(|of| of.from);
    match signs_from {
        Some(from) if from <= files.head.sequence => Ok(()),
        _ => bail!(
            "no block of the ledger is signed with the key {key}: it begins with {}",
            files.key_of(1)?
        ),
    }
}

fn check_head(files: &Files, known: &SignedHead, block: Option<&Header>) -> Result<()> {
    let sequence = known.head.sequence;
    let last = files.head.sequence;
    let Some(header) = block else {
        bail!("the ledger ends with block {last}, the head that was kept is of block {sequence}");
    };
    if header.head() != known.head {
        bail!(
            "the ledger does not go on from the head that was kept: its block {sequence} is another"
        );
    }
    if let Err(fault) = known.verify(files.key_of(sequence)?) {
        bail!("the head that was kept is not to be trusted: {fault}");
    }
    Ok(())
}

impl fmt::Display for Verified {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64().max(1e-6);
        #[expect(clippy::cast_precision_loss, reason = "it is rounded anyway")]
        let rates = (self.entries as f64 / seconds, self.bytes as f64 / seconds / 1e6);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
        let (per_second, megabytes) = (rates.0 as u64, rates.1 as u64);
        writeln!(
            formatter,
            "The ledger is in order: {} with {}, of which {} are transfers and {} accounts.",
            count(self.blocks, "block"),
            entries(self.entries),
            grouped(self.transfers),
            grouped(self.accounts)
        )?;
        let per_second = grouped(per_second);
        writeln!(formatter, "Took {seconds:.1} s: {per_second} entries/s, {megabytes} MB/s.")?;
        if self.bytes_incomplete > 0 {
            let left = count(self.bytes_incomplete, "byte");
            writeln!(
                formatter,
                "Left out: {left} after the last block, of one that is being written or that a \
                 crash interrupted. Nobody was answered for it."
            )?;
        }
        if let Some(SignedHead { head, .. }) = &self.known_head {
            let (block, at) = (head.sequence, time(head.timestamp));
            writeln!(formatter, "It goes on from the head that was kept, of block {block}, {at}.")?;
        }
        writeln!(formatter, "\nKeys:")?;
        write!(formatter, "{}", Keys(self.keys.clone()))?;
        if !self.is_key_known {
            writeln!(
                formatter,
                "  No --key was given: the first one was believed, as the files name it. Compare \
                 it with\n  one that you have from elsewhere."
            )?;
        }
        write!(formatter, "\nHead, of {}:\n{}", time(self.head.head.timestamp), self.head)
    }
}

/// The keys of a ledger in the order in which they signed; the last one signs the next block.
#[derive(Clone, Debug)]
pub struct Keys(pub Vec<KeyFrom>);

impl fmt::Display for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for KeyFrom { key, from } in &self.0 {
            writeln!(formatter, "  from block {} on: {key}", grouped(*from))?;
        }
        Ok(())
    }
}

/// The keys of the ledger in a folder, all of which is verified.
pub fn keys(folder: &Path) -> Result<Keys> {
    let files = files::read(files::find(folder)?, Tail::default(), &mut |_| Ok(()))?;
    Ok(Keys(files.keys))
}
