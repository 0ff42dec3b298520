//! Blocks that are done again, and snapshots.

use super::*;
use crate::ReplayError as E;
use crate::hash::HashKey;

/// A ledger with a block of every kind of entry, and the blocks.
fn bench() -> Bench {
    let mut bench = Bench::empty();
    bench.book.record_key(&mut bench.block, [7; 32]);
    bench.open(account(OUTSIDE));
    bench.open(Account { limit: 1, overdraft: 9, ..account(CUSTOMER) });
    bench.accounts_of(tenant(1), [(account(OTHER), note(), false)]);
    bench.accounts_of(tenant(0), [(account(OTHER), note(), false)]);
    bench.accept(brief_hold(1, 10, 1));
    bench.accept(brief_hold(2, 10, 0));
    bench.at(5 * SECOND);
    bench.accept(post(3, 2));
    bench.transfers_of(tenant(0), [(transfer(4, OUTSIDE, CUSTOMER, 5), note())]);
    bench.transfers(&[
        linked(hold(5, OUTSIDE, OTHER, 1)),
        linked(hold(6, OUTSIDE, OTHER, 2)),
        chain(void(7, 5)),
    ]);
    let balancing = Transfer { flags: flag::BALANCING_DEBIT, ..transfer(8, CUSTOMER, OTHER, 0) };
    bench.accept(Transfer { effective_at: Timestamp::from_nanos(1), ..balancing });
    bench.transfer(transfer(9, CUSTOMER, OTHER, 1));
    bench.amend(CUSTOMER, false, 14);
    bench.book.record_checkpoint(&mut bench.block, 3, 1, [8; 32]);
    bench.at(6 * SECOND);
    bench
}

fn copy(of: &Bench) -> Book {
    Book { key: of.book.key, ..Book::default() }
}

/// L-48: the state is what the entries say.
#[test]
fn blocks_done_again_give_the_same_effects_and_the_same_book() {
    let bench = bench();
    let mut book = copy(&bench);
    for block in &bench.blocks {
        assert_eq!(replay(&mut book, block, &bench.past).unwrap(), block.effects);
    }
    assert_eq!(facts(&book), facts(&bench.book));
    let kinds = bench.past.all().iter().map(|entry| proof::peek::kind(entry).unwrap() as u8);
    let mut kinds: Vec<_> = kinds.collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, [1, 2, 3, 4, 16, 17, 32, 33, 48, 49, 50], "every kind of entry");
}

#[test]
fn a_snapshot_is_read_as_it_was_while_the_book_went_on() {
    let mut bench = bench();
    let (snapshot, kept) = (bench.book.snapshot(), bench.book.snapshot());
    bench.book.begin_snapshot();
    let mut before = Vec::new();
    snapshot.write(&mut before).unwrap();
    bench.accept(brief_hold(50, 10, 1));
    bench.open(account(60));
    let mut after = Vec::new();
    let copied = (0..20).find_map(|_| bench.book.copy(1)).unwrap();
    copied.finish().write(&mut after).unwrap();
    assert_eq!(before, after);
    after.clear();
    assert_eq!((kept.entries(), kept.accounts()), (bench.block.first, 4));
    kept.write(&mut after).unwrap();
    assert_eq!(before, after);

    let mut copy = Book::read(&*before).unwrap();
    bench.at(8 * SECOND);
    bench.at(9 * SECOND);
    for block in &bench.blocks[2..] {
        replay(&mut copy, block, &bench.past).unwrap();
    }
    assert_eq!(facts(&copy), facts(&bench.book));
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let bench = bench();
    let mut file = Vec::new();
    bench.book.snapshot().write(&mut file).unwrap();
    for length in 0..file.len() {
        // The tables at the end are mostly zeros.
        if length < 2_000 || length % 511 == 0 {
            assert!(Book::read(&file[..length]).is_err(), "{length}");
        }
    }
    for (at, value) in [(0, 0), (8, 2), (12, 0), (24, 1)] {
        let mut bad = file.clone();
        bad[at] = value;
        assert!(Book::read(&*bad).is_err(), "{at}");
    }
}

