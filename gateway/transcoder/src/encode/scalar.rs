//! Values that are one piece of text: in JSON, in a path, in a query, as a map's key.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Encoder;
use crate::json::{Fault, Read, Token, double, float, integer, is_number};
use crate::schema::{Field, Kind, Plans};
use crate::wire;

/// Base64 with or without padding, as proto3 JSON admits.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// A number, truth value or enum as the wire has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scalar {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
}

impl Scalar {
    /// Whether it is the default of its kind; a negative zero is not.
    #[inline]
    pub(crate) fn is_zero(self) -> bool {
        matches!(self, Self::Varint(0) | Self::Fixed32(0) | Self::Fixed64(0))
    }

    #[inline]
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Varint(value) => wire::write_varint(out, value),
            Self::Fixed32(value) => out.extend_from_slice(&value.to_le_bytes()),
            Self::Fixed64(value) => out.extend_from_slice(&value.to_le_bytes()),
        }
    }

    /// Reads a number of whatever kind.
    #[inline]
    #[expect(clippy::cast_sign_loss, reason = "the wire keeps the bits")]
    fn number(kind: Kind, text: &[u8]) -> Option<Self> {
        fn sized<T: TryFrom<i128>>(text: &[u8]) -> Option<T> {
            integer(text)?.try_into().ok()
        }
        Some(match kind {
            Kind::Double => Self::Fixed64(double(text)?.to_bits()),
            Kind::Float => Self::Fixed32(float(text)?.to_bits()),
            Kind::Int32 => Self::Varint(i64::from(sized::<i32>(text)?) as u64),
            Kind::Int64 => Self::Varint(sized::<i64>(text)? as u64),
            Kind::Uint32 => Self::Varint(u64::from(sized::<u32>(text)?)),
            Kind::Uint64 => Self::Varint(sized::<u64>(text)?),
            Kind::Sint32 => {
                let value = sized::<i32>(text)?;
                Self::Varint(u64::from(((value << 1) ^ (value >> 31)) as u32))
            }
            Kind::Sint64 => {
                let value = sized::<i64>(text)?;
                Self::Varint(((value << 1) ^ (value >> 63)) as u64)
            }
            Kind::Fixed32 => Self::Fixed32(sized(text)?),
            Kind::Fixed64 => Self::Fixed64(sized(text)?),
            Kind::Sfixed32 => Self::Fixed32(sized::<i32>(text)? as u32),
            Kind::Sfixed64 => Self::Fixed64(sized::<i64>(text)? as u64),
            _ => return None,
        })
    }

    /// An enum's value.
    #[expect(clippy::cast_sign_loss, reason = "the wire keeps the bits")]
    pub(crate) fn enumeration(number: i32) -> Self {
        Self::Varint(i64::from(number) as u64)
    }
}

/// Reads a scalar or enum from plain text. The error says what the text must be.
pub(crate) fn scalar_of_text(
    plans: &Plans,
    kind: Kind,
    text: &[u8],
) -> Result<Scalar, &'static str> {
    match (kind, text) {
        (Kind::Bool, b"true") => Ok(Scalar::Varint(1)),
        (Kind::Bool, b"false") | (Kind::Null, b"null" | b"NULL_VALUE" | b"0") => {
            Ok(Scalar::Varint(0))
        }
        (Kind::Enum(place), text) => {
            let number = plans.enums[place as usize].number(text);
            let number = number.or_else(|| enum_number(text));
            number.map(Scalar::enumeration).ok_or(UNKNOWN_NAME)
        }
        (kind, text) => Scalar::number(kind, text).ok_or(kind.expected()),
    }
}

/// Why an enum's name is refused.
const UNKNOWN_NAME: &str = "is not a known name of this enum";

/// An enum by number; protobuf admits numbers that have no name yet.
fn enum_number(text: &[u8]) -> Option<i32> {
    integer(text)?.try_into().ok()
}

/// Appends the bytes that `text` stands for; false if it is no base64.
pub(crate) fn decode_base64(text: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.resize(start + text.len().div_ceil(4) * 3, 0);
    let room = &mut out[start..];
    let length = STANDARD.decode_slice(text, room).or_else(|_| URL_SAFE.decode_slice(text, room));
    let decoded = length.is_ok();
    out.truncate(start + length.unwrap_or_default());
    decoded
}

