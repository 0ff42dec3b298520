//! A file of a simulated disk: what is read and what a crash leaves.

use std::collections::BTreeSet;

/// What a real disk writes as a whole, or fails to.
pub(super) const SECTOR_BYTES: usize = 512;

#[derive(Default)]
pub(super) struct Content {
    pub(super) name: String,
    /// What a reader sees.
    pub(super) current: Vec<u8>,
    /// What is on the disk.
    pub(super) durable: Vec<u8>,
    /// Sectors that may differ.
    pub(super) dirty: BTreeSet<usize>,
}

impl Content {
    /// Writes what a sync makes durable.
    pub(super) fn write(&mut self, bytes: &[u8], at: usize) {
        self.overwrite(bytes, at);
        self.touch(at, at + bytes.len());
    }

    /// Writes what can be read until a crash.
    pub(super) fn overwrite(&mut self, bytes: &[u8], at: usize) {
        let before = self.current.len();
        if before < at + bytes.len() {
            self.current.resize(at + bytes.len(), 0);
            self.touch(before, at);
        }
        self.current[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn touch(&mut self, from: usize, to: usize) {
        if from < to {
            self.dirty.extend(from / SECTOR_BYTES..=(to - 1) / SECTOR_BYTES);
        }
    }

    pub(super) fn sync(&mut self) {
        self.durable.resize(self.current.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.keep(sector, SECTOR_BYTES);
        }
    }

    pub(super) fn sync_in_part(&mut self, random: &mut Random) {
        self.durable.resize(self.current.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            if random.chance(0.5) {
                self.keep(sector, SECTOR_BYTES);
            }
        }
    }

    /// Brings the first bytes of a sector to the disk, as far as the disk goes.
    fn keep(&mut self, sector: usize, bytes: usize) {
        let from = sector * SECTOR_BYTES;
        let to = (from + bytes).min(self.current.len()).min(self.durable.len());
        if from < to {
            self.durable[from..to].copy_from_slice(&self.current[from..to]);
        }
    }

    pub(super) fn crash(&mut self, random: &mut Random) {
        if self.durable.len() != self.current.len() && random.chance(0.5) {
            self.durable.resize(self.current.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            match random.below(3) {
                0 => {}
                1 => self.keep(sector, SECTOR_BYTES),
                _ => self.keep(sector, random.below(SECTOR_BYTES)),
            }
        }
        self.current.clone_from(&self.durable);
    }
}

/// `SplitMix64`.
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 when that is 0.
    #[expect(clippy::cast_possible_truncation, reason = "less than `end`")]
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % (end as u64).max(1)) as usize
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let uniform = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        uniform < probability
    }
}
