//! Bytes and texts of an attacker: nothing panics, and nothing changed is accepted.
//!
//! `MALHA_FUZZ_ROUNDS` says how many rounds, `MALHA_FUZZ_SEED` where they begin.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::de::DeserializeOwned;

use super::fixture::{Ledger, key, public};
use super::proofs::{account_proof, consistency_proof_and_old_head, transfer_proof};
use crate::{
    AccountProof, ConsistencyProof, HEADER_BYTES, Header, Metadata, PublicKey, SignedHead, Tail,
    TransferProof,
};

fn rounds(run: impl Fn(&mut StdRng)) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (rounds, seed) = (number("MALHA_FUZZ_ROUNDS"), number("MALHA_FUZZ_SEED"));
    for seed in (seed.unwrap_or(1)..).take(usize::try_from(rounds.unwrap_or(2_000)).unwrap()) {
        println!("seed {seed}");
        run(&mut StdRng::seed_from_u64(seed));
    }
}

/// Changes a few bytes, or cuts, repeats, or replaces parts.
fn mutate(random: &mut StdRng, bytes: &mut Vec<u8>) {
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            bytes.push(random.random());
        }
        let at = random.random_range(0..bytes.len());
        let end = random.random_range(at..=bytes.len().min(at + 64));
        match random.random_range(0..6) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes.truncate(at),
            3 => bytes.extend_from_within(at..end),
            4 => drop(bytes.drain(at..end)),
            _ => random.fill(&mut bytes[at..end]),
        }
    }
}

/// Completes checksums and signature, so that what follows them is reached.
fn complete(bytes: &mut [u8]) {
    let Some((front, payload)) = bytes.split_first_chunk_mut::<HEADER_BYTES>() else { return };
    front[136..144].copy_from_slice(&xxhash_rust::xxh3::xxh3_64(payload).to_le_bytes());
    let hash: [u8; 32] =
        sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(&front[..144]))
            .into();
    front[144..176].copy_from_slice(&hash);
    let checksum = xxhash_rust::xxh3::xxh3_64(&front[..240]);
    front[240..].copy_from_slice(&checksum.to_le_bytes());
    if let Ok(mut header) = Header::decode(front) {
        header.signature = key(1).sign(header.head().text().as_bytes());
        *front = header.encode();
    }
}

/// B-30.
#[test]
fn no_changed_block_is_accepted() {
    let ledger = Ledger::of_three_blocks();
    let (chain, last) = ledger.before_last();
    rounds(|random| {
        let mut bytes = last.to_vec();
        mutate(random, &mut bytes);
        let is_completed = random.random();
        if is_completed {
            complete(&mut bytes);
        }
        let is_same = bytes == last;
        assert_eq!(chain.clone().push(&bytes).is_ok(), is_same);
    });
}

/// L-80.
#[test]
fn no_changed_head_or_key_verifies() {
    let ledger = Ledger::of_three_blocks();
    let header = Header::decode(ledger.blocks[2].first_chunk().unwrap()).unwrap();
    let (signed, vkey) = (header.signed_head(&public(1)), public(1).to_string());
    rounds(|random| {
        let mut note = signed.to_string().into_bytes();
        mutate(random, &mut note);
        if let Ok(read) = SignedHead::parse(&String::from_utf8_lossy(&note)) {
            // What is left out, such as signatures of others, may be anything.
            assert_eq!(read.verify(&public(1)).is_ok(), read == signed);
            assert_eq!(SignedHead::parse(&read.to_string()), Ok(read));
        }
        let mut text = vkey.clone().into_bytes();
        mutate(random, &mut text);
        if let Ok(read) = String::from_utf8_lossy(&text).parse::<PublicKey>() {
            assert_eq!(read, public(1));
        }
        let mut tail = ledger.sealer.tail().encode();
        mutate(random, &mut tail);
        if let Some(read) = Tail::decode(&tail) {
            assert_eq!(read.encode(), tail);
        }
        let mut metadata = super::fixture::note("42").bytes().to_vec();
        mutate(random, &mut metadata);
        if let Ok(read) = Metadata::decode(&metadata) {
            assert_eq!(read.bytes(), metadata);
        }
    });
}

/// Reads a mutated form of the proof; what verifies has to be the same proof.
fn mutated<P>(random: &mut StdRng, proof: &P, verify: impl Fn(&P) -> bool)
where
    P: DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug,
{
    let mut json = serde_json::to_vec(proof).unwrap();
    mutate(random, &mut json);
    if let Ok(read) = serde_json::from_slice::<P>(&json)
        && verify(&read)
    {
        assert_eq!(read, *proof);
    }
}

/// L-80.
#[test]
fn no_changed_proof_verifies() {
    let key = public(1);
    let (transfer, account) = (transfer_proof(), account_proof());
    let (consistency, old) = consistency_proof_and_old_head();
    rounds(|random| {
        mutated(random, &transfer, |proof: &TransferProof| proof.verify(&key).is_ok());
        mutated(random, &account, |proof: &AccountProof| proof.verify(&key).is_ok());
        mutated(random, &consistency, |proof: &ConsistencyProof| proof.verify(&old, &key).is_ok());
    });
}
