//! Messages whose fields come in any order: what protobuf says of repeats and merging.

use std::borrow::Cow;

use super::{Decoder, Written, fits};
use crate::error::OutputError;
use crate::schema::{Field, Label, Plan};
use crate::wire::{Wire, WireType};

/// Where a known field comes in a message. Small, for a message may be nothing but fields.
#[derive(Clone, Copy)]
pub(super) struct Record {
    place: u32,
    /// First byte of its tag.
    at: u32,
}

impl Record {
    pub(super) fn place(self) -> usize {
        self.place as usize
    }

    /// The wire after the tag.
    fn value(self, message: &[u8]) -> Result<(Wire<'_>, WireType), OutputError> {
        let mut wire = Wire(&message[self.at as usize..]);
        let (_, wire_type) = wire.tag()?;
        Ok((wire, wire_type))
    }
}

/// The fields of a message that are known, ascending, each in its order; of a oneof, those that
/// stay.
pub(super) fn records(plan: &Plan, message: &[u8]) -> Result<Vec<Record>, OutputError> {
    let mut wire = Wire(message);
    let mut records = Vec::new();
    while !wire.is_empty() {
        let at = message.len() - wire.0.len();
        let (number, wire_type) = wire.tag()?;
        let place = plan.place_of(number).filter(|place| fits(&plan.fields[*place], wire_type));
        if let Some(place) = place {
            let small = |value| u32::try_from(value).map_err(|_| OutputError::Malformed);
            records.push(Record { place: small(place)?, at: small(at)? });
        }
        wire.skip(number, wire_type)?;
    }
    if !plan.oneofs.is_empty() {
        keep_last_of_oneofs(plan, &mut records);
    }
    records.sort_by_key(|record| record.place);
    Ok(records)
}

/// A field of a oneof clears the others: what is left is what came after the last other one.
fn keep_last_of_oneofs(plan: &Plan, records: &mut Vec<Record>) {
    let mut last: Vec<Option<(u32, bool)>> = vec![None; plan.oneofs.len()];
    records.reverse();
    records.retain(|record| {
        let Some(oneof) = plan.fields[record.place()].oneof else { return true };
        let (winner, closed) = last[oneof as usize].get_or_insert((record.place, false));
        *closed |= *winner != record.place;
        !*closed
    });
    records.reverse();
}

impl Decoder<'_> {
    pub(super) fn members_in_any_order(&mut self, plan: &Plan, wire: &[u8]) -> Written {
        let records = records(plan, wire)?;
        let mut next = 0;
        for group in records.chunk_by(|a, b| a.place == b.place) {
            let place = group[0].place();
            self.absent(plan, next..place);
            next = place + 1;
            let field = &plan.fields[place];
            let start = self.out.len();
            self.out.extend_from_slice(&field.key);
            if self.gathered(field, group, wire)? {
                self.out.push(b',');
            } else {
                self.out.truncate(start);
                self.absent_field(field);
            }
        }
        self.absent(plan, next..plan.fields.len());
        Ok(())
    }

    /// Writes the value that all records of a field make; false if that is as good as absent.
    pub(super) fn gathered(
        &mut self,
        field: &Field,
        records: &[Record],
        message: &[u8],
    ) -> Written<bool> {
        let Some(last) = records.last() else { return Ok(false) };
        match &field.label {
            Label::List { .. } => {
                self.out.push(b'[');
                let empty = self.out.len();
                for record in records {
                    let (mut wire, wire_type) = record.value(message)?;
                    self.elements(field, &mut wire, wire_type)?;
                }
                let any = self.out.len() > empty;
                self.close(b']');
                Ok(any)
            }
            Label::Map(entry) => {
                let mut entries = Vec::with_capacity(records.len());
                for record in records {
                    entries.push(record.value(message)?.0.bytes()?);
                }
                self.map(entry, entries.into_iter())?;
                Ok(true)
            }
            Label::One => {
                let Some(place) = field.kind.message() else {
                    let (mut wire, wire_type) = last.value(message)?;
                    return self.one(field, &mut wire, wire_type);
                };
                let merged = merged(field, records, message)?;
                self.message(self.plans.message(place), &merged)?;
                Ok(true)
            }
        }
    }
}

/// A message that came in pieces: it is what the pieces are, one after another.
fn merged<'w>(
    field: &Field,
    records: &[Record],
    message: &'w [u8],
) -> Result<Cow<'w, [u8]>, OutputError> {
    let inside = |record: &Record| {
        let (mut wire, wire_type) = record.value(message)?;
        wire.message(field.number, wire_type)
    };
    if let [one] = records {
        return inside(one).map(Cow::Borrowed);
    }
    let mut whole = Vec::new();
    for record in records {
        whole.extend_from_slice(inside(record)?);
    }
    Ok(Cow::Owned(whole))
}

/// The message that a field holds; empty when it is absent.
pub(crate) fn message_of<'w>(
    plan: &Plan,
    place: usize,
    message: &'w [u8],
) -> Result<Cow<'w, [u8]>, OutputError> {
    let mut records = records(plan, message)?;
    records.retain(|record| record.place() == place);
    merged(&plan.fields[place], &records, message)
}
