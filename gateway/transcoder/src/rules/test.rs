//! Tests of single values, as they lie on the wire.

use std::str;

use prost_protovalidate::validators;
use regex::Regex;

use crate::error::OutputError;
use crate::schema::{Kind, Plans};
use crate::wire::{Wire, WireType};

/// What a value must be.
#[derive(Debug)]
pub(super) enum Test {
    /// Anything.
    Any,
    /// What only the complete validator knows.
    Unknown,
    Text(Vec<TextTest>),
    Bytes {
        min: u64,
        max: u64,
    },
    /// An integer, truth value, enum, or the nanoseconds of a duration.
    Integer(IntegerTest),
    Float {
        above: (f64, bool),
        below: (f64, bool),
    },
    /// Key and value of an entry.
    Entry(Box<(Test, Test)>),
}

/// What a string must be.
#[derive(Debug)]
pub(super) enum TextTest {
    /// Characters.
    Length(u64, u64),
    Bytes(u64, u64),
    Pattern(Regex),
    Prefix(String),
    Suffix(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    Form(fn(&str) -> bool),
}

/// What an integer must be.
#[derive(Debug)]
pub(super) struct IntegerTest {
    pub(super) min: i128,
    pub(super) max: i128,
    /// Any when it is empty.
    pub(super) among: Vec<i128>,
    pub(super) not_among: Vec<i128>,
    /// The enum that must have the value.
    pub(super) defined: Option<u32>,
}

impl Test {
    /// Whether `value` holds, which is the whole of what is behind a tag.
    pub(super) fn holds(
        &self,
        plans: &Plans,
        kind: Kind,
        value: &[u8],
    ) -> Result<bool, OutputError> {
        Ok(match self {
            Self::Any => true,
            Self::Text(tests) => {
                let text = str::from_utf8(Wire(value).bytes()?);
                text.is_ok_and(|text| tests.iter().all(|test| test.holds(text)))
            }
            Self::Bytes { min, max } => {
                (*min..=*max).contains(&(Wire(value).bytes()?.len() as u64))
            }
            Self::Integer(test) => test.holds(plans, integer(kind, value)?),
            Self::Float { above, below } => {
                let value = match kind {
                    Kind::Float => f64::from(f32::from_bits(Wire(value).fixed32()?)),
                    _ => f64::from_bits(Wire(value).fixed64()?),
                };
                // NaN holds nothing.
                (value > above.0 || (above.1 && value >= above.0))
                    && (value < below.0 || (below.1 && value <= below.0))
            }
            Self::Entry(_) | Self::Unknown => false,
        })
    }
}

impl TextTest {
    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Length(min, max) => {
                // Most texts are in bounds whatever their characters are.
                let bytes = text.len() as u64;
                (*min == 0 && bytes <= *max)
                    || (*min..=*max).contains(&(text.chars().count() as u64))
            }
            Self::Bytes(min, max) => (*min..=*max).contains(&(text.len() as u64)),
            Self::Pattern(pattern) => pattern.is_match(text),
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::In(texts) => texts.iter().any(|one| one == text),
            Self::NotIn(texts) => texts.iter().all(|one| one != text),
            Self::Form(is_form) => is_form(text),
        }
    }

    /// A well-known form, by the name of its rule.
    pub(super) fn form(name: &str) -> Option<Self> {
        Some(Self::Form(match name {
            "uuid" => is_plain_uuid,
            "email" => validators::is_email,
            "hostname" => validators::is_hostname,
            "ip" => validators::is_ip,
            "ipv4" => validators::is_ipv4,
            "ipv6" => validators::is_ipv6,
            "uri" => validators::is_uri,
            _ => return None,
        }))
    }
}

/// `0199c0de-0000-7000-8000-000000000001`.
fn is_plain_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

impl IntegerTest {
    fn holds(&self, plans: &Plans, value: i128) -> bool {
        (self.min..=self.max).contains(&value)
            && (self.among.is_empty() || self.among.contains(&value))
            && !self.not_among.contains(&value)
            && self.defined.is_none_or(|place| {
                let number = i32::try_from(value).ok();
                number.is_some_and(|number| plans.enums[place as usize].shown(number).is_some())
            })
    }
}

/// An integer of whatever kind; a duration in nanoseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the wire keeps the bits; what is beyond 32 is cut off, as all readers do"
)]
fn integer(kind: Kind, value: &[u8]) -> Result<i128, OutputError> {
    let mut wire = Wire(value);
    Ok(match kind {
        Kind::Int32 | Kind::Enum(_) | Kind::Null => i128::from(wire.varint()? as i32),
        Kind::Int64 => i128::from(wire.varint()? as i64),
        Kind::Uint32 => i128::from(wire.varint()? as u32),
        Kind::Uint64 => i128::from(wire.varint()?),
        Kind::Bool => i128::from(wire.varint()? != 0),
        Kind::Sint32 => {
            let value = wire.varint()? as u32;
            i128::from((value >> 1) as i32 ^ -((value & 1) as i32))
        }
        Kind::Sint64 => {
            let value = wire.varint()?;
            i128::from((value >> 1) as i64 ^ -((value & 1) as i64))
        }
        Kind::Fixed32 => i128::from(wire.fixed32()?),
        Kind::Fixed64 => i128::from(wire.fixed64()?),
        Kind::Sfixed32 => i128::from(wire.fixed32()? as i32),
        Kind::Sfixed64 => i128::from(wire.fixed64()? as i64),
        Kind::Message(_) => nanoseconds(wire.bytes()?)?,
        _ => return Err(OutputError::Malformed),
    })
}

/// A `google.protobuf.Duration`.
#[expect(clippy::cast_possible_wrap, reason = "the wire keeps the bits")]
fn nanoseconds(duration: &[u8]) -> Result<i128, OutputError> {
    let mut wire = Wire(duration);
    let (mut seconds, mut nanos) = (0, 0);
    while !wire.is_empty() {
        let (number, wire_type) = wire.tag()?;
        match number {
            1 => seconds = wire.varint()? as i64,
            2 => nanos = wire.varint()? as i64,
            _ => wire.skip(number, wire_type)?,
        }
    }
    Ok(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}

/// Whether a value is the default of its kind, so that it is the same as none.
pub(super) fn is_default(kind: Kind, value: &[u8]) -> bool {
    match kind.wire_type() {
        // Of a string or bytes, the length. Zeros may be longer than they need to be.
        WireType::Varint | WireType::Bytes => {
            kind.message().is_none()
                && value.iter().all(|byte| matches!(byte, 0 | 0x80))
                && value.last() == Some(&0)
        }
        WireType::Fixed32 | WireType::Fixed64 => value.iter().all(|byte| *byte == 0),
        WireType::Group => false,
    }
}
