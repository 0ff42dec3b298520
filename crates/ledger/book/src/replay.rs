//! Doing again what blocks say was done.
//!
//! Each entry is made again by the rules that made it, and has to come out byte for byte the same.

use proof::{Entry, EntryBytes, Kind, Refusal, Transfer, peek};

use crate::ahead::{Ahead, CHUNK};
use crate::block::{Block, Effects};
use crate::book::Book;
use crate::check::Stop;
use crate::opening::WantedAccount;
use crate::past::{Past, PastError};
use crate::transfers::Wanted;
use crate::writer::Writer;

/// Why a block has not the effect that it had when it was written.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It does not begin after the block before.
    #[error("it begins before the block before it ends")]
    TimeWentBack,
    /// Its entries are not numbered on from those before.
    #[error("its first entry is number {found}, not {expected}")]
    First {
        /// How many entries there are before it.
        expected: u64,
        /// Number of its first entry.
        found: u64,
    },
    /// What it says happened is refused now.
    #[error("entry {place} of it is refused now, with status {status}")]
    Refused {
        /// Place of the entry in the block.
        place: usize,
        /// A number of the contract.
        status: u16,
    },
    /// Something else happens now.
    #[error("entry {place} of it comes out differently now")]
    Differs {
        /// Place of the entry in the block.
        place: usize,
    },
    /// What was recorded before cannot be read.
    #[error(transparent)]
    Past(#[from] PastError),
}

impl Book {
    /// Does again what a block says, and checks that it has the same effect. After an error the
    /// book must not be used any more.
    pub fn replay(
        &mut self,
        block: &proof::Block<'_>,
        past: &dyn Past,
    ) -> Result<Effects, ReplayError> {
        let header = &block.header;
        if header.timestamp <= self.last {
            return Err(ReplayError::TimeWentBack);
        }
        if header.first != self.entries {
            return Err(ReplayError::First { expected: self.entries, found: header.first });
        }
        let mut draft = self.begin(header.timestamp);
        draft.reserve(block.entries.len());
        let mut transfers = Vec::with_capacity(CHUNK);
        while draft.len() < block.entries.len() {
            let place = draft.len();
            take_transfers(&block.entries[place..], &mut transfers);
            if transfers.is_empty() {
                self.replay_other(block, place, &mut draft, past)?;
            } else {
                self.replay_transfers(block, &transfers, &mut draft, past)?;
            }
            if draft.len() == place {
                return Err(ReplayError::Differs { place });
            }
        }
        self.advance(&draft);
        if draft.entries() == block.entries {
            return Ok(draft.effects);
        }
        let mut pairs = draft.entries().iter().zip(block.entries);
        let place = pairs.position(|(now, then)| now != then);
        Err(ReplayError::Differs { place: place.unwrap_or(block.entries.len()) })
    }

    fn replay_transfers(
        &mut self,
        block: &proof::Block<'_>,
        transfers: &[Transfer],
        draft: &mut Block,
        past: &dyn Past,
    ) -> Result<(), ReplayError> {
        let tenant = transfers[0].tenant;
        let mut ahead = [Ahead::default(); CHUNK];
        let ahead = &mut ahead[..transfers.len()];
        self.resolve(tenant, transfers, ahead);
        self.look_ahead(tenant, transfers, ahead);
        let mut writer = Writer::new(self, draft, past, tenant);
        for (new, &mut ahead) in transfers.iter().zip(ahead) {
            let place = writer.block.len();
            let extension = if new.extension == 0 { &[] } else { block.extension(place) };
            let result = writer.create_again(&Wanted { new, extension, ahead });
            let outcome = Stop::answer(result)?;
            if !outcome.is_created() {
                return Err(ReplayError::Refused { place, status: outcome.status });
            }
        }
        Ok(())
    }

    /// Does again what is no transfer. Expiries are done when a block begins: there are none here.
    fn replay_other(
        &mut self,
        block: &proof::Block<'_>,
        place: usize,
        draft: &mut Block,
        past: &dyn Past,
    ) -> Result<(), ReplayError> {
        let differs = ReplayError::Differs { place };
        match Entry::decode(&block.entries[place]).map_err(|_| differs)? {
            Entry::Account(new) => {
                let extension = block.extension(place);
                let wanted = WantedAccount { new: &new, extension, is_linked: false };
                let mut writer = Writer::new(self, draft, past, new.tenant);
                let status = writer.open(&wanted)?.status;
                if draft.len() == place {
                    return Err(ReplayError::Refused { place, status });
                }
            }
            Entry::Amendment(asked) => {
                let status = self.amend(draft, asked.tenant, &asked).status;
                if draft.len() == place {
                    return Err(ReplayError::Refused { place, status });
                }
            }
            Entry::Refusal(Refusal { status, tenant, id, .. }) => {
                let mut writer = Writer::new(self, draft, past, tenant);
                writer.refuse(writer.hash(id.number()), id, status);
            }
            Entry::Tenant(tenant) => {
                self.tenant(draft, tenant.id);
            }
            Entry::Key(key) => self.record_key(draft, key.public),
            Entry::Checkpoint(it) => {
                self.record_checkpoint(draft, it.entries, it.accounts, it.root);
            }
            Entry::Expiry(_) | Entry::Transfer(_) => {}
        }
        Ok(())
    }
}

/// Replaces `transfers` by those that `entries` begin with, as far as they are of one tenant, a
/// chunk at most.
fn take_transfers(entries: &[EntryBytes], transfers: &mut Vec<Transfer>) {
    transfers.clear();
    let tenant = peek::tenant(&entries[0]);
    let of_tenant = entries.iter().take(CHUNK).take_while(|entry| {
        peek::tenant(entry) == tenant && peek::kind(entry).is_some_and(Kind::is_transfer)
    });
    transfers.extend(of_tenant.map_while(|entry| Transfer::decode(entry).ok()));
}
