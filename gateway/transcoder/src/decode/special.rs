//! The well-known types that have JSON forms of their own, but for those that hold any JSON.

use super::{Decoder, Fault, Written};
use crate::error::OutputError;
use crate::json::{snake_to_camel, write_duration, write_string, write_timestamp};
use crate::schema::{Plan, Shape};
use crate::wire::{Wire, WireType};

fn unshowable<T>(what: &'static str) -> Written<T> {
    Err(Fault::Output(OutputError::Unshowable(what)))
}

impl Decoder<'_> {
    /// The value that a wrapper wraps; its default when it is absent.
    pub(super) fn wrapper(&mut self, plan: &Plan, wire: &[u8]) -> Written {
        let field = &plan.fields[0];
        let mut wire = Wire(wire);
        let mut last = None;
        while !wire.is_empty() {
            let (number, wire_type) = wire.tag()?;
            if number == field.number && wire_type == field.kind.wire_type() {
                last = Some(wire);
            }
            wire.skip(number, wire_type)?;
        }
        if let Some(mut wire) = last {
            return self.value(field, &mut wire, field.kind.wire_type()).map(drop);
        }
        self.default_of(field);
        Ok(())
    }

    /// A message of seconds and nanoseconds.
    #[expect(clippy::cast_possible_wrap, reason = "the wire keeps the bits")]
    pub(super) fn time(&mut self, shape: Shape, wire: &[u8]) -> Written {
        let mut wire = Wire(wire);
        let (mut seconds, mut nanos) = (0, 0);
        while !wire.is_empty() {
            match wire.tag()? {
                (1, WireType::Varint) => seconds = wire.varint()? as i64,
                (2, WireType::Varint) => nanos = wire.varint()? as i64,
                (number, wire_type) => wire.skip(number, wire_type)?,
            }
        }
        let written = match shape {
            Shape::Timestamp => write_timestamp(self.out, seconds, nanos),
            _ => write_duration(self.out, seconds, nanos),
        };
        if written { Ok(()) } else { unshowable("a time or duration out of range") }
    }

    pub(super) fn mask(&mut self, wire: &[u8]) -> Written {
        let mut wire = Wire(wire);
        let mut text = Vec::new();
        while !wire.is_empty() {
            let (number, wire_type) = wire.tag()?;
            if (number, wire_type) != (1, WireType::Bytes) {
                wire.skip(number, wire_type)?;
                continue;
            }
            if !snake_to_camel(&mut text, wire.bytes()?) {
                return unshowable("a field mask with a path that has no camel case");
            }
            text.push(b',');
        }
        text.pop();
        if write_string(self.out, &text) { Ok(()) } else { Err(super::NOT_UTF8) }
    }

    /// A message of whatever type, and which.
    pub(super) fn any(&mut self, wire: &[u8]) -> Written {
        let (url, value) = text_and_bytes(wire)?;
        if url.is_empty() && value.is_empty() {
            self.out.extend_from_slice(b"{}");
            return Ok(());
        }
        let name = url.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let place = std::str::from_utf8(name).ok().and_then(|name| self.plans.place_of(name));
        let Some(place) = place.filter(|_| url.contains(&b'/')) else {
            return unshowable("an Any of a type that is not known");
        };
        let plan = self.plans.message(place);
        self.enter()?;
        self.out.extend_from_slice(b"{\"@type\":");
        if !write_string(self.out, url) {
            return Err(super::NOT_UTF8);
        }
        self.out.push(b',');
        if plan.shape == Shape::Ordinary {
            self.members(plan, value)?;
        } else {
            self.out.extend_from_slice(b"\"value\":");
            self.message(plan, value)?;
        }
        self.close(b'}');
        self.depth -= 1;
        Ok(())
    }
}

/// A message of which nothing is shown must be one all the same.
pub(super) fn skim(wire: &[u8]) -> Written {
    let mut wire = Wire(wire);
    while !wire.is_empty() {
        let (number, wire_type) = wire.tag()?;
        wire.skip(number, wire_type)?;
    }
    Ok(())
}

/// Fields 1 and 2 of a message where both have a length.
pub(crate) fn text_and_bytes(wire: &[u8]) -> Result<(&[u8], &[u8]), OutputError> {
    let mut wire = Wire(wire);
    let (mut text, mut bytes): (&[u8], &[u8]) = (&[], &[]);
    while !wire.is_empty() {
        match wire.tag()? {
            (1, WireType::Bytes) => text = wire.bytes()?,
            (2, WireType::Bytes) => bytes = wire.bytes()?,
            (number, wire_type) => wire.skip(number, wire_type)?,
        }
    }
    Ok((text, bytes))
}
