//! Reading what is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use journal::{Disk, Journal, Options, ReadError, Reader};
use proof::Timestamp;

use crate::support::{Journaled, Ledger, SMALL, dynamic, entry, journaled, open, open_with};

/// Blocks of one entry, large ones, and all between, over several files.
fn mixed() -> (Journaled, Reader) {
    let mut sizes = vec![3, 7_000];
    for round in 0..40 {
        sizes.extend([1, 1, 2, round * round / 2 + 1, 1, 300]);
    }
    let journaled = journaled(&sizes);
    let reader = open(&dynamic(&journaled.copy(true))).unwrap().0.journal.reader();
    // The journal is closed, the reader goes on.
    (journaled, reader)
}

fn expected(journaled: &Journaled, number: u64) -> (proof::EntryBytes, Vec<u8>) {
    let blocks = &journaled.blocks;
    let header = &blocks.iter().find(|block| number < block.header.end()).unwrap().header;
    let created_at = header.timestamp.nanos() + number - header.first;
    entry(number, Timestamp::from_nanos(created_at), 1)
}

#[test]
fn every_entry_is_found_by_its_number() {
    let (journaled, reader) = mixed();
    let mut extension = vec![1];
    for number in 0..reader.durable() {
        let entry = reader.entry(number, &mut extension).unwrap();
        assert_eq!((entry, extension.clone()), expected(&journaled, number), "{number}");
    }
    let missing = reader.entry(reader.durable(), &mut extension).unwrap_err();
    assert!(matches!(missing, ReadError::Missing { what: "entry", .. }), "{missing}");
}

#[test]
fn entries_are_read_in_order_to_the_end() {
    let (journaled, reader) = mixed();
    for max in [3, 7, 1_000] {
        let mut next = 0;
        while next < reader.durable() {
            let entries = reader.entries(next, max).unwrap();
            assert_eq!(entries.first(), next);
            assert!((1..=max).contains(&entries.entries().len()));
            for (number, entry, extension) in entries.iter() {
                assert_eq!(number, next);
                assert_eq!((*entry, extension.to_vec()), expected(&journaled, number));
                next += 1;
            }
        }
        assert_eq!(next, reader.durable());
        assert!(reader.entries(next, max).unwrap().entries().is_empty());
    }
}

#[test]
fn headers_are_found_by_entry_and_by_sequence() {
    let (journaled, reader) = mixed();
    for block in &journaled.blocks {
        let header = &block.header;
        assert_eq!(reader.header_at(header.sequence).unwrap(), *header);
        for number in [header.first, header.end() - 1] {
            assert_eq!(reader.header_of(number).unwrap(), *header);
        }
    }
    assert_eq!(reader.head().unwrap(), journaled.blocks.last().unwrap().header);
    for sequence in [0, journaled.blocks.len() as u64 + 1] {
        let missing = reader.header_at(sequence).unwrap_err();
        assert!(matches!(missing, ReadError::Missing { what: "block", .. }), "{missing}");
    }
}

#[test]
fn entries_are_counted_by_time() {
    let (journaled, reader) = mixed();
    for block in &journaled.blocks {
        let header = &block.header;
        let begin = header.timestamp.nanos();
        for (nanos, count) in [
            (begin - 1, header.first),
            (begin, header.first + 1),
            (
                begin + u64::from(header.entries) / 2,
                header.first + u64::from(header.entries) / 2 + 1,
            ),
            (begin + u64::from(header.entries) - 1, header.end()),
            (begin + u64::from(header.entries) + 9, header.end()),
        ] {
            let count = count.min(header.end());
            assert_eq!(reader.number_at(Timestamp::from_nanos(nanos)).unwrap(), count, "{nanos}");
        }
    }
    assert_eq!(reader.number_at(Timestamp::default()).unwrap(), 0);
    let end = Timestamp::from_nanos(u64::MAX);
    assert_eq!(reader.number_at(end).unwrap(), reader.durable());
}

/// K-08: whatever a reader sees was durable, while blocks are written.
#[test]
fn readers_see_whole_blocks_while_more_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(journal::RealDisk::new(folder.path()));
    let options = Options { segment_bytes: 64 << 10, ..SMALL };
    let mut journal = open_with(&disk, options).unwrap().0.journal;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (reader, done) = (journal.reader(), &done);
                scope.spawn(move || {
                    let (mut extension, mut reads) = (Vec::new(), 0u64);
                    while !done.load(Ordering::Relaxed) {
                        let durable = reader.durable();
                        let Some(last) = durable.checked_sub(1) else { continue };
                        for number in [last, last / 2, last / 3] {
                            let entry = reader.entry(number, &mut extension).unwrap();
                            assert!(number == 0 || proof::peek::amount(&entry) == number);
                            assert!(reader.header_of(number).unwrap().end() > number);
                        }
                        let end = Timestamp::from_nanos(u64::MAX);
                        assert!(reader.number_at(end).unwrap() >= durable);
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        let mut ledger = Ledger::new(1);
        for round in 0..300 {
            let block = ledger.block(round % 90 + 1);
            journal.append(&block.header, &block.bytes).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
}
