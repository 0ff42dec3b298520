//! Proofs from the files alone. Who has the files needs no key to prove: every head is signed.

use std::path::Path;

use anyhow::{Result, bail};
use book::{Book, Past, PastError};
use journal::Reader;
use proof::{
    AccountId, AccountProof, AccountState, Checkpoint, ConsistencyProof, Entry, EntryBytes, Hash,
    Key, KeyProof, Kind, Leaves, Metadata, Refusal, Tail, TenantId, TransferId, TransferProof,
    Tree, consistency_proof, inclusion_proof, leaf_hash, peek,
};

use crate::files::{self, Files};
use crate::text;

/// Proves that the ledger in a folder recorded a transfer.
pub fn prove_transfer(folder: &Path, tenant: TenantId, id: TransferId) -> Result<TransferProof> {
    let (mut search, mut found, mut refused) = (Search::new(tenant), None, None);
    let files = files::read(files::find(folder)?, Tail::default(), &mut |block| {
        for (number, (entry, extension)) in (block.header.first..).zip(block.iter()) {
            if !search.is_of_tenant(entry) || peek::id(entry) != id.number() {
                continue;
            }
            match Entry::decode(entry) {
                Ok(Entry::Transfer(transfer)) => {
                    found = Some((number, transfer, extension.to_vec()));
                }
                Ok(Entry::Refusal(Refusal { status, .. })) => refused = Some(status),
                _ => {}
            }
        }
        Ok(())
    })?;
    let Some((number, transfer, extension)) = found else {
        search.check()?;
        match refused {
            Some(status) => bail!("{id} was refused: {}", text::transfer_status(status)),
            None => bail!("the tenant has no transfer {id}"),
        }
    };
    let (head, metadata) = (files.signed_head()?, Metadata::decode(&extension)?);
    let path = inclusion_proof(&files.tree(), number, head.head.size)?;
    Ok(TransferProof { number, transfer, metadata, path, head })
}

/// Proves the state of an account of the ledger in a folder, at the newest checkpoint.
pub fn prove_account(folder: &Path, tenant: TenantId, id: AccountId) -> Result<AccountProof> {
    let (mut search, mut newest) = (Search::new(tenant), None);
    let files = files::read(files::find(folder)?, Tail::default(), &mut |block| {
        for (number, entry) in (block.header.first..).zip(block.entries) {
            search.is_of_tenant(entry);
            if peek::kind(entry) == Some(Kind::Checkpoint)
                && let Ok(Entry::Checkpoint(checkpoint)) = Entry::decode(entry)
            {
                newest = Some((number, checkpoint));
            }
        }
        Ok(())
    })?;
    let tenant = search.check()?;
    let Some((number, checkpoint)) = newest else {
        bail!(
            "the ledger has no checkpoint, which accounts are proved at: a running ledger records \
             one when it is asked to prove an account, and with every snapshot"
        );
    };
    let states = states(folder, &checkpoint)?;
    let Some(row) = states.iter().position(|state| (state.tenant, state.id) == (tenant, id)) else {
        let covered = text::entries(checkpoint.entries);
        bail!(
            "the tenant had no account {id} at the newest checkpoint, which is over the first \
             {covered}"
        );
    };
    let hashes: Vec<_> = states.iter().map(|state| leaf_hash(&state.leaf(), &[])).collect();
    if root(&hashes) != checkpoint.root {
        bail!(
            "entry {number}, a checkpoint, has another root than that of the accounts as all \
             entries before it make them"
        );
    }
    let head = files.signed_head()?;
    let state_path = inclusion_proof(&Leaves(&hashes), row as u64, checkpoint.accounts);
    Ok(AccountProof {
        state: states[row],
        row: u32::try_from(row)?,
        state_path: state_path.unwrap_or_else(|never| match never {}),
        checkpoint,
        number,
        path: inclusion_proof(&files.tree(), number, head.head.size)?,
        head,
    })
}

