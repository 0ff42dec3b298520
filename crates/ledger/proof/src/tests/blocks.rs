//! Chains of blocks, and every way to break one.

use super::fixture::{LEDGER, Ledger, key, named, noted, plain, public};
use crate::{
    Block, BlockFault, Chain, ENTRY_BYTES, EntryFault, HEADER_BYTES, Header, HeaderFault, KeyFault,
    MetadataFault, Sealer, Signatures, Tail, Timestamp, Tree,
};

fn chain(tail: Tail) -> Chain {
    Chain::new(tail, Signatures::Check)
}

fn header(bytes: &[u8]) -> Header {
    Header::decode(bytes.first_chunk().unwrap()).unwrap()
}

/// The block after a change by somebody who has the key: checksums, hash and signature match.
fn forged(bytes: &[u8], seed: u8, change: impl FnOnce(&mut Header, &mut Vec<u8>)) -> Vec<u8> {
    let (mut header, mut payload) = (header(bytes), bytes[HEADER_BYTES..].to_vec());
    change(&mut header, &mut payload);
    header.checksum = xxhash_rust::xxh3::xxh3_64(&payload);
    header.hash = header.computed_hash();
    if Header::decode(&header.encode()).is_ok() {
        header.signature = key(seed).sign(header.head().text().as_bytes());
    }
    [&header.encode()[..], &payload].concat()
}

/// B-29, B-31: whoever reads the chain gets what was sealed, and ends where the sealer did.
#[test]
fn a_chain_is_read_as_it_was_sealed() {
    let ledger = Ledger::of_three_blocks();
    let mut chain = chain(Tail::expecting(public(1)));
    let mut leaves = Vec::new();
    for bytes in &ledger.blocks {
        let block = chain.push(bytes).unwrap();
        for (place, (entry, extension)) in block.iter().enumerate() {
            assert_eq!(block.extension(place), extension);
            leaves.push(crate::leaf_hash(entry, extension));
        }
    }
    assert_eq!(leaves, ledger.leaves);
    assert_eq!(chain.tail(), ledger.sealer.tail());
    let mut tree = Tree::default();
    tree.push(&leaves, &mut |_, _, _| ());
    assert_eq!(chain.into_tail().tree, tree);
}

