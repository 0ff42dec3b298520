//! Proofs.

use proof::{
    AccountId, AccountProof, ConsistencyProof, Entry, Hash, Tiled, TransferId, TransferProof,
    consistency_proof, inclusion_proof, leaf_hash,
};

use super::account::Found;
use super::{Reader, View};
use crate::view::QueryError;

impl Reader {
    /// That the present head goes on from the first `from` entries.
    pub(super) fn consistency(&self, from: u64) -> Result<Option<ConsistencyProof>, QueryError> {
        let head = self.head();
        if from == 0 || from > head.head.size {
            return Ok(None);
        }
        let path = consistency_proof(&self.tree(), from, head.head.size)?;
        Ok(Some(ConsistencyProof { from, path, head }))
    }

    /// The tree over all entries.
    fn tree(&self) -> Tiled<'_, impl Fn(u64) -> Result<Hash, QueryError>> {
        self.checkpoints.nodes().over(|number| Ok(self.journal.leaf(number)?))
    }
}

impl View<'_> {
    /// That a transfer is in the ledger.
    pub(super) fn prove_transfer(
        &self,
        id: TransferId,
    ) -> Result<Option<TransferProof>, QueryError> {
        let Some(found) = self.transfer(id)? else { return Ok(None) };
        let head = self.reader.head();
        let path = inclusion_proof(&self.reader.tree(), found.number, head.head.size)?;
        let (number, transfer, metadata) = (found.number, found.transfer, found.metadata);
        Ok(Some(TransferProof { number, transfer, metadata, path, head }))
    }

    /// The state of an account at the newest checkpoint.
    pub(super) fn prove_account(&self, id: AccountId) -> Result<Option<AccountProof>, QueryError> {
        let Some(latest) = self.reader.checkpoints.latest() else { return Ok(None) };
        let Some(Found { row, .. }) = self.account(id)? else { return Ok(None) };
        if u64::from(row) >= latest.accounts {
            return Ok(None);
        }
        let (Entry::Checkpoint(checkpoint), _) = self.entry(latest.number)? else {
            let problem = format!("entry {} is no checkpoint", latest.number);
            return Err(QueryError::Unreadable(problem));
        };
        let leaf = |row| {
            let row = u32::try_from(row).unwrap_or(u32::MAX);
            Ok::<_, QueryError>(leaf_hash(&self.state(row, latest.entries)?.leaf(), &[]))
        };
        let states = latest.nodes.over(leaf);
        let state_path = inclusion_proof(&states, row.into(), latest.accounts)?;
        let head = self.reader.head();
        let path = inclusion_proof(&self.reader.tree(), latest.number, head.head.size)?;
        let (state, number) = (self.state(row, latest.entries)?, latest.number);
        Ok(Some(AccountProof { state, row, state_path, checkpoint, number, path, head }))
    }
}
