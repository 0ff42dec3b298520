//! What is written: accounts and transfers that can be told from their numbers.
//!
//! Nothing is remembered: whoever wants to read a transfer again makes it again.

use proof::{
    AccountId, ENTRY_BYTES, EntryBytes, ExternalId, Kind, Timestamp, Transfer, TransferId,
};

/// Transfers of a batch.
pub(crate) const BATCH: u64 = 8_189;

/// Number of the ledger of all accounts.
pub(crate) const LEDGER: u32 = 986;

/// What accounts and transfers are for.
pub(crate) const CODE: u16 = 1;

/// Milliseconds of the first batch's ids, in November 2026; each batch is a few later.
const FIRST_MS: u64 = 1_795_000_000_000;

/// Milliseconds between the ids of two batches.
const BATCH_MS: u64 = 4;

/// One of so many transfers goes to a busy account.
const BUSY_SHARE: u64 = 64;

/// Batches of transfers between random accounts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    /// How many accounts there are.
    pub(crate) accounts: u64,
    /// [`Kind::Plain`] or [`Kind::Pending`].
    pub(crate) kind: Kind,
}

impl Rows {
    /// The transfers of a batch, always the same.
    pub(crate) fn batch(self, number: u64) -> impl Iterator<Item = Transfer> {
        let mut random = Random(number << 32);
        (0..BATCH).map(move |_| self.transfer(FIRST_MS + number * BATCH_MS, &mut random))
    }

    /// A batch as `packed` of the contract.
    pub(crate) fn packed(self, number: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(BATCH).unwrap_or_default() * ENTRY_BYTES];
        let (entries, _): (&mut [EntryBytes], _) = bytes.as_chunks_mut();
        for (entry, transfer) in entries.iter_mut().zip(self.batch(number)) {
            transfer.encode(entry);
        }
        bytes
    }

    /// So many accounts, the first ones, have a long history: a share of the transfers is theirs.
    pub(crate) fn busy(self) -> u64 {
        self.accounts / 1_000
    }

    fn transfer(self, milliseconds: u64, random: &mut Random) -> Transfer {
        let debit = random.below(self.accounts);
        let is_busy = random.below(BUSY_SHARE) == 0;
        let credits = if is_busy { self.busy() } else { self.accounts };
        let credit = random.below(credits);
        let credit = if credit == debit { (debit + 1) % self.accounts } else { credit };
        Transfer {
            kind: self.kind,
            flags: 0,
            code: CODE,
            ledger: LEDGER,
            tenant: 0,
            extension: 0,
            id: uuid(milliseconds, random.next(), random.next()).into(),
            debit: account(debit),
            credit: account(credit),
            amount: 1 + random.below(10_000),
            created_at: Timestamp::default(),
            effective_at: Timestamp::default(),
            hold: TransferId::default(),
            timeout_seconds: 0,
            external_id: ExternalId::default(),
        }
    }
}

/// Id of the account with that number. Ids of neighbours have nothing in common but their time.
pub(crate) fn account(number: u64) -> AccountId {
    let mut random = Random(!number);
    uuid(FIRST_MS + number / 1_000, random.next(), random.next()).into()
}

/// A UUIDv7 of a time and random bits.
fn uuid(milliseconds: u64, high: u64, low: u64) -> u128 {
    let high = milliseconds << 16 | 0x7000 | high >> 52;
    let low = 1 << 63 | low >> 2;
    u128::from(high) << 64 | u128::from(low)
}

/// Random numbers, a nanosecond each: `SplitMix64`.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashSet;

    use super::*;

    const ROWS: Rows = Rows { accounts: 1_000, kind: Kind::Pending };

    #[test]
    fn batches_come_again_and_no_id_does() {
        let ids = |batch| ROWS.batch(batch).map(|transfer| transfer.id).collect::<Vec<_>>();

        assert_eq!(ids(7), ids(7));
        let all: HashSet<_> = (0..20).flat_map(ids).collect();
        assert_eq!(all.len() as u64, 20 * BATCH);
    }

    #[test]
    fn packed_transfers_are_those_of_the_batch() {
        let packed = ROWS.packed(3);

        let (entries, rest): (&[EntryBytes], _) = packed.as_chunks();
        assert!(rest.is_empty());
        let decoded: Vec<_> = entries.iter().map(|it| Transfer::decode(it).unwrap()).collect();
        assert_eq!(decoded, ROWS.batch(3).collect::<Vec<_>>());
        assert!(decoded.iter().all(|transfer| transfer.debit != transfer.credit));
    }

    #[test]
    fn ids_are_versions_7_of_the_standard_variant() {
        let id = account(5).number();

        assert_eq!((id >> 76 & 0xf, id >> 62 & 3), (7, 2));
    }
}
