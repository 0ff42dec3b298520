//! Posting or voiding all holds of a linked group at once.

use proof::{EntryBytes, Kind, Transfer, TransferId, flag, peek};
use sha2::{Digest, Sha256};

use crate::ahead::Ahead;
use crate::batch::{CHAINED_HOLDS_MAX, Outcome};
use crate::check::Stop;
use crate::statuses::TransferStatus as No;
use crate::transfers::Wanted;
use crate::writer::Writer;

/// Most looks at entries that the chains of one batch take: two at each entry of a group, which has
/// as many as a batch has items, and one for each hold that its own chains settle.
const LOOKS_MAX: usize = 4 * CHAINED_HOLDS_MAX;

impl Writer<'_> {
    /// Settles every hold of the group of the hold that is named, or none of them.
    pub(crate) fn chain(&mut self, wanted: &Wanted<'_>) -> Result<Outcome, Stop> {
        let named = self.find_hold(wanted.ahead.hold, wanted.new.hold)?;
        // The hold that is named says first why not, then the others in order.
        self.settlement(wanted)?;
        let holds = self.group_holds(named.number)?;
        let was_in_group = self.is_in_group();
        let before = self.begin_group();
        let result = self.settle_all(wanted, &holds);
        if result.is_err() {
            self.undo(&before);
        }
        if !was_in_group {
            self.end_group();
        }
        result
    }

    fn settle_all(&mut self, wanted: &Wanted<'_>, holds: &[TransferId]) -> Result<Outcome, Stop> {
        let first_at = self.block.next_time();
        for (place, hold) in holds.iter().enumerate() {
            let id = if place == 0 { wanted.new.id } else { derived_id(wanted.new.id, *hold) };
            let is_last = place + 1 == holds.len();
            let linked = if is_last { 0 } else { flag::LINKED };
            let flags = wanted.new.flags | linked;
            let new = Transfer { id, hold: *hold, flags, ..*wanted.new };
            let hashes = (self.hash(id.number()), self.hash(hold.number()));
            let ahead = Ahead::of_settlement(hashes.0, hashes.1);
            self.link(&Wanted { new: &new, ahead, ..*wanted })?;
        }
        Ok(Outcome::created(first_at, 0))
    }

    /// Settles one hold of a chain.
    fn link(&mut self, wanted: &Wanted<'_>) -> Result<(), Stop> {
        match self.check_id(wanted) {
            // A part of a chain cannot be accepted before the chain is.
            Err(Stop::Answer(outcome)) if !outcome.is_refused() => {
                return Err(No::LinkedEventFailed.into());
            }
            checked => checked?,
        }
        self.perform(wanted).map(|_| ())
    }

    /// Ids of all holds of the linked group that the entry of that number belongs to, in order.
    pub(crate) fn group_holds(&mut self, number: u64) -> Result<Vec<TransferId>, Stop> {
        let mut start = number;
        while start > 0 && is_linked(&self.look(start - 1)?) {
            start -= 1;
        }
        let mut holds = Vec::new();
        for number in start..self.block.next_number() {
            let entry = self.look(number)?;
            if peek::kind(&entry) == Some(Kind::Pending) {
                holds.push(TransferId::from(peek::id(&entry)));
            }
            if !is_linked(&entry) {
                break;
            }
        }
        self.chained.holds += holds.len();
        if self.chained.holds > CHAINED_HOLDS_MAX {
            return Err(No::ChainsExceedBatch.into());
        }
        Ok(holds)
    }

    /// An entry of a group, as long as the batch has not looked at too many.
    fn look(&mut self, number: u64) -> Result<EntryBytes, Stop> {
        self.chained.looks += 1;
        if self.chained.looks > LOOKS_MAX {
            return Err(No::ChainsExceedBatch.into());
        }
        Ok(self.entry(number, &mut Vec::new())?)
    }
}

/// Whether an entry was accepted only together with the next. Other entries than transfers use
/// the flags in other ways.
fn is_linked(entry: &EntryBytes) -> bool {
    Transfer::decode(entry).is_ok_and(|transfer| transfer.flags & flag::LINKED != 0)
}

/// Id of the settlement of a hold other than the first of its chain.
fn derived_id(item: TransferId, hold: TransferId) -> TransferId {
    let hash = Sha256::new()
        .chain_update(b"malha chain")
        .chain_update(item.bytes())
        .chain_update(hold.bytes())
        .finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    TransferId::from_bytes(id)
}
