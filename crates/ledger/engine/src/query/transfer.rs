//! Transfers.

use index::{Direction, Reference};
use proof::{Entry, Kind, Metadata, Transfer, TransferId};

use super::View;
use crate::view::{HoldState, QueryError, TransferView};

impl View<'_> {
    /// Transfers by id; those that do not exist are left out.
    pub(super) fn transfers(&self, ids: &[TransferId]) -> Result<Vec<TransferView>, QueryError> {
        let mut transfers = Vec::with_capacity(ids.len());
        for &id in ids {
            transfers.extend(self.transfer(id)?);
        }
        Ok(transfers)
    }

    /// The transfer of that id.
    pub(super) fn transfer(&self, id: TransferId) -> Result<Option<TransferView>, QueryError> {
        for number in self.reader.lookup.transfers(self.tenant, id) {
            if number >= self.end {
                continue;
            }
            if let (Entry::Transfer(transfer), metadata) = self.entry(number)?
                && (transfer.tenant, transfer.id) == (self.tenant, id)
            {
                return self.transfer_now(number, transfer, metadata).map(Some);
            }
        }
        Ok(None)
    }

    /// A transfer as it is.
    pub(super) fn transfer_now(
        &self,
        number: u64,
        transfer: Transfer,
        metadata: Metadata,
    ) -> Result<TransferView, QueryError> {
        let is_hold = transfer.kind == Kind::Pending;
        let hold = if is_hold { Some(self.hold_state(number, transfer.id)?) } else { None };
        Ok(TransferView { number, transfer, metadata, hold })
    }

    fn hold_state(&self, number: u64, id: TransferId) -> Result<HoldState, QueryError> {
        let (reference, later) = (Reference::Settled(id), number..self.end);
        let index = self.index(later.end)?;
        let settled = index.referring(self.tenant, reference, later, Direction::Ascending);
        for number in settled {
            match self.entry(number?)?.0 {
                Entry::Expiry(expiry) if (expiry.tenant, expiry.hold) == (self.tenant, id) => {
                    return Ok(HoldState::Expired);
                }
                Entry::Transfer(it) if (it.tenant, it.hold) == (self.tenant, id) => {
                    let is_post = it.kind == Kind::PostPending;
                    return Ok(if is_post { HoldState::Posted } else { HoldState::Voided });
                }
                // Another reference has the same hash.
                _ => {}
            }
        }
        Ok(HoldState::Open)
    }
}
