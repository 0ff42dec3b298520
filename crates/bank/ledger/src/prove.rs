//! Heads and proofs as messages of the contract.

use contracts::ledger::v1 as pb;
use proof::{AccountProof, ConsistencyProof, Entry, Hash, SignedHead, TransferProof};
use uuid::Uuid;

use crate::show;

pub(crate) fn head(signed: &SignedHead) -> pb::Head {
    let head = &signed.head;
    pb::Head {
        ledger_id: Uuid::from_bytes(head.ledger).to_string(),
        size: head.size,
        root: head.root.to_vec(),
        block: head.sequence,
        block_hash: head.block.to_vec(),
        timestamp: Some(show::timestamp(head.timestamp)),
        note: signed.to_string(),
    }
}

pub(crate) fn transfer(proof: TransferProof) -> pb::TransferProof {
    pb::TransferProof {
        entry: Entry::Transfer(proof.transfer).encode().to_vec(),
        extension: proof.metadata.bytes().to_vec(),
        sequence: proof.number,
        path: path(&proof.path),
        head: proof.head.to_string(),
    }
}

pub(crate) fn account(proof: AccountProof) -> pb::AccountProof {
    let AccountProof { state, row, state_path, checkpoint, number, path: to_head, head } = proof;
    pb::AccountProof {
        state: Some(pb::AccountState {
            tenant: state.tenant,
            id: show::text(state.id.number()),
            ledger: state.ledger,
            code: state.code.into(),
            limit: show::limit(state.limit).into(),
            closed: state.is_closed,
            overdraft: state.overdraft,
            debits_pending: state.debits_pending,
            debits_posted: state.debits_posted,
            credits_pending: state.credits_pending,
            credits_posted: state.credits_posted,
        }),
        row,
        state_path: path(&state_path),
        checkpoint: Some(pb::Checkpoint {
            sequence: number,
            entries: checkpoint.entries,
            accounts: checkpoint.accounts,
            root: checkpoint.root.to_vec(),
            created_at: Some(show::timestamp(checkpoint.created_at)),
        }),
        path: path(&to_head),
        head: head.to_string(),
    }
}

pub(crate) fn consistency(proof: ConsistencyProof) -> pb::ConsistencyProof {
    let ConsistencyProof { from, path: hashes, head } = proof;
    pb::ConsistencyProof { from, path: path(&hashes), head: head.to_string() }
}

fn path(hashes: &[Hash]) -> Vec<Vec<u8>> {
    hashes.iter().map(|hash| hash.to_vec()).collect()
}
