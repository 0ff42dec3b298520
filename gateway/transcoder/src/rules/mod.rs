//! The rules of messages (`buf.validate`).
//!
//! A quick look at the wire bytes says that a message surely keeps its rules, which is what most
//! messages do. Of all others a complete validator decides, which also names what is broken.

mod compile;
mod test;
mod violation;

use smallvec::SmallVec;

use crate::error::OutputError;
use crate::schema::{Field, Label, Plans};
use crate::wire::{DEPTH_MAX, Wire, WireType};

pub(crate) use compile::compile;
pub(crate) use violation::{check, check_all};

use test::Test;

/// The rules of one message and of all below it.
#[derive(Debug)]
pub(crate) enum Rules {
    /// There are none.
    Free,
    /// There are some that only the complete validator knows.
    Unknown,
    /// These, ascending by field.
    Known(Vec<Check>),
}

/// The rules of one field.
#[derive(Debug)]
pub(crate) struct Check {
    /// Number of the field.
    number: u32,
    /// Its place in the plan.
    place: usize,
    /// Whether a message may leave the field out, or give its default where that is the same.
    admits_absence: bool,
    test: Test,
    /// Bounds on the size of a list or map.
    sizes: (u64, u64),
    /// Plan of the messages in it, if they have rules.
    nested: Option<u32>,
}

/// Whether a message surely keeps its rules. False if it does not, or if that is not so simple.
fn surely_valid(plans: &Plans, place: u32, wire: &[u8], depth: u32) -> bool {
    let checks = match &plans.rules[place as usize] {
        Rules::Free => return true,
        Rules::Unknown => return false,
        Rules::Known(checks) => checks,
    };
    depth < DEPTH_MAX && all_hold(plans, place, checks, wire, depth).unwrap_or(false)
}

fn all_hold(
    plans: &Plans,
    place: u32,
    checks: &[Check],
    wire: &[u8],
    depth: u32,
) -> Result<bool, OutputError> {
    let fields = &plans.message(place).fields;
    let mut counts = SmallVec::<[u64; 16]>::from_elem(0, checks.len());
    let mut wire = Wire(wire);
    let mut guess = 0;
    while !wire.is_empty() {
        let (number, wire_type) = wire.tag()?;
        let found = match checks.get(guess) {
            Some(check) if check.number == number => Some(guess),
            _ => checks.binary_search_by_key(&number, |check| check.number).ok(),
        };
        let Some(at) = found else {
            wire.skip(number, wire_type)?;
            continue;
        };
        guess = at + 1;
        let check = &checks[at];
        let Some(count) = check.hold(plans, &fields[check.place], &mut wire, wire_type, depth)?
        else {
            return Ok(false);
        };
        if count == 0 && counts[at] > 0 && fields[check.place].is_one() {
            // A default that is written out replaces what came before it.
            return Ok(false);
        }
        counts[at] += count;
    }
    Ok(checks.iter().zip(counts).all(|(check, count)| check.admits(&fields[check.place], count)))
}

impl Check {
    /// Whether the field may come this many times.
    fn admits(&self, field: &Field, count: u64) -> bool {
        match (&field.label, count) {
            (_, 0) => self.admits_absence,
            // Pieces of a message, or values that replace each other, are not so simple.
            (Label::One, count) => count == 1,
            // Entries with the same key are one.
            (Label::Map(_), count) => self.sizes.0 <= 1 && count <= self.sizes.1,
            (Label::List { .. }, count) => (self.sizes.0..=self.sizes.1).contains(&count),
        }
    }

    /// Takes what is behind one tag: how many values there are; `None` if one is not surely valid.
    fn hold(
        &self,
        plans: &Plans,
        field: &Field,
        wire: &mut Wire<'_>,
        wire_type: WireType,
        depth: u32,
    ) -> Result<Option<u64>, OutputError> {
        let plain = wire_type == field.kind.wire_type() && wire_type != WireType::Group;
        match &field.label {
            Label::Map(_) if plain => {
                let entry = wire.bytes()?;
                Ok(self.entry_holds(plans, field, entry, depth)?.then_some(1))
            }
            Label::One if plain => {
                let before = *wire;
                wire.skip(field.number, wire_type)?;
                let value = &before.0[..before.0.len() - wire.0.len()];
                if !field.presence && test::is_default(field.kind, value) {
                    return Ok(Some(0));
                }
                Ok(self.value_holds(plans, field, value, depth)?.then_some(1))
            }
            Label::List { .. } if plain => {
                let before = *wire;
                wire.skip(field.number, wire_type)?;
                let value = &before.0[..before.0.len() - wire.0.len()];
                Ok(self.value_holds(plans, field, value, depth)?.then_some(1))
            }
            Label::List { .. } if wire_type == WireType::Bytes => {
                let mut packed = Wire(wire.bytes()?);
                let mut count = 0;
                while !packed.is_empty() {
                    let before = packed;
                    packed.skip(field.number, field.kind.wire_type())?;
                    let value = &before.0[..before.0.len() - packed.0.len()];
                    if !self.value_holds(plans, field, value, depth)? {
                        return Ok(None);
                    }
                    count += 1;
                }
                Ok(Some(count))
            }
            _ => Ok(None),
        }
    }

    fn value_holds(
        &self,
        plans: &Plans,
        field: &Field,
        value: &[u8],
        depth: u32,
    ) -> Result<bool, OutputError> {
        if !self.test.holds(plans, field.kind, value)? {
            return Ok(false);
        }
        let Some(nested) = self.nested else { return Ok(true) };
        Ok(surely_valid(plans, nested, Wire(value).bytes()?, depth + 1))
    }

    fn entry_holds(
        &self,
        plans: &Plans,
        field: &Field,
        entry: &[u8],
        depth: u32,
    ) -> Result<bool, OutputError> {
        let (Label::Map(halves), Test::Entry(tests)) = (&field.label, &self.test) else {
            return Ok(false);
        };
        let mut wire = Wire(entry);
        let mut given = (false, false);
        while !wire.is_empty() {
            let (number, wire_type) = wire.tag()?;
            let before = wire;
            wire.skip(number, wire_type)?;
            let value = &before.0[..before.0.len() - wire.0.len()];
            let holds = match number {
                1 if wire_type == halves.0.kind.wire_type() && !given.0 => {
                    given.0 = true;
                    tests.0.holds(plans, halves.0.kind, value)?
                }
                2 if wire_type == halves.1.kind.wire_type() && !given.1 => {
                    given.1 = true;
                    tests.1.holds(plans, halves.1.kind, value)?
                        && match self.nested {
                            None => true,
                            Some(nested) => {
                                surely_valid(plans, nested, Wire(value).bytes()?, depth + 1)
                            }
                        }
                }
                _ => false,
            };
            if !holds {
                return Ok(false);
            }
        }
        // A half that is left out is a default, which is not tested here.
        Ok(given == (true, true))
    }
}
