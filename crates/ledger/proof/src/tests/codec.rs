//! What is written is what is read.

use proptest::prelude::*;

use super::fixture::{LEDGER, Ledger, entries, public};
use crate::{
    ENTRY_BYTES, Entry, EntryFault, HEADER_BYTES, Hash, Header, HeaderFault, Metadata,
    MetadataFault, Tail, Timestamp, Tree, VERSION, flag,
};

proptest! {
    /// B-31.
    #[test]
    fn entries_are_read_as_they_were_written(entry in entries()) {
        prop_assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
    }

    /// B-30: an entry has one form, so no other bytes stand for it.
    #[test]
    fn what_is_read_as_an_entry_is_written_the_same(
        entry in entries(),
        kind in any::<u8>(),
        changes in prop::collection::vec((0..ENTRY_BYTES, any::<u8>()), 0..3),
    ) {
        let mut bytes = entry.encode();
        for (at, value) in changes {
            bytes[at] = value;
        }
        for bytes in [bytes, { bytes[0] = kind; bytes }] {
            if let Ok(entry) = Entry::decode(&bytes) {
                prop_assert_eq!(entry.encode(), bytes);
            }
        }
    }

    #[test]
    fn headers_are_read_as_they_were_written(
        (sequence, timestamp, first) in (1_u64.., 0..1_u64 << 62, 0..1_u64 << 36),
        (entries, extended, checksum) in (1_u32..8_190, 0_u32..100, any::<u64>()),
        (ledger, previous, root) in any::<([u8; 16], Hash, Hash)>(),
        signature in prop::collection::vec(any::<u8>(), 64),
    ) {
        let extended = extended.min(entries);
        let mut header = Header {
            sequence,
            timestamp: Timestamp::from_nanos(timestamp),
            first,
            entries,
            extended,
            heap: extended * 9,
            ledger,
            previous,
            root,
            checksum,
            hash: [0; 32],
            signature: signature.try_into().unwrap(),
        };
        prop_assert_eq!(Header::decode(&header.encode()), Err(HeaderFault::Field("hash")));
        header.hash = header.computed_hash();
        prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn metadata_is_read_as_it_was_written(
        pairs in prop::collection::btree_map("[a-zé]{1,20}", "\\PC{0,30}", 0..8),
    ) {
        let metadata = Metadata::new(&pairs).unwrap();
        let read = Metadata::decode(metadata.bytes()).unwrap();
        prop_assert!(read.iter().eq(pairs.iter().map(|(key, value)| (&**key, &**value))));
        let json = serde_json::to_string(&metadata).unwrap();
        prop_assert_eq!(serde_json::from_str::<Metadata>(&json).unwrap(), metadata);
    }

    #[test]
    fn tails_are_read_as_they_were_written(
        leaves in prop::collection::vec(any::<Hash>(), 0..600),
        (sequence, time, hash) in any::<(u64, u64, Hash)>(),
        named in any::<bool>(),
        at in any::<prop::sample::Index>(),
    ) {
        let mut tree = Tree::default();
        tree.push(&leaves, &mut |_, _, _| ());
        let key = named.then(|| public(1));
        let last = Timestamp::from_nanos(time);
        let tail = Tail { ledger: LEDGER, sequence, hash, last, key, tree };
        let bytes = tail.encode();
        prop_assert_eq!(Tail::decode(&bytes), Some(tail));
        prop_assert_eq!(Tail::decode(&bytes[..at.index(bytes.len())]), None);
        prop_assert_eq!(Tail::decode(&[&bytes[..], &[0]].concat()), None);
    }
}

#[test]
fn what_no_ledger_records_is_no_entry() {
    let metadata = Metadata::default();
    let at = Timestamp::from_nanos(5);
    let transfer = super::fixture::transfer(1, &metadata, at);
    let sound = Entry::Transfer(transfer).encode();
    assert!(Entry::decode(&sound).is_ok());
    let field = |name| Err(EntryFault::Field(name));
    let rows: [(usize, u8, _); 6] = [
        (0, 0, Err(EntryFault::Kind(0))),
        (0, 5, Err(EntryFault::Kind(5))),
        (1, 16, field("flags")),
        (86, 1, field("hold")),
        (78, 6, field("effective time")),
        (0, 48, field("unused part")),
    ];
    for (at, value, expected) in rows {
        let mut bytes = sound;
        bytes[at] = value;
        assert_eq!(Entry::decode(&bytes), expected, "{value} at {at}");
    }
    let mut hold = sound;
    hold[0] = 2;
    hold[90] = 1;
    assert_eq!(Entry::decode(&hold), field("timeout"));
    let mut account = [0; ENTRY_BYTES];
    account[..2].copy_from_slice(&[16, 3]);
    assert_eq!(Entry::decode(&account), field("limit"));
    account[..2].copy_from_slice(&[17, flag::CLOSED + 1]);
    assert_eq!(Entry::decode(&account), field("unused part"));
}

#[test]
fn metadata_is_bounded_and_sorted() {
    let long = "x".repeat(256);
    let many = |count: usize, length: usize| -> Vec<(String, String)> {
        (0..count).map(|n| (format!("k{n:02}"), "v".repeat(length))).collect()
    };
    assert!(Metadata::new(many(16, 59)).is_ok(), "16 times 64 bytes");
    assert!(Metadata::new([(&long[..64], &long[..255])]).is_ok());
    assert!(Metadata::new([("", ""); 0]).unwrap().is_empty());
    let rows: [(Vec<(&str, &str)>, _); 5] = [
        (vec![("", "v")], MetadataFault::Key),
        (vec![(&long[..65], "v")], MetadataFault::Key),
        (vec![(&long[..], "v")], MetadataFault::Key),
        (vec![("k", &long[..])], MetadataFault::Value),
        (vec![("k", "a"), ("k", "b")], MetadataFault::Order),
    ];
    for (pairs, expected) in rows {
        assert_eq!(Metadata::new(pairs), Err(expected));
    }
    assert_eq!(Metadata::new(many(17, 1)), Err(MetadataFault::Pairs));
    assert_eq!(Metadata::new(many(16, 60)), Err(MetadataFault::Bytes));
    let unsorted = [&b"\x01b\x00\x01a\x00"[..], b"\x01b\x00\x01b\x00"];
    for bytes in unsorted {
        assert_eq!(Metadata::decode(bytes), Err(MetadataFault::Order));
    }
    let damaged = [&b"\x01"[..], b"\x01a", b"\x01a\x01", b"\x01\xff\x00"];
    for bytes in damaged {
        assert_eq!(Metadata::decode(bytes), Err(MetadataFault::Damaged));
    }
    assert_eq!(Metadata::new([("b", "2"), ("a", "1")]).unwrap().get("b"), Some("2"));
}

/// A header of a later version is no damage, and a flipped bit in the version is.
#[test]
fn another_version_is_told_from_damage() {
    let ledger = Ledger::of_three_blocks();
    let mut bytes: [u8; HEADER_BYTES] = ledger.blocks[0][..HEADER_BYTES].try_into().unwrap();
    assert!(Header::decode(&bytes).is_ok());
    bytes[8] = 3;
    assert_eq!(Header::decode(&bytes), Err(HeaderFault::Damaged));
    let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[..240]);
    bytes[240..].copy_from_slice(&checksum.to_le_bytes());
    assert_eq!(Header::decode(&bytes), Err(HeaderFault::Version(VERSION + 1)));
}