impl<'a> Encoder<'a> {
    /// Reads a number, truth value or enum; `None` for an enum's name that is not known, where
    /// such are skipped.
    #[inline]
    pub(super) fn scalar(&mut self, kind: Kind, token: Token) -> Read<Option<Scalar>> {
        let at = self.reader.at();
        let read = match (kind, token) {
            (Kind::Bool, Token::Bool) => {
                return self.reader.bool().map(|value| Some(Scalar::Varint(value.into())));
            }
            (Kind::Null, Token::Null) => {
                return self.reader.null().map(|()| Some(Scalar::Varint(0)));
            }
            (Kind::Enum(place), Token::Text) => return self.enum_name(place),
            (Kind::Enum(_), Token::Number) => {
                enum_number(self.reader.number()?).map(Scalar::enumeration)
            }
            (Kind::Null, Token::Text | Token::Number) => {
                let text = self.spelling(token)?;
                matches!(&*text, b"NULL_VALUE" | b"0").then_some(Scalar::Varint(0))
            }
            (Kind::Bool, _) => None,
            (_, Token::Number) => Scalar::number(kind, self.reader.number()?),
            (_, Token::Text) => Scalar::number(kind, &self.string()?),
            _ => None,
        };
        read.map(Some).ok_or_else(|| Fault::at(at, kind.expected()))
    }

    fn enum_name(&mut self, place: u32) -> Read<Option<Scalar>> {
        let name = self.reader.text()?;
        let number = self.plans.enums[place as usize].number(&self.reader.resolved(name)?);
        if number.is_none() && !self.plans.settings.ignore_unknown {
            return Err(Fault::at(name.at(), UNKNOWN_NAME));
        }
        Ok(number.map(Scalar::enumeration))
    }

    /// A string or number as text.
    fn spelling(&mut self, token: Token) -> Read<Cow<'a, [u8]>> {
        if token == Token::Number {
            return self.reader.number().map(Into::into);
        }
        self.string()
    }

    /// Takes a string.
    #[inline]
    pub(super) fn string(&mut self) -> Read<Cow<'a, [u8]>> {
        let text = self.reader.text()?;
        self.reader.resolved(text)
    }

    /// Appends a string or bytes, with its tag; nothing for the default unless it is `kept`.
    #[inline]
    pub(super) fn text(&mut self, field: &Field, token: Token, kept: bool) -> Read<()> {
        let at = self.reader.at();
        if field.kind == Kind::String && field.number_form {
            return self.decimal(field, token);
        }
        if token != Token::Text {
            return Err(Fault::at(at, field.kind.expected()));
        }
        let text = self.reader.text()?;
        if self.reader.raw(text).is_empty() && !kept && !self.plans.settings.merge_duplicates {
            return Ok(());
        }
        field.tag.write(self.out);
        if field.kind == Kind::String && !text.is_escaped() {
            wire::write_bytes(self.out, self.reader.raw(text));
            return Ok(());
        }
        let start = wire::begin(self.out);
        if field.kind == Kind::String {
            self.reader.append(text, self.out)?;
        } else if !decode_base64(&self.reader.resolved(text)?, self.out) {
            return Err(Fault::at(at, field.kind.expected()));
        }
        wire::end(self.out, start);
        Ok(())
    }

    /// Appends a decimal that is kept digit for digit.
    fn decimal(&mut self, field: &Field, token: Token) -> Read<()> {
        let at = self.reader.at();
        if !matches!(token, Token::Number | Token::Text) {
            return Err(Fault::at(at, field.kind.expected()));
        }
        let digits = match token {
            Token::Number => self.reader.number()?.into(),
            _ => self.string()?,
        };
        if !is_decimal(&digits) {
            return Err(Fault::at(at, DECIMAL));
        }
        field.tag.write(self.out);
        wire::write_bytes(self.out, &digits);
        Ok(())
    }
}

/// What a decimal must be.
pub(crate) const DECIMAL: &str = "must be a decimal number without an exponent";

/// Whether `text` is a number without an exponent.
pub(crate) fn is_decimal(text: &[u8]) -> bool {
    is_number(text) && !text.iter().any(|byte| matches!(byte, b'e' | b'E'))
}
