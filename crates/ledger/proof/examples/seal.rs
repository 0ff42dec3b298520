//! Prints what sealing and verifying blocks of transfers costs for each entry.

use std::hint::black_box;
use std::time::Instant;

use proof::{
    Chain, Entry, HEADER_BYTES, Key, Kind, Parts, Sealer, Signatures, SigningKey, Tail, Timestamp,
    Transfer, Tree, leaf_hashes,
};

const ENTRIES: u32 = 8_189;
const ROUNDS: u64 = 200;

fn main() {
    let ledger = [7; 16];
    let key = SigningKey::from_seed(&[1; 32]);
    let named = Entry::Key(Key { public: key.public(ledger).bytes(), created_at: at(1, 0) });
    let mut first = [vec![0; HEADER_BYTES], named.encode().to_vec()].concat();
    let mut sealer = Sealer::new(Tail::new(ledger), key).expect("a new ledger takes any key");
    let parts = Parts { entries: 1, ..Parts::default() };
    sealer.seal(at(1, 0), &mut first, parts, &mut |_, _, _| ());
    let mut chain = Chain::new(Tail::new(ledger), Signatures::Check);
    chain.push(&first).expect("the first block is sound");

    let mut blocks: Vec<_> = (2..2 + ROUNDS).map(block).collect();
    measure("leaf hashes", || {
        let mut hashes = Vec::new();
        for bytes in &blocks {
            leaf_hashes(bytes[HEADER_BYTES..].as_chunks::<118>().0, [], &mut hashes);
            black_box(&hashes);
        }
    });
    measure("nodes", || {
        let mut tree = Tree::default();
        let hashes = vec![[3; 32]; ENTRIES as usize];
        (0..ROUNDS).for_each(|_| tree.push(&hashes, &mut |_, _, _| ()));
        black_box(tree.root());
    });
    measure("seal", || {
        let parts = Parts { entries: ENTRIES, ..Parts::default() };
        for (bytes, number) in blocks.iter_mut().zip(2..) {
            sealer.seal(at(number, 0), bytes, parts, &mut |_, _, _| ());
        }
    });
    measure("verify", || {
        for bytes in &blocks {
            chain.push(bytes).expect("a sealed block is sound");
        }
    });
    assert_eq!(chain.tail(), sealer.tail());
}

fn measure(what: &str, run: impl FnOnce()) {
    let start = Instant::now();
    run();
    #[expect(clippy::cast_precision_loss, reason = "it is printed with one digit")]
    let nanos = start.elapsed().as_nanos() as f64 / (ROUNDS * u64::from(ENTRIES)) as f64;
    println!("{what}: {nanos:.1} ns an entry");
}

fn at(block: u64, place: u32) -> Timestamp {
    Timestamp::from_nanos(block * 1_000_000_000 + u64::from(place))
}

fn block(number: u64) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    for place in 0..ENTRIES {
        let id = u128::from(number) << 64 | u128::from(place);
        let transfer = Transfer {
            kind: Kind::Plain,
            flags: 0,
            code: 1,
            ledger: 1,
            tenant: 1,
            extension: 0,
            id: id.into(),
            debit: (id * 7).into(),
            credit: (id * 11).into(),
            amount: u64::from(place),
            created_at: at(number, place),
            effective_at: at(number, place),
            hold: 0.into(),
            timeout_seconds: 0,
            external_id: 0.into(),
        };
        bytes.extend_from_slice(&Entry::Transfer(transfer).encode());
    }
    bytes
}
