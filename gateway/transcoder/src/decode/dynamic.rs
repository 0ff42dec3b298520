//! Messages that hold any JSON: `google.protobuf.Value`, `Struct` and `ListValue`.

use std::borrow::Cow;

use super::{Decoder, Fault, NOT_UTF8, Written};
use crate::error::OutputError;
use crate::json::{write_double, write_string};
use crate::wire::{Wire, WireType};

impl Decoder<'_> {
    pub(super) fn dynamic_value(&mut self, wire: &[u8]) -> Written {
        self.enter()?;
        match last_kind(wire)? {
            None | Some((1, _)) => self.out.extend_from_slice(b"null"),
            Some((2, value)) => {
                let number = f64::from_bits(Wire(&value).fixed64()?);
                if !number.is_finite() {
                    let error = OutputError::Unshowable("a number is not finite");
                    return Err(Fault::Output(error));
                }
                write_double(self.out, number);
            }
            Some((3, value)) => {
                if !write_string(self.out, &value) {
                    return Err(NOT_UTF8);
                }
            }
            Some((4, value)) => {
                let value = Wire(&value).varint()? != 0;
                self.out.extend_from_slice(if value { b"true" } else { b"false" });
            }
            Some((5, value)) => self.dynamic_struct(&value)?,
            Some((_, value)) => self.dynamic_list(&value)?,
        }
        self.depth -= 1;
        Ok(())
    }

    pub(super) fn dynamic_list(&mut self, wire: &[u8]) -> Written {
        self.enter()?;
        let mut wire = Wire(wire);
        self.out.push(b'[');
        while !wire.is_empty() {
            match wire.tag()? {
                (1, WireType::Bytes) => {
                    self.dynamic_value(wire.bytes()?)?;
                    self.out.push(b',');
                }
                (number, wire_type) => wire.skip(number, wire_type)?,
            }
        }
        self.close(b']');
        self.depth -= 1;
        Ok(())
    }

    pub(super) fn dynamic_struct(&mut self, wire: &[u8]) -> Written {
        self.enter()?;
        let plan = self.plans.place_of("google.protobuf.Struct");
        let plan = self.plans.message(plan.ok_or(OutputError::Malformed)?);
        let field = &plan.fields[0];
        let mut wire = Wire(wire);
        let mut entries = Vec::new();
        while !wire.is_empty() {
            match wire.tag()? {
                (1, WireType::Bytes) => entries.push(wire.bytes()?),
                (number, wire_type) => wire.skip(number, wire_type)?,
            }
        }
        match &field.label {
            crate::schema::Label::Map(entry) => self.map(entry, entries.into_iter())?,
            _ => return Err(OutputError::Malformed.into()),
        }
        self.depth -= 1;
        Ok(())
    }
}

/// A kind of `Value`, by its number, and what it holds.
type Held<'w> = (u32, Cow<'w, [u8]>);

/// The kind of a `Value` that stays.
fn last_kind(wire: &[u8]) -> Result<Option<Held<'_>>, OutputError> {
    let mut wire = Wire(wire);
    let mut last: Option<Held<'_>> = None;
    while !wire.is_empty() {
        let (number, wire_type) = wire.tag()?;
        let before = wire;
        wire.skip(number, wire_type)?;
        let bytes = &before.0[..before.0.len() - wire.0.len()];
        let inside = match (number, wire_type) {
            (1 | 4, WireType::Varint) | (2, WireType::Fixed64) => bytes,
            (3 | 5 | 6, WireType::Bytes) => Wire(bytes).bytes()?,
            _ => continue,
        };
        last = Some(match last {
            Some((former, value)) if former == number && number > 4 => {
                (number, [value.as_ref(), inside].concat().into())
            }
            _ => (number, inside.into()),
        });
    }
    Ok(last)
}
