//! Files with anything in them: they are read or refused, and nobody panics.

use journal::Disk;

use crate::support::{broken_or_open, dynamic, journaled, open};

fn rounds() -> u64 {
    std::env::var("MALHA_FUZZ_ROUNDS").ok().and_then(|it| it.parse().ok()).unwrap_or(300)
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) as usize % end.max(1)
    }
}

/// Changes a few places: bytes, runs of zeros, copies of other parts, the length.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let end = (at + random.below(600)).min(bytes.len());
        match random.below(5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at..end].fill(0),
            2 => {
                let to = random.below(bytes.len() - (end - at) + 1);
                bytes.copy_within(at..end, to);
            }
            3 => bytes.truncate(at),
            _ => bytes[at..end]
                .iter_mut()
                .for_each(|byte| *byte = random.below(256).to_le_bytes()[0]),
        }
    }
}

#[test]
fn a_journal_of_anything_is_read_or_refused() {
    let journaled = journaled(&[3, 1, 20, 2, 20, 1, 1]);
    let names = journaled.disk.list().unwrap();
    for round in 0..rounds() {
        let mut random = Random(round);
        let disk = journaled.copy(random.below(2) == 0);
        let name = &names[random.below(names.len())];
        let mut bytes = journaled.disk.contents(name).unwrap();
        mutate(&mut bytes, &mut random);
        disk.put(name, &bytes);
        if let Some(found) = broken_or_open(&disk) {
            assert_eq!(found, journaled.hashes()[..found.len()], "round {round}");
        }
    }
}

/// The files change under a reader: it verifies nothing, but gives bytes or an error.
#[test]
fn a_reader_of_anything_does_not_panic() {
    let journaled = journaled(&[3, 1, 20, 2, 60, 1, 1]);
    for round in 0..rounds() {
        let mut random = Random(round);
        let disk = journaled.copy(true);
        let reader = open(&dynamic(&disk)).unwrap().0.journal.reader();
        for (name, mut bytes) in journaled.segments() {
            mutate(&mut bytes, &mut random);
            disk.put(&name, &bytes);
        }
        let mut extension = Vec::new();
        for number in 0..reader.durable() {
            drop(reader.entry(number, &mut extension));
            drop(reader.entries(number, 50));
            drop(reader.header_of(number));
            drop(reader.header_at(number));
            drop(reader.number_at(proof::Timestamp::from_nanos(number * 100)));
        }
    }
}