/// B-30: a changed bit is found wherever it is, with and without signatures.
#[test]
fn every_flipped_bit_of_a_block_is_found() {
    let ledger = Ledger::of_three_blocks();
    for signatures in [Signatures::Check, Signatures::Trust] {
        let (chain, last) = ledger.before_last();
        let mut chain = Chain::new(chain.into_tail(), signatures);
        let mut bytes = last.to_vec();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let fault = chain.push(&bytes).unwrap_err();
            let is_header = bit < HEADER_BYTES * 8;
            let expected =
                if is_header { HeaderFault::Damaged.into() } else { BlockFault::Checksum };
            assert_eq!(fault, expected, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        chain.push(&bytes).unwrap();
    }
}

/// A change of a header and payload, and how it is found.
type Row = (fn(&mut Header, &mut Vec<u8>), BlockFault);

/// B-30, L-80: who can compute checksums and even sign cannot change what was recorded.
#[test]
fn every_forged_block_is_found() {
    let ledger = Ledger::of_three_blocks();
    let (chain, last) = ledger.before_last();
    let metadata = |fault| BlockFault::Metadata { place: 1, fault };
    let rows: Vec<Row> = vec![
        (|it, _| it.ledger[0] ^= 1, BlockFault::Ledger),
        (|it, _| it.sequence += 1, BlockFault::Sequence { expected: 3, found: 4 }),
        (|it, _| it.previous[0] ^= 1, BlockFault::Previous),
        (|it, _| it.first += 1, BlockFault::First { expected: 4, found: 5 }),
        (|it, _| it.timestamp = Timestamp::from_nanos(7), BlockFault::Time),
        (|it, _| it.timestamp = it.timestamp.next(), BlockFault::CreatedAt { place: 0 }),
        (|it, _| it.root[0] ^= 1, BlockFault::Root),
        (|_, payload| payload[62] ^= 1, BlockFault::Root),
        (|_, payload| payload[0] = 9, BlockFault::Entry { place: 0, fault: EntryFault::Kind(9) }),
        (|_, payload| payload[ENTRY_BYTES + 70] += 1, BlockFault::CreatedAt { place: 1 }),
        (|_, payload| payload[12] ^= 1, BlockFault::Extensions),
        (|_, payload| payload[ENTRY_BYTES + 12] -= 1, metadata(MetadataFault::Damaged)),
        (|_, payload| payload[ENTRY_BYTES + 12] += 1, BlockFault::Extensions),
        (|_, payload| payload[2 * ENTRY_BYTES] = 0, BlockFault::Extensions),
        (|_, payload| payload[2 * ENTRY_BYTES + 4] = 1, BlockFault::Extensions),
        (|_, payload| payload[2 * ENTRY_BYTES + 8] = 0, metadata(MetadataFault::Damaged)),
        (
            |it, payload| {
                it.heap += 1;
                payload.push(0);
            },
            BlockFault::Extensions,
        ),
        (|it, _| it.sequence = 0, HeaderFault::Field("sequence").into()),
        (|it, _| it.entries = 0, HeaderFault::Field("number of entries").into()),
        (|it, _| it.entries = 1 << 16, HeaderFault::Field("number of entries").into()),
        (|it, _| it.extended = 3, HeaderFault::Field("number of extensions").into()),
        (|it, _| it.heap = 0, HeaderFault::Field("length of the extensions").into()),
        (|it, _| it.heap = 1_025, HeaderFault::Field("length of the extensions").into()),
        (|it, _| it.first = u64::MAX, HeaderFault::Field("first entry").into()),
        (|it, _| it.timestamp = Timestamp::from_nanos(u64::MAX), HeaderFault::Field("time").into()),
    ];
    for (place, (change, expected)) in rows.into_iter().enumerate() {
        let bytes = forged(last, 1, change);
        let mut chain = chain.clone();
        assert_eq!(chain.push(&bytes).unwrap_err(), expected, "row {place}");
        chain.push(last).unwrap();
    }
    assert_eq!(chain.clone().push(&forged(last, 2, |_, _| ())).unwrap_err(), BlockFault::Signature);
    let mut trusting = Chain::new(chain.into_tail(), Signatures::Trust);
    trusting.push(&forged(last, 2, |_, _| ())).unwrap();
}

#[test]
fn a_block_of_another_length_is_refused() {
    let ledger = Ledger::of_three_blocks();
    let (mut chain, last) = ledger.before_last();
    for found in [0, HEADER_BYTES - 1] {
        let expected = HEADER_BYTES;
        let fault = chain.push(&last[..found]).unwrap_err();
        assert_eq!(fault, BlockFault::Length { expected, found });
    }
    let (expected, longer) = (last.len(), [last, &[0]].concat());
    for bytes in [&last[..HEADER_BYTES], &last[..expected - 1], &longer] {
        let found = bytes.len();
        assert_eq!(chain.push(bytes).unwrap_err(), BlockFault::Length { expected, found });
    }
}

#[test]
fn blocks_out_of_order_are_refused() {
    let ledger = Ledger::of_three_blocks();
    let (mut chain, last) = ledger.before_last();
    let fault = chain.push(&ledger.blocks[1]).unwrap_err();
    assert_eq!(fault, BlockFault::Sequence { expected: 3, found: 2 });
    chain.push(last).unwrap();
    let fault = chain.push(last).unwrap_err();
    assert_eq!(fault, BlockFault::Sequence { expected: 4, found: 3 });
    assert_eq!(fault.to_string(), "it is block 3 where block 4 belongs");
}

/// B-30: the first block names the key that signs it, and who knows that key accepts no other.
#[test]
fn the_first_block_begins_with_the_key_that_signs_it() {
    let ledger = Ledger::of_three_blocks();
    let first = &ledger.blocks[0];
    let push = |tail, bytes: &[u8]| chain(tail).push(bytes).map(|_| ());
    assert_eq!(push(Tail::default(), first), Ok(()));
    assert_eq!(push(Tail::new(LEDGER), first), Ok(()));
    assert_eq!(push(Tail::expecting(public(1)), first), Ok(()));
    assert_eq!(push(Tail::new([9; 16]), first), Err(BlockFault::Ledger));
    assert_eq!(push(Tail::expecting(public(2)), first), Err(BlockFault::FirstKey));
    let of_another = forged(first, 2, |_, _| ());
    assert_eq!(push(Tail::default(), &of_another), Err(BlockFault::Signature));
    let without_key = forged(first, 1, |header, payload| {
        header.entries -= 1;
        header.timestamp = header.timestamp.next();
        payload.drain(..ENTRY_BYTES);
    });
    assert_eq!(push(Tail::default(), &without_key), Err(BlockFault::FirstKey));
    // Zeros are a point of small order: anybody could sign with it.
    let weak = forged(first, 1, |_, payload| payload[30..62].fill(0));
    assert_eq!(push(Tail::default(), &weak), Err(BlockFault::Key));
}

/// B-29: the block that names a key is signed with the old one, those after it with the new one.
#[test]
fn a_named_key_signs_the_blocks_after() {
    let mut ledger = Ledger::of_three_blocks();
    ledger.seal(&[plain(6), named(2), plain(7)]);
    ledger.sealer.rotate(key(2));
    ledger.seal(&[plain(8)]);
    ledger.seal(&[named(3), named(1)]);
    ledger.sealer.rotate(key(1));
    ledger.seal(&[plain(9)]);
    let (mut chain, last) = ledger.before_last();
    let old = forged(last, 2, |_, _| ());
    assert_eq!(chain.push(&old).unwrap_err(), BlockFault::Signature);
    chain.push(last).unwrap();
    assert_eq!(chain.tail(), ledger.sealer.tail());
    for (bytes, seed) in ledger.blocks.iter().zip([1, 1, 1, 1, 2, 2, 1]) {
        let head = header(bytes).signed_head(&public(seed));
        assert_eq!(head.verify(&public(seed)), Ok(&header(bytes).head()));
    }
}

#[test]
#[should_panic(expected = "the ledger named the key")]
fn a_key_that_was_not_named_cannot_sign() {
    Ledger::of_three_blocks().sealer.rotate(key(2));
}

#[test]
#[should_panic(expected = "the key is the one that was named")]
fn the_old_key_cannot_sign_after_another_was_named() {
    let mut ledger = Ledger::of_three_blocks();
    ledger.seal(&[named(2)]);
    ledger.seal(&[plain(6)]);
}

/// L-48: a chain and a sealer go on from a tail that was written and read again.
#[test]
fn a_tail_is_gone_on_from() {
    let mut ledger = Ledger::of_three_blocks();
    let (mut chain, last) = ledger.before_last();
    chain.push(last).unwrap();
    let tail = Tail::decode(&chain.tail().encode()).unwrap();
    assert_eq!(Sealer::new(tail.clone(), key(2)).unwrap_err(), KeyFault::Other);
    ledger.sealer = Sealer::new(tail.clone(), key(1)).unwrap();
    ledger.seal(&[plain(6), noted(7)]);
    let mut resumed = Chain::new(tail, Signatures::Check);
    resumed.push(&ledger.blocks[3]).unwrap();
    chain.push(&ledger.blocks[3]).unwrap();
    assert_eq!(resumed.tail(), chain.tail());
}

/// Only before the first block may the ledger and its key be unknown.
#[test]
fn a_tail_without_its_ledger_or_key_is_not_gone_on_from() {
    let ledger = Ledger::of_three_blocks();
    let (before, last) = ledger.before_last();
    let without_key = Tail { key: None, ..before.tail().clone() };
    assert_eq!(chain(without_key).push(last).unwrap_err(), BlockFault::Signature);
    let without_ledger = Tail { ledger: [0; 16], ..before.tail().clone() };
    assert_eq!(chain(without_ledger).push(last).unwrap_err(), BlockFault::Ledger);
}

/// Nodes of large subtrees come from reading as they come from sealing.
#[test]
fn chains_tell_the_nodes_that_sealers_tell() {
    let mut ledger = Ledger::of_three_blocks();
    let many: Vec<_> = (10..2_510).map(plain).collect();
    ledger.seal(&many);
    let (mut chain, mut told) = (chain(Tail::default()), Vec::new());
    for bytes in &ledger.blocks {
        chain.push_with(bytes, &mut |level, index, hash| told.push((level, index, hash))).unwrap();
    }
    let mut tree = Tree::default();
    let mut expected = Vec::new();
    tree.push(&ledger.leaves, &mut |level, index, hash| expected.push((level, index, hash)));
    assert_eq!(told, expected);
    assert_eq!(told.len(), 3, "two of 1,024 entries and one of 2,048");
}

/// A damaged table of extensions is read without harm.
#[test]
fn extensions_of_an_unchecked_block_are_within_it() {
    let ledger = Ledger::of_three_blocks();
    let last = &ledger.blocks[2];
    let payload = &last[HEADER_BYTES..];
    let sound = Block::new(header(last), payload).unwrap();
    let metadata = super::fixture::note("42");
    assert_eq!([0, 1, 2].map(|place| sound.extension(place)), [&[][..], metadata.bytes(), &[]]);
    for at in 0..8 {
        let mut payload = payload.to_vec();
        payload[2 * ENTRY_BYTES + at] = 0xff;
        let block = Block::new(header(last), &payload).unwrap();
        assert!(block.extension(1).is_empty());
        assert!(block.iter().all(|(_, extension)| extension.is_empty()));
    }
}
