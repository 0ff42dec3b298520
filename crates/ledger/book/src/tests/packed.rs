//! Transfers as packed bytes.

use proof::{ENTRY_BYTES, MetadataFault};

use super::*;
use crate::{Fault, ItemFault};

/// Two transfers, of which the second has metadata.
fn packed() -> (Vec<u8>, Vec<u8>) {
    let note = note().bytes().to_vec();
    let extension = u16::try_from(note.len()).unwrap();
    let second = Transfer { extension, timeout_seconds: 5, ..hold(2, OUTSIDE, OTHER, 7) };
    let both = [transfer(1, OUTSIDE, OTHER, 5), second];
    (both.into_iter().flat_map(|new| Entry::Transfer(new).encode()).collect(), note)
}

fn fault(entries: &[u8], extensions: &[u8]) -> (usize, Fault) {
    let ItemFault { item, fault } = Transfers::from_bytes(entries, extensions).unwrap_err();
    (item, fault)
}

#[test]
fn packed_transfers_are_those_that_are_pushed_one_by_one() {
    let (entries, extensions) = packed();
    let mut pushed = Transfers::default();
    pushed.push(transfer(1, OUTSIDE, OTHER, 5), &Metadata::default());
    pushed.push(brief_hold(2, 7, 5), &note());
    assert_eq!(Transfers::from_bytes(&entries, &extensions), Ok(pushed));
    assert_eq!(Transfers::from_bytes(&[], &[]), Ok(Transfers::default()));
}

/// What was looked up before leads to other accounts now, or to none: a row was taken back and
/// given to another, and an account came later.
#[test]
fn what_was_looked_up_long_before_need_not_be_right() {
    let mut bench = Bench::new();
    let mut before = bench.fork();
    before.open(account(60));
    let mut transfers = Transfers::default();
    for (number, credit) in [(1, 60), (2, 61), (3, 62)] {
        transfers.push(transfer(number, OUTSIDE, credit, 5), &Metadata::default());
    }
    before.book.lookup().look_ahead(tenant(0), &mut transfers);
    bench.open(account(61));
    bench.open(account(60));

    let (mut outcomes, past) = (Vec::new(), &bench.past);
    let (book, block) = (&mut bench.book, &mut bench.block);
    book.create_transfers(block, tenant(0), &transfers, past, &mut outcomes).unwrap();
    assert!(outcomes[..2].iter().all(Outcome::is_created));
    assert_eq!(outcomes[2], refused(TransferStatus::CreditAccountNotFound));
    assert_eq!([60, 61].map(|account| bench.balances(account)), [[0, 0, 0, 5]; 2]);
}

#[test]
fn bytes_that_are_no_transfers_are_refused_with_the_item_named() {
    let (entries, extensions) = packed();
    let with = |at: usize, value: u8| {
        let mut bad = entries.clone();
        bad[at] = value;
        bad
    };
    let second = ENTRY_BYTES;
    assert_eq!(fault(&entries[1..], &extensions), (1, Fault::Short));
    for kind in [0, 16, 32] {
        assert!(matches!(fault(&with(second, kind), &extensions), (1, Fault::Entry(_))));
    }
    assert!(matches!(fault(&with(second + 1, 16), &extensions), (1, Fault::Entry(_))));
    for owned in [8, 70] {
        assert_eq!(fault(&with(second + owned, 1), &extensions), (1, Fault::Owned));
    }
    assert_eq!(fault(&entries, &extensions[1..]), (1, Fault::Extensions));
    assert_eq!(fault(&entries, &[&extensions[..], &[0]].concat()), (2, Fault::Extensions));
    let damaged = [&[0], &extensions[1..]].concat();
    assert!(matches!(fault(&entries, &damaged), (1, Fault::Metadata(MetadataFault::Damaged))));
}