/// B-30: whatever is changed in a block, it does not come out the same any more.
#[test]
fn a_block_with_a_changed_entry_is_refused() {
    let bench = bench();
    let block = &bench.blocks[1];
    for place in 0..block.len() {
        for byte in [0, 1, 2, 4, 8, 14, 30, 46, 62, 70, 78, 86] {
            let mut bad = block.clone();
            bad.bytes[proof::HEADER_BYTES + place * proof::ENTRY_BYTES + byte] ^= 1;
            let was = &block.entries()[place];
            let Ok(now) = Entry::decode(&bad.entries()[place]) else { continue };
            if now.created_at() == Entry::decode(was).unwrap().created_at() && is_free(&now, byte) {
                continue;
            }
            let mut book = copy(&bench);
            replay(&mut book, &bench.blocks[0], &bench.past).unwrap();
            let result = replay(&mut book, &bad, &bench.past);
            assert!(result.is_err(), "byte {byte} of entry {place}: {now:?}");
        }
    }
}

/// Whether nothing else follows from what that byte says: another id, code or date of a transfer
/// might have been asked for, and nobody else knows what was refused or hashed.
fn is_free(entry: &Entry, byte: usize) -> bool {
    match entry {
        Entry::Transfer(it) => {
            let is_partial = it.kind == Kind::PostPending && byte == 62;
            let is_code = byte == 2 && !it.kind.settles();
            let is_amount = byte == 62 && matches!(it.kind, Kind::Plain | Kind::Pending);
            let is_timeout = byte == 86 && it.kind == Kind::Pending;
            matches!(byte, 1 | 14 | 78) || is_partial || is_code || is_amount || is_timeout
        }
        Entry::Amendment(_) => byte == 62,
        Entry::Refusal(_) => matches!(byte, 2 | 8 | 14),
        Entry::Checkpoint(_) => byte != 70,
        _ => false,
    }
}

#[test]
fn blocks_are_done_in_their_order_and_once() {
    let bench = bench();
    let [first, second] = &bench.blocks[..] else { panic!() };
    let mut book = copy(&bench);
    let result = replay(&mut book, second, &bench.past);
    assert!(matches!(result, Err(E::First { expected: 0, .. })), "{result:?}");
    replay(&mut book, first, &bench.past).unwrap();
    assert!(matches!(replay(&mut book, first, &bench.past), Err(E::TimeWentBack)));
    let late = Block { timestamp: Timestamp::from_nanos(6 * SECOND), ..first.clone() };
    assert!(matches!(replay(&mut book, &late, &bench.past), Err(E::First { .. })));
}

/// Holds end when their time has come, neither later nor earlier.
#[test]
fn a_block_that_leaves_out_an_expiry_or_adds_one_is_refused() {
    let mut bench = Bench::new();
    bench.accept(brief_hold(1, 10, 2));
    bench.at(5 * SECOND);
    bench.accept(transfer(2, OUTSIDE, OTHER, 1));
    bench.at(6 * SECOND);
    let with = bench.blocks[1].clone();
    let mut without = with.clone();
    without.bytes.drain(proof::HEADER_BYTES..proof::HEADER_BYTES + proof::ENTRY_BYTES);
    let early = Block { timestamp: Timestamp::from_nanos(2 * SECOND), ..with.clone() };
    for (block, is_good) in [(with, true), (without, false), (early, false)] {
        let mut book = copy(&bench);
        replay(&mut book, &bench.blocks[0], &bench.past).unwrap();
        let result = replay(&mut book, &block, &bench.past);
        assert_eq!(result.is_ok(), is_good, "{result:?}");
        assert!(is_good || matches!(result, Err(E::Differs { place: 0 })), "{result:?}");
    }
}

#[test]
fn another_key_of_hashes_changes_nothing_but_places_in_tables() {
    let bench = bench();
    let mut book = Book { key: HashKey([1, 2]), ..Book::default() };
    for block in &bench.blocks {
        replay(&mut book, block, &bench.past).unwrap();
    }
    assert!(book.snapshot().states().eq(bench.book.snapshot().states()));
}