/// States of all accounts at a checkpoint, by doing again all that the entries say.
fn states(folder: &Path, checkpoint: &Checkpoint) -> Result<Vec<AccountState>> {
    let mut book = Book::default();
    let scan = files::find(folder)?;
    let past = Recorded(scan.reader());
    files::read(scan, Tail::default(), &mut |block| {
        if book.entries() < checkpoint.entries {
            book.replay(block, &past).map_err(|error| error.to_string())?;
        }
        Ok(())
    })?;
    let states: Vec<_> = book.snapshot().states().collect();
    if (book.entries(), states.len() as u64) != (checkpoint.entries, checkpoint.accounts) {
        bail!("the newest checkpoint does not cover whole blocks with all their accounts");
    }
    Ok(states)
}

fn root(hashes: &[Hash]) -> Hash {
    let mut tree = Tree::default();
    tree.push(hashes, &mut |_, _, _| ());
    tree.root()
}

/// Entries of the blocks that were read before.
struct Recorded(Reader);

impl Past for Recorded {
    fn entry(&self, number: u64, extension: &mut Vec<u8>) -> Result<EntryBytes, PastError> {
        self.0.entry(number, extension).map_err(|error| PastError(error.into()))
    }
}

/// Proves that the ledger in a folder still begins with its first `from` entries.
pub fn prove_consistency(folder: &Path, from: u64) -> Result<ConsistencyProof> {
    let files = files::read(files::find(folder)?, Tail::default(), &mut |_| Ok(()))?;
    let head = files.signed_head()?;
    if from == 0 || from > head.head.size {
        let size = text::entries(head.head.size);
        bail!("the ledger has {size}: --from has to be 1 at least and no more than that");
    }
    let path = consistency_proof(&files.tree(), from, head.head.size)?;
    Ok(ConsistencyProof { from, path, head })
}

/// Proves each key of the ledger in a folder by the one before it, but the first.
pub fn prove_keys(folder: &Path) -> Result<Vec<KeyProof>> {
    let mut named = Vec::new();
    let files = files::read(files::find(folder)?, Tail::default(), &mut |block| {
        if let Some(Ok(Entry::Key(key))) = block.entries.last().map(Entry::decode) {
            named.push((key, block.header.clone()));
        }
        Ok(())
    })?;
    let mut proofs = Vec::new();
    for rotated in files.keys.iter().skip(1) {
        let sequence = rotated.from - 1;
        let Some((key, header)) = named.iter().find(|(_, header)| header.sequence == sequence)
        else {
            bail!("block {sequence} names a key, but its last entry does not");
        };
        proofs.push(prove_key(&files, *key, header)?);
    }
    Ok(proofs)
}

/// Proves the key that the last entry of a block names.
fn prove_key(files: &Files, key: Key, header: &proof::Header) -> Result<KeyProof> {
    let (size, head) = (header.end(), files.sign(header)?);
    let path = inclusion_proof(&files.tree(), size - 1, size)?;
    Ok(KeyProof { key, number: size - 1, path, head })
}

/// Finds entries of a tenant, whose number is known once it was seen.
struct Search {
    tenant: TenantId,
    number: Option<u32>,
}

impl Search {
    fn new(tenant: TenantId) -> Self {
        Self { tenant, number: None }
    }

    /// Whether an entry is of the tenant. It is asked of all, in order.
    fn is_of_tenant(&mut self, entry: &EntryBytes) -> bool {
        let number = peek::tenant(entry);
        if peek::kind(entry) == Some(Kind::Tenant) && peek::id(entry) == self.tenant.number() {
            self.number = Some(number);
        }
        self.number == Some(number)
    }

    /// The number of the tenant.
    fn check(&self) -> Result<u32> {
        match self.number {
            Some(number) => Ok(number),
            None => bail!("the ledger knows no tenant {}", self.tenant),
        }
    }
}
