//! A small ledger, and entries of all kinds.

use proptest::prelude::*;

use crate::{
    Account, Amendment, Chain, Checkpoint, Entry, Expiry, HEADER_BYTES, Hash, Key, Kind, Metadata,
    Parts, PublicKey, Refusal, Sealer, Signatures, SigningKey, Tail, Tenant, Timestamp, Transfer,
    leaf_hash,
};

pub(super) const LEDGER: [u8; 16] = *b"\x01\x98\xf7\xa0\0\0\x70\0\x80\0\0\0\0\0\0\x01";

pub(super) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub(super) fn public(seed: u8) -> PublicKey {
    key(seed).public(LEDGER)
}

/// A transfer created at that time.
pub(super) fn transfer(id: u128, metadata: &Metadata, at: Timestamp) -> Transfer {
    Transfer {
        kind: Kind::Plain,
        flags: 0,
        code: 7,
        ledger: 986,
        tenant: 1,
        extension: metadata.bytes().len().try_into().unwrap(),
        id: id.into(),
        debit: 0xd.into(),
        credit: 0xc.into(),
        amount: 1_050,
        created_at: at,
        effective_at: at,
        hold: 0.into(),
        timeout_seconds: 0,
        external_id: 0xe.into(),
    }
}

pub(super) fn note(value: &str) -> Metadata {
    Metadata::new([("order", value), ("channel", "pix")]).unwrap()
}

/// What is recorded next, given when.
pub(super) type Item = Box<dyn Fn(Timestamp) -> (Entry, Metadata)>;

pub(super) fn plain(id: u128) -> Item {
    let none = Metadata::default();
    Box::new(move |at| (Entry::Transfer(transfer(id, &none, at)), none.clone()))
}

pub(super) fn noted(id: u128) -> Item {
    let metadata = note("42");
    Box::new(move |at| (Entry::Transfer(transfer(id, &metadata, at)), metadata.clone()))
}

pub(super) fn named(seed: u8) -> Item {
    let public = public(seed).bytes();
    Box::new(move |created_at| (Entry::Key(Key { public, created_at }), Metadata::default()))
}

/// A ledger, and all that it sealed.
pub(super) struct Ledger {
    pub(super) sealer: Sealer,
    pub(super) blocks: Vec<Vec<u8>>,
    pub(super) leaves: Vec<Hash>,
}

impl Ledger {
    /// An empty ledger with key 1.
    pub(super) fn empty() -> Self {
        let sealer = Sealer::new(Tail::new(LEDGER), key(1)).unwrap();
        Self { sealer, blocks: Vec::new(), leaves: Vec::new() }
    }

    /// A ledger of three blocks: its key, two transfers; one with metadata; two.
    pub(super) fn of_three_blocks() -> Self {
        let mut ledger = Self::empty();
        ledger.seal(&[named(1), plain(1), plain(2)]);
        ledger.seal(&[noted(3)]);
        ledger.seal(&[plain(4), noted(5)]);
        ledger
    }

    /// A chain that has read the blocks before the last, and the last.
    pub(super) fn before_last(&self) -> (Chain, &[u8]) {
        let (last, before) = self.blocks.split_last().unwrap();
        let mut chain = Chain::new(Tail::default(), Signatures::Check);
        for block in before {
            chain.push(block).unwrap();
        }
        (chain, last)
    }

    /// Seals a block, a second after the one before.
    pub(super) fn seal(&mut self, items: &[Item]) {
        let tail = self.sealer.tail();
        let time = Timestamp::from_nanos(1_767_225_600_000_000_000);
        let time = if tail.sequence == 0 { time } else { tail.last.plus_seconds(1) };
        let (mut bytes, mut table, mut heap) = (vec![0; HEADER_BYTES], Vec::new(), Vec::new());
        let mut at = time;
        for (place, item) in (0_u32..).zip(items) {
            let (entry, metadata) = item(at);
            at = at.next();
            bytes.extend_from_slice(&entry.encode());
            if !metadata.is_empty() {
                table.extend_from_slice(&place.to_le_bytes());
                table.extend_from_slice(&u32::try_from(heap.len()).unwrap().to_le_bytes());
                metadata.encode(&mut heap);
            }
            self.leaves.push(leaf_hash(&entry.encode(), metadata.bytes()));
        }
        let parts = Parts {
            entries: items.len().try_into().unwrap(),
            extended: (table.len() / 8).try_into().unwrap(),
            heap: heap.len().try_into().unwrap(),
        };
        bytes.extend(table);
        bytes.extend(heap);
        self.sealer.seal(time, &mut bytes, parts, &mut |_, _, _| ());
        self.blocks.push(bytes);
    }
}

prop_compose! {
    fn transfers()(
        kind in prop::sample::select(vec![
            Kind::Plain, Kind::Pending, Kind::PostPending, Kind::VoidPending,
        ]),
        (flags, code, extension) in (0_u8..16, any::<u16>(), any::<u16>()),
        (ledger, tenant, timeout) in any::<(u32, u32, u32)>(),
        (id, debit, credit, hold, external_id) in any::<(u128, u128, u128, u128, u128)>(),
        (amount, created_at) in any::<(u64, u64)>(),
        age in any::<u64>(),
    ) -> Transfer {
        Transfer {
            kind,
            flags,
            code,
            ledger,
            tenant,
            extension,
            id: id.into(),
            debit: debit.into(),
            credit: credit.into(),
            amount,
            created_at: Timestamp::from_nanos(created_at),
            effective_at: Timestamp::from_nanos(created_at.saturating_sub(age)),
            hold: if kind.settles() { hold } else { 0 }.into(),
            timeout_seconds: if kind == Kind::Pending { timeout } else { 0 },
            external_id: external_id.into(),
        }
    }
}

/// Entries of all kinds.
pub(super) fn entries() -> impl Strategy<Value = Entry> {
    let parts = (any::<(u32, u32, u128, u128, u128)>(), any::<(u64, u64, u16, u16)>());
    let fields = (parts, any::<Hash>(), 0_u8..3, any::<bool>(), any::<u64>());
    let others = (0..7, fields).prop_map(|(kind, (parts, hash, limit, is_closed, time))| {
        let ((tenant, ledger, a, b, c), (amount, count, code, extension)) = parts;
        let created_at = Timestamp::from_nanos(time);
        let external_id = b.into();
        let overdraft = amount;
        match kind {
            0 => Entry::Account(Account {
                limit,
                code,
                ledger,
                tenant,
                extension,
                id: a.into(),
                overdraft,
                created_at,
                external_id,
            }),
            1 => {
                let account = a.into();
                Entry::Amendment(Amendment { tenant, account, is_closed, overdraft, created_at })
            }
            2 => Entry::Refusal(Refusal { status: code, tenant, id: a.into(), created_at }),
            3 => {
                let (hold, debit, credit) = (a.into(), b.into(), c.into());
                Entry::Expiry(Expiry { ledger, tenant, hold, debit, credit, amount, created_at })
            }
            4 => Entry::Tenant(Tenant { number: tenant, id: a.into(), created_at }),
            5 => Entry::Key(Key { public: hash, created_at }),
            _ => {
                let accounts = count;
                Entry::Checkpoint(Checkpoint { entries: amount, accounts, root: hash, created_at })
            }
        }
    });
    prop_oneof![transfers().prop_map(Entry::Transfer), others]
}
