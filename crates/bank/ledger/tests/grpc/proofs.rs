//! Proofs, verified as a third party does: with the `proof` library and the public key alone.

use std::fs;

use contracts::ledger::v1 as pb;
use proof::{
    AccountId, AccountProof, AccountState, Checkpoint, ConsistencyProof, Hash, Metadata, PublicKey,
    SignedHead, SigningKey, Timestamp, Transfer, TransferProof,
};
use testkit::assert_refused;
use tonic::Code;
use uuid::Uuid;

use crate::support::*;

/// The public key, as its owner hands it out.
fn public_key(served: &Served, ledger: [u8; 16]) -> PublicKey {
    let pem = fs::read_to_string(served.journal().join("signing.key")).unwrap();
    SigningKey::from_pem(&pem).unwrap().public(ledger)
}

async fn head(client: &mut Client) -> pb::Head {
    call(client.get_head(pb::GetHeadRequest {})).await.unwrap().head.unwrap()
}

fn path(wire: &[Vec<u8>]) -> Vec<Hash> {
    wire.iter().map(|hash| hash.as_slice().try_into().unwrap()).collect()
}

fn signed(note: &str) -> SignedHead {
    SignedHead::parse(note).unwrap()
}

fn transfer_proof(wire: &pb::TransferProof) -> TransferProof {
    TransferProof {
        number: wire.sequence,
        transfer: Transfer::decode(wire.entry.as_slice().try_into().unwrap()).unwrap(),
        metadata: Metadata::decode(&wire.extension).unwrap(),
        path: path(&wire.path),
        head: signed(&wire.head),
    }
}

fn account_proof(wire: pb::AccountProof) -> AccountProof {
    let (state, checkpoint) = (wire.state.unwrap(), wire.checkpoint.unwrap());
    AccountProof {
        state: AccountState {
            tenant: state.tenant,
            id: AccountId::from(Uuid::parse_str(&state.id).unwrap().as_u128()),
            ledger: state.ledger,
            code: state.code.try_into().unwrap(),
            limit: state.limit.try_into().unwrap(),
            is_closed: state.closed,
            overdraft: state.overdraft,
            debits_pending: state.debits_pending,
            debits_posted: state.debits_posted,
            credits_pending: state.credits_pending,
            credits_posted: state.credits_posted,
        },
        row: wire.row,
        state_path: path(&wire.state_path),
        checkpoint: Checkpoint {
            entries: checkpoint.entries,
            accounts: checkpoint.accounts,
            root: checkpoint.root.as_slice().try_into().unwrap(),
            created_at: nanos(checkpoint.created_at.unwrap()),
        },
        number: checkpoint.sequence,
        path: path(&wire.path),
        head: signed(&wire.head),
    }
}

fn nanos(at: prost_types::Timestamp) -> Timestamp {
    let seconds = u64::try_from(at.seconds).unwrap() * 1_000_000_000;
    Timestamp::from_nanos(seconds + u64::try_from(at.nanos).unwrap())
}

/// B-29, B-30, L-80: a transfer and a balance are proved, and so is that nothing was changed since
/// an earlier head.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_says_is_proved_with_its_public_key() {
    let (served, mut client) = opened().await;
    let noted = with_metadata(&[("order", "42")], transfer(10, 100));
    accept(&mut client, vec![noted, transfer(11, 20), hold(12, 3)]).await;
    let mut auditor = served.client("engineer");
    let first = head(&mut auditor).await;
    let first_signed = signed(&first.note);
    let key = public_key(&served, first_signed.head.ledger);
    let verified = *first_signed.verify(&key).unwrap();
    assert_eq!((verified.size, &verified.root[..]), (first.size, &first.root[..]));
    assert_eq!((verified.sequence, &verified.block[..]), (first.block, &first.block_hash[..]));
    assert_eq!(Uuid::from_bytes(verified.ledger).to_string(), first.ledger_id);

    let request = pb::ProveTransferRequest { id: uuid(10) };
    let wire = call(auditor.prove_transfer(request)).await.unwrap().proof.unwrap();
    let proof = transfer_proof(&wire);
    proof.verify(&key).unwrap();
    assert_eq!((proof.transfer.amount, proof.metadata.get("order")), (100, Some("42")));
    assert_eq!(proof.transfer.id.number(), 10);
    let mut forged = proof.clone();
    forged.transfer.amount = 101;
    assert!(forged.verify(&key).is_err());

    let request = pb::ProveAccountRequest { id: uuid(2) };
    let proof = call(auditor.prove_account(request)).await.unwrap().proof.unwrap();
    let proof = account_proof(proof);
    proof.verify(&key).unwrap();
    assert_eq!((proof.state.credits_posted, proof.state.credits_pending), (120, 3));
    let mut forged = proof.clone();
    forged.state.credits_posted += 1;
    assert!(forged.verify(&key).is_err());

    accept(&mut client, (20..60).map(|number| transfer(number, 1)).collect()).await;
    let request = pb::ProveConsistencyRequest { from: first.size };
    let wire = call(auditor.prove_consistency(request)).await.unwrap().proof.unwrap();
    let proof =
        ConsistencyProof { from: wire.from, path: path(&wire.path), head: signed(&wire.head) };
    proof.verify(&verified, &key).unwrap();
    assert!(proof.head.head.size > first.size + 40);
    let forged = proof::Head { root: [7; 32], ..verified };
    assert!(proof.verify(&forged, &key).is_err());
    let stranger = SigningKey::from_seed(&[7; 32]).public(verified.ledger);
    assert!(proof.verify(&verified, &stranger).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_proved_of_what_is_not_there() {
    let (served, mut client) = opened().await;
    accept(&mut client, vec![transfer(10, 100)]).await;
    let mut auditor = served.client("engineer");
    let transfer = |id| pb::ProveTransferRequest { id: uuid(id) };
    let account = |id| pb::ProveAccountRequest { id: uuid(id) };
    let refused = call(auditor.prove_transfer(transfer(404))).await;
    assert_refused(refused, Code::NotFound, "TRANSFER_NOT_FOUND");
    let refused = call(auditor.prove_account(account(404))).await;
    assert_refused(refused, Code::NotFound, "ACCOUNT_NOT_FOUND");
    let refused = call_as_stranger(auditor.prove_transfer(transfer(10))).await;
    assert_refused(refused, Code::NotFound, "TRANSFER_NOT_FOUND");
    let refused = call_as_stranger(auditor.prove_account(account(1))).await;
    assert_refused(refused, Code::NotFound, "ACCOUNT_NOT_FOUND");
    let size = head(&mut auditor).await.size;
    let from = |from| pb::ProveConsistencyRequest { from };
    call(auditor.prove_consistency(from(size))).await.unwrap();
    let refused = call(auditor.prove_consistency(from(size + 1_000))).await;
    assert_refused(refused, Code::NotFound, "HEAD_NOT_FOUND");
    let refused = call(auditor.prove_consistency(from(0))).await;
    assert_invalid(&refused.unwrap_err(), "from");
}
