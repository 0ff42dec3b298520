//! The well-known types that have JSON forms of their own, but for those that hold any JSON.

use std::borrow::Cow;

use super::{Encoder, UNKNOWN};
use crate::json::{Fault, Read, Token, camel_to_snake, read_duration, read_timestamp};
use crate::schema::Shape;
use crate::wire::{self, Tag, WireType};

/// Member of an `Any` that names the type of the others.
const TYPE: &[u8] = b"@type";

impl<'a> Encoder<'a> {
    /// A message that is one string: a time, a duration, a mask.
    pub(super) fn spelled(&mut self, shape: Shape, token: Token) -> Read<()> {
        let at = self.reader.at();
        let expected = || Fault::at(at, shape.expected());
        if token != Token::Text {
            return Err(expected());
        }
        let text = self.string()?;
        if write_spelled(shape, &text, self.out) { Ok(()) } else { Err(expected()) }
    }

    pub(super) fn empty(&mut self, token: Token) -> Read<()> {
        self.enter(token, Token::Object, Shape::Empty.expected())?;
        let mut first = true;
        while let Some(name) = self.reader.name(&mut first)? {
            if !self.plans.settings.ignore_unknown {
                return Err(Fault::at(name.at(), UNKNOWN));
            }
            self.reader.skip()?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// A message of the type that its member `@type` names.
    pub(super) fn any(&mut self, token: Token) -> Read<()> {
        let at = self.reader.at();
        let expected = || Fault::at(at, Shape::Any.expected());
        if token != Token::Object {
            return Err(expected());
        }
        let Some(url) = self.type_url()? else {
            // An Any of nothing is an empty object.
            return self.empty(token).map_err(|_| expected());
        };
        let name = url.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let place = std::str::from_utf8(name).ok().and_then(|name| self.plans.place_of(name));
        let plan = self.plans.message(place.ok_or_else(expected)?);
        if !url.contains(&b'/') {
            return Err(expected());
        }
        Tag::new(1, WireType::Bytes).write(self.out);
        wire::write_bytes(self.out, &url);
        Tag::new(2, WireType::Bytes).write(self.out);
        let start = wire::begin(self.out);
        if plan.shape == Shape::Ordinary {
            self.members(plan, token, None, TYPE)?;
        } else {
            self.any_value(plan, token)?;
        }
        wire::end(self.out, start);
        Ok(())
    }

    /// The type that an object names; what it holds is read later.
    fn type_url(&mut self) -> Read<Option<Cow<'a, [u8]>>> {
        let mut ahead = self.reader;
        ahead.open();
        let (mut first, mut url) = (true, None);
        while let Some(name) = ahead.name(&mut first)? {
            if *ahead.resolved(name)? != *TYPE {
                ahead.skip()?;
                continue;
            }
            if url.is_some() {
                return Err(Fault::at(name.at(), super::TWICE));
            }
            if ahead.token()? != Token::Text {
                return Err(Fault::at(ahead.at(), Shape::Any.expected()));
            }
            let text = ahead.text()?;
            url = Some(ahead.resolved(text)?);
        }
        Ok(url)
    }

    /// The member `value` of an Any, for types that are no plain objects.
    fn any_value(&mut self, plan: &crate::schema::Plan, token: Token) -> Read<()> {
        self.enter(token, Token::Object, Shape::Any.expected())?;
        let at = self.reader.at();
        let (mut first, mut given) = (true, false);
        while let Some(name) = self.reader.name(&mut first)? {
            if *self.reader.resolved(name)? != *b"value" {
                self.unknown(name, TYPE)?;
                continue;
            }
            if given {
                return Err(Fault::at(name.at(), super::TWICE));
            }
            given = true;
            let token = self.reader.token()?;
            self.message(plan, token, None)?;
        }
        if !given && plan.shape != Shape::Empty {
            return Err(Fault::at(at - 1, Shape::Any.expected()));
        }
        self.depth -= 1;
        Ok(())
    }
}

/// Appends the fields of a message that is one string; false if `text` is not its form.
pub(crate) fn write_spelled(shape: Shape, text: &[u8], out: &mut Vec<u8>) -> bool {
    let pair = match shape {
        Shape::Timestamp => read_timestamp(text),
        Shape::Duration => read_duration(text),
        Shape::FieldMask => return write_mask(text, false, out),
        _ => None,
    };
    let Some((seconds, nanos)) = pair else { return false };
    for (number, value) in [(1, seconds), (2, i64::from(nanos))] {
        if value != 0 {
            Tag::new(number, WireType::Varint).write(out);
            #[expect(clippy::cast_sign_loss, reason = "the wire keeps the bits")]
            wire::write_varint(out, value as u64);
        }
    }
    true
}

/// Appends the paths of a `FieldMask`; false if one of them has no camel case and `snake_case`
/// is not admitted.
pub(crate) fn write_mask(text: &[u8], admits_snake: bool, out: &mut Vec<u8>) -> bool {
    for path in text.split(|byte| *byte == b',').filter(|path| !path.is_empty()) {
        Tag::new(1, WireType::Bytes).write(out);
        let start = wire::begin(out);
        if admits_snake && path.contains(&b'_') {
            out.extend_from_slice(path);
        } else if !camel_to_snake(out, path) {
            return false;
        }
        wire::end(out, start);
    }
    true
}
