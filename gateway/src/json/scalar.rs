//! Values that are one piece of text: in JSON, in a path, in a query, as a map's key.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use prost_reflect::{EnumDescriptor, Kind, Value};
use serde_json::value::RawValue;

use super::Codec;

/// Base64 with or without padding, as proto3 JSON admits.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

impl Codec {
    /// Reads a scalar or enum from plain text. The error says what the text must be.
    pub(super) fn scalar_from_text(&self, kind: &Kind, text: &str) -> Result<Value, &'static str> {
        match kind {
            Kind::String => Ok(Value::String(text.to_owned())),
            Kind::Bool => match text {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err(expected(kind)),
            },
            Kind::Bytes => bytes(text),
            Kind::Enum(enumeration) => self
                .enum_from_name(enumeration, text)
                .or_else(|error| enum_from_number(text).ok_or(error)),
            _ => number(kind, text),
        }
    }

    /// Reads an enum by either of its names.
    pub(super) fn enum_from_name(
        &self,
        enumeration: &EnumDescriptor,
        name: &str,
    ) -> Result<Value, &'static str> {
        let number = self.enum_number(enumeration, name);
        number.map(Value::EnumNumber).ok_or("is not a known name of this enum")
    }
}

/// Reads an enum by number; proto3 admits numbers that have no name yet.
pub(super) fn enum_from_number(text: &str) -> Option<Value> {
    integer(text)?.try_into().ok().map(Value::EnumNumber)
}

/// What a value of this kind must be.
pub(super) fn expected(kind: &Kind) -> &'static str {
    match kind {
        Kind::Double | Kind::Float => "must be a number",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "must be a 32-bit integer",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "must be a 64-bit integer",
        Kind::Uint32 | Kind::Fixed32 => "must be an unsigned 32-bit integer",
        Kind::Uint64 | Kind::Fixed64 => "must be an unsigned 64-bit integer",
        Kind::Bool => "must be true or false",
        Kind::String => "must be a string",
        Kind::Bytes => "must be a base64 string",
        Kind::Message(_) => "must be an object",
        Kind::Enum(_) => "must be the name of an enum value",
    }
}

/// Reads a number of whatever kind.
pub(super) fn number(kind: &Kind, text: &str) -> Result<Value, &'static str> {
    fn sized<T: TryFrom<i128>>(text: &str) -> Option<T> {
        integer(text)?.try_into().ok()
    }
    let value = match kind {
        Kind::Double => float(text).map(Value::F64),
        Kind::Float => float(text).and_then(narrowed).map(Value::F32),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => sized(text).map(Value::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => sized(text).map(Value::I64),
        Kind::Uint32 | Kind::Fixed32 => sized(text).map(Value::U32),
        Kind::Uint64 | Kind::Fixed64 => sized(text).map(Value::U64),
        _ => None,
    };
    value.ok_or(expected(kind))
}

/// Reads a decimal that is kept digit for digit.
pub(super) fn decimal(text: &str) -> Result<Value, &'static str> {
    if is_number(text) && !text.contains(['e', 'E']) {
        Ok(Value::String(text.to_owned()))
    } else {
        Err("must be a decimal number without an exponent")
    }
}

pub(super) fn bytes(text: &str) -> Result<Value, &'static str> {
    let decoded = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
    decoded.map(|bytes| Value::Bytes(Bytes::from(bytes))).map_err(|_| expected(&Kind::Bytes))
}

/// Whether `text` is a number as JSON writes it.
pub(super) fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        && serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get() == text)
}

/// The value of a JSON number without a fraction, whatever its spelling: `100`, `1e2`, `100.0`.
fn integer(text: &str) -> Option<i128> {
    if !is_number(text) {
        return None;
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let exponent = exponent.parse::<i32>().ok()?;
    let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    if let Ok(shift) = u32::try_from(shift) {
        return digits.checked_mul(10_i128.checked_pow(shift)?);
    }
    // A negative shift is a fraction, unless the digits end with as many zeros.
    let divisor = 10_i128.checked_pow(shift.unsigned_abs())?;
    (digits % divisor == 0).then(|| digits / divisor)
}

/// Whether `number`, written out again, is the very number that `text` is.
pub(super) fn is_kept(text: &str, number: f64) -> bool {
    digits(text) == digits(&format!("{number:e}"))
}

/// A JSON number in one spelling: its digits without zeros around them, and the power of ten of
/// the last one. All zeros are alike.
fn digits(text: &str) -> Option<(bool, String, i64)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let negative = whole.starts_with('-');
    let all = format!("{}{fraction}", whole.trim_start_matches('-'));
    let digits = all.trim_matches('0');
    if digits.is_empty() {
        return Some((false, String::new(), 0));
    }
    let zeros = i64::try_from(all.len() - all.trim_end_matches('0').len()).ok()?;
    let places = i64::try_from(fraction.len()).ok()?;
    let exponent = exponent.parse::<i64>().ok()?.checked_add(zeros - places)?;
    Some((negative, digits.to_owned(), exponent))
}

fn float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        text if is_number(text) => text.parse().ok().filter(|value: &f64| value.is_finite()),
        _ => None,
    }
}

/// The nearest 32-bit float; none when the value is finite and beyond its range.
fn narrowed(value: f64) -> Option<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "the nearest float is what is meant")]
    let narrow = value as f32;
    (narrow.is_finite() || !value.is_finite()).then_some(narrow)
}
